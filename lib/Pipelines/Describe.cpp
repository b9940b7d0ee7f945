//===- Describe.cpp - facts about a kernel for packaging ------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel is a public function from tensors to attention states. Its interface
// is read off the sparse_attn ops (what an argument is used for says which sizes
// its axes have), its steps off the block_plan ops.
//
//===----------------------------------------------------------------------===//

#include "Describe.h"
#include "dialect/BlockPlan/BlockPlan.h"
#include "dialect/SparseAttn/SparseAttn.h"
#include "sparse_attn/Conversion/KernelShape.h"
#include "sparse_attn/Conversion/KernelValues.h"
#include "sparse_attn/runtime.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// The interface
//===----------------------------------------------------------------------===//

namespace {
/// What one use of an argument says about it.
struct Role {
  bool layout = false;
  SmallVector<Axis, 4> axes;
};
} // namespace

/// What a mask or modifier op tells of its tensor operand.
template <typename OpInterface>
static const TensorSpec &getSpec(OpInterface op, OpOperand &operand) {
  unsigned tensors = 0; // optional tensors come last
  for (Value other : op->getOperands().take_front(operand.getOperandNumber()))
    tensors += isa<TensorType>(other.getType());
  return op.getTensorSpecs()[tensors];
}

/// The role of tensor operand `operand` of a mask or modifier op.
template <typename OpInterface>
static Role getOperandRole(OpInterface op, OpOperand &operand) {
  const TensorSpec &spec = getSpec(op, operand);
  Role role;
  role.axes.append(spec.axes.begin(), spec.axes.begin() + spec.rank);
  return role;
}

static FailureOr<Role> getRole(OpOperand &use) {
  Operation *op = use.getOwner();
  Value value = use.get();
  if (auto mask = dyn_cast<MaskOpInterface>(op)) {
    Role role = getOperandRole(mask, use);
    role.layout = mask.getOwnBinding() != Binding::Run;
    return role;
  }
  if (auto score = dyn_cast<ScoreOpInterface>(op))
    return getOperandRole(score, use);
  if (auto modifier = dyn_cast<ModifierOpInterface>(op)) {
    Role role = getOperandRole(modifier, use);
    if (std::optional<PlanTable> table = modifier.getPlanTable())
      role.layout = llvm::is_contained(table->inputs, value);
    return role;
  }
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    if (value == attention.getQ())
      return Role{false, {Axis::Batch, Axis::Heads, Axis::Queries, Axis::Free}};
    if (value == attention.getK() || value == attention.getV())
      return Role{false, {Axis::Batch, Axis::KvHeads, Axis::Keys, Axis::Free}};
    if (value == attention.getSinks())
      return Role{false, {Axis::Heads}};
    return Role{true, {Axis::Batch}}; // lengths and offsets
  }
  if (isa<PoolOp>(op))
    return Role{false, {Axis::Batch, Axis::KvHeads, Axis::Keys, Axis::Free}};
  return op->emitOpError() << "cannot take a kernel's argument; arguments go to masks, "
                              "modifiers, attention and pool";
}

/// Where every use agrees on the layout, its role.
static FailureOr<Role> getRole(BlockArgument argument, StringRef name) {
  std::optional<Role> result;
  for (OpOperand &use : argument.getUses()) {
    FailureOr<Role> role = getRole(use);
    if (failed(role))
      return failure();
    if (result && result->layout != role->layout)
      return use.getOwner()->emitOpError() << "uses argument '" << name
                                           << "' both for the layout, which a plan "
                                              "reads, and for values, which a run reads; "
                                              "pass it as two arguments";
    if (!result)
      result = *role;
  }
  if (!result)
    return cast<func::FuncOp>(argument.getOwner()->getParentOp()).emitOpError()
           << "never uses argument '" << name << "'; remove it";
  return *result;
}

