//===- Statistics.cpp - what a launch executed ----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Emulator/Statistics.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Format.h"
#include <numeric>

using namespace llvm;
using namespace sparse_attn::emulator;

StringRef sparse_attn::emulator::nameOf(InstructionKind kind) {
  static constexpr StringLiteral names[] = {
      "integer",    "float",       "double",       "special function", "convert",
      "branch",     "load global", "store global", "load shared",      "store shared",
      "load other", "store other", "atomic",       "shuffle",          "barrier",
      "mbarrier",   "fence",       "ldmatrix",     "stmatrix",         "mma",
      "wgmma",      "cp.async",    "tma",          "special",          "move"};
  static_assert(std::size(names) == Statistics::kKinds);
  return names[static_cast<size_t>(kind)];
}

uint64_t Statistics::total() const {
  uint64_t sum = std::accumulate(executed.begin(), executed.end(), uint64_t(0));
  return sum - (*this)[InstructionKind::Move];
}

void Statistics::add(const Statistics &other) {
  for (size_t i = 0; i < kKinds; ++i)
    executed[i] += other.executed[i];
  blocks += other.blocks;
  warps += other.warps;
  matrixMultiplyAdds += other.matrixMultiplyAdds;
  sharedWavefronts += other.sharedWavefronts;
  sharedWavefrontsIdeal += other.sharedWavefrontsIdeal;
  wgmmaSharedBytes += other.wgmmaSharedBytes;
  globalSectors += other.globalSectors;
  bytesCopiedAsync += other.bytesCopiedAsync;
}

void Statistics::print(raw_ostream &stream) const {
  auto line = [&](StringRef name, uint64_t value) {
    if (value)
      stream << left_justify(name, 28) << format("%14llu\n", (unsigned long long)value);
  };
  line("blocks", blocks);
  line("warps", warps);
  line("warp instructions", total());
  for (size_t i = 0; i < kKinds; ++i)
    line(("  " + Twine(nameOf(static_cast<InstructionKind>(i)))).str(), executed[i]);
  line("matrix multiply-adds", matrixMultiplyAdds);
  line("shared wavefronts", sharedWavefronts);
  line("  without conflicts", sharedWavefrontsIdeal);
  line("wgmma shared bytes", wgmmaSharedBytes);
  line("global sectors", globalSectors);
  line("bytes copied async", bytesCopiedAsync);
}
