//===- LoadMatrix.cpp - ldmatrix and stmatrix -----------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Intrinsics.h"
#include "Matrix.h"
#include "Memory.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

/// The 16-byte rows that lanes 0 .. 8 * count - 1 name; false after a fault.
static bool locateRows(Warp &warp, const WarpInstruction &instruction, unsigned count,
                       uint64_t *offsets) {
  const auto *addresses = warp.lanes<uint64_t>(instruction.operand(0));
  for (unsigned lane = 0; lane < 8 * count; ++lane) {
    auto offset =
        warp.block.shared.locate({warp, instruction, int(lane)}, addresses[lane], 16, 16);
    if (!offset)
      return false;
    offsets[lane] = *offset;
  }
  countWavefronts(warp, addresses, 16, count == 4 ? kAllLanes : (1u << (8 * count)) - 1);
  warp.tick();
  return true;
}

void sparse_attn::emulator::executeLoadMatrix(Warp &warp,
                                              const WarpInstruction &instruction) {
  unsigned count = instruction.immediate & 7;
  bool transposed = instruction.immediate & kTransposed;
  uint64_t offsets[32];
  if (!warp.requireAllLanes(instruction) ||
      !locateRows(warp, instruction, count, offsets))
    return;
  uint16_t elements[32][8];
  SharedMemory &shared = warp.block.shared;
  for (unsigned row = 0; row < 8 * count; ++row) {
    if (!shared.read({warp, instruction, int(row)}, offsets[row], 16))
      return;
    std::memcpy(elements[row], shared.data() + offsets[row], 16);
  }
  for (unsigned matrix = 0; matrix < count; ++matrix) {
    auto *result = warp.lanes<uint32_t>(instruction.result(matrix));
    for (unsigned lane = 0; lane < 32; ++lane) {
      unsigned row = lane / 4, column = lane % 4 * 2;
      uint32_t low, high;
      if (transposed) {
        low = elements[8 * matrix + column][row];
        high = elements[8 * matrix + column + 1][row];
      } else {
        low = elements[8 * matrix + row][column];
        high = elements[8 * matrix + row][column + 1];
      }
      result[lane] = low | high << 16;
    }
  }
}

void sparse_attn::emulator::executeStoreMatrix(Warp &warp,
                                               const WarpInstruction &instruction) {
  unsigned count = instruction.immediate & 7;
  bool transposed = instruction.immediate & kTransposed;
  uint64_t offsets[32];
  if (!warp.requireAllLanes(instruction) ||
      !locateRows(warp, instruction, count, offsets))
    return;
  uint16_t elements[32][8];
  for (unsigned matrix = 0; matrix < count; ++matrix) {
    const auto *values = warp.lanes<uint32_t>(instruction.operand(1 + matrix));
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned half = 0; half < 2; ++half) {
        unsigned row = lane / 4, column = lane % 4 * 2 + half;
        if (transposed)
          std::swap(row, column);
        elements[8 * matrix + row][column] = uint16_t(values[lane] >> (16 * half));
      }
  }
  SharedMemory &shared = warp.block.shared;
  uint32_t serial = shared.nextSerial();
  for (unsigned row = 0; row < 8 * count; ++row)
    if (!shared.write({warp, instruction, int(row)}, offsets[row], 16, elements[row],
                      serial))
      return;
}

void sparse_attn::emulator::addLoadMatrixIntrinsics(IntrinsicTable &table) {
  for (unsigned count : {1, 2, 4})
    for (bool transposed : {false, true}) {
      std::string suffix = ".sync.aligned.m8n8.x" + std::to_string(count) +
                           (transposed ? ".trans" : "") + ".b16";
      uint64_t immediate = count | (transposed ? kTransposed : 0);
      table.add("llvm.nvvm.ldmatrix" + suffix, executeLoadMatrix,
                InstructionKind::LoadMatrix, immediate);
      table.add("llvm.nvvm.stmatrix" + suffix, executeStoreMatrix,
                InstructionKind::StoreMatrix, immediate);
    }
}
