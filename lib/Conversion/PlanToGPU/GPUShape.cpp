//===- GPUShape.cpp - shapes and memory of a GPU kernel -------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Conversion/GPUShape.h"
#include "AttendGPU.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace sparse_attn;

// Of the 255 registers that a thread can have: f32 sums of O, and the scores of a tile,
// which the weights replace. The rest holds fragments of operands, addresses and the
// state of the rows. ptxas spills some of it where sums and scores take more than this.
// Operands of f32 need more, for what tf32 leaves of them, and of that for sm_90a more
// than for sm_80.
static constexpr int64_t kOutputRegisters = 128;
static int64_t getScoreRegisters(int64_t outputs, int64_t rowTiles, bool split,
                                 const GPUTarget &target) {
  if (outputs <= kOutputRegisters / 2)
    return split ? 32 : 64;
  if (split)
    return target.warpgroups ? 16 : 32;
  // With D = 192 ptxas spills beside 64 keys, with 256 and with two row tiles of 80 it
  // does not.
  return rowTiles == 1 && outputs < kOutputRegisters ? 24 : 32;
}

// The same of a thread of a warpgroup, which has 240: sums of O, scores, and the weights
// of the tile before.
static constexpr int64_t kTileRegisters = 184;
// ptxas keeps less of what lives longer than a tile in registers where one product has
// 256 columns.
static constexpr int64_t kManyOutputs = 128, kFullTileRegisters = 168;
// And still less where deciding about a pair takes more than a few operations.
static constexpr int64_t kFewOperations = 8, kPairRegisters = 12;
static int64_t getTileRegisters(int64_t outputs, block_plan::AttentionOp plan) {
  if (outputs < kManyOutputs)
    return kTileRegisters;
  int64_t operations = 0;
  for (Region *region : {&plan.getPredicate(), &plan.getModify()})
    region->walk(
        [&](Operation *op) { operations += !op->hasTrait<OpTrait::ConstantLike>(); });
  bool few = operations <= kFewOperations && !plan.getHopTable();
  return few ? kFullTileRegisters : kFullTileRegisters - kPairRegisters;
}
static constexpr int64_t kMostKeys = 128, kLeastKeys = 16;
static constexpr int64_t kMostColumns = 256; // of a wgmma
static constexpr int64_t kWarpgroup = 128;   // threads
static constexpr int64_t kPanelBytes = 128;  // of a row
// A third block leaves 168 registers to a thread. Left alone, ptxas goes for it where it
// almost fits, and spills what every tile needs.
static int64_t getBlocks(int64_t registers, bool split) {
  return registers <= (split ? 64 : 96) ? 3 : 2;
}

static constexpr int64_t kChunk = 16; // bytes of a copy, and of a row of a matrix

static constexpr int64_t kStateBytes = 8; // m and l of a row

// Elements of a list at a time, and keys of a tile of them: rows of K and V come from
// anywhere, so that more of them are under way with several blocks than in large tiles.
static constexpr int64_t kListed = 512, kListedKeys = 64;
// Where each of many lists has a column of the table, fewer elements at a time.
static constexpr int64_t kLeastListed = 128, kTableWords = 4096;

/// Bytes from row to row: an odd number of chunks.
static int64_t getPitch(int64_t elements, int64_t elementBytes) {
  int64_t chunks = llvm::divideCeil(elements * elementBytes, kChunk);
  return (chunks | 1) * kChunk;
}

GPUShape::GPUShape(block_plan::AttentionOp plan, const GPUTarget &target) {
  element = plan.getKeyTensorType().getElementType();
  elementBytes = element.getIntOrFloatBitWidth() / 8;
  step = element.isF32() ? 8 : 16;
  headDim = plan.getHeadDim();
  paddedHeadDim = llvm::alignTo(headDim, step);
  valueDim = plan.getValueDim();
  paddedValueDim = llvm::alignTo(valueDim, step);
  if (plan.getChoice()) {
    lists = getMaskLists(plan);
    for (listed = kListed; listed > kLeastListed && tableWords() > kTableWords;)
      listed /= 2;
    weighted = plan.isSampled();
    // Searching an operand is too much to unroll for each score of a thread, and so are
    // words of several lists.
    decided = readsStructures(plan) || severalLists();
  }
  // TMA brings neighbours, and few rows share a list.
  warpgroups =
      target.warpgroups && !element.isF32() && paddedValueDim <= kMostColumns && !listed;
  if (warpgroups)
    placeWarpgroups(plan, target);
  // Where too little of shared memory is left, smaller tiles of warps may fit.
  if (!warpgroups || keys < kLeastKeys) {
    warpgroups = false;
    warps = 4;
    placeWarps(target);
  }
  // The lists take room of their own, and few rows are enough for them.
  while (listed && sharedBytes > target.sharedBytes && warps > 1) {
    warps /= 2;
    placeWarps(target);
  }
}

int64_t GPUShape::getMostKeys(int64_t outputs) const {
  if (!listed)
    return kMostKeys;
  // What f32 needs beside many sums, and places in the list, is all that there is.
  return element.isF32() && outputs > kOutputRegisters / 2 ? kLeastKeys : kListedKeys;
}

