//===- PipelineTest.cpp - a product by TMA, mbarriers and wgmma, right and broken -===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

//===----------------------------------------------------------------------===//
// C = A B^T by TMA, mbarriers and wgmma: warp 4 fetches, warps 0-3 multiply
//===----------------------------------------------------------------------===//

struct Pipeline {
  std::string init = "call void @llvm.nvvm.fence.mbarrier_init.release.cluster()\n";
  std::string waitEmpty =
      "call void asm sideeffect \"{ .reg .pred P1; LAB_WAIT: "
      "mbarrier.try_wait.parity.shared.b64 P1, [$0], $1, $2; @P1 bra.uni DONE; bra.uni "
      "LAB_WAIT; DONE: }\", \"r,r,r\"(ptr addrspace(3) %empty, i32 %before, i32 "
      "1000000)\n";
  std::string waitFull =
      "br label %spin\nspin:\n"
      "%ok = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr "
      "addrspace(3) %cfull, i32 %cparity)\nbr i1 %ok, label %have, label %spin\nhave:\n";
  std::string bytes = "16384";
  std::string fence = kFence;
  std::string wait = kWait;
  std::string arrive =
      "%s2 = call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %cempty)\n";
  std::string beforeWait, afterWait = arrive;

  std::string text() const {
    constexpr unsigned n = 64;
    std::string type = structOf(n / 2);
    std::string text = R"(
@smem = external addrspace(3) global [0 x i8], align 1024
define ptx_kernel void @k(ptr byval([128 x i8]) align 64 %ma, ptr byval([128 x i8]) align 64 %mb, ptr addrspace(1) %c, i32 %steps) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %bars = getelementptr i8, ptr addrspace(3) @smem, i32 32768
  %first = icmp eq i32 %t, 0
  br i1 %first, label %init, label %ready
init:
  %f1 = getelementptr i64, ptr addrspace(3) %bars, i32 1
  %e0 = getelementptr i64, ptr addrspace(3) %bars, i32 2
  %e1 = getelementptr i64, ptr addrspace(3) %bars, i32 3
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %bars, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %f1, i32 1)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %e0, i32 128)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %e1, i32 128)
  $init
  br label %ready
ready:
  )" + kSync + R"(
  %isProducer = icmp uge i32 %t, 128
  br i1 %isProducer, label %producer, label %consumer
producer:
  %isFirst = icmp eq i32 %t, 128
  br i1 %isFirst, label %fetch, label %exit
fetch:
  %s = phi i32 [ 0, %producer ], [ %s1, %fetch ]
  %stage = and i32 %s, 1
  %round = lshr i32 %s, 1
  %parity = and i32 %round, 1
  %before = xor i32 %parity, 1
  %full = getelementptr i64, ptr addrspace(3) %bars, i32 %stage
  %empty = getelementptr i64, ptr addrspace(3) %full, i32 2
  $waitEmpty
  %st = call i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3) %full, i32 $bytes)
  %x = shl i32 %s, 6
  %o = shl i32 %stage, 14
  %da = getelementptr i8, ptr addrspace(3) @smem, i32 %o
  %db = getelementptr i8, ptr addrspace(3) %da, i32 8192
  %dac = addrspacecast ptr addrspace(3) %da to ptr addrspace(7)
  call void @llvm.nvvm.cp.async.bulk.tensor.g2s.tile.2d(ptr addrspace(7) %dac, ptr addrspace(3) %full, ptr %ma, i32 %x, i32 0, i16 0, i64 0, i1 false, i1 false, i32 0)
  %dbg = addrspacecast ptr addrspace(3) %db to ptr
  call void asm sideeffect "@$$5 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [$$0], [$$1, {$$2,$$3} ], [$$4];", "l,l,r,r,r,b"(ptr %dbg, ptr %mb, i32 %x, i32 0, ptr addrspace(3) %full, i1 true)
  %s1 = add i32 %s, 1
  %more = icmp ult i32 %s1, %steps
  br i1 %more, label %fetch, label %exit
consumer:
  br label %loop
loop:
  %i = phi i32 [ 0, %consumer ], [ %i1, %next ]
  %acc = phi $type [ zeroinitializer, %consumer ], [ %d3, %next ]
  %cstage = and i32 %i, 1
  %cround = lshr i32 %i, 1
  %cparity = and i32 %cround, 1
  %cfull = getelementptr i64, ptr addrspace(3) %bars, i32 %cstage
  %cempty = getelementptr i64, ptr addrspace(3) %cfull, i32 2
  $waitFull
  %co = shl i32 %cstage, 14
  %pa = getelementptr i8, ptr addrspace(3) @smem, i32 %co
  %pi = ptrtoint ptr addrspace(3) %pa to i64
  %pm = and i64 %pi, 262143
  %ps = lshr i64 %pm, 4
  %descA = or i64 %ps, 4611686293305360384
  %descB = add i64 %descA, 512
  %a1 = add i64 %descA, 2
  %b1 = add i64 %descB, 2
  %a2 = add i64 %descA, 4
  %b2 = add i64 %descB, 4
  %a3 = add i64 %descA, 6
  %b3 = add i64 %descB, 6
  $fence
)";
    const char *shape = "m64n64k16.f32.bf16.bf16";
    text = substitute(text, {{"init", init},
                             {"waitEmpty", waitEmpty},
                             {"waitFull", waitFull},
                             {"bytes", bytes},
                             {"type", type},
                             {"fence", fence},
                             {"$", "$"}}); // `$$` is a dollar of the assembly.
    text += wgmma("d0", "acc", n, shape, "i64 %descA", "%descB", "1", ", p, 1, 1, 0, 0");
    text += wgmma("d1", "d0", n, shape, "i64 %a1", "%b1", "1", ", p, 1, 1, 0, 0");
    text += wgmma("d2", "d1", n, shape, "i64 %a2", "%b2", "1", ", p, 1, 1, 0, 0");
    text += wgmma("d3", "d2", n, shape, "i64 %a3", "%b3", "1", ", p, 1, 1, 0, 0");
    text += kCommit + beforeWait + wait + afterWait + R"(
  br label %next
