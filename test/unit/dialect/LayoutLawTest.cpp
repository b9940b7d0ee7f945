//===- LayoutLawTest.cpp - the runtime's answers against the meaning -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The law of MaskOpInterface for the plan-time masks: what `buildTileClass` asks
// of the runtime, answered by the runtime itself, against `evaluate` on every
// rectangle of a few positions and keys: of neighbours, and of those that are a step
// apart, as a plan asks whose period another mask brings.
//
//===----------------------------------------------------------------------===//

#include "MaskFunction.h"
#include "dialect/SparseAttn/PatternSupport.h"
#include "mlir/IR/Matchers.h"

extern "C" {
#include "runtime/src/internal.h"
}

using namespace mlir;
using namespace sparse_attn;

namespace {

constexpr int64_t kFirstPosition = -3, kPositions = 16, kBatch = 2, kHeads = 2;

/// An operand as the runtime sees it: rank 4, leading axes of size 1.
class ViewedTensor {
public:
  explicit ViewedTensor(const Tensor &tensor) {
    if (tensor.element == StringRef("i8"))
      bytes.assign(tensor.values.begin(), tensor.values.end());
    else
      words.assign(tensor.values.begin(), tensor.values.end());
    int64_t size[4] = {1, 1, 1, 1};
    llvm::copy(tensor.shape, size + 4 - tensor.shape.size());
    view = sa_contiguous_view(
        bytes.empty() ? static_cast<void *>(words.data()) : bytes.data(), size);
  }
  sa_view view;

private:
  std::vector<int32_t> words;
  std::vector<int8_t> bytes;
};

/// Builds on constants, and asks the runtime at once.
class RuntimeTileBuilder : public TileBuilder {
public:
  using TileBuilder::TileBuilder;
  llvm::DenseMap<Value, const sa_view *> views;
  const void *table = nullptr;
  int64_t keyCount = 0;

  Value keys() override { return constant(keyCount); }
  Value heads() override { return constant(kTestHeads); }

  Value load(Value tensor, ValueRange index) override {
    EXPECT_EQ(index.size(), 1u);
    return constant(
        static_cast<const int32_t *>(views.lookup(tensor)->data)[at(index[0])]);
  }

  TileClass callHelper(StringRef symbol, ValueRange x) override {
    if (symbol == "sa_classify_segments")
      return toClass(sa_classify_segments(view(x[0]), at(x[1]), at(x[2]), at(x[3]),
                                          at(x[4]), at(x[5])));
    if (symbol == "sa_classify_global")
      return toClass(sa_classify_global(view(x[0]), at(x[1]), at(x[2]), at(x[3]),
                                        at(x[4]), at(x[5])));
    if (symbol == "sa_classify_block_mask")
      return toClass(sa_classify_block_mask(view(x[0]), view(x[1]), view(x[2]), at(x[3]),
                                            at(x[4]), at(x[5]), at(x[6]), at(x[7]),
                                            at(x[8]), at(x[9]), at(x[10])));
    if (symbol == "sa_classify_random_blocks")
      return toClass(sa_classify_random_blocks(at(x[0]), at(x[1]), at(x[2]), at(x[3]),
                                               at(x[4]), at(x[5]), at(x[6]), at(x[7]),
                                               at(x[8])));
    ADD_FAILURE() << "no helper " << symbol.str();
    return constantClass(false);
  }

  TileClass callTableHelper(StringRef symbol, Operation *, ValueRange x) override {
    EXPECT_EQ(symbol, "sa_classify_reach");
    return toClass(
        sa_classify_reach(table, at(x[0]), at(x[1]), at(x[2]), at(x[3]), at(x[4])));
  }

