//===- InPlace.cpp - products of few rows with unpacked keys --------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   scores       S[row, key]  = Q[row] . K[key]          K where the tensor is
//   accumulate   O[row]      += sum_key S[row, key] V[key]
//
// With few rows attention is bound by reading K and V: each element is read once from
// memory and used by every row out of the first-level cache. Nothing is transposed;
// scores of a vector of keys are dot products along D, whose sums over lanes are taken
// for all of these keys at once.
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "sparse_attn/abi.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace sparse_attn;

/// At stage s, vectors i and i + s become one, in which bit s of a lane says which of
/// them its partial sum belongs to.
Value sparse_attn::buildSumsOfLanes(KernelBuilder &b, SmallVector<Value> vectors) {
  int64_t lanes = vectors.size();
  for (int64_t s = 1; s < lanes; s *= 2) {
    SmallVector<int64_t> own, other;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t from = lane & s ? lanes : 0;
      own.push_back(from + lane);
      other.push_back(from + (lane ^ s));
    }
    for (int64_t i = 0; i < lanes; i += 2 * s) {
      Value x = vectors[i], y = vectors[i + s];
      vectors[i] = arith::AddFOp::create(
          b.builder, b.loc, vector::ShuffleOp::create(b.builder, b.loc, x, y, own),
          vector::ShuffleOp::create(b.builder, b.loc, x, y, other));
    }
  }
  return vectors.front();
}

static constexpr int64_t kLineBits = 512;

static int64_t getBits(Value memref) {
  return cast<MemRefType>(memref.getType()).getElementType().getIntOrFloatBitWidth();
}

namespace {
/// The keys that one call reads.
struct Keys {
  KernelBuilder &b;
  TileKeys rows;
  Value count;

  SmallVector<Value> at(Value key, Value column) const { return rows.at(b, key, column); }
  /// A key that may lie past the last one, by less than a vector: then some key that
  /// there is, whose score is thrown away. A list has such keys behind its last one.
  Value clamp(Value key) const {
    return rows.list ? key : b.min(key, b.sub(count, b.index(1)));
  }
};
} // namespace

/// Asks for the lines [first, first + count) of `dim` elements each key of K or V has,
/// counted from the key `key` on, before they are needed.
static void buildPrefetch(KernelBuilder &b, const TileKeys &keys, Value memref, Value key,
                          Value first, int64_t count, int64_t dim) {
  constexpr int64_t kFirstLevel = 3;
  int64_t line = kLineBits / getBits(memref), lines = llvm::divideCeil(dim, line);
  for (int64_t n = 0; n < count; ++n) {
    Value number = b.add(first, b.index(n));
    Value place = b.add(key, b.div(number, b.index(lines)));
    Value column = b.mul(b.remainder(number, lines), line);
    memref::PrefetchOp::create(b.builder, b.loc, memref, keys.at(b, place, column),
                               /*isWrite=*/false, kFirstLevel, /*isDataCache=*/true);
  }
}

/// The processor follows a stream by itself within a page of memory only; between two
/// pages a row's arithmetic, longer than what it keeps in flight, would wait for the
/// first line of the next one.
void sparse_attn::buildPrefetchAhead(KernelBuilder &b, const TileKeys &keys, Value memref,
                                     Value key, int64_t dim) {
  constexpr int64_t kBytesAhead = 6 << 10; // more than a page, less than the cache
  // Rows of a list are foreseen by nothing else: more of them are asked for at once.
  constexpr int64_t kListedBytesAhead = 8 << 10;
  int64_t bytes = llvm::divideCeil(dim * getBits(memref), 8);
  int64_t ahead = llvm::divideCeil(keys.list ? kListedBytesAhead : kBytesAhead, bytes);
  if (keys.list)
    ahead = std::min<int64_t>(ahead, SA_LIST_MARGIN / 2);
  buildPrefetch(b, keys, memref, b.add(key, b.index(ahead)), b.index(0),
                llvm::divideCeil(bytes * 8, kLineBits), dim);
}

/// The row of `matrix` at `place` in vectors of words, zeros past the last column.
static SmallVector<Value> loadRow(KernelBuilder &b, const KernelShape &shape,
                                  Value matrix, ArrayRef<Value> place) {
  SmallVector<Value> vectors;
  int64_t step = shape.lanes * shape.words.size;
  for (int64_t column = 0; column < shape.headDim; column += step) {
    SmallVector<Value> at(place);
    at.back() = b.index(column);
    vectors.push_back(b.loadWords(matrix, at, shape.words, shape.lanes,
                                  std::min(step, shape.headDim - column)));
  }
  return vectors;
}

