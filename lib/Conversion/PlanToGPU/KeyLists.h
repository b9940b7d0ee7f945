//===- KeyLists.h - keys that operands list, as tiles ----------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H
#define SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H

#include "AttendGPU.h"

namespace sparse_attn {

/// The keys that operands list for the rows of a block, in shared memory: see
/// KeyLists.cpp. Those past the last one are negative.
class KeyLists {
public:
  KeyLists(GPUBuilder &b, const GPUContext &context, const GPUFrame &frame)
      : b(b), context(context), frame(frame) {}

  Values begin();
  std::pair<GPUTile, Values> next(mlir::ValueRange state);

  /// The key at a place, and log2 of one over its probability.
  mlir::Value keyAt(mlir::Value place);
  mlir::Value biasAt(mlir::Value place);
  /// What rows at positions [p0, p1] of a head do with a key that lists name: `members`
  /// has a bit for each of several, and is null where there is one.
  TileClass classOf(mlir::Value head, mlir::Value p0, mlir::Value p1, mlir::Value key,
                    mlir::Value members = {});
  /// Pointer to the bits of a row of bit tile `number`, which next() has decided.
  mlir::Value bitsOf(mlir::Value number, const GPURow &row);

private:
  struct Element;
  struct Table;
  struct Question;

  // ListElements.cpp
  mlir::Value lengthOf(size_t list);
  mlir::Value beginOf(size_t list);
  Element loadOf(size_t list, mlir::Value number);
  Element load(size_t lists, mlir::Value number);
  Element load(mlir::Value number);
  void forEach(mlir::Value first, mlir::Value end,
               llvm::function_ref<void(mlir::Value number, const Element &)> body);

  // ListedMask.cpp
  Question ask(mlir::Value head, mlir::Value p0, mlir::Value p1, mlir::Value key,
               mlir::Value members);
  size_t numberOf(mlir::Value list);
  mlir::Value isOfHead(const KeySet &set, int64_t operand, mlir::Value head);
  TileClass classOfStructure(size_t number, const Question &question);
  TileClass classOfList(mlir::Value list, const Question &question);
  TileClass combineOperands(const KeySet &set, Question &question);
  TileClass combine(mlir::Value mask, Question &question);
  mlir::Value multiply(mlir::Value mask, Question &question,
                       llvm::ArrayRef<mlir::Value> ofLists);
  mlir::Value probabilityOf(mlir::Value position, mlir::Value key, mlir::Value members,
                            llvm::ArrayRef<mlir::Value> ofLists);

  mlir::Value shared(int64_t at, mlir::Value number);
  mlir::Value wordAt(int64_t at, mlir::Value number);
  GPUFrame getAskedFrame() const;
  void markKept(Table &table, mlir::Value first, mlir::Value end);
  mlir::Value probabilityOf(Table &table, const Element &element, mlir::Value slot,
                            mlir::Value members);
  mlir::Value writeList(Table &table, mlir::Value first, mlir::Value at);
  mlir::Value makeList(mlir::Value first, mlir::Value end, mlir::Value at);
  void decidePairs(mlir::Value place, mlir::Value number);

  GPUBuilder &b;
  const GPUContext &context;
  const GPUFrame &frame;
};

/// An element of a list, which may be padding.
struct KeyLists::Element {
  mlir::Value list; ///< its number, i32
  mlir::Value key;
  mlir::Value counts;      ///< i1
  mlir::Value probability; ///< null where no key has one

  Values flatten() const;
  static Element restore(mlir::ValueRange values);
};

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_KEYLISTS_H
