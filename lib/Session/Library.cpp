//===- Library.cpp - a loaded library and its kernels ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Session/Session.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace sparse_attn;
using namespace sparse_attn::run;

Error run::runtimeError() { return createStringError(sparse_attn_last_error()); }

Expected<Library> Library::open(const std::string &path) {
  const sparse_attn_library *handle = nullptr;
  if (sparse_attn_library_open(path.c_str(), &handle))
    return runtimeError();
  Library library;
  library.handle.reset(handle);
  return library;
}

Expected<const sparse_attn_kernel *> Library::find(StringRef name) const {
  if (name.empty() && kernels().size() == 1)
    return &kernels().front();
  if (name.empty()) {
    auto names = map_range(kernels(), [](const auto &kernel) { return kernel.name; });
    return createStringError("the library has " + Twine(kernels().size()) +
                             " kernels; choose one with --kernel: " + join(names, ", "));
  }
  const sparse_attn_kernel *kernel = nullptr;
  if (sparse_attn_kernel_find(handle.get(), name.str().c_str(), &kernel))
    return runtimeError();
  return kernel;
}

Expected<std::string> Library::source(const sparse_attn_kernel &kernel) const {
  const char *text = sparse_attn_library_manifest(handle.get());
  Expected<json::Value> manifest = json::parse(text ? text : "");
  if (!manifest)
    return createStringError("the library's manifest is not JSON: " +
                             toString(manifest.takeError()));
  const json::Object *root = manifest->getAsObject();
  const json::Array *kernels = root ? root->getArray("kernels") : nullptr;
  if (kernels)
    for (const json::Value &entry : *kernels) {
      const json::Object *object = entry.getAsObject();
      if (!object || object->getString("name") != StringRef(kernel.name))
        continue;
      if (std::optional<StringRef> source = object->getString("source"))
        return source->str();
    }
  return createStringError("the library's manifest has no source for kernel '" +
                           Twine(kernel.name) +
                           "'; --check needs it, compile the library again");
}

std::string run::describeTensor(const sa_tensor &tensor) {
  static constexpr StringLiteral kSizes[] = {"?", "B", "H", "Hkv", "M", "N"};
  StringRef kind = tensor.type_code == kDLFloat    ? "f"
                   : tensor.type_code == kDLBfloat ? "bf"
                   : tensor.type_code == kDLUInt   ? "u"
                                                   : "i";
  std::string text = kind.str() + std::to_string(tensor.type_bits) + " [";
  for (int32_t axis = 0; axis < tensor.rank; ++axis) {
    text += axis ? ", " : "";
    int32_t code = tensor.axis[axis], size = code % 16;
    if (tensor.dims[axis] >= 0)
      text += std::to_string(tensor.dims[axis]);
    else if (size < static_cast<int32_t>(std::size(kSizes)))
      text += (code >= 16 ? "1 or " : "") + kSizes[size].str();
    else
      text += "?";
  }
  return text + "]";
}
