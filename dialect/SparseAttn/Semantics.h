//===- Semantics.h - evaluating masks and describing operands --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The vocabulary of the dialect's interfaces that needs no IR construction: a pair,
// the values that its meaning may depend on, and what an op demands of its tensor
// operands.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_SEMANTICS_H
#define SPARSE_ATTN_DIALECT_SEMANTICS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace sparse_attn {

/// When the pairs of a mask are known.
enum class Binding {
  Compile = 0, ///< a closed form of (p, j, h, n)
  Plan = 1,    ///< depends on layout operands
  Run = 2      ///< depends on the values of Q and K, or is drawn for each row
};

/// Of what one number of a score is.
enum class Granularity {
  Key,   ///< one row and one key
  Block, ///< one row and a block of keys
  Tile   ///< a tile of rows and a block of keys
};

/// One (query, key) of one head. Row i sits at position p.
struct Pair {
  int64_t b = 0, h = 0, i = 0, p = 0, j = 0;
};

/// The rows [i0, i1) of one head: a query unit of a selection, cut to the rows there
/// are.
struct QueryUnit {
  int64_t b = 0, h = 0, i0 = 0, i1 = 0;
};

/// What masks and scores that are bound at run time read of the attention that they
/// belong to, in float64.
class AttentionValues {
public:
  virtual ~AttentionValues();

  /// m of batch entry b.
  virtual int64_t queries(int64_t b) = 0;
  /// p - i in batch entry b.
  virtual int64_t shift(int64_t b) = 0;
  /// Hkv.
  virtual int64_t keyHeads() = 0;
  virtual double scale() = 0;
  virtual llvm::ArrayRef<double> query(int64_t b, int64_t h, int64_t i) = 0;
  /// Row j of K or V of a key/value head.
  virtual llvm::ArrayRef<double> key(int64_t b, int64_t keyHead, int64_t j) = 0;
  virtual llvm::ArrayRef<double> value(int64_t b, int64_t keyHead, int64_t j) = 0;
  /// s of a pair after the modifiers; -infinity where a modifier excludes it.
  virtual double score(const Pair &pair) = 0;
};

/// The run-time values that evaluating a mask needs. Positions count tokens.
class Evaluator {
public:
  virtual ~Evaluator();

  /// Element of a tensor operand; integers are exact. A leading axis of size 1
  /// broadcasts.
  virtual double at(mlir::Value tensor, llvm::ArrayRef<int64_t> index) = 0;
  virtual llvm::ArrayRef<int64_t> shape(mlir::Value tensor) = 0;
  /// n of batch entry b.
  virtual int64_t keys(int64_t b) = 0;
  /// H.
  virtual int64_t heads() = 0;
  /// The attention whose mask this is. Only masks bound at run time ask for it.
  virtual AttentionValues &attention();
  /// A value that an op reads is out of range: results mean nothing.
  virtual void fail(const llvm::Twine &reason);

  int64_t integer(mlir::Value tensor, llvm::ArrayRef<int64_t> index) {
    return static_cast<int64_t>(at(tensor, index));
  }
  /// The inclusion probability that `mask` gives to `pair`.
  double evaluate(mlir::Value mask, const Pair &pair);
  /// Whether this run keeps `pair`.
  bool isDrawn(mlir::Value mask, const Pair &pair);
  /// The key/value head that query head h reads.
  int64_t keyHead(int64_t h);

  /// Something an op derives from its operands once (distances of a graph, ...),
  /// made by `make` at the first call for (op, key).
  template <typename T, typename Make>
  T &derived(mlir::Operation *op, int64_t key, Make make) {
    // Making one may make others: look the slot up afterwards.
    std::shared_ptr<void> known = cache.lookup({op, key});
    if (!known)
      cache[{op, key}] = known = std::make_shared<T>(make());
    return *static_cast<T *>(known.get());
  }

  /// The same for what is asked for key after key: only the last is held, and the
  /// result is valid until the next call for `op`.
  template <typename T, typename Make>
  T &latest(mlir::Operation *op, int64_t key, Make make) {
    Latest &slot = latestOf[op];
    if (!slot.value || slot.key != key) {
      std::shared_ptr<void> value = std::make_shared<T>(make());
      latestOf[op] = {key, value};
      return *static_cast<T *>(value.get());
    }
    return *static_cast<T *>(slot.value.get());
  }

private:
  struct Latest {
    int64_t key = 0;
    std::shared_ptr<void> value;
  };
  llvm::DenseMap<std::pair<mlir::Operation *, int64_t>, std::shared_ptr<void>> cache;
  llvm::DenseMap<mlir::Operation *, Latest> latestOf;
};

/// The run-time size that an axis must have. The values are those of
/// sa_tensor::axis in the runtime's abi.h.
enum class Axis : int32_t {
  Free = 0,
  Batch = 1,
  Heads = 2,
  KvHeads = 3,
  Queries = 4,
  Keys = 5,
  Odd = 6, ///< any odd size
  BatchOrOne = 17,
  HeadsOrOne = 18,
  QueriesOrOne = 20,
  KeysOrOne = 21,
};