  KeyExtent callExtentHelper(StringRef symbol, Operation *, ValueRange x) override {
    if (symbol == "sa_extent_segments")
      return toExtent(sa_extent_segments(view(x[0]), at(x[1]), at(x[2]), at(x[3]),
                                         at(x[4]), at(x[5])));
    if (symbol == "sa_extent_global")
      return toExtent(
          sa_extent_global(view(x[0]), at(x[1]), at(x[2]), at(x[3]), at(x[4]), at(x[5])));
    if (symbol == "sa_extent_block_mask")
      return toExtent(sa_extent_block_mask(view(x[0]), view(x[1]), view(x[2]), at(x[3]),
                                           at(x[4]), at(x[5]), at(x[6]), at(x[7]),
                                           at(x[8]), at(x[9]), at(x[10])));
    if (symbol == "sa_extent_random_blocks")
      return toExtent(sa_extent_random_blocks(at(x[0]), at(x[1]), at(x[2]), at(x[3]),
                                              at(x[4]), at(x[5]), at(x[6]), at(x[7]),
                                              at(x[8])));
    EXPECT_EQ(symbol, "sa_extent_reach");
    return toExtent(
        sa_extent_reach(table, at(x[0]), at(x[1]), at(x[2]), at(x[3]), at(x[4])));
  }

  int64_t at(Value value) {
    IntegerAttr attribute;
    EXPECT_TRUE(matchPattern(value, m_Constant(&attribute)));
    return attribute.getInt();
  }

private:
  const sa_view *view(Value tensor) { return tensor ? views.lookup(tensor) : nullptr; }

  TileClass toClass(int32_t kind) {
    return {truth(kind != SPARSE_ATTN_TILE_EMPTY), truth(kind == SPARSE_ATTN_TILE_FULL)};
  }
  KeyExtent toExtent(uint32_t answer) {
    return {toClass(answer & 3), constant(answer >> 2)};
  }
};

class LayoutLawTest : public testing::Test {
protected:
  /// Of a rectangle: (may, must), and of its keys [j0, stop).
  struct Answer {
    std::pair<bool, bool> kind, alike;
    int64_t stop;
  };

  LayoutLawTest() {
    context.loadDialect<SparseAttnDialect, func::FuncDialect, arith::ArithDialect>();
  }

  void check(const std::string &op, int64_t keys, const std::vector<Tensor> &tensors) {
    OwningOpRef<ModuleOp> module = parseMask(op, tensors, &context);
    ASSERT_TRUE(module);
    TensorEvaluator evaluator(keys);
    Value mask = bindMask(*module, tensors, evaluator);
    ASSERT_EQ(getBinding(mask), Binding::Plan);

    std::vector<ViewedTensor> viewed(tensors.begin(), tensors.end());
    llvm::DenseMap<Value, const sa_view *> views;
    std::vector<sa_view> values;
    for (auto [argument, tensor] : llvm::zip(
             cast<func::FuncOp>(module->getBody()->front()).getArguments(), viewed)) {
      views[argument] = &tensor.view;
      values.push_back(tensor.view);
    }
    sa_reach *reach = nullptr;
    buildTable(mask, values, &reach);

    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t h = 0; h < kHeads; ++h) {
        auto keeps = [&](int64_t p, int64_t j) {
          return evaluator.evaluate(mask, Pair{b, h, p - kFirstPosition, p, j}) == 1;
        };
        auto ask = [&](int64_t p0, int64_t p1, int64_t j0, int64_t j1, int64_t step) {
          OpBuilder builder(&context);
          Block block;
          builder.setInsertionPointToStart(&block);
          RuntimeTileBuilder tile(builder, builder.getUnknownLoc());
          tile.views = views;
          tile.table = reach;
          tile.keyCount = keys;
          tile.b = tile.constant(b);
          tile.h = tile.constant(h);
          tile.p0 = tile.constant(p0);
          tile.p1 = tile.constant(p1);
          tile.j0 = tile.constant(j0);
          tile.j1 = tile.constant(j1);
          tile.period = step;
          tile.step = tile.constant(step);
          auto toBits = [](TileClass x) {
            return std::pair(!matchPattern(x.may, m_Zero()),
                             matchPattern(x.must, m_One()));
          };
          KeyExtent alike = tile.extentOf(mask);
          return Answer{toBits(tile.classOf(mask)), toBits(alike.kind),
                        tile.at(alike.stop)};
        };
        for (int64_t step : {1, 2, 3})
          checkPlane(keys, step, keeps, ask);
      }
    sa_reach_destroy(reach);
  }

private:
  /// The table that the mask asks for, if any; its inputs are the operands.
  static void buildTable(Value mask, ArrayRef<sa_view> values, sa_reach **reach) {
    std::optional<PlanTable> table =
        cast<MaskOpInterface>(mask.getDefiningOp()).getPlanTable();
    if (!table)
      return;
    const int32_t inputs[] = {0, 1, 2, 3};
    sa_table description = {};
    description.kind = table->kind;
    description.input_count = table->inputs.size();
    description.inputs = inputs;
    description.parameter_count = table->parameters.size();
    description.parameters = table->parameters.data();
    sparse_attn_kernel kernel = {};
    kernel.name = "test";
    ASSERT_EQ(sa_reach_create(&kernel, &description, values.data(), reach),
              SPARSE_ATTN_OK);
  }

