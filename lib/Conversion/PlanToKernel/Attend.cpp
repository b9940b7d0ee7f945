//===- Attend.cpp - one query tile over its runs of key tiles -------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   start     Q scaled into the scratch, m = -inf, l = 0, O = 0
//   each tile S = Q K^T, softmax, O += S V; full tiles without a predicate
//   finish    O and LSE, or the state of the rows where keys are split
//
// A tile is read from where it was packed for all query tiles. Where this call is its
// only reader it is packed here, into the scratch, or, for few rows, read in place.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// The functions that a tile calls.
struct TileFunctions {
  func::FuncOp packTile, scores, scoresInPlace, softmaxFull, softmaxPartial, accumulate,
      accumulateNonFinite, accumulateInPlace, accumulateMaskedInPlace;
};

/// One key tile of a call.
struct KeyTile {
  Value firstKey, keys; ///< keys first, first + step, ...: `keys` of them
  Value full, bits, hops;
};

class AttendBuilder {
public:
  AttendBuilder(KernelBuilder &b, const AttendContext &context,
                const TileFunctions &functions, Value args)
      : b(b), context(context), shape(context.shape), functions(functions),
        frame(b, shape, args) {}

  void build();

private:
  void buildRuns(function_ref<void(Value, const KeyTile &)> body);
  KeyTile describeTile(Value tile);
  void buildPackedTile(const KeyTile &tile, Value packed, Value next);
  void buildTileInPlace(const KeyTile &tile);
  void softmax(func::FuncOp function, const KeyTile &tile) {
    call(function, {frame.args, tile.bits, tile.hops, tile.firstKey, tile.keys});
  }
  void call(func::FuncOp function, ValueRange arguments) {
    func::CallOp::create(b.builder, b.loc, function, arguments);
  }

  KernelBuilder &b;
  const AttendContext &context;
  const KernelShape &shape;
  const TileFunctions &functions;
  Frame frame;
};
} // namespace

/// A tile as panels of K and V; `next` is what memory should fetch meanwhile.
void AttendBuilder::buildPackedTile(const KeyTile &tile, Value packed, Value next) {
  Value scores = b.advance(frame.scratch, shape.scores);
  call(functions.scores,
       {b.advance(frame.scratch, shape.queries), b.advance(packed, shape.packedKeys),
        scores, frame.groups, b.ceilDiv(tile.keys, shape.panel),
        b.advance(next, shape.packedKeys)});
  SmallVector<Value> product = {b.advance(frame.scratch, shape.weights),
                                b.advance(packed, shape.packedValues),
                                b.advance(frame.scratch, shape.outputs),
                                frame.groups,
                                tile.keys,
                                b.advance(next, shape.packedValues)};
  b.branch(
      tile.full,
      [&] {
        softmax(functions.softmaxFull, tile);
        call(functions.accumulate, product);
      },
      [&] {
        softmax(functions.softmaxPartial, tile);
        Value flag = LLVM::LoadOp::create(b.builder, b.loc, b.builder.getI32Type(),
                                          b.advance(packed, shape.packedFlag));
        Value finite = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq,
                                             flag, b.i32(0));
        b.branch(
            finite, [&] { call(functions.accumulate, product); },
            [&] {
              product.pop_back();
              product[3] = frame.total;
              call(functions.accumulateNonFinite, product);
            });
      });
}

void AttendBuilder::buildTileInPlace(const KeyTile &tile) {
  SmallVector<Value> where = {frame.args, tile.firstKey, tile.keys};
  call(functions.scoresInPlace, where);
  b.branch(
      tile.full,
      [&] {
        softmax(functions.softmaxFull, tile);
        call(functions.accumulateInPlace, where);
      },
      [&] {
        softmax(functions.softmaxPartial, tile);
        call(functions.accumulateMaskedInPlace, where);
      });
}

/// The keys of tile number `tile`, see abi.h; full, bits and hops are the run's.
KeyTile AttendBuilder::describeTile(Value tile) {
  Value classTiles = b.indexField(frame.args, offsetof(sa_attend_args, class_tiles));
  Value end = b.indexField(frame.args, offsetof(sa_attend_args, keys));
  Value residue = b.div(tile, classTiles);
  Value number = b.sub(tile, b.mul(residue, classTiles));
  KeyTile result;
  result.firstKey = b.add(residue, b.mul(b.mul(number, shape.keys), frame.step));
  Value left = b.ceilDiv(b.sub(end, result.firstKey), frame.step);
  result.keys = b.min(b.index(shape.keys), left);
  return result;
}

