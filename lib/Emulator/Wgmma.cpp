//===- Wgmma.cpp - products of a warpgroup --------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each of the four warps computes its 16 rows when it executes the instruction, which is
// as good as later: operands that change before the wait are faults. The results are
// visible after the wait only.
//
//===----------------------------------------------------------------------===//

#include "Wgmma.h"
#include "Intrinsics.h"
#include "MatrixDescriptor.h"
#include "ThreadBlock.h"
#include "llvm/IR/InstrTypes.h"
#include <cstring>

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

/// A wgmma with the values of its operands.
class Product {
public:
  Product(Warp &warp, const WarpInstruction &instruction)
      : warp(warp), instruction(instruction),
        shape(*static_cast<const WgmmaShape *>(instruction.data)),
        numAccumulators(shape.numAccumulators()) {}

  void execute();

private:
  Slot accumulator(unsigned i) const { return instruction.operand(i); }
  Slot operandA(unsigned i) const { return instruction.operand(numAccumulators + i); }
  Slot operandB() const {
    return instruction.operand(numAccumulators + (shape.registerA ? 4 : 1));
  }
  Slot scale() const { return instruction.operand(instruction.numOperands - 1); }

  bool readOperands();
  bool checkWarpgroup();
  bool checkRegisters();
  bool readChunk(uint64_t address, uint32_t *elements);
  bool readMatrix(const MatrixDescriptor &descriptor, bool transposed, unsigned firstRow,
                  unsigned rows, bool negate, float *to, unsigned rowStride,
                  unsigned kStride);
  bool readRegisterA(float *a);
  void gatherAccumulators(float *c);
  void scatterAccumulators(const float *c);
  bool checkDescriptor(const MatrixDescriptor &descriptor);
  void fault(FaultKind kind, const Twine &message) {
    warp.fault(instruction, kind, message);
  }

  Warp &warp;
  const WarpInstruction &instruction;
  const WgmmaShape &shape;
  unsigned numAccumulators;
  uint64_t descriptorA = 0, descriptorB = 0;
  bool accumulate = true;
  PendingWgmma pending;
};

} // namespace

bool Product::readOperands() {
  if (!shape.registerA) {
    auto a = warp.uniform(instruction, operandA(0), true, "the descriptor of A");
    if (!a)
      return false;
    descriptorA = *a;
  }
  auto b = warp.uniform(instruction, operandB(), true, "the descriptor of B");
  if (!b)
    return false;
  descriptorB = *b;
  const auto *predicate = warp.lanes<uint32_t>(scale());
  for (unsigned lane = 1; lane < 32; ++lane)
    if ((predicate[lane] & 1) != (predicate[0] & 1)) {
      fault(FaultKind::BadOperand, "scale-d differs between the lanes of a warp");
      return false;
    }
  accumulate = ((predicate[0] & 1) != 0) != shape.negateScale;
  return true;
}

/// All four warps have to execute the same instructions with the same operands.
bool Product::checkWarpgroup() {
  ThreadBlock &block = warp.block;
  unsigned group = warp.index / 4;
  if (group * 4 + 4 > block.warps.size()) {
    fault(FaultKind::MissingLanes,
          "a warpgroup has four warps; the block has " + Twine(block.warps.size()));
    return false;
  }
  WarpgroupLog &log = block.warpgroups[group];
  uint64_t &done = log.done[warp.index % 4];
  WarpgroupLog::Entry entry{instruction.source, descriptorA, descriptorB, accumulate};
  if (done - log.first == log.entries.size()) {
    log.entries.push_back(entry);
  } else {
    const WarpgroupLog::Entry &other = log.entries[done - log.first];
    if (other.source != entry.source || other.a != entry.a || other.b != entry.b ||
        other.scale != entry.scale) {
      warp.stop = true;
      block.report(FaultKind::MissingLanes,
                   "the warps of a warpgroup execute different wgmmas, or with different "
                   "operands",
                   block.place(warp.index, -1, instruction.source),
                   block.place(group * 4, -1, other.source));
      return false;
    }
  }
  ++done;
  uint64_t least = *llvm::min_element(log.done);
  while (log.first < least) {
    log.entries.pop_front();
    ++log.first;
  }
  return true;
}

/// Registers must not have been written since the last wgmma.fence, but for accumulators
/// by a wgmma of the same shape.
bool Product::checkRegisters() {
  if (!warp.lastWgmmaFence) {
    fault(FaultKind::AsyncInFlight, "no wgmma.fence is before the first wgmma");
    return false;
  }
  for (unsigned i = 0; i < numAccumulators + (shape.registerA ? 4 : 0); ++i) {
    Slot slot = instruction.operand(i);
    bool isAccumulator = i < numAccumulators;
    if (warp.pendingSlots[slot]) {
      const PendingWgmma *writer = nullptr;
      for (const PendingWgmma &other : warp.wgmmas)
        if (is_contained(other.accumulators, slot))
          writer = &other;
      if (isAccumulator && writer && writer->n == shape.n &&
          writer->halfAccumulator == shape.halfAccumulator)
        continue;
      fault(FaultKind::AsyncInFlight,
            isAccumulator
                ? "an accumulator is written by a wgmma of another shape in flight"
                : "a register of A is written by a wgmma in flight");
      return false;
    }
    // Without scale-d, what was in the accumulator is not looked at.
    if (warp.slotWritten[slot] > warp.lastWgmmaFence && (accumulate || !isAccumulator)) {
      fault(FaultKind::AsyncInFlight,
            Twine(isAccumulator ? "an accumulator" : "a register of A") +
                " was written after the last wgmma.fence");
      return false;
    }
  }
  return true;
}

