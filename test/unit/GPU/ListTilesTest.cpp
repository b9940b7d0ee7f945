//===- ListTilesTest.cpp - lists that a GPU makes against the host's ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM
// Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PlannedLists.h"

using namespace sparse_attn;
using namespace sparse_attn::planned;

TEST(GPULists, segments) {
  checkPattern("segments(offsets)");
  checkPattern("causal & segments(offsets)",
               {.type = ElementType::F32, .lengths = false});
}

TEST(GPULists, blockMasks) {
  checkPattern("block_mask(indptr, indices, 24, 40)");
  checkPattern("causal & block_mask(indptr, indices, 24, 40)",
               {.type = ElementType::F32, .lengths = false});
}

TEST(GPULists, bitsOfBlocks) {
  checkPattern("block_mask(indptr, indices, bits, 24, 40)");
}

TEST(GPULists, compositions) {
  for (const char *pattern :
       {"causal & (segments(offsets) | global(index) | sink(3))",
        "window(60, 10) | (block_mask(indptr, indices, 24, 40) & "
        "~segments(offsets))",
        "per_head([segments(offsets), causal & block_mask(indptr, indices, 24, "
        "40)], "
        "table = [1, 0])",
        "~(segments(offsets) | window(20, 20))", "causal - segments(offsets)"})
    checkPattern(pattern);
}

// No tiles are listed where a run lists the keys. Operands beside stay there all the
// same, and a look into the plan brings them.
TEST(GPULists, operandsBesideLists) {
  KernelSpec spec;
  spec.name = "beside";
  spec.pattern = "segments(offsets) & listed(keys)";
  spec.headDim = 16;
  Compiled kernel(spec);
  ASSERT_TRUE(kernel.get());
  Planner planner(kernel.get(), 80);
  Operands operands;
  operands["offsets"] = Operand::of({1, 4}, {0, 30, 90, 100});
  planner.compareLooks({1, 2, 1, 100, 100}, operands);
}

static constexpr std::pair<int64_t, int64_t> kLong[] = {
    {300, 300}, {900, 1100}, {1, 700}, {200, 90}};

// Periods and ways: the device counts what the host does, and both choose alike, now this
// way, now that.
TEST(GPULists, steps) {
  Choices choices =
      checkPattern("segments(offsets) & dilated(1023, 0, 4)", {.sizes = kLong});
  EXPECT_GT(choices.stepping, 0);
  EXPECT_GT(choices.neighbours, 0);
  checkPattern("per_head([segments(offsets) & strided(3), "
               "block_mask(indptr, indices, bits, 24, 40) & dilated(200, 100, 6)], "
               "table = [1, 0])",
               {.type = ElementType::F32, .lengths = false, .sizes = kLong});
}

TEST(GPULists, ways) {
  constexpr std::pair<int64_t, int64_t> kSizes[] = {
      {2000, 2000}, {3000, 3000}, {300, 300}, {3, 900}};
  Choices choices =
      checkPattern("causal & segments(offsets) & (window(7, 0) | strided(64))",
                   {.lengths = false, .sizes = kSizes});
  // One of three attentions runs, or the two others do.
  int64_t running = choices.stepping + choices.neighbours;
  EXPECT_LT(choices.left, 2 * running);
  EXPECT_GT(2 * choices.left, running);
}

/// A mask of `atoms` atoms.
static std::string drawMask(Random &random, int atoms) {
  constexpr const char *kAtoms[] = {"block_mask(indptr, indices, 24, 40)",
                                    "causal",
                                    "dilated(255, 40, 4)",
                                    "strided(8)",
                                    "window(30, 5)",
                                    "fixed(48, 4)",
                                    "global(stride = 16)",
                                    "global(index)",
                                    "graph_hop(chunks, chunk_node, edges, neighbours)"};
  if (atoms == 1)
    return kAtoms[draw(random, std::size(kAtoms))];
  int first = 1 + draw(random, atoms - 1);
  const char *operators[] = {" & ", " | ", " - "};
  return (draw(random, 4) ? "(" : "~(") + drawMask(random, first) +
         operators[draw(random, 3)] + drawMask(random, atoms - first) + ")";
}

TEST(GPULists, randomCompositionsInSteps) {
  constexpr std::pair<int64_t, int64_t> kSizes[] = {{400, 400}, {70, 333}, {1, 500}};
  Random random(7);
  for (int i = 0; i < 6; ++i) {
    std::string mask = "(segments(offsets) & window(90, 10)) | (strided(6) & " +
                       drawMask(random, 4) + ")";
    checkPattern(mask.c_str(), {.type = i % 2 ? ElementType::F32 : ElementType::BF16,
                                .lengths = i % 3 != 2,
                                .offsets = i % 3 == 0,
                                .sizes = kSizes});
  }
}
