//===- Producer.cpp - the warpgroup that brings operands ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// It finds the tiles of each item, and tells the consumers in the buffers of K what they
// are: K0 K1 V0 K2 V1 ... end, one tile of K ahead. One thread asks TMA for the tiles of
// tensors that have a map. All threads copy what TMA cannot: Q, whose rows may be of
// several heads; rows that are not aligned or not neighbours; and a tile at whose end the
// tensor has rows that are no keys of the batch entry.
//
//===----------------------------------------------------------------------===//

#include "Warpgroups.h"
#include "sparse_attn/gpu_abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The producer at one item.
class Producer {
public:
  Producer(GPUBuilder &b, WarpgroupContext &shared, Value item)
      : b(b), shared(shared), context(shared.context),
        frame(b, context, shared.args, shared.shared, item) {
    frame.thread = b.sub(frame.thread, b.i32(context.shape.consumers * kWarpgroup));
    leads = b.eq(frame.thread, b.i32(0));
    mapped = b.ne(b.band(frame.aligned, b.i32(SA_GPU_MAPPED)), b.i32(0));
    if (frame.hasSteps)
      mapped = b.land(mapped, b.eq(frame.step, b.i32(1)));
    Value view = b.viewPointer(frame.values, context.ids.id(context.plan.getK()));
    Type i64 = b.builder.getI64Type();
    Value size = b.field(view, offsetof(sa_view, size) + 2 * sizeof(int64_t), i64);
    hasPadding = b.ne(size, b.toI64(frame.keys));
  }

  /// All tiles of the item; returns the uses after it.
  Values run(Value round, Value keyUse, Value valueUse);

private:
  void acquire(RingBuilder &ring, Value use);
  void publishCopies(RingBuilder &ring, Value use);
  void bring(RingBuilder &ring, const GPURing &shape, Value use, const GPUTile &tile,
             Value map, function_ref<void(Value at)> copy);
  void sendKeys(const GPUTile &tile, Value use);
  void sendValues(const GPUTile &tile, Value use);

  GPUBuilder &b;
  WarpgroupContext &shared;
  const GPUContext &context;
  GPUFrame frame;
  Value leads;      ///< whether it is the one thread
  Value mapped;     ///< whether TMA may be used
  Value hasPadding; ///< whether the tensor has rows after the last key
};
} // namespace

/// The threads of the producer wait for each other.
static void buildProducerBarrier(GPUBuilder &b) {
  NVVM::BarrierOp::create(b.builder, b.loc, Type(), b.i32(1), b.i32(kWarpgroup),
                          NVVM::BarrierReductionAttr(), Value());
}

/// One warp waits, the others for it, so that none misses a phase.
void Producer::acquire(RingBuilder &ring, Value use) {
  b.branch(b.lt(frame.thread, b.i32(kWarp)), [&] { ring.waitEmpty(use); });
  buildProducerBarrier(b);
}

/// When what all threads have copied is there.
void Producer::publishCopies(RingBuilder &ring, Value use) {
  b.waitForCopies();
  buildFenceProxy(b);
  buildProducerBarrier(b);
  b.branch(leads, [&] { ring.publish(use); });
}

/// The rows of `tile`, of a tensor of the plan.
void Producer::bring(RingBuilder &ring, const GPURing &shape, Value use,
                     const GPUTile &tile, Value map, function_ref<void(Value at)> copy) {
  int64_t panelBytes = context.shape.keys * kPanelRowBytes;
  Value first = frame.firstKeyOf(b, context.shape, tile.number);
  Value end = b.add(first, b.i32(context.shape.keys));
  Value whole = b.lor(b.lnot(hasPadding), b.le(end, frame.keys));
  b.branch(
      b.land(mapped, whole),
      [&] {
        b.branch(leads, [&] {
          ring.expect(use, shape.bytes);
          for (int64_t panel = 0; panel < shape.bytes / panelBytes; ++panel) {
            Value at = b.add(ring.getBuffer(use), b.i32(panel * panelBytes));
            Type cluster = LLVM::LLVMPointerType::get(
                b.builder.getContext(),
                static_cast<unsigned>(NVVM::NVVMMemorySpace::SharedCluster));
            Value target = LLVM::AddrSpaceCastOp::create(b.builder, b.loc, cluster,
                                                         b.offset(shared.shared, at));
            NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
                b.builder, b.loc, target, map,
                ValueRange{b.i32(panel * kPanel), first, frame.kvHead, frame.batch},
                ring.getFull(use), ValueRange(), Value(), Value(),
                NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false, NVVM::CTAGroupKindAttr(),
                Value());
          }
        });
      },
      [&] {
        copy(ring.getBuffer(use));
        b.commitCopies();
        publishCopies(ring, use);
      });
}

/// A tile after the last one only says so.
void Producer::sendKeys(const GPUTile &tile, Value use) {
  acquire(shared.keys, use);
  b.branch(leads, [&] {
    Value full =
        arith::ExtUIOp::create(b.builder, b.loc, b.builder.getI32Type(), tile.full);
    Value words = vector::FromElementsOp::create(
        b.builder, b.loc, b.vectorType(4, b.builder.getI32Type()),
        ValueRange{tile.number, full, tile.bits ? tile.bits : b.i32(0),
                   tile.hops ? tile.hops : b.i32(0)});
    b.storeAt(words, shared.tileOf(b, use), b.i32(0), 16);
  });
  b.branch(
      b.ge(tile.number, b.i32(0)),
      [&] {
        bring(shared.keys, context.shape.keyRing, use, tile, shared.keyMap,
              [&](Value at) { buildCopyKeys(b, context, frame, tile.number, at); });
      },
      [&] { b.branch(leads, [&] { shared.keys.publish(use); }); });
}

void Producer::sendValues(const GPUTile &tile, Value use) {
  acquire(shared.values, use);
  bring(shared.values, context.shape.valueRing, use, tile, shared.valueMap,
        [&](Value at) { buildCopyValues(b, context, frame, tile.number, at); });
}

Values Producer::run(Value round, Value keyUse, Value valueUse) {
  TileSource source(b, context, frame);
  auto [first, search] = source.next(source.begin());
  acquire(shared.queries, round);
  buildCopyQueries(b, context, frame, shared.queries.getBuffer(round));
  b.commitCopies();
  sendKeys(first, keyUse);
  publishCopies(shared.queries, round);

  Values init = first.flatten();
  size_t tileSize = init.size();
  init.append({b.add(keyUse, 1), valueUse});
  llvm::append_range(init, search);
  Values last = b.repeat(
      init, [&](ValueRange values) { return b.ge(values[0], b.i32(0)); },
      [&](ValueRange values) {
        GPUTile tile = GPUTile::restore(values.take_front(tileSize));
        Value keyUse = values[tileSize], valueUse = values[tileSize + 1];
        auto [next, state] = source.next(values.drop_front(tileSize + 2));
        sendKeys(next, keyUse);
        sendValues(tile, valueUse);
        Values result = next.flatten();
        result.append({b.add(keyUse, 1), b.add(valueUse, 1)});
        llvm::append_range(result, state);
        return result;
      });
  return {last[tileSize], last[tileSize + 1]};
}

void sparse_attn::buildProducer(GPUBuilder &b, WarpgroupContext &context) {
  context.forEachItem(b, [&](Value item, Value round, Value keyUse, Value valueUse) {
    return Producer(b, context, item).run(round, keyUse, valueUse);
  });
}