next:
  %i1 = add i32 %i, 1
  %cmore = icmp ult i32 %i1, %steps
  br i1 %cmore, label %loop, label %write
write:
)" + storeAccumulators("d3", n) +
            "br label %exit\nexit:\nret void\n}";
    return text;
  }
};

class PipelineTest : public MatrixProductTest {
protected:
  static constexpr unsigned m = 64, n = 64, steps = 5, k = 64 * steps - 24;

  PipelineTest() {
    const llvm::fltSemantics &format = llvm::APFloat::BFloat();
    a = randomValues(m * k, format);
    b = randomValues(n * k, format);
    mapA = map(a);
    mapB = map(b);
    c = allocate<float>(m * n);
  }

  TensorMap map(const std::vector<float> &values) {
    std::vector<uint16_t> bits;
    for (float value : values)
      bits.push_back(encode(value, llvm::APFloat::BFloat()));
    TensorMapInfo info;
    info.rank = 2;
    info.base = upload(bits);
    info.sizes[0] = k; // The last tile is filled with zeros.
    info.sizes[1] = 64;
    info.strides[0] = k * 2;
    info.box[0] = info.box[1] = 64;
    info.swizzle = TensorSwizzle::B128;
    return llvm::cantFail(encodeTensorMap(info));
  }

  void expectFaults(const Pipeline &pipeline, std::initializer_list<FaultKind> kinds) {
    parse(pipeline.text());
    for (uint64_t seed = 0; seed < 6; ++seed) {
      device.setSeed(seed);
      expectFaultIn(kinds, "", {1}, {160}, 33024, mapA, mapB, c, steps);
    }
  }

  std::vector<float> a, b;
  TensorMap mapA, mapB;
  float *c;
};

TEST_F(PipelineTest, passes) {
  parse(Pipeline().text());
  std::vector<float> expected = product(a, b, m, n, k);
  for (uint64_t seed = 0; seed < 6; ++seed) {
    device.setSeed(seed);
    Statistics statistics = launch({1}, {160}, 33024, mapA, mapB, c, steps);
    expectNear(c, expected, 1e-3f);
    EXPECT_EQ(statistics.matrixMultiplyAdds, uint64_t(m * n * 64 * steps));
    EXPECT_EQ(statistics.bytesCopiedAsync, uint64_t(16384 * steps));
    EXPECT_EQ(statistics.wgmmaSharedBytes, uint64_t(16384 * steps));
  }
}

TEST_F(PipelineTest, noWaitForData) {
  Pipeline pipeline;
  pipeline.waitFull = "";
  expectFaults(pipeline, {FaultKind::AsyncInFlight, FaultKind::UninitialisedShared,
                          FaultKind::SharedRace});
}

TEST_F(PipelineTest, noWaitForRoom) {
  Pipeline pipeline;
  pipeline.waitEmpty = "";
  expectFaults(pipeline, {FaultKind::AsyncInFlight, FaultKind::SharedRace,
                          FaultKind::MbarrierMisuse});
}

TEST_F(PipelineTest, roomGivenBeforeTheProductsAreComplete) {
  Pipeline pipeline;
  pipeline.beforeWait = pipeline.arrive;
  pipeline.afterWait = "";
  expectFaults(pipeline, {FaultKind::AsyncInFlight, FaultKind::SharedRace});
}

TEST_F(PipelineTest, accumulatorsReadBeforeTheWait) {
  Pipeline pipeline;
  pipeline.wait = "";
  expectFaults(pipeline, {FaultKind::AsyncInFlight, FaultKind::SharedRace});
}

TEST_F(PipelineTest, noWgmmaFence) {
  Pipeline pipeline;
  pipeline.fence = "";
  expectFaults(pipeline, {FaultKind::AsyncInFlight});
}

TEST_F(PipelineTest, noFenceAfterInit) {
  Pipeline pipeline;
  pipeline.init = "";
  expectFaults(pipeline, {FaultKind::MissingProxyFence});
}

TEST_F(PipelineTest, wrongBytes) {
  Pipeline pipeline;
  pipeline.bytes = "16400";
  expectFaults(pipeline, {FaultKind::Deadlock});
  pipeline.bytes = "8192";
  expectFaults(pipeline, {FaultKind::AsyncInFlight, FaultKind::SharedRace,
                          FaultKind::UninitialisedShared, FaultKind::Deadlock,
                          FaultKind::MbarrierMisuse});
}

} // namespace
