//===- Warpgroups.cpp - a block of a producer and consumers ---------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Warpgroups.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

// Of the 512 that the threads of a multiprocessor with the same number in their
// warpgroups share.
static constexpr uint32_t kProducerRegisters = 40, kConsumerRegisters = 232;

WarpgroupContext::WarpgroupContext(GPUBuilder &b, const GPUContext &context, Value args,
                                   Value shared, ValueRange maps)
    : context(context), args(args), shared(shared), keyMap(maps[0]), valueMap(maps[1]),
      queries(b, context.shape.queryRing, shared), keys(b, context.shape.keyRing, shared),
      values(b, context.shape.valueRing, shared) {}

/// Items come longest first. In every other round blocks take them in the other order, so
/// that a block that had the longest one gets the shortest.
Value WarpgroupContext::itemOf(GPUBuilder &b, Value round) const {
  Value blocks = b.blocks(), block = b.block();
  Value mirrored = b.sub(b.sub(blocks, b.i32(1)), block);
  Value odd = b.ne(b.remU(round, 2), b.i32(0));
  return b.add(b.builder.createOrFold<arith::MulIOp>(b.loc, round, blocks),
               b.select(odd, mirrored, block));
}

void WarpgroupContext::forEachItem(GPUBuilder &b, Body body) const {
  Value zero = b.i32(0);
  b.repeat(
      {zero, zero, zero},
      [&](ValueRange values) {
        Value count =
            b.field(args, offsetof(sa_gpu_args, item_count), b.builder.getI32Type());
        return b.lt(itemOf(b, values[0]), count);
      },
      [&](ValueRange values) {
        Value round = values[0];
        Values uses = body(itemOf(b, round), round, values[1], values[2]);
        return Values{b.add(round, 1), uses[0], uses[1]};
      });
}

Value WarpgroupContext::tileOf(GPUBuilder &b, Value keyUse) {
  Value at = b.add(b.mul(keys.getNumber(keyUse), 16), b.i32(context.shape.tilesAt));
  return b.offset(shared, at);
}

void sparse_attn::buildWarpgroups(GPUBuilder &b, const GPUContext &context, Value args,
                                  Value sharedMemory, ValueRange maps) {
  WarpgroupContext shared(b, context, args, sharedMemory, maps);
  int64_t consumers = context.shape.consumers;
  Value thread = b.thread();
  b.branch(b.eq(thread, b.i32(0)), [&] {
    for (RingBuilder *ring : {&shared.queries, &shared.keys, &shared.values})
      ring->init(consumers * kWarpgroup / kWarp);
    NVVM::FenceMbarrierInitOp::create(b.builder, b.loc);
    buildFenceProxy(b);
  });
  b.barrier();
  Value warpgroup = b.ofFirstLane(b.divU(thread, kWarpgroup));
  b.branch(
      b.eq(warpgroup, b.i32(consumers)),
      [&] {
        NVVM::SetMaxRegisterOp::create(b.builder, b.loc, kProducerRegisters,
                                       NVVM::SetMaxRegisterAction::decrease);
        buildProducer(b, shared);
      },
      [&] {
        NVVM::SetMaxRegisterOp::create(b.builder, b.loc, kConsumerRegisters,
                                       NVVM::SetMaxRegisterAction::increase);
        buildConsumer(b, shared);
      });
}