/// Fills the type of a TensorDesc or StepDesc.
template <typename Desc> static void describeElement(Type element, Desc &desc) {
  desc.typeBits = element.getIntOrFloatBitWidth();
  if (element.isBF16())
    desc.typeCode = kDLBfloat;
  else if (isa<FloatType>(element))
    desc.typeCode = kDLFloat;
  else
    desc.typeCode = desc.typeBits == 8 ? kDLUInt : kDLInt; // bytes of bits are unsigned
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// What the op that reads a value calls it, "" if it has no word for it.
static StringRef suggestName(OpOperand &use) {
  Operation *op = use.getOwner();
  if (auto mask = dyn_cast<MaskOpInterface>(op))
    return getSpec(mask, use).name;
  if (auto score = dyn_cast<ScoreOpInterface>(op))
    return getSpec(score, use).name;
  if (auto modifier = dyn_cast<ModifierOpInterface>(op))
    return getSpec(modifier, use).name;
  if (auto pool = dyn_cast<PoolOp>(op))
    return pool->use_empty() ? "" : suggestName(*pool->getUses().begin());
  auto attention = dyn_cast<AttentionOp>(op);
  if (!attention)
    return "";
  const std::pair<Value, StringRef> names[] = {
      {attention.getQ(), "q"},        {attention.getK(), "k"},
      {attention.getV(), "v"},        {attention.getKvLen(), "kv_len"},
      {attention.getQLen(), "q_len"}, {attention.getQOffset(), "q_offset"},
      {attention.getSinks(), "sinks"}};
  for (auto [value, name] : names)
    if (value == use.get())
      return name;
  return "";
}

/// Names the arguments that have no name after what reads them, or by number where
/// the word is taken. The kernel's source carries the names from then on.
static void nameArguments(func::FuncOp kernel) {
  llvm::StringSet<llvm::MallocAllocator> taken;
  auto getGiven = [&](unsigned number) {
    return kernel.getArgAttrOfType<StringAttr>(number, kNameAttr);
  };
  for (unsigned i = 0; i < kernel.getNumArguments(); ++i)
    if (StringAttr name = getGiven(i))
      taken.insert(name.getValue());
  for (BlockArgument argument : kernel.getArguments()) {
    unsigned number = argument.getArgNumber();
    if (getGiven(number))
      continue;
    std::string name;
    for (OpOperand &use : argument.getUses())
      if (StringRef word = suggestName(use); name.empty() && !taken.contains(word))
        name = word.str();
    if (name.empty())
      name = "arg" + std::to_string(number);
    taken.insert(name);
    kernel.setArgAttr(number, kNameAttr, StringAttr::get(kernel.getContext(), name));
  }
}

/// The name that an argument or result carries, else `fallback`.
static std::string getName(DictionaryAttr attributes, const std::string &fallback) {
  if (attributes)
    if (auto name = attributes.getAs<StringAttr>(kNameAttr))
      return name.str();
  return fallback;
}

static FailureOr<TensorDesc> describeInput(func::FuncOp kernel, BlockArgument argument) {
  unsigned number = argument.getArgNumber();
  TensorDesc desc;
  desc.name = getName(kernel.getArgAttrDict(number), "arg" + std::to_string(number));
  auto type = dyn_cast<RankedTensorType>(argument.getType());
  if (!type)
    return kernel.emitOpError()
           << "argument '" << desc.name << "' must be a ranked tensor, got "
           << argument.getType();
  FailureOr<Role> role = getRole(argument, desc.name);
  if (failed(role))
    return failure();
  describeElement(type.getElementType(), desc);
  desc.layout = role->layout;
  desc.rank = type.getRank();
  desc.value = number;
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    int64_t size = type.getDimSize(axis);
    desc.dims[axis] = ShapedType::isDynamic(size) ? -1 : size;
    Axis wanted = role->axes[axis];
    // A broadcast axis of a value is written as 1 in the type where it is the
    // innermost one: kernels read whole vectors along it.
    bool innermost = axis + 1 == type.getRank();
    if (wanted >= Axis::BatchOrOne && !role->layout && innermost)
      wanted = static_cast<Axis>(static_cast<int32_t>(wanted) - 16);
    desc.axis[axis] = size == 1 ? 0 : static_cast<int32_t>(wanted);
  }
  return desc;
}

static TensorDesc describeOutput(func::FuncOp kernel, unsigned number, Type type) {
  TensorDesc desc;
  auto tensor = cast<RankedTensorType>(type);
  bool isState = tensor.getRank() == 3;
  desc.name = getName(kernel.getResultAttrDict(number), isState ? "lse" : "out");
  describeElement(tensor.getElementType(), desc);
  desc.rank = tensor.getRank();
  constexpr Axis axes[] = {Axis::Batch, Axis::Heads, Axis::Queries, Axis::Free};
  for (int64_t axis = 0; axis < tensor.getRank(); ++axis) {
    int64_t size = tensor.getDimSize(axis);
    desc.dims[axis] = ShapedType::isDynamic(size) ? -1 : size;
    desc.axis[axis] = static_cast<int32_t>(axes[axis]);
  }
  return desc;
}

static bool isStep(Operation &op) {
  return isa<AttentionOp, PoolOp, MergeOp, block_plan::AttentionOp, block_plan::ChooseOp>(
      op);
}

