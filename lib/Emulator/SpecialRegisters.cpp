//===- SpecialRegisters.cpp - who a thread is -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "ThreadBlock.h"

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

/// Reads a register that all lanes of a warp see alike.
template <typename F>
void fill(Warp &warp, const WarpInstruction &instruction, F &&value) {
  auto *result = warp.lanes<uint32_t>(instruction.result());
  warp.forLanes([&](unsigned lane) { result[lane] = value(lane); });
}

unsigned component(const Dim3 &dim, unsigned axis) {
  return axis == 0 ? dim.x : axis == 1 ? dim.y : dim.z;
}

template <unsigned axis> void readThread(Warp &warp, const WarpInstruction &instruction) {
  Dim3 dim = warp.block.launch.blockDim;
  fill(warp, instruction, [&](unsigned lane) {
    unsigned thread = warp.index * 32 + lane;
    if (axis == 0)
      return thread % dim.x;
    return axis == 1 ? thread / dim.x % dim.y : thread / dim.x / dim.y;
  });
}

template <unsigned axis>
void readBlockDim(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction,
       [&](unsigned) { return component(warp.block.launch.blockDim, axis); });
}

template <unsigned axis> void readBlock(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return component(warp.block.index, axis); });
}

template <unsigned axis>
void readGridDim(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction,
       [&](unsigned) { return component(warp.block.launch.grid, axis); });
}

void readLane(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [](unsigned lane) { return lane; });
}

void readWarp(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return warp.index; });
}

void readNumWarps(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return unsigned(warp.block.warps.size()); });
}

void readConstant(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return unsigned(instruction.immediate); });
}

void readDynamicShared(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return warp.block.launch.dynamicSharedBytes; });
}

void readTotalShared(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return warp.block.launch.sharedBytes; });
}

template <int relation>
void readLaneMask(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [](unsigned lane) -> unsigned {
    unsigned self = 1u << lane;
    switch (relation) {
    case 0:
      return self;
    case 1:
      return self - 1;
    case 2:
      return (self - 1) | self;
    case 3:
      return ~(self - 1) & ~self;
    default:
      return ~(self - 1);
    }
  });
}

/// Time is the number of instructions that the warp has executed.
void readClock(Warp &warp, const WarpInstruction &instruction) {
  fill(warp, instruction, [&](unsigned) { return unsigned(warp.executed); });
}

void readClock64(Warp &warp, const WarpInstruction &instruction) {
  auto *result = warp.lanes<uint64_t>(instruction.result());
  warp.forLanes([&](unsigned lane) { result[lane] = warp.executed; });
}

} // namespace

void sparse_attn::emulator::addSpecialRegisters(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::Special;
  auto add = [&](StringRef name, Handler handler, uint64_t immediate = 0) {
    table.add("llvm.nvvm.read.ptx.sreg." + name, handler, kind, immediate);
  };
  add("tid.x", readThread<0>);
  add("tid.y", readThread<1>);
  add("tid.z", readThread<2>);
  add("ntid.x", readBlockDim<0>);
  add("ntid.y", readBlockDim<1>);
  add("ntid.z", readBlockDim<2>);
  add("ctaid.x", readBlock<0>);
  add("ctaid.y", readBlock<1>);
  add("ctaid.z", readBlock<2>);
  add("nctaid.x", readGridDim<0>);
  add("nctaid.y", readGridDim<1>);
  add("nctaid.z", readGridDim<2>);
  add("laneid", readLane);
  add("warpid", readWarp);
  add("nwarpid", readNumWarps);
  add("warpsize", readConstant, 32);
  add("smid", readConstant, 0);
  add("nsmid", readConstant, 1);
  add("gridid", readConstant, 0);
  add("lanemask.eq", readLaneMask<0>);
  add("lanemask.lt", readLaneMask<1>);
  add("lanemask.le", readLaneMask<2>);
  add("lanemask.gt", readLaneMask<3>);
  add("lanemask.ge", readLaneMask<4>);
  add("clock", readClock);
  add("clock64", readClock64);
  add("globaltimer", readClock64);
  add("dynamic_smem_size", readDynamicShared);
  add("total_smem_size", readTotalShared);
  // A cluster is one block.
  add("clusterid.x", readBlock<0>);
  add("clusterid.y", readBlock<1>);
  add("clusterid.z", readBlock<2>);
  add("nclusterid.x", readGridDim<0>);
  add("nclusterid.y", readGridDim<1>);
  add("nclusterid.z", readGridDim<2>);
  for (const char *axis : {"x", "y", "z"}) {
    add((Twine("cluster.ctaid.") + axis).str(), readConstant, 0);
    add((Twine("cluster.nctaid.") + axis).str(), readConstant, 1);
  }
  add("cluster.ctarank", readConstant, 0);
  add("cluster.nctarank", readConstant, 1);
}
