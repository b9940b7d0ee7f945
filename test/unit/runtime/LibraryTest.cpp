//===- LibraryTest.cpp - loading libraries ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/abi.h"

#include "gtest/gtest.h"

#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

#define EXPECT_ERROR(call, code, message)                                                \
  do {                                                                                   \
    EXPECT_EQ(call, code);                                                               \
    EXPECT_EQ(std::string(sparse_attn_last_error()), message);                           \
  } while (false)

const char *const kGood = RUNTIME_TEST_MODULE_GOOD;

std::vector<char> readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// A file that is removed at the end of its scope.
struct TemporaryFile {
  std::string path =
      testing::TempDir() + "sparse_attn_" + std::to_string(getpid()) + ".so";
  explicit TemporaryFile(const std::vector<char> &bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), bytes.size());
  }
  ~TemporaryFile() { unlink(path.c_str()); }
};

TEST(Library, listsKernelsAndTensors) {
  const sparse_attn_library *library = nullptr;
  ASSERT_EQ(sparse_attn_library_open(kGood, &library), SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  EXPECT_STREQ(sparse_attn_library_manifest(library), "{\"kernels\": []}");
  EXPECT_EQ(sparse_attn_kernel_count(library), 2u);
  const sparse_attn_kernel *kernel = nullptr;
  ASSERT_EQ(sparse_attn_kernel_find(library, "decode", &kernel), SPARSE_ATTN_OK);
  EXPECT_EQ(kernel, sparse_attn_kernel_at(library, 1));
  kernel = sparse_attn_kernel_at(library, 0);
  EXPECT_STREQ(sparse_attn_kernel_name(kernel), "longctx");
  EXPECT_EQ(sparse_attn_kernel_input_count(kernel), 2u);
  EXPECT_EQ(sparse_attn_kernel_output_count(kernel), 1u);
  sparse_attn_tensor_info info;
  ASSERT_EQ(sparse_attn_kernel_input_info(kernel, 0, &info), SPARSE_ATTN_OK);
  EXPECT_STREQ(info.name, "q");
  EXPECT_EQ(info.layout, 0);
  EXPECT_EQ(info.rank, 4);
  EXPECT_EQ(info.dims[3], 64);
  EXPECT_EQ(info.dims[0], -1);
  EXPECT_EQ(info.dtype.code, kDLFloat);
  EXPECT_EQ(info.dtype.bits, 32);
  EXPECT_EQ(info.dtype.lanes, 1);
  ASSERT_EQ(sparse_attn_kernel_input_info(kernel, 1, &info), SPARSE_ATTN_OK);
  EXPECT_EQ(info.layout, 1);
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.dims[2], -1) << "past the rank";
  ASSERT_EQ(sparse_attn_kernel_output_info(kernel, 0, &info), SPARSE_ATTN_OK);
  EXPECT_STREQ(info.name, "lse");
  EXPECT_ERROR(sparse_attn_kernel_input_info(kernel, 2, &info), SPARSE_ATTN_NOT_FOUND,
               "kernel 'longctx' has no input 2, only 2");
  EXPECT_ERROR(sparse_attn_kernel_output_info(kernel, 1, &info), SPARSE_ATTN_NOT_FOUND,
               "kernel 'longctx' has no output 1, only 1");
  EXPECT_ERROR(sparse_attn_kernel_find(library, "prefill", &kernel),
               SPARSE_ATTN_NOT_FOUND,
               "no kernel 'prefill'; the library holds 'longctx', 'decode'");
  EXPECT_EQ(sparse_attn_kernel_at(library, 2), nullptr);
  EXPECT_STREQ(sparse_attn_last_error(), "no kernel 2: the library holds 2");
  sparse_attn_library_close(library);
}

TEST(Library, opensSeveralTimes) {
  const sparse_attn_library *first = nullptr, *second = nullptr;
  ASSERT_EQ(sparse_attn_library_open(kGood, &first), SPARSE_ATTN_OK);
  ASSERT_EQ(sparse_attn_library_open(kGood, &second), SPARSE_ATTN_OK);
  sparse_attn_library_close(first);
  EXPECT_EQ(sparse_attn_kernel_count(second), 2u) << "still open";
  sparse_attn_library_close(second);
  sparse_attn_library_close(nullptr);
}

TEST(Library, pathWithoutFolderIsAFile) {
  std::string good = kGood;
  size_t slash = good.rfind('/');
  char before[4096];
  ASSERT_NE(getcwd(before, sizeof(before)), nullptr);
  ASSERT_EQ(chdir(good.substr(0, slash).c_str()), 0);
  const sparse_attn_library *library = nullptr;
  EXPECT_EQ(sparse_attn_library_open(good.substr(slash + 1).c_str(), &library),
            SPARSE_ATTN_OK)
      << sparse_attn_last_error();
  sparse_attn_library_close(library);
  ASSERT_EQ(chdir(before), 0);
}

