//===- ListElements.cpp - the lists of a mask, one after another ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Elements are numbered through all lists that a mask combines:
//
//   list       a . . . . | b . .
//   element    0 1 2 3 4   5 6 7
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "sparse_attn/abi.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kWord = 4; // bytes

Values KeyLists::Element::flatten() const {
  Values values = {list, key, counts};
  if (probability)
    values.push_back(probability);
  return values;
}
KeyLists::Element KeyLists::Element::restore(ValueRange values) {
  return {values[0], values[1], values[2], values.size() > 3 ? values[3] : Value()};
}

/// What no check of a run has refused: it is the same as padding.
static Value isProbability(GPUBuilder &b, Value x) {
  auto compare = [&](arith::CmpFPredicate predicate, double bound) -> Value {
    return arith::CmpFOp::create(b.builder, b.loc, predicate, x, b.f32(bound));
  };
  return b.land(compare(arith::CmpFPredicate::OGT, 0),
                compare(arith::CmpFPredicate::OLE, 1));
}

static KeySet getSet(const GPUContext &context, size_t list) {
  Value mask = context.shape.lists.masks[list];
  return *cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
}

Value KeyLists::lengthOf(size_t list) {
  Value indices = getSet(context, list).inputs[0];
  Value view = b.viewPointer(frame.values, context.ids.id(indices));
  return b.field(view, offsetof(sa_view, size) + 3 * sizeof(int64_t),
                 b.builder.getI32Type());
}

/// The number of its first element.
Value KeyLists::beginOf(size_t list) {
  Value begin = b.i32(0);
  for (size_t before = 0; before < list; ++before)
    begin = b.add(begin, lengthOf(before));
  return begin;
}

/// Element `number` of one list.
KeyLists::Element KeyLists::loadOf(size_t list, Value number) {
  KeySet set = getSet(context, list);
  Value head = set.parameters[0] ? frame.kvHead : frame.head;
  Value unit = b.divU(frame.firstRow, set.rows);
  auto loadFrom = [&](Value tensor, Type type) {
    Value row = GPUTensor(b, frame, context.ids.id(tensor), kWord)
                    .row(b, frame.batch, head, unit);
    return b.loadAt(type, b.element(row, number, kWord), b.i32(0), kWord);
  };
  Element element;
  element.list = b.i32(list);
  element.key = loadFrom(set.inputs[0], b.builder.getI32Type());
  element.counts = b.land(b.ge(element.key, b.i32(0)), b.lt(element.key, frame.keys));
  if (Value probability = set.inputs[1]) {
    element.probability = loadFrom(probability, b.builder.getF32Type());
    element.counts = b.land(element.counts, isProbability(b, element.probability));
  } else if (context.shape.weighted) {
    element.probability = b.f32(1);
  }
  return element;
}

/// Element `number` of the first `lists` lists.
KeyLists::Element KeyLists::load(size_t lists, Value number) {
  size_t last = lists - 1;
  if (last == 0)
    return loadOf(0, number);
  Value begin = beginOf(last);
  return Element::restore(b.choose(
      b.ge(number, begin), [&] { return loadOf(last, b.sub(number, begin)).flatten(); },
      [&] { return load(last, number).flatten(); }));
}

KeyLists::Element KeyLists::load(Value number) {
  return load(context.shape.lists.masks.size(), number);
}

/// Elements [first, end) that count, spread over the threads.
void KeyLists::forEach(Value first, Value end,
                       function_ref<void(Value number, const Element &)> body) {
  b.loop(b.toIndex(b.add(first, frame.thread)), b.toIndex(end), context.shape.threads,
         [&](Value index) {
           Value number = b.toI32(index);
           Element element = load(number);
           b.branch(element.counts, [&] { body(number, element); });
         });
}
