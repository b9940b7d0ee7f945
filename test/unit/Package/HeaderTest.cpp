//===- HeaderTest.cpp - the generated C header ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MadeLibrary.h"

using namespace sparse_attn;

namespace {

void expectContains(const std::string &text, llvm::StringRef part) {
  EXPECT_TRUE(llvm::StringRef(text).contains(part)) << part.str() << "\nin\n" << text;
}

TEST(Header, CompilesInEveryLanguage) {
  TemporaryFolder folder;
  writeFile(folder.file("made.h"), buildHeader(makeLibrary()));
  // Twice: the guard works.
  writeFile(folder.file("user.c"), "#include \"made.h\"\n#include \"made.h\"\n"
                                   "int unused;\n");
  for (auto [compiler, language, standard] : {std::tuple(C_COMPILER, "c", "-std=c99"),
                                              {C_COMPILER, "c", "-std=gnu11"},
                                              {CXX_COMPILER, "c", "-std=c99"},
                                              {CXX_COMPILER, "c++", "-std=c++11"},
                                              {CXX_COMPILER, "c++", "-std=c++20"}}) {
    std::string output;
    int status = runProgram({compiler, "-x", language, standard, "-Wall", "-Wextra",
                             "-pedantic", "-Werror", "-fsyntax-only",
                             "-I" RUNTIME_INCLUDE, folder.file("user.c")},
                            output);
    EXPECT_EQ(status, 0) << compiler << ' ' << standard << '\n' << output;
    EXPECT_EQ(output, "");
  }
}

// A kernel that is called like its library is not named twice.
TEST(Header, Prefixes) {
  std::string header = buildHeader(makeLibrary());
  expectContains(header,
                 "SPARSE_ATTN_API const sparse_attn_library *made_library(void);");
  expectContains(header, "static inline const sparse_attn_kernel *made_kernel(void) {\n"
                         "  return sparse_attn_kernel_at(made_library(), 0);\n");
  expectContains(header,
                 "static inline const sparse_attn_kernel *made_plain_kernel(void) {\n"
                 "  return sparse_attn_kernel_at(made_library(), 1);\n");
}

TEST(Header, LayoutGoesToThePlan) {
  std::string header = buildHeader(makeLibrary());
  // `int` is an operand's name that C cannot have.
  expectContains(header, R"(made_plan(
    const sparse_attn_shape *shape, const DLTensor *offsets,
    const DLTensor *int_, const sparse_attn_options *options,
    sparse_attn_plan **plan) {
  const DLTensor *layout[2];
  layout[0] = offsets;
  layout[1] = int_;
  return sparse_attn_plan_create(made_kernel(), shape, layout, 2,
)");
  expectContains(header, R"(made_plain_plan(
    const sparse_attn_shape *shape, const sparse_attn_options *options,
    sparse_attn_plan **plan) {
  return sparse_attn_plan_create(made_plain_kernel(), shape, NULL, 0,
)");
}

TEST(Header, ValuesGoToTheRun) {
  std::string header = buildHeader(makeLibrary());
  expectContains(header, R"(made_run(
    const sparse_attn_plan *plan, const DLTensor *q, const DLTensor *k,
    const DLTensor *v, const DLTensor *bias, DLTensor *out, DLTensor *lse,
    void *workspace, size_t workspace_bytes,
    const sparse_attn_options *options) {
)");
  expectContains(header, "  return sparse_attn_run(plan, inputs, 4, outputs, 2,\n");
}

TEST(Header, ShapesAreDocumented) {
  std::string header = buildHeader(makeLibrary());
  expectContains(header, " *   offsets      i32  [B or 1, any]\n");
  expectContains(header, " *   int_         i8   [H or 1]\n");
  expectContains(header, " *   k            f32  [B, Hkv, N, 64]\n");
  expectContains(header, " *   bias         f32  [7]\n");
  expectContains(header, " *   lse          f32  [B, H, M]\n");
}

} // namespace