bool Product::readChunk(uint64_t address, uint32_t *elements) {
  SharedMemory &shared = warp.block.shared;
  Accessor by{warp, instruction, -1, /*async=*/true};
  auto offset = shared.locate(by, address, 16, 16);
  if (!offset || !shared.beginRead(by, *offset, 16))
    return false;
  if (!pending.reads.empty() &&
      pending.reads.back().offset + pending.reads.back().bytes == *offset)
    pending.reads.back().bytes += 16;
  else
    pending.reads.push_back({*offset, 16});
  const unsigned char *from = shared.data() + *offset;
  if (bitsOf(shape.element) == 32) {
    std::memcpy(elements, from, 16);
    return true;
  }
  for (unsigned i = 0; i < 8; ++i) {
    uint16_t element;
    std::memcpy(&element, from + 2 * i, 2);
    elements[i] = element;
  }
  return true;
}

bool Product::checkDescriptor(const MatrixDescriptor &descriptor) {
  if (descriptor.baseOffset == 0)
    return true;
  fault(FaultKind::BadOperand, "descriptors with a base offset are not known");
  return false;
}

/// Element (row, k) goes to to[row * rowStride + k * kStride].
bool Product::readMatrix(const MatrixDescriptor &descriptor, bool transposed,
                         unsigned firstRow, unsigned rows, bool negate, float *to,
                         unsigned rowStride, unsigned kStride) {
  if (!checkDescriptor(descriptor))
    return false;
  unsigned perChunk = 128 / bitsOf(shape.element);
  uint32_t elements[8];
  auto put = [&](unsigned row, unsigned k, uint32_t bits) {
    float value = toFloat(shape.element, bits);
    to[row * rowStride + k * kStride] = negate ? -value : value;
  };
  if (!transposed) {
    for (unsigned row = 0; row < rows; ++row)
      for (unsigned chunk = 0; chunk < shape.k / perChunk; ++chunk) {
        if (!readChunk(descriptor.addressInK(firstRow + row, chunk), elements))
          return false;
        for (unsigned i = 0; i < perChunk; ++i)
          put(row, chunk * perChunk + i, elements[i]);
      }
    return true;
  }
  for (unsigned k = 0; k < shape.k; ++k)
    for (unsigned chunk = 0; chunk < rows / perChunk; ++chunk) {
      if (!readChunk(descriptor.addressInMN(k, firstRow / perChunk + chunk), elements))
        return false;
      for (unsigned i = 0; i < perChunk; ++i)
        put(chunk * perChunk + i, k, elements[i]);
    }
  return true;
}

bool Product::readRegisterA(float *a) {
  unsigned halves = 32 / bitsOf(shape.element);
  for (unsigned reg = 0; reg < 4; ++reg) {
    const auto *bits = warp.lanes<uint32_t>(operandA(reg));
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned half = 0; half < halves; ++half) {
        Position at = positionInA(shape.element, lane, reg, half);
        uint32_t value = halves == 2 ? bits[lane] >> (16 * half) & 0xffff : bits[lane];
        float element = toFloat(shape.element, value);
        a[at.row * shape.k + at.column] = shape.negateA ? -element : element;
      }
  }
  return true;
}

/// Register r holds, of each row, columns 8 (r / 4) and on: two rows 8 apart, two
/// columns.
static unsigned firstOf(unsigned reg, unsigned n) {
  Position at = positionInC(0, reg % 4);
  return at.row * n + reg / 4 * 8 + at.column;
}

void Product::gatherAccumulators(float *c) {
  unsigned n = shape.n;
  for (unsigned reg = 0; reg < n / 2; ++reg) {
    float *first = c + firstOf(reg, n);
    if (accumulate && !shape.halfAccumulator) {
      const auto *values = warp.lanes<float>(accumulator(reg));
      for (unsigned lane = 0; lane < 32; ++lane)
        first[lane / 4 * n + lane % 4 * 2] = values[lane];
      continue;
    }
    const uint32_t *bits =
        accumulate ? warp.lanes<uint32_t>(accumulator(reg / 2)) : nullptr;
    for (unsigned lane = 0; lane < 32; ++lane)
      first[lane / 4 * n + lane % 4 * 2] =
          bits ? halfToFloat(bits[lane] >> (16 * (reg & 1)) & 0xffff) : 0.0f;
  }
}

