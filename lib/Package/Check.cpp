//===- Check.cpp - what the C interface demands of a library --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Package/Package.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace sparse_attn;
using llvm::createStringError;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

bool sparse_attn::isValidName(StringRef name) {
  return !name.empty() && llvm::isAlpha(name.front()) &&
         llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

static Error checkName(StringRef what, StringRef name) {
  if (isValidName(name))
    return Error::success();
  return createStringError(what + " '" + name +
                           "' cannot be used in C; name it with letters, "
                           "digits and '_', beginning with a letter");
}

static Error checkTensors(const CompiledKernel &kernel) {
  llvm::StringSet<> seen;
  for (const auto *list : {&kernel.inputs, &kernel.outputs})
    for (const TensorDesc &tensor : *list) {
      if (Error error = checkName("argument", tensor.name))
        return error;
      if (!seen.insert(tensor.name).second)
        return createStringError("kernel '" + Twine(kernel.name) +
                                 "' has two tensors called '" + tensor.name +
                                 "'; give each its own sparse_attn.name");
      if (tensor.rank < 0 || tensor.rank > 4)
        return createStringError("'" + Twine(tensor.name) + "' of kernel '" +
                                 kernel.name + "' has rank " + Twine(tensor.rank) +
                                 "; at most 4 is supported");
    }
  return Error::success();
}

Error sparse_attn::checkLibrary(const CompiledLibrary &library) {
  if (Error error = checkName("library name", library.name))
    return error;
  // These prefixes are the runtime's own: their symbols would clash.
  if (library.name == "sparse_attn" ||
      StringRef(library.name).starts_with("sparse_attn_"))
    return createStringError("library name '" + Twine(library.name) +
                             "' is the runtime's own prefix; choose another one");
  if (library.kernels.empty())
    return createStringError(
        "there is no kernel to compile; write a public func.func that "
        "returns the results of sparse_attn.attention");
  for (const CompiledKernel &kernel : library.kernels) {
    if (Error error = checkName("kernel", kernel.name))
      return error;
    if (Error error = checkTensors(kernel))
      return error;
  }
  return Error::success();
}

std::string sparse_attn::getPrefix(const CompiledLibrary &library,
                                   const CompiledKernel &kernel) {
  return kernel.name == library.name ? kernel.name : library.name + "_" + kernel.name;
}

std::string sparse_attn::describeType(const TensorDesc &tensor) {
  StringRef code = tensor.typeCode == 0   ? "i"
                   : tensor.typeCode == 1 ? "u"
                   : tensor.typeCode == 4 ? "bf"
                                          : "f";
  return (code + Twine(tensor.typeBits)).str();
}

std::string sparse_attn::describeAxis(const TensorDesc &tensor, unsigned axis) {
  // The values of sa_tensor::axis.
  static constexpr StringRef names[] = {"any", "B", "H", "Hkv", "M", "N"};
  if (tensor.dims[axis] >= 0)
    return std::to_string(tensor.dims[axis]);
  int32_t kind = tensor.axis[axis];
  if (kind >= 16 && kind - 16 < 6)
    return (names[kind - 16] + " or 1").str();
  return kind >= 0 && kind < 6 ? names[kind].str() : "any";
}
