//===- KernelBuilder.h - vocabulary of generated kernels -------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Generated functions receive one pointer to a C structure of the runtime's
// abi.h. This header reads its fields, turns pointers into memrefs, and offers
// the arithmetic that every part of a kernel needs.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_KERNELBUILDER_H
#define SPARSE_ATTN_LIB_CONVERSION_KERNELBUILDER_H

#include "dialect/SparseAttn/SparseAttn.h"
#include "mlir/IR/IRMapping.h"
#include "sparse_attn/Conversion/KernelShape.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/Conversion/Passes.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <limits>

namespace sparse_attn {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kLog2E = 1.4426950408889634;
inline constexpr double kLn2 = 0.6931471805599453;

/// Builds into one function of one attention. Sums, differences and comparisons
/// are FoldingBuilder's, of index or i32 values alike.
class KernelBuilder : public FoldingBuilder {
public:
  using FoldingBuilder::FoldingBuilder;

  //===--- Constants and integers (index type unless said otherwise) ------===//
  mlir::Value index(int64_t value);
  mlir::Value i32(int64_t value) { return constant(value); }
  mlir::Value f32(double value);
  mlir::Value zero(mlir::Type type);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, int64_t b);
  mlir::Value div(mlir::Value a, mlir::Value b);     ///< a >= 0, rounds down
  mlir::Value ceilDiv(mlir::Value a, mlir::Value b); ///< a >= 0
  mlir::Value ceilDiv(mlir::Value a, int64_t b);
  mlir::Value remainder(mlir::Value a, int64_t b); ///< a >= 0
  mlir::Value toI32(mlir::Value index);
  mlir::Value toIndex(mlir::Value integer);

