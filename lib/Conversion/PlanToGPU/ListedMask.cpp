//===- ListedMask.cpp - what a mask does with keys that a run lists -------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask that a run decides combines what is known before, the structures of the plan,
// with a list. Of the keys in the list it is an expression of structures alone; of other
// keys it must be empty, which a table of all cases shows:
//
//   causal & (window | listed) & ~(causal & window)       listed:     causal & ~window
//                                                         unlisted:   none
//
//===----------------------------------------------------------------------===//

#include "KeyLists.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Of the keys in the list
//===----------------------------------------------------------------------===//

TileClass KeyLists::combineHeads(const KeySet &set, Value head,
                                 ArrayRef<TileClass> operands) {
  TileClass chosen = operands[0];
  for (size_t number = 1; number < operands.size(); ++number) {
    Value isChosen = b.truth(false);
    for (auto [h, operand] : llvm::enumerate(set.parameters))
      if (operand == static_cast<int64_t>(number))
        isChosen = b.lor(isChosen, b.eq(head, b.i32(h)));
    chosen = {b.select(isChosen, operands[number].may, chosen.may),
              b.select(isChosen, operands[number].must, chosen.must)};
  }
  return chosen;
}

/// A rectangle that a mask is asked about, and what its parts have said.
struct KeyLists::Question {
  Value head;
  Values rectangle; ///< the arguments of the structures' regions
  llvm::DenseMap<Value, TileClass> known;
};

/// Kleene's logic.
TileClass KeyLists::combineOperands(const KeySet &set, Question &question) {
  SmallVector<TileClass> operands;
  for (auto [number, operand] : llvm::enumerate(set.operands)) {
    TileClass kind = combine(operand, question);
    if (set.negates(number))
      kind = {b.lnot(kind.must), b.lnot(kind.may)};
    operands.push_back(kind);
  }
  if (set.kind == KeySet::Heads)
    return combineHeads(set, question.head, operands);
  TileClass result = operands[0];
  for (const TileClass &kind : llvm::drop_begin(operands))
    result =
        set.kind == KeySet::Union
            ? TileClass{b.lor(result.may, kind.may), b.lor(result.must, kind.must)}
            : TileClass{b.land(result.may, kind.may), b.land(result.must, kind.must)};
  return result;
}

TileClass KeyLists::combine(Value mask, Question &question) {
  if (auto known = question.known.find(mask); known != question.known.end())
    return known->second;
  block_plan::AttentionOp plan = context.plan;
  TileClass kind;
  auto structure = llvm::find(plan.getKnown(), mask);
  if (structure != plan.getKnown().end()) {
    RegionCloner cloner(b, context.ids, frame.values, 1);
    cloner.keys = frame.tokens;
    cloner.heads = frame.heads;
    cloner.answer = [&](block_plan::HelperOp helper, ValueRange arguments) {
      return buildHelper(b, helper, arguments);
    };
    size_t number = structure - plan.getKnown().begin();
    SmallVector<Value> answer =
        cloner.clone(plan.getStructures()[number], question.rectangle);
    kind = {answer[0], answer[1]};
  } else {
    KeySet set = *cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
    kind = set.kind == KeySet::List ? TileClass{b.truth(true), b.truth(true)}
                                    : combineOperands(set, question);
  }
  question.known[mask] = kind;
  return kind;
}

TileClass KeyLists::classOf(Value head, Value p0, Value p1, Value key) {
  Question question = {head,
                       {frame.batch, head, p0, p1, key, key, b.i32(1)},
                       llvm::DenseMap<Value, TileClass>()};
  return combine(context.plan.getChoice(), question);
}

//===----------------------------------------------------------------------===//
// Of other keys
//===----------------------------------------------------------------------===//

namespace {
/// Decides a mask of keys that no list names, for a head, where each of some masks that
/// are no combination of others keeps them or not.
struct UnlistedCase {
  int64_t head;
  llvm::DenseMap<Value, bool> keeps;