/// x . y lane by lane, in two chains of sums.
static Value buildProducts(KernelBuilder &b, const KernelShape &shape, ArrayRef<Value> x,
                           ArrayRef<Value> y) {
  Value zero = b.splat(b.f32(0), shape.lanes);
  Value sums[2] = {zero, zero};
  for (auto [n, pair] : llvm::enumerate(llvm::zip_equal(x, y)))
    sums[n % 2] = b.multiplyAdd(std::get<0>(pair), std::get<1>(pair), sums[n % 2]);
  if (x.size() == 1)
    return sums[0];
  return arith::AddFOp::create(b.builder, b.loc, sums[0], sums[1]);
}

namespace {
/// S = Q K^T for one tile.
struct DotProducts {
  KernelBuilder &b;
  const KernelShape &shape;
  const Frame &frame;
  const Keys &keys;
  Value k, scores, products;

  void buildRow();
  void buildRows();

private:
  /// Row `row` of Q in vectors of words.
  SmallVector<Value> loadQuery(Value row) {
    return loadRow(b, shape, frame.queries, {row, b.index(0)});
  }
  /// Key number `key` of the tile, with the request for one that comes later.
  SmallVector<Value> loadKey(Value key) {
    buildPrefetchAhead(b, keys.rows, k, key, shape.headDim);
    return loadRow(b, shape, k, keys.at(keys.clamp(key), b.index(0)));
  }
};
} // namespace

/// One row's scores of a vector of keys never leave the registers, and few instructions
/// are between the loads of K: as many rows of it are on their way from memory as the
/// processor looks ahead.
void DotProducts::buildRow() {
  SmallVector<Value> query = loadQuery(b.index(0));
  b.loop(b.index(0), keys.count, shape.lanes, [&](Value first) {
    SmallVector<Value> sums;
    for (int64_t lane = 0; lane < shape.lanes; ++lane)
      sums.push_back(
          buildProducts(b, shape, query, loadKey(b.add(first, b.index(lane)))));
    b.storeVector(buildSumsOfLanes(b, sums), scores, {b.index(0), first});
  });
}

void DotProducts::buildRows() {
  int64_t lanes = shape.lanes;
  b.loop(b.index(0), keys.count, lanes, [&](Value first) {
    // Keys in the order of memory, each for all rows.
    b.loop(b.index(0), b.index(lanes), 1, [&](Value lane) {
      SmallVector<Value> columns = loadKey(b.add(first, lane));
      b.loop(b.index(0), frame.total, 1, [&](Value row) {
        b.storeVector(buildProducts(b, shape, loadQuery(row), columns), products,
                      {row, lane, b.index(0)});
      });
    });
    b.loop(b.index(0), frame.total, 1, [&](Value row) {
      SmallVector<Value> sums;
      for (int64_t lane = 0; lane < lanes; ++lane)
        sums.push_back(b.loadVector(products, {row, b.index(lane), b.index(0)},
                                    b.vectorType(lanes)));
      b.storeVector(buildSumsOfLanes(b, sums), scores, {row, first});
    });
  });
}

/// scores(sa_attend_args, first key, keys)
func::FuncOp sparse_attn::buildScoresInPlace(const AttendContext &context) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(), context.prefix + "_scores_in_place",
      {pointer, i, i}, /*isPrivate=*/true, [&](KernelBuilder &b, ValueRange arguments) {
        Frame frame(b, shape, arguments[0]);
        Keys keys = {b, frame.keysOf(context, arguments[1]), arguments[2]};
        Type f32 = b.builder.getF32Type();
        auto array = [&](int64_t offset, ArrayRef<int64_t> sizes) {
          return b.arrayAt(b.advance(frame.scratch, offset), sizes, f32);
        };
        DotProducts dot = {
            b,
            shape,
            frame,
            keys,
            b.viewOf(frame.values, context.ids.id(context.plan.getK()), shape.element),
            array(shape.scores, {shape.paddedRows, shape.keys}),
            array(shape.products, {shape.rowsInPlace, shape.lanes, shape.lanes})};
        b.branch(
            b.eq(frame.total, b.index(1)), [&] { dot.buildRow(); },
            [&] { dot.buildRows(); });
      });
}

namespace {
/// O += S V for one tile.
struct WeightedValues {
  KernelBuilder &b;
  const KernelShape &shape;
  const Frame &frame;
  const Keys &keys;
  Value values;
  Value next; ///< K, whose next tile is asked for
  bool full;