  template <typename Keeps, typename Ask>
  void checkPlane(int64_t keys, int64_t step, Keeps keeps, Ask ask) {
    // Once each: the oracle is slow.
    std::vector<std::vector<char>> kept(kPositions, std::vector<char>(keys));
    for (int64_t y = 0; y < kPositions; ++y)
      for (int64_t j = 0; j < keys; ++j)
        kept[y][j] = keeps(y + kFirstPosition, j);
    for (int64_t y0 = 0; y0 < kPositions; ++y0)
      for (int64_t y1 = y0; y1 < kPositions; y1 += step)
        for (int64_t j0 = 0; j0 < keys; ++j0)
          for (int64_t j1 = j0; j1 < keys && !HasFatalFailure(); j1 += step)
            checkRectangle(kept, {y0, y1, j0, j1, step},
                           ask(y0 + kFirstPosition, y1 + kFirstPosition, j0, j1, step));
  }

  /// Ends are inclusive; positions count from the first one.
  struct Rectangle {
    int64_t y0, y1, j0, j1, step;
  };

  void checkRectangle(const std::vector<std::vector<char>> &kept, const Rectangle &at,
                      const Answer &answer) {
    int64_t count = 0, pairs = 0;
    bool any = false, all = true, equal = true;
    for (int64_t y = at.y0; y <= at.y1; y += at.step) {
      for (int64_t j = at.j0; j <= at.j1; j += at.step, ++pairs)
        count += kept[y][j];
      any |= kept[y][at.j0] != 0;
      all &= kept[y][at.j0] != 0;
      for (int64_t j = at.j0; j < answer.stop && j <= at.j1; j += at.step)
        equal &= kept[y][j] == kept[y][at.j0];
    }
    auto where = [&] {
      return ::testing::Message()
             << "p in [" << at.y0 + kFirstPosition << ", " << at.y1 + kFirstPosition
             << "], j in [" << at.j0 << ", " << at.j1 << "], step " << at.step << ", "
             << count << " of " << pairs << " kept, stop " << answer.stop;
    };
    auto [may, must] = answer.kind;
    ASSERT_TRUE((!must || (may && count == pairs)) && (may || count == 0) &&
                (pairs != 1 || may == must))
        << where() << ", may = " << may << ", must = " << must;
    auto [mayBeAlike, mustBeAlike] = answer.alike;
    bool known = answer.stop > at.j0, onePosition = at.y0 == at.y1;
    ASSERT_TRUE(
        at.j0 <= answer.stop && answer.stop <= at.j1 + 1 && equal &&
        (!known || ((mayBeAlike || !any) && (!mustBeAlike || (mayBeAlike && all)) &&
                    (!onePosition || mayBeAlike == mustBeAlike))))
        << where() << ", may = " << mayBeAlike << ", must = " << mustBeAlike;
    // One position tells keys apart exactly: they are alike up to the next change, and a
    // single key always is.
    ASSERT_TRUE(known || at.j0 != at.j1 || !onePosition) << where();
  }

  MLIRContext context;
};

TEST_F(LayoutLawTest, Prefix) { check("prefix %a : tensor<?xi32>", 8, {{{2}, {0, 5}}}); }

TEST_F(LayoutLawTest, Segments) {
  const char *op = "segments %a : tensor<?x?xi32>";
  check(op, 12, {{{1, 4}, {0, 3, 7, 12}}});
  // Empty segments; tokens before the first and after the last offset.
  check(op, 12, {{{2, 6}, {2, 2, 4, 4, 4, 9, 0, 0, 0, 12, 12, 12}}});
  check(op, 8, {{{1, 1}, {3}}});
  check(op, 8, {{{1, 2}, {5, 5}}});
}

