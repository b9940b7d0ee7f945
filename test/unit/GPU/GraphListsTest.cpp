//===- GraphListsTest.cpp - graphs, draws and operands with gaps ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM
// Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Masks whose tiles a GPU lists, and which ask more than their operands: tables
// of what was found in a graph, and blocks that are drawn.
//
//===----------------------------------------------------------------------===//

#include "PlannedLists.h"

using namespace sparse_attn;
using namespace sparse_attn::planned;

TEST(GPUGraphLists, hops) {
  checkPattern("graph_hop(chunks, chunk_node, edges, neighbours, max_hops = 1)");
  checkPattern("causal & graph_hop(chunks, chunk_node, edges, neighbours)");
}

TEST(GPUGraphLists, directed) {
  checkPattern("graph_hop(chunks, chunk_node, edges, neighbours, max_hops = 2, "
               "directed = true)");
  checkPattern("graph_hop(chunks, chunk_node, edges, neighbours, directed = true)",
               {.lengths = false, .offsets = true});
}

TEST(GPUGraphLists, compositions) {
  for (const char *pattern :
       {"causal & (graph_hop(chunks, chunk_node, edges, neighbours, max_hops = "
        "0) | "
        "segments(offsets) | global(index))",
        "block_mask(indptr, indices, bits, 24, 40) & ~graph_hop(chunks, "
        "chunk_node, "
        "edges, neighbours, max_hops = 2)",
        // Two tables.
        "graph_hop(chunks, chunk_node, edges, neighbours, max_hops = 2) - "
        "graph_hop(chunks, chunk_node, edges, neighbours, max_hops = 1)",
        "per_head([graph_hop(chunks, chunk_node, edges, neighbours, max_hops = "
        "1), "
        "window(30, 30)], table = [1, 0])",
        // Chunks that are documents, too.
        "segments(chunks) | graph_hop(chunks, chunk_node, edges, neighbours, "
        "max_hops = "
        "1, directed = true)"})
    checkPattern(pattern);
}

TEST(GPUGraphLists, draws) {
  checkPattern("random_blocks(16, 3, 5) | segments(offsets)");
  checkPattern("random_blocks(64, 2, 9) & block_mask(indptr, indices, 24, 40)",
               {.lengths = false, .offsets = true});
}

TEST(GPUGraphLists, drawsOfOtherSizes) {
  for (const char *pattern :
       {// Many of few blocks, so that most draws meet others.
        "random_blocks(40, 9, 7) - segments(offsets)",
        // Single keys, blocks of several tiles, and more draws than blocks.
        "causal & (random_blocks(1, 5, 3) | segments(offsets))",
        "(random_blocks(150, 1, 1) & segments(offsets)) | window(3, 0)",
        "random_blocks(64, 500, 1) - segments(offsets)"})
    checkPattern(pattern);
}

TEST(GPUGraphLists, graphsAndDraws) {
  checkPattern("(random_blocks(32, 2, 11) & causal) | graph_hop(chunks, chunk_node, "
               "edges, neighbours, max_hops = 1)",
               {.type = ElementType::F32, .lengths = false});
}

TEST(GPUGraphLists, gaps) {
  checkPattern("causal & segments(offsets)", {.gap = 3});
  checkPattern("block_mask(indptr, indices, bits, 24, 40) | (graph_hop(chunks, "
               "chunk_node, edges, neighbours, max_hops = 1) & ~global(index))",
               {.gap = 5});
}

namespace {
/// Random operands of two batch entries, and plans of them.
struct Case {
  Compiled kernel;
  Random random{3};
  sparse_attn_shape shape = {2, 2, 1, 200, 300};
  Operands operands = drawOperands(random, 200, 300);

  explicit Case(const char *pattern) : kernel(specOf(pattern)) {}

  static KernelSpec specOf(const char *pattern) {
    KernelSpec spec;
    spec.name = "listed";
    spec.pattern = pattern;
    spec.headDim = 16;
    return spec;
  }
};
} // namespace

constexpr const char *kGraphAndDocuments =
    "graph_hop(chunks, chunk_node, edges, neighbours, max_hops = 1) | "
    "segments(offsets)";

// A graph comes here anyway. Documents that are here are listed here.
TEST(GPUGraphLists, operandsInBothPlaces) {
  Case given(kGraphAndDocuments);
  for (int capability : {80, 90}) {
    Planner planner(given.kernel.get(), capability);
    for (std::set<std::string> here :
         {std::set<std::string>{"chunks", "chunk_node", "edges", "neighbours"},
          {"chunk_node"}}) {
      planner.here = here;
      planner.compare(given.shape, given.operands);
    }
    planner.here = {"offsets"};
    Plan made = planner.make(given.shape, given.operands, /*onDevice=*/true);
    ASSERT_TRUE(made) << sparse_attn_last_error();
    EXPECT_FALSE(listsOnDevice(*made));
  }
}

TEST(GPUGraphLists, wrongOperands) {
  Case given(kGraphAndDocuments);
  Planner planner(given.kernel.get(), 80);
  auto compare = [&](const char *name, Operand wrong, const char *reason) {
    Operands operands = given.operands;
    operands[name] = std::move(wrong);
    planner.compareErrors(given.shape, operands, reason);
  };
  auto chunks = given.operands.at("chunk_node").shape;
  compare("chunk_node",
          Operand::of(chunks, std::vector<int32_t>(chunks[0] * chunks[1], 6)),
          "graph_hop: 'chunk_node' holds 6 at index 0 of its last axis, "
          "expected 0 to 5");
  compare("chunks", Operand::of({1, 3}, {0, 1, 2}),
          ("graph_hop: 'chunk_node' has " + std::to_string(chunks[1]) +
           " chunks, but 'chunks' has 2")
              .c_str());
  compare("edges", Operand::of({3}, {0, 2, 1}),
          "graph_hop: 'edges' decreases from 2 to 1 at index 2 of its last axis");
  // What is wrong beside a graph is found there.
  compare("offsets", Operand::of({1, 3}, {0, 9, 400}),
          "segments: 'offsets' ends at 400, past N = 300");
}
