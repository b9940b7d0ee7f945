//===- RandomBlocks.cpp - random key blocks and their generator ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/PatternSupport.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Philox 4x32-10
//===----------------------------------------------------------------------===//

std::array<uint32_t, 4> sparse_attn::philox4x32(uint64_t key,
                                                std::array<uint32_t, 4> counter) {
  constexpr int kRounds = 10;
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round != kRounds; ++round) {
    uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0,
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1,
               static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

// Floyd's algorithm: `count` of `total` blocks without replacement, from one
// random number each.
std::vector<int64_t> sparse_attn::drawRandomBlocks(int64_t total, int64_t count,
                                                   int64_t seed, uint32_t plane,
                                                   uint32_t queryBlock) {
  std::vector<int64_t> drawn;
  if (total <= count) {
    for (int64_t block = 0; block < total; ++block)
      drawn.push_back(block);
    return drawn;
  }
  for (int64_t last = total - count; last != total; ++last) {
    uint32_t draw = static_cast<uint32_t>(last - (total - count));
    uint32_t random =
        philox4x32(static_cast<uint64_t>(seed), {plane, queryBlock, draw, 0})[0];
    // The high word of random * (last + 1) is uniform over [0, last].
    int64_t block =
        static_cast<int64_t>(static_cast<uint64_t>(random) * (last + 1) >> 32);
    drawn.push_back(llvm::is_contained(drawn, block) ? last : block);
  }
  return drawn;
}

//===----------------------------------------------------------------------===//
// random_blocks
//===----------------------------------------------------------------------===//

LogicalResult RandomBlocksOp::verify() {
  // (random_blocks_c1) 1 <= block < 2^30
  if (failed(verifyParameter(*this, "block", getBlock(), 1,
                             "use block = 1 to draw single keys for single queries")))
    return failure();
  // (random_blocks_c2) 1 <= count < 2^30
  return verifyParameter(
      *this, "count", getCount(), 1,
      "use sparse_attn.none to keep no key, sparse_attn.all every key");
}

double RandomBlocksOp::evaluate(const Pair &pair, Evaluator &evaluator) {
  int64_t block = getBlock();
  auto queryBlock = static_cast<uint32_t>(llvm::divideFloorSigned(pair.p, block));
  int64_t plane = pair.b * evaluator.heads() + pair.h;
  int64_t total = llvm::divideCeil(evaluator.keys(pair.b), block);
  const auto &drawn =
      evaluator.derived<std::vector<int64_t>>(*this, plane << 32 | queryBlock, [&] {
        return drawRandomBlocks(total, getCount(), getSeed(), plane, queryBlock);
      });
  return llvm::is_contained(drawn, pair.j / block);
}

static SmallVector<Value> getHelperArguments(RandomBlocksOp op, TileBuilder &builder) {
  Value plane = builder.add(builder.builder.createOrFold<arith::MulIOp>(
                                builder.loc, builder.b, builder.heads()),
                            builder.h);
  Value seed = arith::ConstantIntOp::create(builder.builder, builder.loc,
                                            static_cast<int64_t>(op.getSeed()), 64);
  return {builder.constant(op.getBlock()),
          builder.constant(op.getCount()),
          seed,
          plane,
          builder.keys(),
          builder.p0,
          builder.p1,
          builder.j0,
          builder.j1};
}

TileClass RandomBlocksOp::buildTileClass(TileBuilder &builder) {
  return builder.callHelper("sa_classify_random_blocks",
                            getHelperArguments(*this, builder));
}

KeyExtent RandomBlocksOp::buildKeyExtent(TileBuilder &builder) {
  return builder.callExtentHelper("sa_extent_random_blocks", nullptr,
                                  getHelperArguments(*this, builder));
}

Binding RandomBlocksOp::getOwnBinding() { return Binding::Plan; }
bool RandomBlocksOp::isPerHead() { return true; }
bool RandomBlocksOp::isPerBatch() { return true; }