/// Calls `body` with the number of every tile of the runs.
void AttendBuilder::buildRuns(function_ref<void(Value, const KeyTile &)> body) {
  Type i32 = b.builder.getI32Type();
  Value runs = b.pointerField(frame.args, offsetof(sa_attend_args, runs));
  Value bits = b.pointerField(frame.args, offsetof(sa_attend_args, bits));
  Value hops = b.pointerField(frame.args, offsetof(sa_attend_args, hops));
  Value count = b.indexField(frame.args, offsetof(sa_attend_args, run_count));
  b.loop(b.index(0), count, 1, [&](Value index) {
    Value run = b.advance(runs, b.mul(index, sizeof(sa_run)));
    Value first = b.toIndex(b.field(run, offsetof(sa_run, first_tile), i32));
    Value tiles = b.toIndex(b.field(run, offsetof(sa_run, tiles), i32));
    Value mask = b.field(run, offsetof(sa_run, mask), i32);
    Value hop = b.toIndex(b.field(run, offsetof(sa_run, hops), i32));
    Value full = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::eq, mask,
                                       b.i32(SA_RUN_FULL));
    b.loop(b.index(0), tiles, 1, [&](Value t) {
      int64_t bitBytes = shape.rows * shape.keys / 8;
      int64_t hopBytes = shape.rows * shape.keys * sizeof(uint16_t);
      Value tile = b.add(first, t);
      KeyTile keyTile = describeTile(tile);
      keyTile.full = full;
      keyTile.bits = b.advance(bits, b.mul(b.add(b.toIndex(mask), t), bitBytes));
      keyTile.hops = b.advance(hops, b.mul(b.add(hop, t), hopBytes));
      body(tile, keyTile);
    });
  });
}

static Value isNull(KernelBuilder &b, Value pointer) {
  Value null = LLVM::ZeroOp::create(b.builder, b.loc, pointer.getType());
  return LLVM::ICmpOp::create(b.builder, b.loc, LLVM::ICmpPredicate::eq, pointer, null);
}

void AttendBuilder::build() {
  buildQueries(b, context, frame);
  buildStart(b, context, frame);
  Value packed = b.pointerField(frame.args, offsetof(sa_attend_args, packed));
  Value few = arith::CmpIOp::create(b.builder, b.loc, arith::CmpIPredicate::ule,
                                    frame.total, b.index(shape.rowsInPlace));
  Value unpacked = isNull(b, packed);
  b.branch(
      b.land(unpacked, few),
      [&] { buildRuns([&](Value, const KeyTile &tile) { buildTileInPlace(tile); }); },
      [&] {
        // Tiles in one room have no next one to ask for: a stride of 0.
        Value room = b.advance(frame.scratch, shape.tile);
        Value first = b.select(unpacked, room, packed);
        Value stride = b.select(unpacked, b.index(0), b.index(shape.packedBytes));
        buildRuns([&](Value number, const KeyTile &tile) {
          b.branch(unpacked, [&] {
            call(functions.packTile, {frame.values, room, frame.batch, frame.kvHead,
                                      tile.firstKey, tile.keys, frame.step, frame.list});
          });
          Value own = b.advance(first, b.mul(number, stride));
          // A long row's tiles come from memory: the next one is asked for while
          // this one is worked on.
          buildPackedTile(tile, own, b.advance(own, stride));
        });
      });
  Value states = b.pointerField(frame.args, offsetof(sa_attend_args, states));
  b.branch(
      isNull(b, states), [&] { buildFinish(b, context, frame); },
      [&] { buildSaveState(b, context, frame, states); });
}

void sparse_attn::buildAttend(const AttendContext &context, func::FuncOp packTile,
                              StringRef symbol) {
  TileFunctions functions = {packTile,
                             buildScores(context),
                             buildScoresInPlace(context),
                             buildSoftmax(context, /*full=*/true),
                             buildSoftmax(context, /*full=*/false),
                             buildAccumulate(context),
                             buildAccumulateNonFinite(context),
                             buildAccumulateInPlace(context, /*full=*/true),
                             buildAccumulateInPlace(context, /*full=*/false)};
  Type pointer = LLVM::LLVMPointerType::get(context.module.getContext());
  buildFunction(context.module, context.plan->getLoc(), symbol, {pointer},
                /*isPrivate=*/false, [&](KernelBuilder &b, ValueRange arguments) {
                  AttendBuilder(b, context, functions, arguments[0]).build();
                });
}
