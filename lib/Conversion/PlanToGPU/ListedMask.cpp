//===- ListedMask.cpp - what a mask does with keys that a run lists -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask that a run decides combines what is known before, the structures of the plan,
// with lists. Of a key that some list names it is an expression of the structures and of
// which lists do, in Kleene's logic, or in that of probabilities.
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"

using namespace mlir;
using namespace sparse_attn;

/// A rectangle that a mask is asked about, and what its parts have said.
struct KeyLists::Question {
  Value head;
  Values rectangle; ///< the arguments of the structures' regions
  Value members;    ///< as classOf() takes them
  llvm::DenseMap<Value, TileClass> known;
};

KeyLists::Question KeyLists::ask(Value head, Value p0, Value p1, Value key,
                                 Value members) {
  return {head,
          {frame.batch, head, p0, p1, key, key, b.i32(1)},
          members,
          llvm::DenseMap<Value, TileClass>()};
}

size_t KeyLists::numberOf(Value list) {
  return llvm::find(context.shape.lists.masks, list) - context.shape.lists.masks.begin();
}

/// Whether operand number `operand` of masks by head is that of this one.
Value KeyLists::isOfHead(const KeySet &set, int64_t operand, Value head) {
  Value result = b.truth(false);
  for (auto [h, own] : llvm::enumerate(set.parameters))
    if (own == operand)
      result = b.lor(result, b.eq(head, b.i32(h)));
  return result;
}

//===----------------------------------------------------------------------===//
// Whether pairs are kept
//===----------------------------------------------------------------------===//

TileClass KeyLists::classOfStructure(size_t number, const Question &question) {
  Region &structure = context.plan.getStructures()[number];
  SmallVector<Value> answer =
      makeCloner(b, context, frame).clone(structure, question.rectangle);
  return {answer[0], answer[1]};
}

TileClass KeyLists::classOfList(Value list, const Question &question) {
  if (!question.members)
    return {b.truth(true), b.truth(true)};
  Value bit = b.i32(static_cast<int32_t>(1u << numberOf(list)));
  Value names = b.ne(b.band(question.members, bit), b.i32(0));
  return {names, names};
}

TileClass KeyLists::combineOperands(const KeySet &set, Question &question) {
  SmallVector<TileClass> operands;
  for (auto [number, operand] : llvm::enumerate(set.operands)) {
    TileClass kind = combine(operand, question);
    if (set.negates(number))
      kind = {b.lnot(kind.must), b.lnot(kind.may)};
    operands.push_back(kind);
  }
  TileClass result = operands[0];
  for (size_t number = 1; number < operands.size(); ++number) {
    TileClass kind = operands[number];
    if (set.kind == KeySet::Heads) {
      Value isOwn = isOfHead(set, number, question.head);
      result = {b.select(isOwn, kind.may, result.may),
                b.select(isOwn, kind.must, result.must)};
    } else if (set.kind == KeySet::Union) {
      result = {b.lor(result.may, kind.may), b.lor(result.must, kind.must)};
    } else {
      result = {b.land(result.may, kind.may), b.land(result.must, kind.must)};
    }
  }
  return result;
}

TileClass KeyLists::combine(Value mask, Question &question) {
  if (auto known = question.known.find(mask); known != question.known.end())
    return known->second;
  auto structures = context.plan.getKnown();
  TileClass kind;
  if (auto own = llvm::find(structures, mask); own != structures.end()) {
    kind = classOfStructure(own - structures.begin(), question);
  } else {
    KeySet set = *cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
    kind = set.kind == KeySet::List ? classOfList(mask, question)
                                    : combineOperands(set, question);
  }
  question.known[mask] = kind;
  return kind;
}

TileClass KeyLists::classOf(Value head, Value p0, Value p1, Value key, Value members) {
  Question question = ask(head, p0, p1, key, members);
  return combine(context.plan.getChoice(), question);
}

//===----------------------------------------------------------------------===//
// With which probability
//===----------------------------------------------------------------------===//

/// As docs/semantics.md, section 2, has it of independent draws.
Value KeyLists::multiply(Value mask, Question &question, ArrayRef<Value> ofLists) {
  Value one = b.f32(1);
  if (!cast<MaskType>(mask.getType()).getSampled())
    return b.select(combine(mask, question).must, one, b.f32(0));
  KeySet set = *cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
  if (set.kind == KeySet::List)
    return ofLists[numberOf(mask)];
  Value result;
  for (auto [number, operand] : llvm::enumerate(set.operands)) {
    Value own = multiply(operand, question, ofLists);
    if (set.negates(number))
      own = b.subF(one, own);
    if (!result)
      result = own;
    else if (set.kind == KeySet::Heads)
      result = b.select(isOfHead(set, number, question.head), own, result);
    else if (set.kind == KeySet::Union)
      // 1 - (1 - a) (1 - b), whose differences would lose what is small.
      result = b.fma(own, b.subF(one, result), result);
    else
      result = b.mulF(result, own);
  }
  return result;
}

/// Of a row and a key that lists name with these probabilities, or 0.
Value KeyLists::probabilityOf(Value position, Value key, Value members,
                              ArrayRef<Value> ofLists) {
  Question question = ask(frame.head, position, position, key, members);
  return multiply(context.plan.getChoice(), question, ofLists);
}