void GPUShape::placeWarps(const GPUTarget &target) {
  copyThreads = threads = warps * 32;
  pitch = getPitch(paddedHeadDim, elementBytes);
  valuePitch = getPitch(paddedValueDim, elementBytes);

  // A thread has 4 of the 16 x 8 sums of a fragment.
  int64_t outputs = paddedValueDim / 8 * 4;
  bool isSmall = !element.isF32() && 2 * outputs <= kOutputRegisters;
  rowTiles = isSmall && !listed ? 2 : 1;
  rows = warps * rowTiles * 16;
  auto place = [&] {
    queriesAt = 0;
    keysAt = queriesAt + rows * pitch;
    valuesAt = keysAt + keys * pitch;
    statesAt = valuesAt + keys * valuePitch;
    sharedBytes = statesAt + rows * kStateBytes;
    if (listed)
      placeLists();
  };
  // A thread has half a score of each key in a row tile.
  int64_t scores =
      getScoreRegisters(outputs * rowTiles, rowTiles, element.isF32(), target);
  blocks = getBlocks(outputs * rowTiles + scores, element.isF32());
  keys = std::min(scores / rowTiles * 2, getMostKeys(outputs));
  for (place(); sharedBytes > target.sharedBytes && keys > 16; place())
    keys -= 16;
}

/// Behind everything else; each part is whole chunks.
void GPUShape::placeLists() {
  constexpr int64_t kWord = 4; // bytes
  int64_t at = sharedBytes;
  auto take = [&](int64_t words) {
    at += words * kWord;
    return at - words * kWord;
  };
  tableAt = take(tableWords());
  keptAt = take(listed / 32);
  listsAt = take(2 * listSize());
  biasesAt = weighted ? take(2 * listSize()) : 0;
  membersAt = severalLists() ? take(2 * listSize()) : 0;
  pairsAt = decided ? take(2 * rows * pairWords()) : 0;
  sharedBytes = at;
}

void GPUShape::placeWarpgroups(block_plan::AttentionOp plan, const GPUTarget &target) {
  consumers = 2;
  copyThreads = kWarpgroup;
  threads = (consumers + 1) * kWarpgroup;
  warps = threads / 32;
  rowTiles = 1;
  rows = consumers * 64;
  pitch = valuePitch = kPanelBytes;
  int64_t headPanels = llvm::divideCeil(paddedHeadDim * elementBytes, kPanelBytes);
  int64_t valuePanels = llvm::divideCeil(paddedValueDim * elementBytes, kPanelBytes);
  queryRing.size = 1;
  keyRing.size = valueRing.size = 2;
  auto place = [&] {
    queryRing.bytes = headPanels * rows * kPanelBytes;
    keyRing.bytes = headPanels * keys * kPanelBytes;
    valueRing.bytes = valuePanels * keys * kPanelBytes;
    int64_t at = 0;
    for (GPURing *ring : {&queryRing, &keyRing, &valueRing}) {
      ring->at = at;
      at += ring->size * ring->bytes;
    }
    tilesAt = at;
    at += keyRing.size * 16;
    for (GPURing *ring : {&queryRing, &keyRing, &valueRing}) {
      ring->barriersAt = at;
      at += 2 * ring->size * 8;
    }
    sharedBytes = at;
  };
  // A thread has half a sum of each column of O, half a score of each key, and half as
  // many words of weights.
  int64_t outputs = paddedValueDim / 2;
  int64_t left = getTileRegisters(outputs, plan) - outputs;
  keys = std::min<int64_t>(kMostKeys, left * 4 / 3 / 16 * 16);
  for (place(); sharedBytes > target.sharedBytes && keys >= kLeastKeys; place())
    keys -= 16;
}

std::string sparse_attn::getGPUObstacle(block_plan::AttentionOp plan,
                                        const GPUTarget &target) {
  if (std::string reason = getListObstacle(plan); !reason.empty())
    return reason;
  GPUShape shape(plan, target);
  if (shape.sharedBytes > target.sharedBytes)
    return llvm::formatv("head sizes of {0} and {1} need {2} bytes of shared memory, and "
                         "a block of {3} has {4}",
                         shape.headDim, shape.valueDim, shape.sharedBytes, target.name,
                         target.sharedBytes);
  return "";
}

bool sparse_attn::listsTilesOnGPU(block_plan::AttentionOp plan) {
  // The host makes distances for its own lists.
  if (plan.getBinding() != block_plan::PlanBinding::Plan || plan.getChoice() ||
      plan.getHopTable() || plan.getKeyBlock())
    return false;
  bool answers = true;
  plan.getClassify().walk(
      [&](block_plan::HelperOp helper) { answers &= isHelperOnGPU(helper); });
  return answers;
}

bool sparse_attn::checksOperandsOnGPU(block_plan::AttentionOp plan) {
  return listsTilesOnGPU(plan) || (plan.getChoice() && readsStructures(plan));
}

bool sparse_attn::findsTilesOnGPU(block_plan::AttentionOp plan) {
  if (plan.getBinding() != block_plan::PlanBinding::Compile)
    return false;
  bool asksRuntime = false;
  for (Region *region : {&plan.getClassify(), &plan.getPredicate()})
    region->walk([&](block_plan::HelperOp) { asksRuntime = true; });
  return !asksRuntime;
}