/// Whether a step can read this tensor: an argument, or for keys and values a pool
/// of one, or for merge a state.
static bool isReadable(Operation *op, Value tensor) {
  Operation *source = tensor.getDefiningOp();
  if (isa<MergeOp>(op))
    return isa_and_nonnull<AttentionOp, MergeOp>(source);
  if (auto pool = dyn_cast_or_null<PoolOp>(source))
    return isa<AttentionOp>(op) && isa<BlockArgument>(pool.getSource());
  return !source;
}

/// (kernel_c1) .. (kernel_c5): what makes a function a kernel.
static LogicalResult checkKernel(func::FuncOp kernel) {
  if (!kernel.getBody().hasOneBlock())
    return kernel.emitOpError(
        "must be one block to be a kernel; control flow is not taken");
  for (Operation &op : kernel.getBody().front())
    if (!isStep(op) &&
        !isa<func::ReturnOp, MaskOpInterface, ScoreOpInterface, ModifierOpInterface>(
            op) &&
        !op.hasTrait<OpTrait::ConstantLike>())
      return op.emitOpError(
          "is not allowed in a kernel, which is made of masks, modifiers, "
          "attention, pool and merge");
  for (Operation &op : kernel.getBody().front().without_terminator())
    for (Value operand : op.getOperands())
      if (isa<TensorType, PooledType>(operand.getType()) && !isReadable(&op, operand))
        return op.emitOpError("must read arguments of the kernel; what one attention "
                              "computes goes to merge or is returned");
  auto results = kernel.getBody().front().getTerminator()->getOperands();
  if (results.empty())
    return kernel.emitOpError(
        "returns nothing; return the results of an attention or merge");
  llvm::SmallPtrSet<Value, 4> seen;
  for (Value result : results) {
    Operation *op = result.getDefiningOp();
    if (!op || !isa<AttentionOp, MergeOp>(op))
      return kernel.emitOpError("must return results of attention or merge only");
    if (!seen.insert(result).second)
      return kernel.emitOpError("returns one value twice; return it once");
  }
  return success();
}

static std::string printKernel(func::FuncOp kernel) {
  std::string text;
  llvm::raw_string_ostream os(text);
  OwningOpRef<ModuleOp> module = ModuleOp::create(kernel.getLoc());
  module->push_back(kernel.clone());
  module->print(os);
  return text;
}

FailureOr<CompiledKernel> sparse_attn::describeInterface(func::FuncOp kernel) {
  if (failed(checkKernel(kernel)))
    return failure();
  CompiledKernel desc;
  desc.name = kernel.getSymName();
  nameArguments(kernel);
  desc.source = printKernel(kernel);
  llvm::StringSet<llvm::MallocAllocator> names;
  auto isNew = [&](const TensorDesc &tensor) -> LogicalResult {
    if (names.insert(tensor.name).second)
      return success();
    return kernel.emitOpError() << "has two tensors called '" << tensor.name
                                << "'; give each a name with " << kNameAttr;
  };
  for (BlockArgument argument : kernel.getArguments()) {
    FailureOr<TensorDesc> input = describeInput(kernel, argument);
    if (failed(input) || failed(isNew(*input)))
      return failure();
    desc.inputs.push_back(std::move(*input));
  }
  for (auto [number, type] : llvm::enumerate(kernel.getResultTypes())) {
    desc.outputs.push_back(describeOutput(kernel, number, type));
    if (failed(isNew(desc.outputs.back())))
      return failure();
  }
  return desc;
}

//===----------------------------------------------------------------------===//
// The steps
//===----------------------------------------------------------------------===//

/// The value ids of a need's inputs.
static std::vector<int32_t> getInputs(block_plan::NeedAttr need,
                                      block_plan::AttentionOp plan,
                                      const KernelValues &ids) {
  std::vector<int32_t> inputs;
  for (int64_t index : need.getInputs())
    inputs.push_back(index < 0 ? -1 : ids.id(plan.getLayout()[index]));
  return inputs;
}

