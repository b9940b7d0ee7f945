//===- GPUBuilder.cpp - vocabulary of GPU kernels -------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GPUBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace sparse_attn;

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Value GPUBuilder::divU(Value a, Value b) {
  return builder.createOrFold<arith::DivUIOp>(loc, a, b);
}
Value GPUBuilder::remU(Value a, Value b) {
  return builder.createOrFold<arith::RemUIOp>(loc, a, b);
}
Value GPUBuilder::shl(Value a, Value bits) {
  return builder.createOrFold<arith::ShLIOp>(loc, a, bits);
}
Value GPUBuilder::shr(Value a, Value bits) {
  return builder.createOrFold<arith::ShRUIOp>(loc, a, bits);
}
Value GPUBuilder::band(Value a, Value b) {
  return builder.createOrFold<arith::AndIOp>(loc, a, b);
}
Value GPUBuilder::bor(Value a, Value b) {
  return builder.createOrFold<arith::OrIOp>(loc, a, b);
}
Value GPUBuilder::bxor(Value a, Value b) {
  return builder.createOrFold<arith::XOrIOp>(loc, a, b);
}
Value GPUBuilder::mulI32(Value a, Value b) {
  return builder.createOrFold<arith::MulIOp>(loc, a, b);
}
Value GPUBuilder::countBits(Value word) {
  return LLVM::CtPopOp::create(builder, loc, word.getType(), word);
}
Value GPUBuilder::toI64(Value i32) {
  return builder.createOrFold<arith::ExtSIOp>(loc, builder.getI64Type(), i32);
}

Value GPUBuilder::trailingZeros(Value word) {
  return LLVM::CountTrailingZerosOp::create(builder, loc, word.getType(), word,
                                            /*is_zero_poison=*/false);
}
Value GPUBuilder::clearLowestBit(Value word) { return band(word, sub(word, i32(1))); }

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

Values GPUBuilder::choose(Value condition, function_ref<Values()> then,
                          function_ref<Values()> otherwise) {
  auto fill = [&](function_ref<Values()> values) {
    return [this, values](OpBuilder &inner, Location) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
      scf::YieldOp::create(builder, loc, values());
    };
  };
  auto ifOp = scf::IfOp::create(builder, loc, condition, fill(then), fill(otherwise));
  return Values(ifOp.getResults());
}

Values GPUBuilder::repeat(ValueRange init, function_ref<Value(ValueRange)> condition,
                          function_ref<Values(ValueRange)> body) {
  auto whileOp = scf::WhileOp::create(
      builder, loc, init.getTypes(), init,
      [&](OpBuilder &inner, Location, ValueRange values) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
        scf::ConditionOp::create(builder, loc, condition(values), values);
      },
      [&](OpBuilder &inner, Location, ValueRange values) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
        scf::YieldOp::create(builder, loc, body(values));
      });
  return Values(whileOp.getResults());
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

Value GPUBuilder::thread() {
  return NVVM::ThreadIdXOp::create(builder, loc, builder.getI32Type());
}
Value GPUBuilder::block() {
  return NVVM::BlockIdXOp::create(builder, loc, builder.getI32Type());
}
Value GPUBuilder::blocks() {
  return NVVM::GridDimXOp::create(builder, loc, builder.getI32Type());
}
void GPUBuilder::barrier() { NVVM::BarrierOp::create(builder, loc); }
Value GPUBuilder::anyInBlock(Value condition) {
  Type i32Type = builder.getI32Type();
  Value word = builder.createOrFold<arith::ExtUIOp>(loc, i32Type, condition);
  auto anyOf =
      NVVM::BarrierReductionAttr::get(builder.getContext(), NVVM::BarrierReduction::OR);
  auto barrier =
      NVVM::BarrierOp::create(builder, loc, i32Type, Value(), Value(), anyOf, word);
  return ne(barrier.getResult(0), i32(0));
}

Value GPUBuilder::ballot(Value condition) {
  return NVVM::VoteSyncOp::create(builder, loc, builder.getI32Type(), i32(-1), condition,
                                  NVVM::VoteSyncKind::ballot);
}
Value GPUBuilder::shuffleXor(Value value, int64_t lanes) {
  return NVVM::ShflOp::create(builder, loc, value.getType(), i32(-1), value, i32(lanes),
                              i32(kWarp - 1), NVVM::ShflKind::bfly, UnitAttr());
}

Value GPUBuilder::anew(Value value) {
  return LLVM::InlineAsmOp::create(
             builder, loc, value.getType(), value, "mov.b32 $0, $1;", "=r,r",
             /*has_side_effects=*/true, /*is_align_stack=*/false,
             LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr())
      .getResult(0);
}

Value GPUBuilder::ofLane(Value value, Value lane) {
  return NVVM::ShflOp::create(builder, loc, value.getType(), i32(-1), value, lane,
                              i32(kWarp - 1), NVVM::ShflKind::idx, UnitAttr());
}
Value GPUBuilder::ofFirstLane(Value value) { return ofLane(value, i32(0)); }

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value GPUBuilder::offset(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(builder, loc, pointer.getType(), builder.getI8Type(),
                             pointer, ValueRange{bytes});
}
Value GPUBuilder::element(Value array, Value index, int64_t bytes) {
  return offset(array, mul(toI64(index), toI64(i32(bytes))));
}
Value GPUBuilder::loadAt(Type type, Value pointer, Value bytes, int64_t alignment) {
  return LLVM::LoadOp::create(builder, loc, type, offset(pointer, bytes), alignment);
}
void GPUBuilder::storeAt(Value value, Value pointer, Value bytes, int64_t alignment) {
  LLVM::StoreOp::create(builder, loc, value, offset(pointer, bytes), alignment);
}