  /// How many rows go at once: with all columns, V is read in the order of memory.
  int64_t countRows() { return llvm::bit_floor<uint64_t>(countSums() / countColumns()); }
  void addAllColumns(Value row, int64_t rows);

private:
  int64_t countSums() { return shape.level.tileRows * shape.level.tileVectors; }
  int64_t countColumns() {
    return std::min<int64_t>(shape.paddedValueDim / shape.lanes,
                             llvm::bit_floor<uint64_t>(countSums()));
  }
  /// How many of `vectors` vectors of columns are loaded at once from number `v` on: as
  /// many elements as fit into a vector of words, where there are.
  int64_t columnsAtOnce(int64_t v, int64_t vectors) {
    return shape.words.size == 2 && v + 1 < vectors ? 2 : 1;
  }
  void addColumns(Value row, int64_t rows, Value first, int64_t vectors, int64_t last);
  void prefetch(Value key, int64_t count, Value row, int64_t rows);
  SmallVector<Value> addWord(Value key, ValueRange sums, Value row, int64_t rows,
                             Value first, int64_t vectors, int64_t last);
  SmallVector<Value> addKey(Value key, ValueRange sums, Value row, int64_t rows,
                            Value first, int64_t vectors, int64_t last);
};
} // namespace

/// `sums`, one for each row and vector of columns, with one key added.
SmallVector<Value> WeightedValues::addKey(Value key, ValueRange sums, Value row,
                                          int64_t rows, Value first, int64_t vectors,
                                          int64_t last) {
  int64_t lanes = shape.lanes;
  SmallVector<Value> columns, result;
  for (int64_t v = 0; v < vectors; ++v)
    columns.push_back(b.loadRealVector(values,
                                       keys.at(key, b.add(first, b.index(v * lanes))),
                                       lanes, v + 1 == vectors ? last : lanes));
  for (int64_t r = 0; r < rows; ++r) {
    Value weight =
        b.splat(b.loadReal(frame.weights, {b.add(row, b.index(r)), key}), lanes);
    // Unordered: a NaN weight is attended to.
    Value attended =
        full ? Value()
             : arith::CmpFOp::create(b.builder, b.loc, arith::CmpFPredicate::UNE, weight,
                                     b.splat(b.f32(0), lanes));
    for (int64_t v = 0; v < vectors; ++v) {
      Value before = sums[r * vectors + v];
      Value sum = vector::FMAOp::create(b.builder, b.loc, weight, columns[v], before);
      result.push_back(
          full ? sum : arith::SelectOp::create(b.builder, b.loc, attended, sum, before));
    }
  }
  return result;
}

/// The same with the keys of one word, all of which count. Sums of two vectors of columns
/// that are loaded at once are in the order of `interleaveTwo`.
SmallVector<Value> WeightedValues::addWord(Value key, ValueRange sums, Value row,
                                           int64_t rows, Value first, int64_t vectors,
                                           int64_t last) {
  const Words &words = shape.words;
  auto weights = b.arrayAt(b.advance(frame.scratch, shape.weights),
                           {shape.paddedRows, words.count(shape.keys)}, words.type);
  Value word = b.div(key, b.index(words.size));
  SmallVector<Value> columns, result;
  for (int64_t v = 0; v < vectors; v += columnsAtOnce(v, vectors)) {
    int64_t lanes = columnsAtOnce(v, vectors) * shape.lanes;
    int64_t missing =
        v * shape.lanes + lanes == vectors * shape.lanes ? shape.lanes - last : 0;
    SmallVector<Value> elements;
    for (int64_t n = 0; n < words.size; ++n)
      elements.push_back(b.loadPart(
          values, keys.at(b.add(key, b.index(n)), b.add(first, b.index(v * shape.lanes))),
          lanes, lanes - missing));
    if (lanes == shape.lanes)
      columns.push_back(b.interleave(elements, words));
    else
      columns.append(b.interleaveTwo(elements, words));
  }
  for (int64_t r = 0; r < rows; ++r) {
    Value weight = b.splat(b.load(weights, {b.add(row, b.index(r)), word}), shape.lanes);
    for (int64_t v = 0; v < vectors; ++v)
      result.push_back(b.multiplyAdd(weight, columns[v], sums[r * vectors + v]));
  }
  return result;
}

