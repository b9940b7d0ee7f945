//===- WarpgroupProduct.cpp - wgmma, asynchronous products ----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// LLVM sees no dependence between an asynchronous product and its fence or wait. So all
// registers that one of them is about go through it: it returns them, and what uses the
// results comes after it. The order matters to ptxas, too: weights that are packed while
// products are in flight make it put these one after another (C7513).
//
//===----------------------------------------------------------------------===//

#include "Warpgroups.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace sparse_attn;

/// Inline PTX whose results are `registers`, each with the register of its operand, after
/// the operands of `inputs`.
static Values buildAssembly(GPUBuilder &b, StringRef text, ValueRange inputs,
                            StringRef inputConstraints, ValueRange registers) {
  MLIRContext *context = b.builder.getContext();
  std::string constraints;
  for (Value value : registers)
    constraints += value.getType().isF32() ? "=f," : "=r,";
  constraints += inputConstraints;
  for (size_t i = 0; i < registers.size(); ++i)
    constraints += std::to_string(i) + ",";
  constraints += "~{memory}";
  SmallVector<Value> operands(inputs);
  llvm::append_range(operands, registers);
  SmallVector<Type> types(registers.getTypes());
  Type type =
      types.size() == 1 ? types[0] : LLVM::LLVMStructType::getLiteral(context, types);
  auto assembly = LLVM::InlineAsmOp::create(
      b.builder, b.loc, registers.empty() ? Type() : type, operands, text, constraints,
      /*has_side_effects=*/true, /*is_align_stack=*/false, LLVM::TailCallKind::None,
      LLVM::AsmDialectAttr(), ArrayAttr());
  if (registers.empty())
    return {};
  if (types.size() == 1)
    return {assembly.getResult(0)};
  Values results;
  for (size_t i = 0; i < types.size(); ++i)
    results.push_back(
        LLVM::ExtractValueOp::create(b.builder, b.loc, assembly.getResult(0), i));
  return results;
}

//===----------------------------------------------------------------------===//
// Descriptors
//===----------------------------------------------------------------------===//

static Value toI64(GPUBuilder &b, Value unsignedI32) {
  return b.builder.createOrFold<arith::ExtUIOp>(b.loc, b.builder.getI64Type(),
                                                unsignedI32);
}

Value sparse_attn::buildDescriptor(GPUBuilder &b, Value shared, Value at,
                                   int64_t panelBytes) {
  // Bits 0-13: the address; 16-29: bytes to the next panel; 32-45: to the next 8 rows;
  // all in units of 16. Bit 62: the 128-byte swizzle.
  uint64_t fields = uint64_t(panelBytes / 16) << 16 |
                    uint64_t(8 * kPanelRowBytes / 16) << 32 | 1ull << 62;
  Value address =
      LLVM::PtrToIntOp::create(b.builder, b.loc, b.builder.getI32Type(), shared);
  address = b.shr(b.add(address, at), b.i32(4));
  Value constant = arith::ConstantOp::create(
      b.builder, b.loc, b.builder.getI64IntegerAttr(static_cast<int64_t>(fields)));
  return b.bor(toI64(b, address), constant);
}

Value sparse_attn::advanceDescriptor(GPUBuilder &b, Value descriptor, Value bytes) {
  return b.add(descriptor, toI64(b, b.divU(bytes, 16)));
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Values sparse_attn::buildWarpgroupProduct(GPUBuilder &b, ValueRange left, Value right,
                                          bool transposed, ValueRange sums,
                                          bool accumulate, Type element) {
  size_t count = sums.size();
  auto number = [](size_t operand) { return "$" + std::to_string(operand); };
  auto list = [&](size_t first, size_t size) {
    std::string text = "{";
    for (size_t i = first; i < first + size; ++i)
      text += (i > first ? ", " : "") + number(i);
    return text + "}";
  };
  bool inRegisters = left.size() == 4;
  std::string type = element.isBF16() ? "bf16" : "f16";
  // scale-d, the signs of A and B, and whether A (in memory) and B are transposed.
  std::string text = llvm::formatv(
      "{{\n.reg .pred p;\nsetp.ne.b32 p, {0}, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n{1}k16.f32.{2}.{2} {3}, {4}, {5}, p, 1, 1, "
      "{6}{7};\n}",
      accumulate ? 1 : 0, count * 2, type, list(0, count),
      inRegisters ? list(count, 4) : number(count), number(count + left.size()),
      inRegisters ? "" : "0, ", transposed ? 1 : 0);
  SmallVector<Value> inputs(left);
  inputs.push_back(right);
  return buildAssembly(b, text, inputs, inRegisters ? "r,r,r,r,l," : "l,l,", sums);
}

Values sparse_attn::buildStartProducts(GPUBuilder &b, ValueRange registers) {
  return buildAssembly(b, "wgmma.fence.sync.aligned;", {}, "", registers);
}
void sparse_attn::buildCommitProducts(GPUBuilder &b) {
  buildAssembly(b, "wgmma.commit_group.sync.aligned;", {}, "", {});
}
Values sparse_attn::buildWaitForProducts(GPUBuilder &b, int64_t pending,
                                         ValueRange registers) {
  std::string text = "wgmma.wait_group.sync.aligned " + std::to_string(pending) + ";";
  return buildAssembly(b, text, {}, "", registers);
}
