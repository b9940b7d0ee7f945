//===- Attention.cpp - attention and its states ---------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/SparseAttn/MaskOperands.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include <cmath>

using namespace mlir;
using namespace sparse_attn;

/// Head dimensions that kernels are built for.
static constexpr int64_t kMinHeadDim = 8, kMaxHeadDim = 256;

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

static RankedTensorType getTensorType(Type type) {
  if (auto pooled = dyn_cast<PooledType>(type))
    return pooled.getTensor();
  return cast<RankedTensorType>(type);
}

namespace {
/// One axis of one tensor, for messages.
struct Dim {
  StringRef tensor;
  RankedTensorType type;
  unsigned axis;
  int64_t size() const { return type.getDimSize(axis); }
};
} // namespace

/// Whether two sizes can be equal at run time.
static bool areCompatible(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// All of `dims` are the size `what`.
static LogicalResult verifySameSize(Operation *op, StringRef what, ArrayRef<Dim> dims) {
  for (size_t i = 1; i < dims.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      if (!areCompatible(dims[k].size(), dims[i].size()))
        return op->emitOpError()
               << what << " must be the same everywhere: axis " << dims[k].axis << " of "
               << dims[k].tensor << " is " << dims[k].size() << ", axis " << dims[i].axis
               << " of " << dims[i].tensor << " is " << dims[i].size();
  return success();
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

RankedTensorType AttentionOp::getKeyTensorType() {
  return getTensorType(getK().getType());
}
RankedTensorType AttentionOp::getValueTensorType() {
  return getTensorType(getV().getType());
}
int64_t AttentionOp::getKeyBlock() {
  auto pooled = dyn_cast<PooledType>(getK().getType());
  return pooled ? pooled.getBlock() : 0;
}
int64_t AttentionOp::getHeadDim() { return getKeyTensorType().getDimSize(3); }
int64_t AttentionOp::getValueDim() { return getValueTensorType().getDimSize(3); }
bool AttentionOp::needsNeighbours() {
  return getKeyBlock() || llvm::any_of(getModifiers(), [](Value value) {
           auto modifier = cast<ModifierOpInterface>(value.getDefiningOp());
           return modifier.readsAlongKeys() || modifier.getPlanTable().has_value();
         });
}

double AttentionOp::getScaleOrDefault() {
  if (std::optional<APFloat> scale = getScale())
    return scale->convertToDouble();
  return 1 / std::sqrt(static_cast<double>(getHeadDim()));
}

static LogicalResult verifyHeadDim(AttentionOp op, StringRef tensor,
                                   RankedTensorType type) {
  int64_t size = type.getDimSize(3);
  if (size >= kMinHeadDim && size <= kMaxHeadDim) // false where dynamic
    return success();
  InFlightDiagnostic error = op.emitOpError();
  error << "the last axis of " << tensor << " must be a number in [" << kMinHeadDim
        << ", " << kMaxHeadDim << "], got ";
  if (ShapedType::isDynamic(size))
    return error << "?; the head dimension is fixed when the kernel is compiled";
  return error << size;
}

/// The rules between sizes, axis by axis.
static LogicalResult verifySizes(AttentionOp op) {
  RankedTensorType q = cast<RankedTensorType>(op.getQ().getType());
  RankedTensorType k = op.getKeyTensorType(), v = op.getValueTensorType();
  auto out = cast<RankedTensorType>(op.getOut().getType());
  auto lse = cast<RankedTensorType>(op.getLse().getType());
  SmallVector<Dim> batch = {
      {"q", q, 0}, {"k", k, 0}, {"v", v, 0}, {"out", out, 0}, {"lse", lse, 0}};
  SmallVector<Dim> heads = {{"q", q, 1}, {"out", out, 1}, {"lse", lse, 1}};
  for (auto [name, operand] : {std::pair<StringRef, Value>{"kv_len", op.getKvLen()},
                               {"q_len", op.getQLen()},
                               {"q_offset", op.getQOffset()}})
    if (operand)
      batch.push_back({name, cast<RankedTensorType>(operand.getType()), 0});
  if (Value sinks = op.getSinks())
    heads.push_back({"sinks", cast<RankedTensorType>(sinks.getType()), 0});
  // (attention_c3)
  if (failed(verifySameSize(op, "the batch size", batch)) ||
      failed(verifySameSize(op, "the number of heads", heads)) ||
      failed(verifySameSize(op, "the number of key heads", {{"k", k, 1}, {"v", v, 1}})) ||
      failed(verifySameSize(op, "the number of queries",
                            {{"q", q, 2}, {"out", out, 2}, {"lse", lse, 2}})) ||
      failed(verifySameSize(op, "the number of keys", {{"k", k, 2}, {"v", v, 2}})) ||
      failed(verifySameSize(op, "the head dimension", {{"q", q, 3}, {"k", k, 3}})) ||
      failed(verifySameSize(op, "the value dimension", {{"v", v, 3}, {"out", out, 3}})))
    return failure();
  // (attention_c4)
  int64_t queryHeads = q.getDimSize(1), keyHeads = k.getDimSize(1);
  if (!ShapedType::isDynamic(queryHeads) && !ShapedType::isDynamic(keyHeads) &&
      (keyHeads == 0 || queryHeads % keyHeads != 0))
    return op.emitOpError() << "the heads of q (" << queryHeads
                            << ") must be a multiple of the heads of k (" << keyHeads
                            << "); query head h reads key head h / G";
  return success();
}

/// The weights of scores and selections have the sizes that D says: (score_hash_c3),
/// (score_channels_c2), (score_pq_c3), (score_pq_c4), (score_soft_hash_c4),
/// (score_pooled_c3), (cluster_c6), (sample_lsh_c5).
static LogicalResult verifyWeights(AttentionOp op) {
  int64_t headDim = op.getHeadDim();
  for (Operation *part : collectOps(op.getMask())) {
    auto score = dyn_cast<ScoreOpInterface>(part);
    if (score && headDim % score.getHeadDimMultiple() != 0)
      return score.emitOpError("needs a D that is a multiple of ")
             << score.getHeadDimMultiple() << ", got " << headDim
             << "; cut a row of K into pieces of equal length";
  }
  for (const WeightSize &weight : getWeightSizes(op.getMask(), headDim)) {
    int64_t size = cast<ShapedType>(weight.tensor.getType()).getDimSize(weight.axis);
    if (!areCompatible(size, weight.size))
      return weight.op->emitOpError()
             << "axis " << weight.axis << " of " << weight.name << " must have "
             << weight.size << " entries, " << weight.reason << ", for D = " << headDim
             << ", got " << size;
  }
  return success();
}

LogicalResult AttentionOp::verify() {
  auto q = cast<RankedTensorType>(getQ().getType());
  RankedTensorType k = getKeyTensorType(), v = getValueTensorType();
  auto out = cast<RankedTensorType>(getOut().getType());
  // (attention_c1)
  auto pooledKeys = dyn_cast<PooledType>(getK().getType());
  auto pooledValues = dyn_cast<PooledType>(getV().getType());
  if (!pooledKeys != !pooledValues ||
      (pooledKeys && pooledKeys.getBlock() != pooledValues.getBlock()))
    return emitOpError(
        "k and v must both be pooled with the same block, or neither; pool "
        "the other one too");
  // (attention_c2)
  for (auto [name, type] :
       {std::pair<StringRef, RankedTensorType>{"q", q}, {"k", k}, {"v", v}, {"out", out}})
    if (failed(verifyHeadDim(*this, name, type)))
      return failure();
  if (failed(verifySizes(*this))) // (attention_c3), (attention_c4)
    return failure();
  // (attention_c5)
  Type element = q.getElementType();
  if (k.getElementType() != element || v.getElementType() != element)
    return emitOpError() << "q, k and v must have one element type, got " << element
                         << ", " << k.getElementType() << " and " << v.getElementType()
                         << "; convert the tensors before";
  if (out.getElementType() != element && !out.getElementType().isF32())
    return emitOpError() << "out must have the element type of q, " << element
                         << ", or f32, got " << out.getElementType();
  // (attention_c6)
  if (std::optional<APFloat> scale = getScale()) {
    double number = scale->convertToDouble();
    if (!(number >= 0x1p-126 && number <= 0x1p126))
      return emitOpError(
          "scale must be > 0 and an ordinary f32 number (2^-126 to 2^126); "
          "leave it out for 1 / sqrt(D)");
  }
  // (attention_c7)
  if (failed(verifyMaskOperands(*this)))
    return failure();
  // (attention_c8)
  if (getKeyBlock() && llvm::any_of(collectOps(getMask()), [](Operation *op) {
        return isa<SelectionOpInterface>(op);
      }))
    return emitOpError("has a mask that selects or draws keys, and its keys are pooled; "
                       "select tokens and leave K and V as they are");
  // (attention_c9)
  return verifyWeights(*this);
}

//===----------------------------------------------------------------------===//
// PoolOp
//===----------------------------------------------------------------------===//

LogicalResult PoolOp::verify() {
  auto source = cast<RankedTensorType>(getSource().getType());
  auto pooled = cast<PooledType>(getResult().getType());
  RankedTensorType result = pooled.getTensor();
  // (pool_c1)
  if (source.getElementType() != result.getElementType())
    return emitOpError() << "the result must keep the element type "
                         << source.getElementType() << ", got "
                         << result.getElementType();
  // (pool_c2)
  for (unsigned axis : {0, 1, 3})
    if (failed(verifySameSize(*this, "the size",
                              {{"source", source, axis}, {"result", result, axis}})))
      return failure();
  // (pool_c3)
  int64_t tokens = source.getDimSize(2), keys = result.getDimSize(2);
  if (!ShapedType::isDynamic(tokens) &&
      !areCompatible(keys, llvm::divideCeil(tokens, pooled.getBlock())))
    return emitOpError() << "the result must have one row for each of the "
                         << llvm::divideCeil(tokens, pooled.getBlock()) << " blocks that "
                         << tokens << " tokens fill or start, got " << keys;
  return success();
}

//===----------------------------------------------------------------------===//
// MergeOp
//===----------------------------------------------------------------------===//

LogicalResult MergeOp::verify() {
  // (merge_c1)
  if (getOuts().empty())
    return emitOpError("needs at least one state (out and lse) to combine");
  // (merge_c2) One set of sizes for all, so that a state is one value.
  for (Value state : getOuts())
    if (cast<RankedTensorType>(state.getType()).getShape() !=
        cast<RankedTensorType>(getOut().getType()).getShape())
      return emitOpError() << "every out must have the sizes of the result "
                           << getOut().getType() << ", got " << state.getType();
  for (Value state : getLses())
    if (state.getType() != getLse().getType())
      return emitOpError() << "every lse must have the result's type "
                           << getLse().getType() << ", got " << state.getType();
  // (merge_c3)
  auto out = cast<RankedTensorType>(getOut().getType());
  auto lse = cast<RankedTensorType>(getLse().getType());
  for (unsigned axis : {0, 1, 2})
    if (failed(
            verifySameSize(*this, "the size", {{"out", out, axis}, {"lse", lse, axis}})))
      return failure();
  return success();
}