/// At keys [key, key + count): the first rows bring V from memory, and the others, which
/// find it in the caches, have time to ask for the first keys of the next tile. Listed
/// keys lie anywhere.
void WeightedValues::prefetch(Value key, int64_t count, Value row, int64_t rows) {
  b.branch(b.eq(row, b.index(0)), [&] {
    for (int64_t i = 0; i < count; ++i)
      buildPrefetchAhead(b, keys.rows, values, b.add(key, b.index(i)), shape.valueDim);
  });
  if (keys.rows.list)
    return;
  constexpr int64_t kLines = 1; // what memory brings in the time of one key
  b.branch(b.ne(row, b.index(0)), [&] {
    Value group = b.sub(b.div(row, b.index(rows)), b.index(1));
    Value done = b.add(b.mul(group, shape.keys), key);
    buildPrefetch(b, keys.rows, next, b.index(shape.keys), b.mul(done, kLines),
                  kLines * count, shape.headDim);
  });
}

/// Adds the values of all keys to `vectors` vectors of columns from `first` on, the last
/// of which has `last` lanes, of rows [row, row + rows).
void WeightedValues::addColumns(Value row, int64_t rows, Value first, int64_t vectors,
                                int64_t last) {
  SmallVector<Value> zeros(rows * vectors, b.splat(b.f32(0), shape.lanes));
  // Whole words of keys, where weights of 0 need no care, and then key by key.
  int64_t size = full ? shape.words.size : 1;
  Value whole = b.sub(keys.count, b.remainder(keys.count, size)), done = b.index(0);
  ValueRange sums = zeros;
  SmallVector<Value> ofWords;
  if (size > 1) {
    ofWords = b.loop(done, whole, size, zeros, [&](Value key, ValueRange sums) {
      prefetch(key, size, row, rows);
      return addWord(key, sums, row, rows, first, vectors, last);
    });
    for (int64_t v = 0; v < rows * vectors; v += columnsAtOnce(v % vectors, vectors))
      if (columnsAtOnce(v % vectors, vectors) == 2)
        std::tie(ofWords[v], ofWords[v + 1]) = b.orderTwo(ofWords[v], ofWords[v + 1]);
    sums = ofWords;
    done = whole;
  }
  SmallVector<Value> total =
      b.loop(done, keys.count, 1, sums, [&](Value key, ValueRange sums) {
        prefetch(key, 1, row, rows);
        return addKey(key, sums, row, rows, first, vectors, last);
      });
  // Sums of one tile start at zero and reach O in one addition, as in packed tiles.
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      SmallVector<Value> at = {b.add(row, b.index(r)),
                               b.add(first, b.index(v * shape.lanes))};
      Value before = b.loadVector(frame.outputs, at, b.vectorType(shape.lanes));
      Value sum = arith::AddFOp::create(b.builder, b.loc, before, total[r * vectors + v]);
      b.storeVector(sum, frame.outputs, at);
    }
}

void WeightedValues::addAllColumns(Value row, int64_t rows) {
  int64_t lanes = shape.lanes, vectors = shape.paddedValueDim / lanes;
  int64_t rest = shape.valueDim % lanes, wide = countColumns();
  int64_t whole = (rest ? vectors - 1 : vectors) / wide * wide;
  b.loop(b.index(0), b.index(whole * lanes), wide * lanes,
         [&](Value first) { addColumns(row, rows, first, wide, lanes); });
  if (whole < vectors)
    addColumns(row, rows, b.index(whole * lanes), vectors - whole, rest ? rest : lanes);
}

/// accumulate(sa_attend_args, first key, keys). Unless the tile is full, a weight of 0
/// takes the value out: 0 * NaN must not reach a row that leaves the key out.
func::FuncOp sparse_attn::buildAccumulateInPlace(const AttendContext &context,
                                                 bool full) {
  const KernelShape &shape = context.shape;
  OpBuilder types(context.module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(types.getContext()), i = types.getIndexType();
  return buildFunction(
      context.module, context.plan->getLoc(),
      context.prefix + (full ? "_accumulate_in_place" : "_accumulate_masked_in_place"),
      {pointer, i, i}, /*isPrivate=*/true, [&](KernelBuilder &b, ValueRange arguments) {
        Frame frame(b, shape, arguments[0]);
        Keys keys = {b, frame.keysOf(context, arguments[1]), arguments[2]};
        auto view = [&](Value tensor) {
          return b.viewOf(frame.values, context.ids.id(tensor), shape.element);
        };
        WeightedValues sum = {
            b,   shape, frame, keys, view(context.plan.getV()), view(context.plan.getK()),
            full};
        int64_t rows = sum.countRows();
        Value whole = b.mul(b.div(frame.total, b.index(rows)), rows);
        b.loop(b.index(0), whole, rows, [&](Value row) { sum.addAllColumns(row, rows); });
        if (rows > 1)
          b.loop(whole, frame.total, 1, [&](Value row) { sum.addAllColumns(row, 1); });
      });
}