  bool isKept(Value mask) const;
};
} // namespace

static bool isCombination(const KeySet &set) {
  switch (set.kind) {
  case KeySet::Union:
  case KeySet::Intersect:
  case KeySet::Difference:
  case KeySet::Complement:
  case KeySet::Heads:
    return true;
  default:
    return false;
  }
}

static std::optional<KeySet> getKeySet(Value mask) {
  return cast<MaskOpInterface>(mask.getDefiningOp()).getKeySet();
}

bool UnlistedCase::isKept(Value mask) const {
  if (auto known = keeps.find(mask); known != keeps.end())
    return known->second;
  KeySet set = *getKeySet(mask);
  if (set.kind == KeySet::List)
    return false;
  if (set.kind == KeySet::Heads)
    return isKept(set.operands[set.parameters[head]]);
  auto keepsOperand = [&](auto operand) {
    return isKept(operand.value()) != set.negates(operand.index());
  };
  auto operands = llvm::enumerate(set.operands);
  return set.kind == KeySet::Union ? llvm::any_of(operands, keepsOperand)
                                   : llvm::all_of(operands, keepsOperand);
}

/// The parts of a mask that combine no others, but for lists, and its number of heads
/// where it names some.
static void collectParts(Value mask, llvm::SmallSetVector<Value, 8> &parts,
                         int64_t &heads) {
  std::optional<KeySet> set = getKeySet(mask);
  if (!set || !isCombination(*set)) {
    if (!set || set->kind != KeySet::List)
      parts.insert(mask);
    return;
  }
  if (set->kind == KeySet::Heads)
    heads = set->parameters.size();
  for (Value operand : set->operands)
    collectParts(operand, parts, heads);
}

/// More parts than this are taken to keep something.
static constexpr size_t kMostParts = 12;

static bool keepsUnlisted(Value mask) {
  llvm::SmallSetVector<Value, 8> parts;
  int64_t heads = 1;
  collectParts(mask, parts, heads);
  if (parts.size() > kMostParts)
    return true;
  for (int64_t head = 0; head < heads; ++head)
    for (unsigned number = 0; number < 1u << parts.size(); ++number) {
      UnlistedCase unlisted{head, llvm::DenseMap<Value, bool>()};
      for (auto [i, part] : llvm::enumerate(parts))
        unlisted.keeps[part] = number >> i & 1;
      if (unlisted.isKept(mask))
        return true;
    }
  return false;
}

std::string sparse_attn::getListObstacle(block_plan::AttentionOp plan) {
  Value mask = plan.getChoice();
  if (!mask)
    return "";
  int64_t lists = 0;
  for (Operation *op : collectOps(mask)) {
    auto part = dyn_cast<MaskOpInterface>(op);
    if (!part || part.getOwnBinding() != Binding::Run)
      continue;
    if (part.getKeySet()->kind != KeySet::List)
      return ("'" + op->getName().getStringRef() +
              "' chooses keys when it runs, for which there are no GPU kernels yet; list "
              "them in an operand of `listed`")
          .str();
    ++lists;
  }
  if (lists > 1)
    return "masks of several lists have no GPU kernels yet; list their keys in one";
  if (keepsUnlisted(mask))
    return "masks that keep what a list leaves out have no GPU kernels yet";
  for (Region &region : plan.getStructures()) {
    bool answers = true;
    region.walk([&](block_plan::HelperOp helper) { answers &= isHelperOnGPU(helper); });
    if (!answers)
      return "lists beside masks that only the processor looks up (graph_hop, "
             "random_blocks) have no GPU kernels yet";
  }
  return "";
}

bool sparse_attn::readsStructures(block_plan::AttentionOp plan) {
  bool reads = false;
  for (Region &region : plan.getStructures())
    region.walk([&](block_plan::HelperOp) { reads = true; });
  return reads;
}