/// A tensor operand of an op: `offsets[b, s + 1]` of i32.
struct TensorSpec {
  llvm::StringLiteral name;
  unsigned elementBits; ///< 32: i32, 8: i8; with isFloat: f32
  bool isFloat;
  bool optional;
  unsigned rank;
  std::array<Axis, 4> axes; ///< the first `rank` count
};

/// An operand or attribute as an expression writes it: `left = 1023`, `offsets`.
/// TableGen fills it from the op's `arguments`.
struct ParameterSpec {
  enum Kind { Integer, Real, Boolean, IntegerList, Word, Tensor, Mask, Score };
  llvm::StringLiteral name;
  Kind kind;
  bool optional, variadic;
  /// Of a Word: the attribute's mnemonic and the words that it may be, with blanks
  /// between them.
  llvm::StringLiteral mnemonic, words;
  /// What an attribute is where it is left out, "" where it is then absent.
  llvm::StringLiteral otherwise;
};

/// Axis `axis` of a weight of `op` has `size` entries.
struct WeightSize {
  mlir::Operation *op;
  mlir::Value tensor;
  llvm::StringLiteral name; ///< of the operand
  unsigned axis;
  int64_t size;
  llvm::StringLiteral reason; ///< "the numbers of a row", "its tables", ...
};

/// Something that is kept beside the KV cache of a (b, key/value head), or of a
/// (b, query head): `width` words for every `keys` keys. The values of `word` are those
/// of sa_key_state::word in the runtime's abi.h.
struct KeyState {
  /// OfKeys: numbers that keys have, exact in the keys' own type (`setKeyType`).
  enum Word : int32_t {
    OfKeys = 0,
    F32 = 1,
    I32 = 2,
    U16 = 3,
    U8 = 4,
    F16 = 5,
    BF16 = 6
  };
  llvm::StringLiteral name;
  Word word;
  int64_t width, keys;
  bool perQueryHead;

  void setKeyType(mlir::Type element) {
    if (word == OfKeys)
      word = element.isBF16() ? BF16 : element.isF16() ? F16 : F32;
  }
  int64_t bytes() const {
    assert(word != OfKeys && "the type of the keys is not known yet");
    return width * (word == U8 ? 1 : word == F32 || word == I32 ? 4 : 2);
  }
};

/// How keys become states, and query rows the words that a score compares them with;
/// the values of `kind` are those of sa_encoding::kind, which documents the rest.
struct Encoding {
  enum Kind : int32_t {
    None = 0,
    Pages = 1,
    Hash = 2,
    Channels = 3,
    Pq = 4,
    SoftHash = 5,
    Pooled = 6,
    Antidiagonal = 7,
    Cluster = 8,
    Lsh = 9
  };
  Kind kind;
  int64_t queryWords;                    ///< of 32 bits
  llvm::SmallVector<mlir::Value> inputs; ///< a null value where absent
  llvm::SmallVector<int64_t> parameters;
  llvm::SmallVector<double> reals;
};

/// Scores that are one of few numbers: best, best - step, ...
struct ScoreLevels {
  int64_t count;
  double best, step;
};

/// What a mask that a run decides does to make a set of keys; the values of `kind` are
/// those of sa_set::kind, which documents the rest.
struct KeySet {
  enum Kind : int32_t {
    Structure = 1,
    List = 2,
    Union = 3,
    Intersect = 4,
    Difference = 5,
    Heads = 6,
    TopK = 7,
    TopP = 8,
    Threshold = 9,
    Cluster = 10,
    Random = 11,
    Lsh = 12,
    Adaptive = 13,
    Complement = 14
  };
  Kind kind;
  llvm::SmallVector<mlir::Value> operands; ///< masks; of what chooses, candidates first
  llvm::SmallVector<mlir::Value> inputs;   ///< tensors, a null value where absent
  llvm::SmallVector<int64_t> parameters;
  llvm::SmallVector<double> reals;
  int64_t rows = 1; ///< that choose together

  /// Whether the set has fewer keys where this operand has more.
  bool negates(size_t operand) const {
    return kind == Complement || (kind == Difference && operand == 1);
  }
};

/// What a plan checks about layout operands; the values of `kind` are those of
/// sa_check::kind.
struct PlanCheck {
  enum Kind : int32_t {
    Offsets = 1,
    Length = 2,
    Index = 3,
    Bsr = 4,
    Graph = 5,
    Heads = 6
  };
  Kind kind;
  llvm::SmallVector<mlir::Value> inputs; ///< a null value where absent
  llvm::SmallVector<int64_t> parameters;
};

/// A table that the runtime derives from operands when a plan is created; the
/// values of `kind` are those of sa_table::kind.
struct PlanTable {
  enum Kind : int32_t { Reach = 1 };
  Kind kind;
  llvm::SmallVector<mlir::Value> inputs;
  llvm::SmallVector<int64_t> parameters;
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_DIALECT_SEMANTICS_H