static AttentionDesc describeAttention(block_plan::AttentionOp plan, func::FuncOp kernel,
                                       unsigned index, const KernelValues &ids,
                                       ArrayRef<const CPULevel *> levels,
                                       std::vector<EncodingDesc> &encodings) {
  AttentionDesc desc;
  desc.headDim = plan.getHeadDim();
  desc.valueDim = plan.getValueDim();
  desc.tileRows = plan.getTileRows();
  desc.tileKeys = plan.getTileKeys();
  desc.binding = static_cast<int32_t>(plan.getBinding());
  desc.perBatch = plan.getPerBatch();
  desc.perHead = plan.getPerHead();
  desc.keyBlock = plan.getKeyBlock();
  desc.period = plan.getPeriod();
  desc.q = ids.id(plan.getQ()), desc.k = ids.id(plan.getK()),
  desc.v = ids.id(plan.getV());
  desc.kvLen = ids.id(plan.getKvLen()), desc.qLen = ids.id(plan.getQLen());
  desc.qOffset = ids.id(plan.getQOffset()), desc.sinks = ids.id(plan.getSinks());
  desc.out = ids.id(plan.getOut()), desc.lse = ids.id(plan.getLse());
  desc.hopTable = plan.getHopTable().value_or(-1);
  desc.gathered = plan.getGathered();
  if (plan.getChoice())
    describeChoice(
        plan, ids,
        [&](unsigned number) { return getStructureSymbol(kernel, index, number); }, desc,
        encodings);
  for (auto need : plan.getChecks().getAsRange<block_plan::NeedAttr>())
    desc.checks.push_back({need.getKind(), getInputs(need, plan, ids),
                           std::vector<int64_t>(need.getParameters()),
                           need.getOp().str()});
  for (auto need : plan.getTables().getAsRange<block_plan::NeedAttr>())
    desc.tables.push_back({need.getKind(), getInputs(need, plan, ids),
                           std::vector<int64_t>(need.getParameters())});
  // Lengths are checked as if a mask asked.
  auto checkLength = [&](int32_t input, int64_t axis, const char *name) {
    if (input >= 0)
      desc.checks.push_back({PlanCheck::Length, {input}, {axis}, name});
  };
  checkLength(desc.kvLen, 1, "kv_len");
  checkLength(desc.qLen, 0, "q_len");
  desc.classifySymbol = getClassifySymbol(kernel, index);
  desc.extentSymbol = getExtentSymbol(kernel, index, plan);
  for (const CPULevel *level : levels) {
    KernelShape shape(plan, *level);
    std::vector<std::string> scores;
    for (unsigned score = 0; score < plan.getScores().size(); ++score)
      scores.push_back(getScoreSymbol(kernel, index, score, *level));
    desc.levels.push_back(
        {level->id, level->name.str(), shape.scratchBytes, shape.packedBytes,
         shape.stackRows, shape.stateBytes, getPackSymbol(kernel, index, *level),
         getAttendSymbol(kernel, index, *level), getCombineSymbol(kernel, index, *level),
         getFillSymbol(kernel, index, plan, *level), std::move(scores),
         getKeyScoresSymbol(kernel, index, plan, *level),
         getProjectSymbol(kernel, index, plan, *level)});
  }
  return desc;
}

/// What a step's first result holds: O, or the means of a pool.
static Type getResultElement(Operation &op) {
  Type type = op.getResult(0).getType();
  if (auto pooled = dyn_cast<PooledType>(type))
    type = pooled.getTensor();
  return cast<RankedTensorType>(type).getElementType();
}

/// O0, LSE0, O1, LSE1, ... of a merge or choice.
template <typename Op>
static std::vector<int32_t> getStates(Op op, const KernelValues &ids) {
  std::vector<int32_t> states;
  for (auto [out, lse] : llvm::zip_equal(op.getOuts(), op.getLses()))
    states.insert(states.end(), {ids.id(out), ids.id(lse)});
  return states;
}

void sparse_attn::describeSteps(func::FuncOp planned, ArrayRef<const CPULevel *> levels,
                                CompiledKernel &kernel) {
  KernelValues ids(planned);
  unsigned index = 0;
  for (Operation &op : planned.getBody().front()) {
    if (!isStep(op))
      continue;
    StepDesc step;
    step.firstResult = ids.id(op.getResult(0));
    describeElement(getResultElement(op), step);
    if (auto plan = dyn_cast<block_plan::AttentionOp>(op)) {
      step.kind = StepDesc::Attention;
      step.attention =
          describeAttention(plan, planned, index++, ids, levels, kernel.encodings);
    } else if (auto pool = dyn_cast<PoolOp>(op)) {
      step.kind = StepDesc::Pool;
      step.inputs = {ids.id(pool.getSource())};
      step.block = cast<PooledType>(pool.getResult().getType()).getBlock();
    } else if (auto merge = dyn_cast<MergeOp>(op)) {
      step.kind = StepDesc::Merge;
      step.inputs = getStates(merge, ids);
    } else {
      step.kind = StepDesc::Choose;
      step.inputs = getStates(cast<block_plan::ChooseOp>(op), ids);
    }
    kernel.steps.push_back(std::move(step));
  }
  auto results = planned.getBody().front().getTerminator()->getOperands();
  for (auto [output, result] : llvm::zip_equal(kernel.outputs, results))
    output.value = ids.id(result);
  kernel.valueCount = ids.count();
}
