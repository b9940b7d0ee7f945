//===- Header.cpp - the C99 header of a library ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Package/Package.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace sparse_attn;
using llvm::StringRef;

/// Words that cannot name a parameter: keywords of C and C++, what compilers
/// define as macros, and the names that the generated functions use themselves.
static bool isTaken(StringRef name) {
  static const llvm::StringSet<> taken = {
      // C
      "auto", "break", "case", "char", "const", "continue", "default", "do", "double",
      "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long",
      "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
      "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
      // C++ and later C
      "alignas", "alignof", "and", "and_eq", "asm", "bitand", "bitor", "bool", "catch",
      "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield",
      "compl", "concept", "const_cast", "consteval", "constexpr", "constinit", "decltype",
      "delete", "dynamic_cast", "explicit", "export", "false", "friend", "mutable",
      "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or",
      "or_eq", "private", "protected", "public", "reinterpret_cast", "requires",
      "static_assert", "static_cast", "template", "this", "thread_local", "throw", "true",
      "try", "typeid", "typename", "typeof", "typeof_unqual", "using", "virtual",
      "wchar_t", "xor", "xor_eq",
      // macros and types
      "NULL", "linux", "unix", "i386", "errno", "assert", "DLTensor", "size_t", "int64_t",
      // this header's own
      "shape", "layout", "options", "plan", "inputs", "outputs", "workspace",
      "workspace_bytes"};
  return taken.contains(name) || name.starts_with("sparse_attn") ||
         name.starts_with("SPARSE_ATTN");
}

/// The parameter for a tensor: its name, with a '_' where C does not allow it.
static std::string parameterName(const TensorDesc &tensor) {
  return isTaken(tensor.name) ? tensor.name + "_" : tensor.name;
}

namespace {
class HeaderWriter {
public:
  HeaderWriter(const CompiledLibrary &library, llvm::raw_ostream &os)
      : library(library), os(os) {}

  void write();

private:
  using Tensors = llvm::SmallVector<const TensorDesc *>;

  void writeIntroduction();
  void writeKernel(const CompiledKernel &kernel, unsigned index);
  void writeTensors(StringRef title, const Tensors &tensors);
  void writePlan(StringRef prefix, const Tensors &layout);
  void writeRun(StringRef prefix, const Tensors &inputs, const Tensors &outputs);
  void writeParameters(llvm::ArrayRef<std::string> parameters);
  /// An array that holds the parameters of `tensors`; returns how to pass it.
  std::string writeArray(StringRef type, StringRef name, const Tensors &tensors);

  const CompiledLibrary &library;
  llvm::raw_ostream &os;
};
} // namespace

static constexpr StringRef kIntroduction = R"(/*===- {0}.h - the kernels of lib{0} ---===*
 *
 * Written by sparse-attn-compile {1}; do not edit.
 *
 * Every kernel has a plan, made once for a shape and the layout operands, and
 * any number of runs of it, from any threads:
 *
 *   sparse_attn_plan *plan;
 *   size_t bytes;
 *   sparse_attn_shape shape = {{batch, heads, kv_heads, queries, keys};
 *   {2}_plan(&shape, ..., NULL, &plan);
 *   sparse_attn_workspace_size(plan, NULL, &bytes);
 *   {2}_run(plan, ..., workspace, bytes, NULL);
 *   sparse_attn_plan_destroy(plan);
 *
 * Tensors are DLPack DLTensors on the CPU whose innermost stride is 1; strides
 * count elements, and NULL strides mean a dense tensor. In the shapes below
 * B, H, Hkv, M and N are the batch, heads, kv_heads, queries and keys of the
 * sparse_attn_shape; "any" is free; "B or 1" broadcasts where it is 1.
 *
 * A function that fails returns a status other than SPARSE_ATTN_OK and leaves
 * the reason in sparse_attn_last_error(). What may go wrong is listed with each.
 *
 * Link lib{0}.so, or lib{0}.a with -lgomp -lpthread -ldl -lm.
 *
 *===----------------------------------------------------------------------===*/
#ifndef {3}_H
#define {3}_H

#include <sparse_attn/runtime.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* The library: its kernels and its manifest. Never NULL. */
SPARSE_ATTN_API const sparse_attn_library *{0}_library(void);
)";

static constexpr StringRef kPlanComment = R"(
/* Builds the plan of this kernel for `shape`. `options` may be NULL.
{0} *
 * SPARSE_ATTN_INVALID_ARGUMENT: a null pointer, a negative size, heads that
 * kv_heads does not divide, or an operand of another rank, type, size or device
 * or with a value out of its range. SPARSE_ATTN_OVERFLOW: sizes whose product
 * does not fit. SPARSE_ATTN_OUT_OF_MEMORY. SPARSE_ATTN_UNSUPPORTED_CPU. */
static inline sparse_attn_status {1}_plan(
)";

static constexpr StringRef kRunComment = R"(
/* Computes the results. `workspace` has `workspace_bytes` bytes, at least what
 * sparse_attn_workspace_size(plan, options, ...) tells, and is used by this run
 * alone. Nothing is allocated. `options` may be NULL.
 *
 * SPARSE_ATTN_INVALID_ARGUMENT: a null pointer, or a tensor of another rank,
 * type, size, stride or device than the plan's. SPARSE_ATTN_WORKSPACE_TOO_SMALL. */
