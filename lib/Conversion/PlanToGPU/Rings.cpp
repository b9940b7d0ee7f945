//===- Rings.cpp - buffers between producer and consumers -----------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A buffer has two mbarriers, full and empty. One thread arrives at `full`, and TMA's
// bytes complete it; one thread of each consuming warp arrives at `empty`. Round r of a
// buffer waits for the phase of parity r % 2 of `full`, and of the other one of `empty`,
// which a fresh mbarrier counts as past.
//
//===----------------------------------------------------------------------===//

#include "Warpgroups.h"

using namespace mlir;
using namespace sparse_attn;

static constexpr int64_t kMbarrier = 8; // bytes

Value RingBuilder::getBarrier(Value use, int64_t first) {
  Value at = b.mul(getNumber(use), kMbarrier);
  return b.offset(shared, b.add(at, b.i32(ring.barriersAt + first * kMbarrier)));
}
Value RingBuilder::getFull(Value use) { return getBarrier(use, 0); }

Value RingBuilder::getParity(Value use) { return b.remU(b.divU(use, ring.size), 2); }

Value RingBuilder::getBuffer(Value use) {
  return b.add(b.mul(getNumber(use), ring.bytes), b.i32(ring.at));
}

void RingBuilder::init(int64_t consumers) {
  for (int64_t buffer = 0; buffer < ring.size; ++buffer) {
    Value use = b.i32(buffer);
    NVVM::MBarrierInitOp::create(b.builder, b.loc, getBarrier(use, 0), b.i32(1), Value());
    NVVM::MBarrierInitOp::create(b.builder, b.loc, getBarrier(use, ring.size),
                                 b.i32(consumers), Value());
  }
}

/// Until the phase of `parity` is past.
static void buildWait(GPUBuilder &b, Value barrier, Value parity) {
  LLVM::InlineAsmOp::create(b.builder, b.loc, Type(), ValueRange{barrier, parity},
                            "{\n.reg .pred done;\nwait_${:uid}:\n"
                            "mbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1;\n"
                            "@!done bra wait_${:uid};\n}",
                            "r,r,~{memory}", /*has_side_effects=*/true,
                            /*is_align_stack=*/false, LLVM::TailCallKind::None,
                            LLVM::AsmDialectAttr(), ArrayAttr());
}

void RingBuilder::waitFull(Value use) {
  buildWait(b, getBarrier(use, 0), getParity(use));
}
void RingBuilder::waitEmpty(Value use) {
  buildWait(b, getBarrier(use, ring.size), b.bxor(getParity(use), b.i32(1)));
}

static void buildArrive(GPUBuilder &b, Value barrier) {
  NVVM::MBarrierArriveOp::create(b.builder, b.loc, b.builder.getI64Type(), barrier,
                                 Value());
}
void RingBuilder::publish(Value use) { buildArrive(b, getBarrier(use, 0)); }
void RingBuilder::release(Value use) { buildArrive(b, getBarrier(use, ring.size)); }

void RingBuilder::expect(Value use, int64_t bytes) {
  NVVM::MBarrierArriveExpectTxOp::create(b.builder, b.loc, Type(), getBarrier(use, 0),
                                         b.i32(bytes), NVVM::MemScopeKind::CTA,
                                         /*relaxed=*/false, Value());
}

void sparse_attn::buildFenceProxy(GPUBuilder &b) {
  MLIRContext *context = b.builder.getContext();
  NVVM::FenceProxyOp::create(
      b.builder, b.loc, NVVM::ProxyKind::async_shared,
      NVVM::SharedSpaceAttr::get(context, NVVM::SharedSpace::shared_cta));
}