Value GPUBuilder::toGlobal(Value pointer) {
  auto global = LLVM::LLVMPointerType::get(
      builder.getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::Global));
  return LLVM::AddrSpaceCastOp::create(builder, loc, global, pointer);
}

/// Who else may see what an atomic instruction does.
static constexpr StringLiteral kBlockScope = "block";

Value GPUBuilder::exchangeAtomic(Value pointer, Value expected, Value desired) {
  auto relaxed = LLVM::AtomicOrdering::monotonic;
  Value result = LLVM::AtomicCmpXchgOp::create(builder, loc, pointer, expected, desired,
                                               relaxed, relaxed, kBlockScope);
  return LLVM::ExtractValueOp::create(builder, loc, result, 0);
}
Value GPUBuilder::minAtomic(Value pointer, Value value) {
  return LLVM::AtomicRMWOp::create(builder, loc, LLVM::AtomicBinOp::umin, pointer, value,
                                   LLVM::AtomicOrdering::monotonic, kBlockScope);
}

void GPUBuilder::copyAsync(Value shared, Value global, Value bytes) {
  NVVM::CpAsyncOp::create(builder, loc, shared, global, 16,
                          NVVM::LoadCacheModifierKind::CG, bytes);
}
void GPUBuilder::commitCopies() { NVVM::CpAsyncCommitGroupOp::create(builder, loc); }
void GPUBuilder::waitForCopies(int64_t pending) {
  NVVM::CpAsyncWaitGroupOp::create(builder, loc, static_cast<uint32_t>(pending));
}

//===----------------------------------------------------------------------===//
// Fragments of a warp
//===----------------------------------------------------------------------===//

/// The members of a structure.
static Values unpack(GPUBuilder &b, Value aggregate) {
  Values members;
  int64_t count = cast<LLVM::LLVMStructType>(aggregate.getType()).getBody().size();
  for (int64_t i = 0; i < count; ++i)
    members.push_back(LLVM::ExtractValueOp::create(b.builder, b.loc, aggregate, i));
  return members;
}

Values GPUBuilder::loadMatrices(Value shared, bool transposed) {
  MLIRContext *context = builder.getContext();
  Type words = LLVM::LLVMStructType::getLiteral(
      context, SmallVector<Type>(4, builder.getI32Type()));
  auto shape = NVVM::LdStMatrixShapeAttr::get(context, 8, 8);
  return unpack(*this, NVVM::LdMatrixOp::create(builder, loc, words, shared, 4,
                                                transposed ? NVVM::MMALayout::col
                                                           : NVVM::MMALayout::row,
                                                shape, NVVM::LdStMatrixEltType::B16));
}

Values GPUBuilder::multiply(ValueRange a, ValueRange b, ValueRange sums, Type element) {
  Type f32 = builder.getF32Type();
  Type result =
      LLVM::LLVMStructType::getLiteral(builder.getContext(), SmallVector<Type>(4, f32));
  auto type = element.isF32()    ? NVVM::MMATypes::tf32
              : element.isBF16() ? NVVM::MMATypes::bf16
                                 : NVVM::MMATypes::f16;
  auto toOperands = [&](ValueRange words) {
    Values operands(words);
    if (element.isF16())
      for (Value &word : operands)
        word = bitcast(word, vectorType(2, element));
    return operands;
  };
  std::array types = {type, type};
  std::array layouts = {NVVM::MMALayout::row, NVVM::MMALayout::col};
  return unpack(*this,
                NVVM::MmaOp::create(builder, loc, result, toOperands(a), toOperands(b),
                                    sums, {16, 8, element.isF32() ? 8 : 16}, std::nullopt,
                                    std::nullopt, types, layouts));
}

//===----------------------------------------------------------------------===//
// f32
//===----------------------------------------------------------------------===//

Value GPUBuilder::addF(Value a, Value b) {
  return arith::AddFOp::create(builder, loc, a, b);
}
Value GPUBuilder::subF(Value a, Value b) {
  return arith::SubFOp::create(builder, loc, a, b);
}
Value GPUBuilder::mulF(Value a, Value b) {
  return arith::MulFOp::create(builder, loc, a, b);
}
Value GPUBuilder::fma(Value a, Value b, Value c) {
  return math::FmaOp::create(builder, loc, a, b, c);
}
Value GPUBuilder::maxF(Value a, Value b) {
  // What arith has for it becomes four instructions.
  return LLVM::MaxNumOp::create(builder, loc, a, b);
}
Value GPUBuilder::eqF(Value a, Value b) {
  return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OEQ, a, b);
}
Value GPUBuilder::power2(Value x) {
  return LLVM::Exp2Op::create(builder, loc, x, LLVM::FastmathFlags::afn);
}
Value GPUBuilder::power2OrZero(Value x) {
  return LLVM::CallIntrinsicOp::create(builder, loc, builder.getF32Type(),
                                       builder.getStringAttr("llvm.nvvm.ex2.approx.ftz"),
                                       ValueRange{x})
      .getResult(0);
}
Value GPUBuilder::log2(Value x) {
  // llvm.intr.log2 has no instruction there.
  return LLVM::CallIntrinsicOp::create(builder, loc, builder.getF32Type(),
                                       builder.getStringAttr("llvm.nvvm.lg2.approx.f"),
                                       ValueRange{x})
      .getResult(0);
}

Value GPUBuilder::bitcast(Value value, Type type) {
  return LLVM::BitcastOp::create(builder, loc, type, value);
}
Value GPUBuilder::pack(Value low, Value high, Type element) {
  Value pair =
      vector::FromElementsOp::create(builder, loc, vectorType(2), ValueRange{low, high});
  Value rounded = arith::TruncFOp::create(builder, loc, vectorType(2, element), pair);
  return bitcast(rounded, builder.getI32Type());
}