TEST_F(LayoutLawTest, GlobalIndex) {
  // Plans sort the index: padding comes first.
  const char *op = "global index(%a : tensor<?x?xi32>)";
  check(op, 12, {{{2, 5}, {-1, 0, 4, 5, 6, 1, 3, 3, 4, 11}}});
  check(op, 8, {{{1, 2}, {-1, -1}}});
}

TEST_F(LayoutLawTest, BlockMask) {
  const char *op =
      "block_mask %a, %b block = 3 x 4 : tensor<?x?x?xi32>, tensor<?x?x?xi32>";
  check(op, 14, {{{1, 1, 5}, {0, 2, 2, 6, 7}}, {{1, 1, 7}, {0, 2, 0, 1, 2, 3, 3}}});
  // Lists that differ by batch entry and head; fewer rows than positions.
  check(op, 12,
        {{{2, 2, 3}, {0, 1, 2, 0, 0, 2, 0, 2, 2, 1, 1, 2}},
         {{2, 2, 2}, {0, 2, 1, 2, 0, 1, 2, 2}}});
  // One list, of which each head takes a part.
  check(op, 12, {{{1, 2, 3}, {0, 1, 2, 2, 3, 5}}, {{1, 1, 5}, {2, 0, 1, 0, 1}}});
}

TEST_F(LayoutLawTest, BlockMaskBits) {
  const char *op = "block_mask %a, %b bits(%c : tensor<?x?x?x?xi8>) block = 2 x 10 : "
                   "tensor<?x?x?xi32>, tensor<?x?x?xi32>";
  const Tensor indptr = {{1, 1, 4}, {0, 2, 3, 4}}, indices = {{1, 1, 4}, {0, 1, 1, 0}};
  check(op, 17,
        {indptr,
         indices,
         {{1, 4, 2, 2}, {-127, 2, -1, 3, 0, 0, 24, 1, 0, 0, 0, 0, -1, 3, -1, 3}, "i8"}});
}

TEST_F(LayoutLawTest, RandomBlocks) {
  check("random_blocks block = 3 count = 2 seed = 17", 14, {});
  check("random_blocks block = 2 count = 4 seed = -9223372036854775808", 15, {});
  check("random_blocks block = 1 count = 5 seed = 6148914691236517205", 10, {});
  check("random_blocks block = 4 count = 3 seed = 0", 12, {});
}

// The runtime keeps few draws, and asks anew for many.
TEST(RandomBlocks, ManyDrawsAgree) {
  constexpr int64_t kTotal = 300, kCount = 200, kSeed = 5, kPlane = 3;
  for (int32_t query = -2; query < 3; ++query) {
    std::vector<int64_t> drawn = drawRandomBlocks(kTotal, kCount, kSeed, kPlane, query);
    for (int32_t block = 0; block < kTotal; ++block)
      ASSERT_EQ(sa_classify_random_blocks(1, kCount, kSeed, kPlane, kTotal, query, query,
                                          block, block) == SPARSE_ATTN_TILE_FULL,
                llvm::is_contained(drawn, block));
  }
}

TEST_F(LayoutLawTest, GraphHop) {
  std::string types = " : tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32>";
  // 0 -> 1 -> 2 -> 0, 3 -> 4, 5 alone with an edge to itself; empty chunks, chunks
  // that share a node, tokens outside.
  const std::vector<Tensor> graph = {
      {{2, 8}, {1, 3, 3, 4, 6, 8, 9, 10, 0, 1, 2, 4, 7, 8, 10, 11}},
      {{2, 7}, {0, 3, 2, 1, 0, 4, 5, 4, 3, 2, 2, 5, 0, 1}},
      {{7}, {0, 1, 2, 3, 4, 4, 5}},
      {{5}, {1, 2, 0, 4, 5}}};
  for (const char *options :
       {"", " directed = true", " max_hops = 0", " max_hops = 1",
        " max_hops = 1 directed = true", " max_hops = 2 directed = true"})
    check("graph_hop %a, %b, %c, %d" + (options + types), 12, graph);
  // No chunk, no node, no edge.
  check("graph_hop %a, %b, %c, %d" + types, 6,
        {{{1, 1}, {2}}, {{1, 0}, {}}, {{1}, {0}}, {{0}, {}}});
}

} // namespace