static inline sparse_attn_status {0}_run(
)";

void HeaderWriter::writeIntroduction() {
  os << llvm::formatv(kIntroduction.data(), library.name, SPARSE_ATTN_VERSION,
                      getPrefix(library, library.kernels.front()),
                      StringRef(library.name).upper());
}

void HeaderWriter::writeTensors(StringRef title, const Tensors &tensors) {
  if (tensors.empty())
    return;
  os << " *\n * " << title << "\n";
  for (const TensorDesc *tensor : tensors) {
    llvm::SmallVector<std::string> sizes;
    for (int axis = 0; axis < tensor->rank; ++axis)
      sizes.push_back(describeAxis(*tensor, axis));
    os << " *   " << llvm::left_justify(parameterName(*tensor), 12) << ' '
       << llvm::left_justify(describeType(*tensor), 4) << " [" << llvm::join(sizes, ", ")
       << "]\n";
  }
}

/// A function's parameters and its opening bracket, in lines of 80 columns.
void HeaderWriter::writeParameters(llvm::ArrayRef<std::string> parameters) {
  size_t column = 0;
  for (auto [index, parameter] : llvm::enumerate(parameters)) {
    bool last = index + 1 == parameters.size();
    std::string text = parameter + (last ? ") {" : ",");
    if (column == 0 || column + 1 + text.size() > 80) {
      os << (column == 0 ? "    " : "\n    ") << text;
      column = 4 + text.size();
    } else {
      os << ' ' << text;
      column += 1 + text.size();
    }
  }
  os << "\n";
}

std::string HeaderWriter::writeArray(StringRef type, StringRef name,
                                     const Tensors &tensors) {
  if (tensors.empty())
    return "NULL, 0";
  os << "  " << type << name << "[" << tensors.size() << "];\n";
  for (auto [index, tensor] : llvm::enumerate(tensors))
    os << "  " << name << "[" << index << "] = " << parameterName(*tensor) << ";\n";
  return (name + ", " + llvm::Twine(tensors.size())).str();
}

void HeaderWriter::writePlan(StringRef prefix, const Tensors &layout) {
  os << llvm::formatv(
      kPlanComment.data(),
      layout.empty() ? "" : " * The layout operands are read now and not kept.\n",
      prefix);
  std::vector<std::string> parameters{"const sparse_attn_shape *shape"};
  for (const TensorDesc *tensor : layout)
    parameters.push_back("const DLTensor *" + parameterName(*tensor));
  parameters.insert(parameters.end(),
                    {"const sparse_attn_options *options", "sparse_attn_plan **plan"});
  writeParameters(parameters);
  std::string passed = writeArray("const DLTensor *", "layout", layout);
  os << "  return sparse_attn_plan_create(" << prefix << "_kernel(), shape, " << passed
     << ",\n                                 options, plan);\n}\n";
}

void HeaderWriter::writeRun(StringRef prefix, const Tensors &inputs,
                            const Tensors &outputs) {
  os << llvm::formatv(kRunComment.data(), prefix);
  std::vector<std::string> parameters{"const sparse_attn_plan *plan"};
  for (const TensorDesc *tensor : inputs)
    parameters.push_back("const DLTensor *" + parameterName(*tensor));
  for (const TensorDesc *tensor : outputs)
    parameters.push_back("DLTensor *" + parameterName(*tensor));
  parameters.insert(parameters.end(), {"void *workspace", "size_t workspace_bytes",
                                       "const sparse_attn_options *options"});
  writeParameters(parameters);
  std::string in = writeArray("const DLTensor *", "inputs", inputs);
  std::string out = writeArray("DLTensor *", "outputs", outputs);
  os << "  return sparse_attn_run(plan, " << in << ", " << out
     << ",\n                         workspace, workspace_bytes, options);\n}\n";
}

void HeaderWriter::writeKernel(const CompiledKernel &kernel, unsigned index) {
  Tensors layout, inputs, outputs;
  for (const TensorDesc &tensor : kernel.inputs)
    (tensor.layout ? layout : inputs).push_back(&tensor);
  for (const TensorDesc &tensor : kernel.outputs)
    outputs.push_back(&tensor);
  std::string prefix = getPrefix(library, kernel);
  os << "\n/*===--- " << kernel.name << " ---===*\n";
  writeTensors("Layout operands, given to " + prefix + "_plan:", layout);
  writeTensors("Inputs of " + prefix + "_run:", inputs);
  writeTensors("Results:", outputs);
  os << " *\n *===----------------------------------------------------------------------"
        "===*/\n\n"
     << "/* Never NULL. */\nstatic inline const sparse_attn_kernel *" << prefix
     << "_kernel(void) {\n  return sparse_attn_kernel_at(" << library.name
     << "_library(), " << index << ");\n}\n";
  writePlan(prefix, layout);
  writeRun(prefix, inputs, outputs);
}

void HeaderWriter::write() {
  writeIntroduction();
  for (auto [index, kernel] : llvm::enumerate(library.kernels))
    writeKernel(kernel, index);
  os << "\n#ifdef __cplusplus\n}\n#endif\n#endif /* " << StringRef(library.name).upper()
     << "_H */\n";
}

std::string sparse_attn::buildHeader(const CompiledLibrary &library) {
  std::string text;
  llvm::raw_string_ostream os(text);
  HeaderWriter(library, os).write();
  return text;
}
