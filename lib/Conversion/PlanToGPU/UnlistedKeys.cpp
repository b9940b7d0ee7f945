//===- UnlistedKeys.cpp - which lists bound a mask ------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel gathers keys that lists name, and a mask must be empty of others, which a
// table of all cases shows. Lists that it needs not for that are only asked about keys:
//
//   causal & (window | listed(a)) & ~(causal & window)     none without a: a bounds it
//   (listed(a) | listed(b)) - listed(c)                    a and b do; c is asked
//
//===----------------------------------------------------------------------===//

#include "AttendGPU.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace sparse_attn;

namespace {
/// Decides a mask of a key for a head, where each of some masks that are no combination
/// of others keeps it or not.
struct KeyCase {
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

bool KeyCase::isKept(Value mask) const {
  if (auto known = keeps.find(mask); known != keeps.end())
    return known->second;
  KeySet set = *getKeySet(mask);
  if (set.kind == KeySet::Heads)
    return isKept(set.operands[set.parameters[head]]);
  auto keepsOperand = [&](auto operand) {
    return isKept(operand.value()) != set.negates(operand.index());
  };
  auto operands = llvm::enumerate(set.operands);
  return set.kind == KeySet::Union ? llvm::any_of(operands, keepsOperand)
                                   : llvm::all_of(operands, keepsOperand);
}

/// The parts of a mask that combine no others, and its number of heads where it names
/// some.
static void collectParts(Value mask, llvm::SmallSetVector<Value, 8> &parts,
                         int64_t &heads) {
  std::optional<KeySet> set = getKeySet(mask);
  if (!set || !isCombination(*set)) {
    parts.insert(mask);
    return;
  }
  if (set->kind == KeySet::Heads)
    heads = set->parameters.size();
  for (Value operand : set->operands)
    collectParts(operand, parts, heads);
}

/// A key has a word with a bit for each list.
static constexpr size_t kMostLists = 32;
/// More parts than this are taken to keep something.
static constexpr size_t kMostParts = 12;

/// Whether a mask may keep a key that none of `lists` names.
static bool keepsUnlisted(Value mask, ArrayRef<Value> lists) {
  llvm::SmallSetVector<Value, 8> parts;
  int64_t heads = 1;
  collectParts(mask, parts, heads);
  parts.remove_if([&](Value part) { return llvm::is_contained(lists, part); });
  if (parts.size() > kMostParts)
    return true;
  for (int64_t head = 0; head < heads; ++head)
    for (unsigned number = 0; number < 1u << parts.size(); ++number) {
      KeyCase key{head, llvm::DenseMap<Value, bool>()};
      for (Value list : lists)
        key.keeps[list] = false;
      for (auto [i, part] : llvm::enumerate(parts))
        key.keeps[part] = number >> i & 1;
      if (key.isKept(mask))
        return true;
    }
  return false;
}

static SmallVector<Value> collectLists(Value mask) {
  SmallVector<Value> lists;
  for (Operation *op : collectOps(mask)) {
    auto part = dyn_cast<MaskOpInterface>(op);
    std::optional<KeySet> set = part ? part.getKeySet() : std::nullopt;
    if (set && set->kind == KeySet::List)
      lists.push_back(op->getResult(0));
  }
  return lists;
}

MaskLists sparse_attn::getMaskLists(block_plan::AttentionOp plan) {
  Value mask = plan.getChoice();
  SmallVector<Value> lists = collectLists(mask), bounding = lists, others;
  for (Value list : llvm::reverse(lists)) {
    SmallVector<Value> fewer = bounding;
    llvm::erase(fewer, list);
    if (keepsUnlisted(mask, fewer))
      continue;
    bounding = std::move(fewer);
    others.push_back(list);
  }
  MaskLists result = {bounding, static_cast<int64_t>(bounding.size())};
  llvm::append_range(result.masks, others);
  return result;
}

std::string sparse_attn::getListObstacle(block_plan::AttentionOp plan) {
  Value mask = plan.getChoice();
  if (!mask)
    return "";
  for (Operation *op : collectOps(mask)) {
    auto part = dyn_cast<MaskOpInterface>(op);
    if (!part || part.getOwnBinding() != Binding::Run)
      continue;
    if (part.getKeySet()->kind != KeySet::List)
      return ("'" + op->getName().getStringRef() +
              "' chooses keys when it runs, for which there are no GPU kernels yet; list "
              "them in an operand of `listed`")
          .str();
  }
  SmallVector<Value> lists = collectLists(mask);
  if (lists.size() > kMostLists)
    return llvm::formatv("a mask has {0} lists, and kernels read {1} at most; list keys "
                         "together",
                         lists.size(), kMostLists);
  if (keepsUnlisted(mask, lists))
    return "masks that keep keys which no list names have no GPU kernels yet: what lists "
           "leave out must be in another list";
  for (Region &region : plan.getStructures()) {
    bool answers = true;
    region.walk([&](block_plan::HelperOp helper) { answers &= isHelperOnGPU(helper); });
    if (!answers)
      return "lists beside masks that only the processor looks up have no GPU kernels "
             "yet";
  }
  return "";
}

bool sparse_attn::readsStructures(block_plan::AttentionOp plan) {
  bool reads = false;
  for (Region &region : plan.getStructures())
    region.walk([&](block_plan::HelperOp) { reads = true; });
  return reads;
}
