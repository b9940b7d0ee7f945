//===- Semantics.h - evaluating masks and describing operands --*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The vocabulary of MaskOpInterface and ModifierOpInterface that needs no IR
// construction: a pair, the values that its meaning may depend on, and what an
// op demands of its layout operands.
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_DIALECT_SEMANTICS_H
#define SPARSE_ATTN_DIALECT_SEMANTICS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include <array>
#include <cstdint>
#include <memory>

namespace sparse_attn {

/// When the pairs of a mask are known.
enum class Binding {
  Compile = 0, ///< a closed form of (p, j, h, n)
  Plan = 1,    ///< depends on layout operands
  Run = 2      ///< depends on the values of Q and K
};

/// One (query, key) of one head. Row i sits at position p.
struct Pair {
  int64_t b = 0, h = 0, i = 0, p = 0, j = 0;
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

  int64_t integer(mlir::Value tensor, llvm::ArrayRef<int64_t> index) {
    return static_cast<int64_t>(at(tensor, index));
  }
  /// The inclusion probability that `mask` gives to `pair`.
  double evaluate(mlir::Value mask, const Pair &pair);

  /// Something an op derives from its operands once (distances of a graph, ...),
  /// made by `make` at the first call for (op, key).
  template <typename T, typename Make>
  T &derived(mlir::Operation *op, int64_t key, Make make) {
    std::shared_ptr<void> &slot = cache[{op, key}];
    if (!slot)
      slot = std::make_shared<T>(make());
    return *static_cast<T *>(slot.get());
  }

private:
  llvm::DenseMap<std::pair<mlir::Operation *, int64_t>, std::shared_ptr<void>> cache;
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
  enum Kind { Integer, Real, Boolean, IntegerList, Tensor, Mask };
  llvm::StringLiteral name;
  Kind kind;
  bool optional, variadic;
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

/// Keys that a run lists for every block of `rows` rows: [B or 1, H or Hkv or 1,
/// blocks, any], and the probability of each, if any.
struct KeyList {
  mlir::Value indices, probability;
  int64_t rows;
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