TEST(Library, refusesWhatIsNone) {
  const sparse_attn_library *library = nullptr;
  EXPECT_ERROR(sparse_attn_library_open(nullptr, &library), SPARSE_ATTN_INVALID_ARGUMENT,
               "path is null");
  EXPECT_ERROR(sparse_attn_library_open(kGood, nullptr), SPARSE_ATTN_INVALID_ARGUMENT,
               "library is null");
  EXPECT_ERROR(sparse_attn_library_open("/nowhere/x.so", &library),
               SPARSE_ATTN_LOAD_FAILED,
               "cannot open '/nowhere/x.so': No such file or directory");
  EXPECT_ERROR(sparse_attn_library_open("/", &library), SPARSE_ATTN_LOAD_FAILED,
               "cannot read '/'");
  TemporaryFile text(std::vector<char>(500, 'x'));
  EXPECT_ERROR(sparse_attn_library_open(text.path.c_str(), &library),
               SPARSE_ATTN_LOAD_FAILED,
               "'" + text.path + "' is not a 64-bit shared library");
  EXPECT_ERROR(sparse_attn_library_open(RUNTIME_TEST_MODULE_FOREIGN, &library),
               SPARSE_ATTN_LOAD_FAILED,
               "'" RUNTIME_TEST_MODULE_FOREIGN
               "' is not a sparse-attn library: it has no "
               "symbol 'sparse_attn_library_descriptor'");
  EXPECT_ERROR(sparse_attn_library_open(RUNTIME_TEST_MODULE_MAGIC, &library),
               SPARSE_ATTN_LOAD_FAILED,
               "'" RUNTIME_TEST_MODULE_MAGIC
               "' is not a sparse-attn library: its descriptor "
               "has no magic word");
  EXPECT_ERROR(sparse_attn_library_open(RUNTIME_TEST_MODULE_ABI, &library),
               SPARSE_ATTN_ABI_MISMATCH,
               "'" RUNTIME_TEST_MODULE_ABI
               "' was compiled for interface version 4711, this runtime "
               "has version " +
                   std::to_string(SPARSE_ATTN_ABI_VERSION) +
                   "; compile it again with the matching sparse-attn-compile");
  EXPECT_EQ(library, nullptr);
}

TEST(Library, refusesEveryTruncation) {
  std::vector<char> bytes = readFile(kGood);
  ASSERT_GT(bytes.size(), 1000u);
  for (size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 61) {
    TemporaryFile file({bytes.begin(), bytes.begin() + size});
    const sparse_attn_library *library = nullptr;
    std::string quoted = "'" + file.path + "'";
    EXPECT_ERROR(
        sparse_attn_library_open(file.path.c_str(), &library), SPARSE_ATTN_LOAD_FAILED,
        size < 64 ? quoted + " is too short to be a shared library"
                  : quoted + " is truncated: its headers name bytes past its end");
  }
}

TEST(Library, damagedHeadersAreRefused) {
  // Segments that lie past the end, behind a table of sections that does not.
  std::vector<char> bytes = readFile(kGood);
  auto *header = reinterpret_cast<uint64_t *>(bytes.data() + 32); // e_phoff
  *header = ~uint64_t(0) - 8;
  TemporaryFile file(bytes);
  const sparse_attn_library *library = nullptr;
  EXPECT_ERROR(sparse_attn_library_open(file.path.c_str(), &library),
               SPARSE_ATTN_LOAD_FAILED,
               "'" + file.path + "' is truncated: its headers name bytes past its end");
}

TEST(Library, otherArchitecturesAreNamed) {
  std::vector<char> bytes = readFile(kGood);
  auto *machine = reinterpret_cast<uint16_t *>(bytes.data() + 18); // e_machine
  const std::string ours = *machine == 62 ? "x86-64" : "AArch64";
  auto refuses = [&](uint16_t theirs, const std::string &name) {
    *machine = theirs;
    TemporaryFile file(bytes);
    const sparse_attn_library *library = nullptr;
    EXPECT_ERROR(sparse_attn_library_open(file.path.c_str(), &library),
                 SPARSE_ATTN_LOAD_FAILED,
                 "'" + file.path + "' was compiled for " + name + ", and this is " +
                     ours + "; compile it again with the --target of this machine");
  };
  refuses(*machine == 62 ? 183 : 62, *machine == 62 ? "AArch64" : "x86-64");
  refuses(243, "architecture 243 of ELF");
}

TEST(Library, linkedDescriptorsAreCheckedToo) {
  sparse_attn_library library = {SA_LIBRARY_MAGIC, SPARSE_ATTN_ABI_VERSION + 1, 0,
                                 nullptr, "{}"};
  const sparse_attn_kernel *kernel;
  std::string mismatch = "the library was compiled for interface version " +
                         std::to_string(SPARSE_ATTN_ABI_VERSION + 1) +
                         ", this runtime has version " +
                         std::to_string(SPARSE_ATTN_ABI_VERSION) +
                         "; compile it again with the matching sparse-attn-compile";
  EXPECT_ERROR(sparse_attn_kernel_find(&library, "x", &kernel), SPARSE_ATTN_ABI_MISMATCH,
               mismatch);
  EXPECT_EQ(sparse_attn_library_manifest(&library), nullptr);
  EXPECT_EQ(sparse_attn_kernel_at(&library, 0), nullptr);
  EXPECT_EQ(sparse_attn_kernel_count(&library), 0u);
  library.abi_version = SPARSE_ATTN_ABI_VERSION;
  EXPECT_ERROR(sparse_attn_kernel_find(&library, "x", &kernel), SPARSE_ATTN_NOT_FOUND,
               "no kernel 'x'; the library holds none");
  EXPECT_ERROR(sparse_attn_kernel_find(nullptr, "x", &kernel),
               SPARSE_ATTN_INVALID_ARGUMENT, "library is null");
  EXPECT_EQ(sparse_attn_kernel_name(nullptr), nullptr);
  EXPECT_EQ(sparse_attn_kernel_input_count(nullptr), 0u);
}

} // namespace
