//===- DescribeChoice.cpp - facts about masks that a run decides ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A mask becomes a list of sets, operands first; its scores and what is kept of keys
// beside K are numbered. The ops of the mask tell everything.
//
//===----------------------------------------------------------------------===//

#include "Describe.h"
#include "dialect/SparseAttn/SparseAttn.h"

using namespace mlir;
using namespace sparse_attn;

static std::vector<int32_t> getIds(ArrayRef<Value> values, const KernelValues &ids) {
  std::vector<int32_t> result;
  for (Value value : values)
    result.push_back(ids.id(value));
  return result;
}

namespace {
class ChoiceDescriber {
public:
  ChoiceDescriber(block_plan::AttentionOp plan, const KernelValues &ids,
                  function_ref<std::string(unsigned)> getSymbol, AttentionDesc &desc,
                  std::vector<EncodingDesc> &encodings)
      : plan(plan), ids(ids), getSymbol(getSymbol), desc(desc), encodings(encodings) {}

  void describe() {
    for (auto [score, block] : llvm::zip_equal(plan.getScores(), plan.getScoreBlocks()))
      describeScore(cast<ScoreOpInterface>(score.getDefiningOp()), block);
    addSet(plan.getChoice());
  }

private:
  void describeScore(ScoreOpInterface score, int64_t block);
  int32_t addSet(Value mask);
  void describeSelection(SelectionOpInterface selection, SetDesc &set);
  int32_t findScore(SelectionOpInterface selection);
  int32_t addEncoding(const Encoding &encoding, SmallVector<KeyState> states);

  block_plan::AttentionOp plan;
  const KernelValues &ids;
  function_ref<std::string(unsigned)> getSymbol;
  AttentionDesc &desc;
  std::vector<EncodingDesc> &encodings;
  llvm::DenseMap<Value, int32_t> numbers; ///< of masks, in desc.sets
};
} // namespace

/// The number of an encoding, new or equal to one before.
int32_t ChoiceDescriber::addEncoding(const Encoding &encoding,
                                     SmallVector<KeyState> states) {
  EncodingDesc result;
  result.kind = encoding.kind;
  result.k = desc.k, result.v = desc.v;
  result.headDim = desc.headDim, result.valueDim = desc.valueDim;
  result.queryWords = encoding.queryWords;
  for (KeyState &state : states) {
    state.setKeyType(plan.getKeyTensorType().getElementType());
    result.states.push_back({state.name.str(), state.word,
                             static_cast<int32_t>(state.width),
                             static_cast<int32_t>(state.keys), state.perQueryHead});
  }
  result.inputs = getIds(encoding.inputs, ids);
  result.parameters.assign(encoding.parameters.begin(), encoding.parameters.end());
  result.reals.assign(encoding.reals.begin(), encoding.reals.end());
  auto known = llvm::find(encodings, result);
  if (known == encodings.end())
    known = encodings.insert(known, std::move(result));
  return known - encodings.begin();
}

void ChoiceDescriber::describeScore(ScoreOpInterface score, int64_t block) {
  Encoding encoding =
      score.getEncoding(desc.headDim, block, plan.getScale().convertToDouble());
  int32_t number =
      addEncoding(encoding, score.getKeyStates(desc.headDim, desc.valueDim, block));
  desc.scores.push_back({number, static_cast<int32_t>(score.getGranularity()),
                         score.getShare() == Sharing::Group,
                         static_cast<int32_t>(block)});
  if (std::optional<ScoreLevels> levels = score.getByteLevels()) {
    desc.scores.back().levels = static_cast<int32_t>(levels->count);
    desc.scores.back().best = levels->best;
    desc.scores.back().step = levels->step;
  }
}

int32_t ChoiceDescriber::findScore(SelectionOpInterface selection) {
  for (auto [number, score, block] :
       llvm::enumerate(plan.getScores(), plan.getScoreBlocks()))
    if (score == selection.getScore() &&
        block == static_cast<int64_t>(selection.getBlockK()))
      return number;
  return -1;
}

void ChoiceDescriber::describeSelection(SelectionOpInterface selection, SetDesc &set) {
  set.blockK = selection.getBlockK();
  set.score = findScore(selection);
  if (std::optional<Encoding> encoding = selection.getEncoding(desc.headDim))
    set.encoding =
        addEncoding(*encoding, selection.getKeyStates(desc.headDim, desc.valueDim, 1));
}

int32_t ChoiceDescriber::addSet(Value mask) {
  if (auto known = numbers.find(mask); known != numbers.end())
    return known->second;
  SetDesc set;
  set.sampled = cast<MaskType>(mask.getType()).getSampled();
  auto structure = llvm::find(plan.getKnown(), mask);
  if (structure != plan.getKnown().end()) {
    set.kind = KeySet::Structure;
    set.classifySymbol = getSymbol(structure - plan.getKnown().begin());
  } else {
    Operation *op = mask.getDefiningOp();
    std::optional<KeySet> found = cast<MaskOpInterface>(op).getKeySet();
    assert(found && "a mask has changed since its plan was made");
    const KeySet &keys = *found;
    set.kind = keys.kind;
    set.blockQ = keys.rows;
    for (Value operand : keys.operands)
      set.operands.push_back(addSet(operand));
    set.inputs = getIds(keys.inputs, ids);
    set.parameters.assign(keys.parameters.begin(), keys.parameters.end());
    set.reals.assign(keys.reals.begin(), keys.reals.end());
    if (auto selection = dyn_cast<SelectionOpInterface>(op))
      describeSelection(selection, set);
  }
  desc.sets.push_back(std::move(set));
  return numbers[mask] = desc.sets.size() - 1;
}

void sparse_attn::describeChoice(block_plan::AttentionOp plan, const KernelValues &ids,
                                 function_ref<std::string(unsigned)> getSymbol,
                                 AttentionDesc &desc,
                                 std::vector<EncodingDesc> &encodings) {
  ChoiceDescriber(plan, ids, getSymbol, desc, encodings).describe();
}
