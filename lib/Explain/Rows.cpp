//===- Rows.cpp - which keys a row attends to, and why --------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "sparse_attn/Explain/Rows.h"
#include "MaskTree.h"
#include "Picture.h"
#include "dialect/SparseAttn/Selecting.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace sparse_attn;
using llvm::createStringError;
using llvm::Expected;

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

static bool isDecidedByRun(Value mask) {
  return cast<MaskOpInterface>(mask.getDefiningOp()).getOwnBinding() == Binding::Run;
}

/// The masks that `mask` keeps of, in the order in which they are written. Candidates of
/// a selection are no part, but what a run decides of them is.
static void collectParts(Value mask, bool isCandidate, llvm::SetVector<Value> &parts) {
  if (getBinding(mask) != Binding::Run) {
    if (!isCandidate)
      parts.insert(mask);
    return;
  }
  bool decided = isDecidedByRun(mask);
  if (decided)
    parts.insert(mask);
  for (Value operand : mask.getDefiningOp()->getOperands())
    if (isa<MaskType>(operand.getType()))
      collectParts(operand, isCandidate || decided, parts);
}

/// What chooses takes its candidates first.
static Value getCandidates(Value mask) {
  for (Value operand : mask.getDefiningOp()->getOperands())
    if (isa<MaskType>(operand.getType()))
      return operand;
  return nullptr;
}

static std::vector<int64_t> listKept(llvm::ArrayRef<double> probabilities) {
  std::vector<int64_t> keys;
  for (auto [key, probability] : llvm::enumerate(probabilities))
    if (probability > 0)
      keys.push_back(static_cast<int64_t>(key));
  return keys;
}

static Expected<MaskPart> explainPart(Reference &reference, size_t attention, Row row,
                                      Value mask) {
  Expected<std::vector<double>> kept = reference.membership(row, attention, mask);
  if (!kept)
    return kept.takeError();
  MaskPart part;
  part.binding = getBinding(mask);
  part.keys = listKept(*kept);
  if (!isDecidedByRun(mask)) {
    part.label = printExpression(mask);
    return part;
  }
  part.label = printHead(mask);
  for (auto [index, key] : llvm::enumerate(part.keys)) {
    double probability = (*kept)[key];
    part.leastProbability =
        index ? std::min(part.leastProbability, probability) : probability;
    part.mostProbability =
        index ? std::max(part.mostProbability, probability) : probability;
  }
  if (Value candidates = getCandidates(mask)) {
    Expected<std::vector<double>> offered =
        reference.membership(row, attention, candidates);
    if (!offered)
      return offered.takeError();
    part.candidates = listKept(*offered).size();
  }
  if (auto op = mask.getDefiningOp<SampleAdaptiveOp>()) {
    int64_t base = countDraws(op.getBaseCount(), op.getBaseRate(), *part.candidates);
    part.baseDraws = std::min(std::max<int64_t>(2, base), *part.candidates);
  }
  return part;
}

Expected<RowFacts> sparse_attn::explainRow(Reference &reference, size_t attention,
                                           Row row) {
  RowFacts facts;
  facts.row = row;
  facts.attention = attention;
  Reference::Extent extent = reference.extent(attention, row.b);
  facts.position = extent.firstPosition + row.i;
  facts.keys = extent.keys;
  facts.isPadding = row.i >= extent.queries;
  if (facts.isPadding)
    return facts;
  Expected<std::vector<double>> kept = reference.membership(row, attention);
  if (!kept)
    return kept.takeError();
  facts.kept = listKept(*kept);
  llvm::SetVector<Value> parts;
  collectParts(reference.op(attention).getMask(), /*isCandidate=*/false, parts);
  for (Value mask : parts) {
    Expected<MaskPart> part = explainPart(reference, attention, row, mask);
    if (!part)
      return part.takeError();
    // An expression repeats a base that candidates leave out.
    if (!llvm::is_contained(facts.parts, *part))
      facts.parts.push_back(std::move(*part));
  }
  return facts;
}

//===----------------------------------------------------------------------===//
// Pictures
//===----------------------------------------------------------------------===//

/// Marks the kept pairs of a plane, run by run.
static llvm::Error readPairs(Reference &reference, size_t attention, Plane plane,
                             AttentionFacts &facts) {
  PlaneGroup &group = facts.groups.front();
  group.pairMap.emplace(facts.grid.queries, facts.grid.keys, kMostMapCells);
  for (int64_t i = 0; i < group.extent.queries; ++i) {
    Expected<std::vector<double>> kept =
        reference.membership({plane.b, plane.h, i}, attention);
    if (!kept)
      return kept.takeError();
    for (int64_t key : listKept(*kept)) {
      group.pairMap->add(i, key, 1, CellMap::Full);
      ++group.keptPairs;
    }
    group.pairs += group.extent.keys;
  }
  return llvm::Error::success();
}

static Expected<AttentionFacts> explainPlane(Reference &reference, size_t attention,
                                             Plane plane) {
  AttentionOp op = reference.op(attention);
  AttentionFacts facts;
  facts.expression = printExpression(op.getMask());
  facts.mask = buildMaskTree(op.getMask());
  facts.headDim = op.getHeadDim();
  facts.valueDim = op.getValueDim();
  facts.keyBlock = op.getKeyBlock();
  facts.grid.batch = reference.batch();
  facts.grid.heads = reference.heads();
  facts.grid.queries = reference.queries();
  facts.grid.keys = reference.keys(attention);
  facts.grid.step = 1;
  facts.headsAlike = facts.batchesAlike = false;
  facts.chosenPlane = plane;
  facts.rowsSeen = reference.queries();
  Reference::Extent extent = reference.extent(attention, plane.b);
  PlaneGroup &group = facts.groups.emplace_back();
  group.planes = {plane};
  group.extent = {extent.queries, extent.keys, extent.firstPosition};
  group.tiles = 1; // the plane is one area without tiles
  if (llvm::Error error = readPairs(reference, attention, plane, facts))
    return error;
  return facts;
}

Expected<Explanation> sparse_attn::explainPairs(Reference &reference, StringRef kernel,
                                                Plane plane) {
  if (plane.b >= reference.batch() || plane.h >= reference.heads())
    return createStringError("there is no head " + Twine(plane.h) + " of batch entry " +
                             Twine(plane.b) +
                             "; the run has H = " + Twine(reference.heads()) +
                             ", B = " + Twine(reference.batch()));
  int64_t longest = std::max(reference.queries(), reference.keys());
  if (longest > kMostMapCells || reference.queries() == 0 || reference.keys() == 0)
    return createStringError(
        "a picture shows 1 to " + Twine(kMostMapCells) +
        " queries and keys, the run has M = " + Twine(reference.queries()) +
        ", N = " + Twine(reference.keys()));
  Explanation explanation;
  explanation.kernel = kernel.str();
  explanation.shape = {reference.batch(), reference.heads(), reference.keyHeads(),
                       reference.queries(), reference.keys()};
  for (size_t attention = 0; attention < reference.attentions(); ++attention) {
    Expected<AttentionFacts> facts = explainPlane(reference, attention, plane);
    if (!facts)
      return facts.takeError();
    explanation.attentions.push_back(std::move(*facts));
  }
  explanation.plannedAttentions = explanation.attentions.size();
  return explanation;
}
