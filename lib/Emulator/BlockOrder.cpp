//===- BlockOrder.cpp - the order of basic blocks -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/CFG.h"
#include "llvm/IR/Dominators.h"

using namespace llvm;
using namespace sparse_attn::emulator;

namespace {

/// Sorts the blocks of one loop, or of the function, topologically; an inner loop is one
/// node, which is sorted likewise in its place.
class Order {
public:
  Order(const LoopInfo &loops, std::vector<const BasicBlock *> &result)
      : loops(loops), result(result) {}

  void add(const Loop *loop, BasicBlock *entry) {
    SmallVector<BasicBlock *, 16> postOrder;
    DenseSet<BasicBlock *> seen;
    visit(loop, entry, seen, postOrder);
    for (BasicBlock *node : reverse(postOrder)) {
      const Loop *inner = childOf(loop, node);
      if (inner)
        add(inner, inner->getHeader());
      else
        result.push_back(node);
    }
  }

private:
  /// The loop directly inside of `loop` that holds `block`; null where there is none.
  const Loop *childOf(const Loop *loop, const BasicBlock *block) const {
    const Loop *inner = loops.getLoopFor(block);
    if (inner == loop)
      return nullptr;
    while (inner && inner->getParentLoop() != loop)
      inner = inner->getParentLoop();
    return inner;
  }

  /// Depth first, without recursion: unrolled kernels have thousands of blocks.
  void visit(const Loop *loop, BasicBlock *entry, DenseSet<BasicBlock *> &seen,
             SmallVectorImpl<BasicBlock *> &postOrder) {
    struct Item {
      BasicBlock *node;
      SmallVector<BasicBlock *, 4> successors;
    };
    std::vector<Item> stack;
    auto push = [&](BasicBlock *node) {
      if (!seen.insert(node).second)
        return;
      Item item{node, {}};
      const Loop *inner = childOf(loop, node);
      if (inner) {
        inner->getExitBlocks(item.successors);
      } else {
        for (BasicBlock *next : llvm::successors(node))
          item.successors.push_back(next);
      }
      stack.push_back(std::move(item));
    };
    push(entry);
    while (!stack.empty()) {
      Item &top = stack.back();
      if (top.successors.empty()) {
        postOrder.push_back(top.node);
        stack.pop_back();
        continue;
      }
      BasicBlock *next = top.successors.pop_back_val();
      if (loop && (!loop->contains(next) || next == loop->getHeader()))
        continue;
      if (const Loop *inner = childOf(loop, next))
        next = inner->getHeader();
      push(next);
    }
  }

  const LoopInfo &loops;
  std::vector<const BasicBlock *> &result;
};

} // namespace

std::vector<const BasicBlock *>
sparse_attn::emulator::orderBlocks(const Function &function) {
  // The analyses only read, but take a non-const function.
  auto &mutableFunction = const_cast<Function &>(function);
  DominatorTree dominators(mutableFunction);
  LoopInfo loops(dominators);
  std::vector<const BasicBlock *> result;
  Order(loops, result).add(nullptr, &mutableFunction.getEntryBlock());
  return result;
}
