//===- HostTest.cpp - what a machine tells of its caches ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Target/Host.h"
#include "sparse_attn/Support/ScratchFolder.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"

using namespace sparse_attn;
using llvm::Twine;

namespace {

/// Describes a cache as Linux does.
void addCache(const std::string &folder, int index, llvm::StringRef level,
              llvm::StringRef type, llvm::StringRef size) {
  std::string cache = folder + "/index" + std::to_string(index);
  ASSERT_FALSE(llvm::sys::fs::create_directories(cache));
  for (auto [name, text] :
       {std::pair("/level", level), {"/type", type}, {"/size", size}}) {
    std::error_code code;
    llvm::raw_fd_ostream(cache + name, code) << text << "\n";
    ASSERT_FALSE(code);
  }
}

TEST(Host, CachesOfACore) {
  ScratchFolder folder = llvm::cantFail(ScratchFolder::create("host-test"));
  addCache(folder.getPath(), 0, "1", "Data", "48K");
  addCache(folder.getPath(), 1, "1", "Instruction", "32K");
  addCache(folder.getPath(), 2, "2", "Unified", "1024K");
  addCache(folder.getPath(), 3, "3", "Unified", "32768K");
  CacheSizes sizes = llvm::cantFail(readCacheSizes(folder.getPath()));
  EXPECT_EQ(sizes.l1, 48 << 10);
  EXPECT_EQ(sizes.l2, 1 << 20);
  EXPECT_EQ(sizes.l3, 32 << 20);
}

TEST(Host, WithoutAThirdLevel) {
  ScratchFolder folder = llvm::cantFail(ScratchFolder::create("host-test"));
  addCache(folder.getPath(), 0, "1", "Data", "64K");
  addCache(folder.getPath(), 1, "2", "Unified", "512K");
  CacheSizes sizes = llvm::cantFail(readCacheSizes(folder.getPath()));
  EXPECT_EQ(sizes.l2, 512 << 10);
  EXPECT_EQ(sizes.l3, 512 << 10);
}

TEST(Host, NothingToldIsAnError) {
  ScratchFolder folder = llvm::cantFail(ScratchFolder::create("host-test"));
  llvm::Expected<CacheSizes> sizes = readCacheSizes(folder.getPath());
  ASSERT_FALSE(static_cast<bool>(sizes));
  EXPECT_EQ(llvm::toString(sizes.takeError()),
            "this machine does not tell its caches in " + folder.getPath() +
                "; give them as --cache=L1,L2,L3");
}

TEST(Host, HasAName) { EXPECT_FALSE(getHostName().empty()); }

} // namespace