void Product::scatterAccumulators(const float *c) {
  unsigned n = shape.n;
  for (unsigned reg = 0; reg < n / 2; ++reg) {
    const float *first = c + firstOf(reg, n);
    if (!shape.halfAccumulator) {
      auto *values = warp.lanes<float>(instruction.result(reg));
      for (unsigned lane = 0; lane < 32; ++lane)
        values[lane] = first[lane / 4 * n + lane % 4 * 2];
      continue;
    }
    auto *bits = warp.lanes<uint32_t>(instruction.result(reg / 2));
    for (unsigned lane = 0; lane < 32; ++lane) {
      uint32_t half = floatToHalf(first[lane / 4 * n + lane % 4 * 2]);
      bits[lane] = reg & 1 ? (bits[lane] & 0xffff) | half << 16 : half;
    }
  }
}

void Product::execute() {
  if (!warp.requireAllLanes(instruction))
    return;
  if (!readOperands() || !checkWarpgroup() || !checkRegisters())
    return;
  float a[16 * 16], b[256 * 16], c[16 * 256];
  bool ok = shape.registerA
                ? readRegisterA(a)
                : readMatrix(MatrixDescriptor(descriptorA), shape.transposeA,
                             warp.index % 4 * 16, 16, shape.negateA, a, shape.k, 1);
  // B as k rows of n.
  ok = ok && readMatrix(MatrixDescriptor(descriptorB), shape.transposeB, 0, shape.n,
                        shape.negateB, b, 1, shape.n);
  if (!ok)
    return;
  gatherAccumulators(c);
  multiplyAdd(c, a, b, shape.n, shape.k);
  scatterAccumulators(c);
  pending.group = warp.wgmmaGroup;
  pending.n = shape.n;
  pending.halfAccumulator = shape.halfAccumulator;
  pending.source = &instruction;
  for (unsigned i = 0; i < numAccumulators; ++i) {
    Slot slot = instruction.result(i);
    // In a loop without a wait, the slot belongs to the round before.
    if (warp.pendingSlots[slot])
      for (PendingWgmma &other : warp.wgmmas)
        erase(other.accumulators, slot);
    warp.numPending += !warp.pendingSlots[slot];
    warp.pendingSlots[slot] = 1;
    warp.slotWritten[slot] = warp.lastWgmmaFence;
    pending.accumulators.push_back(slot);
  }
  warp.wgmmas.push_back(std::move(pending));
  Statistics &statistics = warp.block.launch.statistics;
  statistics.matrixMultiplyAdds += 16 * shape.n * shape.k;
  // The k elements of a row or column are 32 bytes, whatever their type.
  statistics.wgmmaSharedBytes +=
      32 * ((shape.registerA ? 0 : 16) + (warp.index % 4 ? 0 : shape.n));
  warp.tick();
}

void sparse_attn::emulator::executeWgmma(Warp &warp, const WarpInstruction &instruction) {
  Product(warp, instruction).execute();
}

void sparse_attn::emulator::executeWgmmaFence(Warp &warp,
                                              const WarpInstruction &instruction) {
  if (warp.requireAllLanes(instruction))
    warp.lastWgmmaFence = warp.executed;
}

void sparse_attn::emulator::executeWgmmaCommit(Warp &warp,
                                               const WarpInstruction &instruction) {
  if (warp.requireAllLanes(instruction))
    ++warp.wgmmaGroup;
}

void sparse_attn::emulator::executeWgmmaWait(Warp &warp,
                                             const WarpInstruction &instruction) {
  if (!warp.requireAllLanes(instruction))
    return;
  while (!warp.wgmmas.empty() &&
         warp.wgmmas.front().group + instruction.immediate < warp.wgmmaGroup) {
    PendingWgmma &done = warp.wgmmas.front();
    Accessor by{warp, *done.source, -1, /*async=*/true};
    for (const PendingWgmma::Range &range : done.reads)
      warp.block.shared.endRead(by, range.offset, range.bytes);
    for (Slot slot : done.accumulators) {
      warp.numPending -= warp.pendingSlots[slot];
      warp.pendingSlots[slot] = 0;
    }
    warp.wgmmas.pop_front();
  }
  warp.tick();
}

void sparse_attn::emulator::addWgmmaIntrinsics(IntrinsicTable &table) {
  constexpr auto kind = InstructionKind::Wgmma;
  auto add = [&](const Twine &name, Handler handler) {
    table.add("llvm.nvvm.wgmma." + name + ".sync.aligned",
              [=](Decoder &decoder, const CallBase &call) -> Error {
                uint64_t left = 0;
                if (call.arg_size()) {
                  auto value = decoder.constantOperand(call.getArgOperand(0));
                  if (!value)
                    return value.takeError();
                  left = *value;
                }
                emitCall(decoder, call, handler, kind, left, 0);
                return Error::success();
              });
  };
  add("fence", executeWgmmaFence);
  add("commit_group", executeWgmmaCommit);
  add("wait_group", executeWgmmaWait);
}
