//===- Kernel.cpp - a kernel's function from its specification ------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Builder.h"
#include "mlir/IR/Verifier.h"
#include "sparse_attn/Expression/Expression.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace sparse_attn;
using namespace sparse_attn::expression;

static Type getElementType(MLIRContext *context, ElementType type) {
  switch (type) {
  case ElementType::F32:
    return Float32Type::get(context);
  case ElementType::F16:
    return Float16Type::get(context);
  case ElementType::BF16:
    return BFloat16Type::get(context);
  }
  llvm_unreachable("every element type is handled");
}

namespace {
/// Fills the body of one kernel.
class KernelBuilder {
public:
  KernelBuilder(func::FuncOp function, const KernelSpec &spec)
      : function(function), spec(spec), context(function.getContext()),
        block(*function.addEntryBlock()), builder(OpBuilder::atBlockEnd(&block)),
        arguments(block) {}

  LogicalResult build();

private:
  AttentionOp buildAttention(Value mask, ValueRange modifiers);
  FailureOr<SmallVector<Value>> buildModifiers();
  void finish(AttentionOp attention);

  /// tensor<?x...x`last`xT>
  Type tensor(unsigned rank, Type element, int64_t last = ShapedType::kDynamic) {
    SmallVector<int64_t> sizes(rank, ShapedType::kDynamic);
    sizes.back() = last;
    return RankedTensorType::get(sizes, element);
  }
  Value addOwn(StringRef name, Type type) {
    return arguments.addOwn(name, type, function.getLoc());
  }
  Value addOwnIf(bool wanted, StringRef name, Type type) {
    if (wanted)
      return addOwn(name, type);
    arguments.reserve(name);
    return {};
  }

  func::FuncOp function;
  const KernelSpec &spec;
  MLIRContext *context;
  Block &block;
  OpBuilder builder;
  Arguments arguments;
  Value q, k, v, kvLen, qLen, qOffset, sinks;
};
} // namespace

LogicalResult KernelBuilder::build() {
  Type element = getElementType(context, spec.elementType);
  Type lengths = tensor(1, builder.getI32Type());
  int64_t valueDim = spec.valueDim ? spec.valueDim : spec.headDim;
  q = addOwn("q", tensor(4, element, spec.headDim));
  k = addOwn("k", tensor(4, element, spec.headDim));
  v = addOwn("v", tensor(4, element, valueDim));
  kvLen = addOwnIf(spec.kvLen, "kv_len", lengths);
  qLen = addOwnIf(spec.qLen, "q_len", lengths);
  qOffset = addOwnIf(spec.qOffset, "q_offset", lengths);
  sinks = addOwnIf(spec.sinks, "sinks", tensor(1, builder.getF32Type()));
  arguments.reserve("out");
  arguments.reserve("lse");

  Source source(context, spec.pattern, kPatternBuffer);
  std::unique_ptr<Node> tree = parseExpression(source);
  if (!tree)
    return failure();
  Value mask = ExpressionBuilder(source, builder, arguments).buildMask(*tree);
  if (!mask)
    return failure();
  FailureOr<SmallVector<Value>> modifiers = buildModifiers();
  if (failed(modifiers))
    return failure();
  finish(buildAttention(mask, *modifiers));
  return verify(function);
}

FailureOr<SmallVector<Value>> KernelBuilder::buildModifiers() {
  if (StringRef(spec.modifiers).trim().empty())
    return SmallVector<Value>();
  Source source(context, spec.modifiers, kModifiersBuffer);
  std::unique_ptr<Node> list = parseList(source);
  if (!list)
    return failure();
  return ExpressionBuilder(source, builder, arguments).buildModifiers(*list);
}

AttentionOp KernelBuilder::buildAttention(Value mask, ValueRange modifiers) {
  FloatAttr scale = spec.scale ? builder.getF64FloatAttr(*spec.scale) : FloatAttr();
  auto out = cast<RankedTensorType>(v.getType());
  if (spec.wideOut)
    out = out.clone(builder.getF32Type());
  return AttentionOp::create(builder, function.getLoc(), out,
                             tensor(3, builder.getF32Type()), q, k, v, mask, kvLen, qLen,
                             qOffset, sinks, modifiers, scale);
}

/// Returns the results and gives the function its type and names.
void KernelBuilder::finish(AttentionOp attention) {
  func::ReturnOp::create(builder, function.getLoc(), attention.getResults());
  function.setFunctionType(
      builder.getFunctionType(block.getArgumentTypes(), attention.getResultTypes()));
  for (auto [index, name] : llvm::enumerate(arguments.names()))
    function.setArgAttr(index, kNameAttr, builder.getStringAttr(name));
  function.setResultAttr(0, kNameAttr, builder.getStringAttr("out"));
  function.setResultAttr(1, kNameAttr, builder.getStringAttr("lse"));
}

FailureOr<func::FuncOp> sparse_attn::buildKernel(ModuleOp module,
                                                 const KernelSpec &spec) {
  loadExpressionDialects(*module.getContext());
  Location location = Source(module.getContext(), spec.pattern, kPatternBuffer).locate(0);
  if (module.lookupSymbol(spec.name))
    return emitError(location) << "there already is a kernel '" << spec.name << "'";
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto function =
      func::FuncOp::create(builder, location, spec.name, builder.getFunctionType({}, {}));
  if (failed(KernelBuilder(function, spec).build())) {
    function.erase();
    return failure();
  }
  return function;
}

void sparse_attn::addExpressionBuffers(llvm::SourceMgr &sourceMgr,
                                       const KernelSpec &spec) {
  for (auto [text, name] : {std::pair<StringRef, StringRef>(spec.pattern, kPatternBuffer),
                            {spec.modifiers, kModifiersBuffer}})
    sourceMgr.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name), {});
}

void sparse_attn::loadExpressionDialects(MLIRContext &context) {
  context.loadDialect<SparseAttnDialect, func::FuncDialect>();
}