  //===--- Control ---------------------------------------------------------===//
  void loop(mlir::Value lower, mlir::Value upper, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);
  /// A loop that carries values; `body` returns their next ones.
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value lower, mlir::Value upper, int64_t step, mlir::ValueRange init,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)>
           body);
  /// [0, size) in parts: body(first, count) of whole parts, then of what is left.
  void forEachPart(int64_t size, int64_t part,
                   llvm::function_ref<void(mlir::Value, int64_t)> body);
  llvm::SmallVector<mlir::Value>
  forEachPart(int64_t size, int64_t part, mlir::ValueRange init,
              llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, int64_t,
                                                                mlir::ValueRange)>
                  body);
  void branch(mlir::Value condition, llvm::function_ref<void()> then,
              llvm::function_ref<void()> otherwise = {});

  //===--- Memory ----------------------------------------------------------===//
  /// pointer + bytes
  mlir::Value advance(mlir::Value pointer, mlir::Value bytes);
  mlir::Value advance(mlir::Value pointer, int64_t bytes) {
    return advance(pointer, index(bytes));
  }
  /// The field of `type` at `offset` of the structure at `pointer`.
  mlir::Value field(mlir::Value pointer, size_t offset, mlir::Type type);
  mlir::Value pointerField(mlir::Value pointer, size_t offset);
  mlir::Value indexField(mlir::Value pointer, size_t offset); ///< an int64_t
  /// The contiguous array at `pointer`.
  mlir::TypedValue<mlir::MemRefType>
  arrayAt(mlir::Value pointer, llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// The tensor of value `id` in the sa_view array at `values`, as a rank-4
  /// memref with a unit innermost stride.
  mlir::TypedValue<mlir::MemRefType> viewOf(mlir::Value values, int32_t id,
                                            mlir::Type element);
  mlir::Value viewPointer(mlir::Value values, int32_t id);
  mlir::Value load(mlir::Value memref, mlir::ValueRange indices);
  mlir::Value loadVector(mlir::Value memref, mlir::ValueRange indices,
                         mlir::VectorType type);
  /// The same of a tensor of f32, f16 or bf16, as f32.
  mlir::Value loadReal(mlir::Value memref, mlir::ValueRange indices);
  /// Lanes [0, count) in memory, zeros after them; as they are, and as f32.
  mlir::Value loadPart(mlir::Value memref, mlir::ValueRange indices, int64_t lanes,
                       int64_t count);
  mlir::Value loadRealVector(mlir::Value memref, mlir::ValueRange indices, int64_t lanes,
                             int64_t count);
  /// Rounds to the tensor's type, to nearest even.
  void storeRealVector(mlir::Value value, mlir::Value memref, mlir::ValueRange indices,
                       int64_t count);
  void storePart(mlir::Value value, mlir::Value memref, mlir::ValueRange indices,
                 int64_t count);
  void store(mlir::Value value, mlir::Value memref, mlir::ValueRange indices);
  void storeVector(mlir::Value value, mlir::Value memref, mlir::ValueRange indices);

  //===--- f32 vectors -----------------------------------------------------===//
  mlir::VectorType vectorType(int64_t lanes, mlir::Type element = {});
  mlir::Value splat(mlir::Value scalar, int64_t lanes);
  /// Lane `lane` of `vector` in every lane.
  mlir::Value splatLane(mlir::Value vector, int64_t lane);
  /// first + step * [0, 1, ..., lanes - 1] of i32
  mlir::Value lanesFrom(mlir::Value firstI32, mlir::Value stepI32, int64_t lanes);
  /// a > b ? a : b, the one instruction of the processor; b where a is NaN.
  mlir::Value maximum(mlir::Value a, mlir::Value b);
  /// 2^x for x <= 0: relative error below 2e-7, or 3e-6 with a polynomial of degree
  /// 4, where the result is above 2^-126, and some number below that under it; 1 for
  /// 0, 0 for -inf, NaN for NaN.
  mlir::Value exp2(mlir::Value x, const CPULevel &level, int degree = 5);
  /// The lanes folded by `combine`, always in the same order.
  mlir::Value reduce(mlir::Value vector,
                     llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  /// lanes >= 1: the first `count` lanes true.
  mlir::Value tailMask(int64_t count, int64_t lanes);
  /// a 2^exponent for whole exponents, of levels with scalef. It is right everywhere: a
  /// result below 2^-126 is rounded once, and the exponent -inf gives 0 even for NaN.
  mlir::Value scaleByPower(mlir::Value a, mlir::Value exponent);

  //===--- Words of the matrix products ------------------------------------===//
  /// `lanes` words of `count` neighbours in memory, zeros after them.
  mlir::Value loadWords(mlir::Value memref, mlir::ValueRange indices, const Words &words,
                        int64_t lanes, int64_t count);
  /// The words of `words.size` vectors of elements, one of each in every word.
  mlir::Value interleave(llvm::ArrayRef<mlir::Value> vectors, const Words &words);
  /// The same of two vectors of elements as wide as a vector of words: two vectors, in
  /// an order that one instruction each makes. `orderTwo` undoes it: it takes what
  /// belongs to the words of both to the order of their elements.
  llvm::SmallVector<mlir::Value> interleaveTwo(llvm::ArrayRef<mlir::Value> vectors,
                                               const Words &words);
  std::pair<mlir::Value, mlir::Value> orderTwo(mlir::Value first, mlir::Value second);
  /// Element `number` (an index below words.size) of every word, as f32.
  mlir::Value elementOf(mlir::Value vector, mlir::Value number, const Words &words);
  /// `words.size` vectors of f32 one after another, rounded to elements.
  mlir::Value round(llvm::ArrayRef<mlir::Value> vectors, const Words &words);
  /// sums + the products of the elements of the words of a and b.
  mlir::Value multiplyAdd(mlir::Value a, mlir::Value b, mlir::Value sums);
};

/// The last arguments of a classifier and of its helpers: p0, p1, j0, j1.
inline constexpr size_t kPairArguments = 4;

/// Clones a region of a block plan, for all of `arguments` at once: those that
/// are vectors make what depends on them vectors of `lanes`.
class RegionCloner {
public:
  RegionCloner(KernelBuilder &kernel, const KernelValues &ids, mlir::Value values,
               int64_t lanes)
      : kernel(kernel), ids(ids), values(values), lanes(lanes) {}

  /// n and H as i32, and the plan tables (only where helpers may occur).
  mlir::Value keys, heads, tables;
  /// Lanes that may be read from memory; null: all.
  mlir::Value inBounds;

  /// Whether keys that are neighbours in a vector are neighbours in memory.
  bool neighbours = true;
  /// Values of the region that are known already.
  mlir::IRMapping known;
  /// Where not null: what a helper answers, instead of a call of the runtime.
  std::function<mlir::Value(block_plan::HelperOp, mlir::ValueRange)> answer;

  /// Clones here what depends on none of the arguments that are null, and knows it
  /// from now on.
  void hoist(mlir::Region &region, mlir::ValueRange arguments);

  /// Calls the function that decides all pairs of a tile as `helper` decides a
  /// rectangle of them (abi.h). The helper's other arguments have to be known.
  void callFill(block_plan::HelperOp helper, mlir::Value pairs, mlir::Value bits);

  /// What the region yields for these block arguments.
  llvm::SmallVector<mlir::Value> clone(mlir::Region &region, mlir::ValueRange arguments);

private:
  mlir::Value cloneExtract(mlir::Operation *op, mlir::IRMapping &mapping,
                           mlir::Region &region);
  llvm::SmallVector<mlir::Value> getArguments(block_plan::HelperOp op, size_t count,
                                              mlir::IRMapping &mapping);
  mlir::func::CallOp callRuntime(llvm::StringRef symbol, mlir::ValueRange arguments,
                                 mlir::TypeRange results);
  void cloneOp(mlir::Operation *op, mlir::IRMapping &mapping, mlir::Region &region);
  mlir::Value lookup(mlir::Value value, mlir::IRMapping &mapping);

  KernelBuilder &kernel;
  const KernelValues &ids;
  mlir::Value values;
  int64_t lanes;
};

/// What the parts of an attend function share.
struct AttendContext {
  mutable block_plan::AttentionOp plan; // handles of IR are not const-correct

  const KernelValues &ids;
  KernelShape shape;
  mutable mlir::ModuleOp module;
  std::string prefix; ///< of the symbols of helper functions
  bool listed;        ///< keys are those of a list, which a call brings

  /// Of the scores, > 0. Products leave plain dot products, whose largest is the largest
  /// score, and the softmax scales them.
  double getScale() const;
  /// What takes the scores that a tile's softmax keeps to units of log2. Modifiers
  /// see, and leave, natural scores.
  double getLog2Factor() const;
};

/// Only where canFill(context.plan).
void buildFill(const AttendContext &context, llvm::StringRef symbol);

/// Which rows of K and V the keys of a tile are: first, first + step, ... or, where there
/// is a list, what its elements first, first + 1, ... name.
struct TileKeys {
  mlir::Value batch, kvHead, first, step;
  mlir::Value list; ///< pointer to i32; null: none

  mlir::Value rowOf(KernelBuilder &b, mlir::Value key) const;
  /// Indices of K or V for a key of the tile.
  llvm::SmallVector<mlir::Value> at(KernelBuilder &b, mlir::Value key,
                                    mlir::Value column) const {
    return {batch, kvHead, rowOf(b, key), column};
  }
};

/// Asks for the whole of a key of K or V, some keys after `key`, before it is needed.
void buildPrefetchAhead(KernelBuilder &b, const TileKeys &keys, mlir::Value memref,
                        mlir::Value key, int64_t dim);

/// result[i] = the sum over lanes of vectors[i], of as many vectors as there are lanes.
mlir::Value buildSumsOfLanes(KernelBuilder &b, llvm::SmallVector<mlir::Value> vectors);

/// The arguments of a call (an sa_attend_args) and the arrays of its scratch.
struct Frame {
  Frame(KernelBuilder &b, const KernelShape &shape, mlir::Value args);

  mlir::Value args, values, scratch, batch, head, kvHead, stack, firstRow, rows, step;
  mlir::Value list, listWeights; ///< read by kernels of listed keys alone
  mlir::Value total;             ///< rows * stack; row r is row r % rows of head r / rows
  mlir::Value groups;            ///< register tiles of all rows
  mlir::Value queries, weights, maxima, sums, outputs;

  /// Calls `body` for every row: its number in the scratch, in its query tile, and its
  /// head.
  void forEachRow(
      KernelBuilder &b,
      llvm::function_ref<void(mlir::Value number, mlir::Value index, mlir::Value head)>
          body) const;

  /// The keys of the tile whose first one is number `first`.
  TileKeys keysOf(const AttendContext &context, mlir::Value first) const {
    return {batch, kvHead, first, step, context.listed ? list : mlir::Value()};
  }

  /// The row of Q, O and LSE that is row `index` of the query tile.
  mlir::Value tensorRow(KernelBuilder &b, mlir::Value index) const {
    return b.add(firstRow, b.mul(index, step));
  }
};

/// RowState.cpp: the online softmax's state of every row of a frame.
void buildStart(KernelBuilder &b, const AttendContext &context, const Frame &frame);
void buildQueries(KernelBuilder &b, const AttendContext &context, const Frame &frame);
void buildSaveState(KernelBuilder &b, const AttendContext &context, const Frame &frame,
                    mlir::Value states);
void buildFinish(KernelBuilder &b, const AttendContext &context, const Frame &frame);
void buildCombine(const AttendContext &context, llvm::StringRef symbol);

/// Each declares a private function and returns it.
mlir::func::FuncOp buildScores(const AttendContext &context);
mlir::func::FuncOp buildScoresInPlace(const AttendContext &context);
mlir::func::FuncOp buildSoftmax(const AttendContext &context, bool full);
mlir::func::FuncOp buildAccumulate(const AttendContext &context);
mlir::func::FuncOp buildAccumulateNonFinite(const AttendContext &context);
mlir::func::FuncOp buildAccumulateInPlace(const AttendContext &context, bool full);
/// pack(values, packed tile, b, kv head, first key, keys, step, list)
mlir::func::FuncOp buildPackTile(const AttendContext &context);
void buildPack(const AttendContext &context, mlir::func::FuncOp packTile,
               llvm::StringRef symbol);
void buildAttend(const AttendContext &context, mlir::func::FuncOp packTile,
                 llvm::StringRef symbol);
/// An sa_score_fn, of units of `block` keys.
void buildScore(const AttendContext &context, ScoreOpInterface score, int64_t block,
                llvm::StringRef symbol);
void buildKeyScores(const AttendContext &context, llvm::StringRef symbol);
void buildProject(const AttendContext &context, llvm::StringRef symbol);
void buildClassify(block_plan::AttentionOp plan, mlir::Region &region,
                   const KernelValues &ids, mlir::ModuleOp module,
                   llvm::StringRef symbol);
/// Only where getExtentSymbol names one.
void buildExtent(block_plan::AttentionOp plan, const KernelValues &ids,
                 mlir::ModuleOp module, llvm::StringRef symbol);

/// A function of pointers and i64 values at the end of `module`; `body` gets its
/// arguments.
mlir::func::FuncOp
buildFunction(mlir::ModuleOp module, mlir::Location loc, llvm::StringRef name,
              mlir::TypeRange arguments, bool isPrivate,
              llvm::function_ref<void(KernelBuilder &, mlir::ValueRange)> body);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_KERNELBUILDER_H
