//===- SharedTest.cpp - shared memory and barriers, right and broken ------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

class SharedTest : public EmulatorTest {
protected:
  /// A kernel of `body` with thread %t, warp %w, lane %l, an array @buf of 256 i32 and
  /// %own and %other, the addresses of its elements %t and 255 - %t.
  void parseBody(const std::string &body) {
    parse(substitute(R"(
@buf = internal addrspace(3) global [256 x i32] undef, align 16
define ptx_kernel void @k(ptr addrspace(1) %out) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %l = and i32 %t, 31
  %w = lshr i32 %t, 5
  %r = sub i32 255, %t
  %own = getelementptr i32, ptr addrspace(3) @buf, i32 %t
  %other = getelementptr i32, ptr addrspace(3) @buf, i32 %r
  %result = getelementptr i32, ptr addrspace(1) %out, i32 %t
  $body
  ret void
})",
                     {{"body", body}}));
    out = allocate<int32_t>(256);
  }

  /// The kernel passes under several seeds; returns the last result.
  void expectPass(const std::string &body) {
    parseBody(body);
    for (uint64_t seed = 0; seed < 8; ++seed) {
      device.setSeed(seed);
      launch({2}, {256}, 0, out);
    }
  }

  /// The kernel faults under every seed.
  void expectFaultOf(const std::string &body, FaultKind kind,
                     const std::string &message) {
    parseBody(body);
    for (uint64_t seed = 0; seed < 8; ++seed) {
      device.setSeed(seed);
      expectFault(kind, message, {1}, {256}, 0, out);
    }
  }

  int32_t *out = nullptr;
};

std::string reverse(const std::string &between) {
  return "store i32 0, ptr addrspace(3) %own\n" + kSync +
         "store i32 %t, ptr addrspace(3) %own\n" + between +
         "%v = load i32, ptr addrspace(3) %other\n"
         "store i32 %v, ptr addrspace(1) %result\n";
}

TEST_F(SharedTest, barrierOrders) {
  expectPass(reverse(kSync));
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(out[i], 255 - i);
}

TEST_F(SharedTest, missingBarrierIsARace) {
  expectFaultOf(reverse(""), FaultKind::SharedRace, "the other access: warp");
  EXPECT_NE(faultText.find("i32, ptr addrspace(3) %other"), std::string::npos);
}

// The write of the next round races with the reads of this one.
TEST_F(SharedTest, writeAfterRead) {
  std::string body = "store i32 1, ptr addrspace(3) %own\n" + kSync +
                     "%v = load i32, ptr addrspace(3) %other\n$between"
                     "store i32 %v, ptr addrspace(3) %own\n";
  expectPass(substitute(body, {{"between", kSync}}));
  expectFaultOf(substitute(body, {{"between", ""}}), FaultKind::SharedRace,
                "the other access");
}

TEST_F(SharedTest, uninitialised) {
  std::string body = "%c = icmp ne i32 %t, 17\n br i1 %c, label %write, label %after\n"
                     "write:\n store i32 %t, ptr addrspace(3) %own\n br label %after\n"
                     "after:\n" +
                     kSync + "%v = load i32, ptr addrspace(3) %other\n";
  expectFaultOf(body, FaultKind::UninitialisedShared, "at 68 of shared memory");
  expectPass(body.replace(body.find("17"), 2, "1000"));
}

TEST_F(SharedTest, outOfBounds) {
  std::string body = "%i = add i32 %t, $at\n"
                     "%p = getelementptr i32, ptr addrspace(3) @buf, i32 %i\n"
                     "store i32 %t, ptr addrspace(3) %p\n";
  expectPass(substitute(body, {{"at", "0"}}));
  expectFaultOf(substitute(body, {{"at", "1"}}), FaultKind::OutOfBounds,
                "4 bytes at 1024 of shared memory, which has 1024");
  expectFaultOf(substitute(body, {{"at", "-1"}}), FaultKind::OutOfBounds, "at -4 of");
}

TEST_F(SharedTest, misaligned) {
  std::string body = "%i = mul i32 %w, $step\n"
                     "%p = getelementptr i32, ptr addrspace(3) @buf, i32 %i\n"
                     "%c = icmp eq i32 %l, 0\n br i1 %c, label %write, label %after\n"
                     "write:\n"
                     "store <4 x i32> zeroinitializer, ptr addrspace(3) %p, align 16\n"
                     "br label %after\n after:\n";
  expectPass(substitute(body, {{"step", "8"}}));
  expectFaultOf(substitute(body, {{"step", "6"}}), FaultKind::Misaligned,
                "no multiple of 16");
}

TEST_F(SharedTest, lanesWriteDifferentValues) {
  std::string body = "%c = icmp eq i32 %w, 0\n br i1 %c, label %write, label %after\n"
                     "write:\n store i32 $value, ptr addrspace(3) @buf\n"
                     "br label %after\n after:\n";
  expectPass(substitute(body, {{"value", "%w"}}));
  expectFaultOf(substitute(body, {{"value", "%l"}}), FaultKind::LaneConflict,
                "lanes 0 and 1 write different values");
}

TEST_F(SharedTest, lanesOfAWarpNeedSync) {
  std::string body = "%n = xor i32 %t, 1\n"
                     "%p = getelementptr i32, ptr addrspace(3) @buf, i32 %n\n"
                     "store i32 %t, ptr addrspace(3) %own\n$between"
                     "%v = load i32, ptr addrspace(3) %p\n";
  expectPass(
      substitute(body, {{"between", "call void @llvm.nvvm.bar.warp.sync(i32 -1)\n"}}));
  expectFaultOf(substitute(body, {{"between", ""}}), FaultKind::SharedRace,
                "no bar.warp.sync");
}

TEST_F(SharedTest, divergentBarrier) {
  std::string body = "%c = icmp ult i32 %l, $n\n br i1 %c, label %some, label %after\n"
                     "some:\n" +
                     kSync + "br label %after\n after:\n";
  expectPass(substitute(body, {{"n", "32"}}));
  expectFaultOf(substitute(body, {{"n", "16"}}), FaultKind::BarrierMisuse,
                "16 lanes of the warp while 16 are elsewhere");
}

TEST_F(SharedTest, barrierCounts) {
  // Warps 0-3 meet at barrier 1, the others at barrier 2.
  std::string body =
      "%c = icmp ult i32 %w, 4\n %id = select i1 %c, i32 1, i32 $second\n"
      "%n = select i1 %c, i32 128, i32 $count\n"
      "call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 %id, i32 %n)\n";
  expectPass(substitute(body, {{"second", "2"}, {"count", "128"}}));
  expectFaultOf(substitute(body, {{"second", "1"}, {"count", "64"}}),
                FaultKind::BarrierMisuse, "where another warp has arrived");
  expectFaultOf(substitute(body, {{"second", "2"}, {"count", "100"}}),
                FaultKind::BarrierMisuse, "multiple of 32");
  expectFaultOf(substitute(body, {{"second", "16"}, {"count", "128"}}),
                FaultKind::BarrierMisuse, "barrier 16 of 16");
  expectFaultOf(substitute(body, {{"second", "2"}, {"count", "160"}}),
                FaultKind::Deadlock, "for 32 of the 160 threads of barrier 2");
}

TEST_F(SharedTest, arriveAndSync) {
  // Warps 4-7 fill their half and arrive; warps 0-3 wait for them and read it.
  std::string body = R"(
  %c = icmp ult i32 %w, 4
  br i1 %c, label %consumer, label %producer
producer:
  store i32 %t, ptr addrspace(3) %own
  $arrive
  br label %after
consumer:
  call void @llvm.nvvm.barrier.cta.sync.aligned.count(i32 3, i32 256)
  %v = load i32, ptr addrspace(3) %other
  store i32 %v, ptr addrspace(1) %result
  br label %after
after:
)";
  expectPass(substitute(
      body,
      {{"arrive",
        "call void asm sideeffect \"bar.arrive $0, $1;\", \"r,r\"(i32 3, i32 256)"}}));
  for (int i = 0; i < 128; ++i)
    EXPECT_EQ(out[i], 255 - i);
  expectPass(substitute(
      body, {{"arrive",
              "call void @llvm.nvvm.barrier.cta.arrive.aligned.count(i32 3, i32 256)"}}));
  expectFaultOf(substitute(body, {{"arrive", ""}}), FaultKind::Deadlock,
                "for 128 of the 256 threads of barrier 3");
  expectFaultOf(
      substitute(body,
                 {{"arrive", "call void @llvm.nvvm.barrier.cta.arrive.aligned.count("
                             "i32 3, i32 256)\n call void "
                             "@llvm.nvvm.barrier.cta.arrive.aligned.count(i32 3, i32 "
                             "256)"}}),
      FaultKind::BarrierMisuse, "arrives twice");
}

TEST_F(SharedTest, reductions) {
  expectPass("%c = icmp ult i32 %t, 100\n"
             "%n = call i32 @llvm.nvvm.barrier.cta.red.popc.aligned.all(i32 0, i1 %c)\n"
             "%a = call i1 @llvm.nvvm.barrier.cta.red.and.aligned.all(i32 0, i1 %c)\n"
             "%o = call i1 @llvm.nvvm.barrier.cta.red.or.aligned.all(i32 0, i1 %c)\n"
             "%a32 = zext i1 %a to i32\n %o32 = zext i1 %o to i32\n"
             "%s = shl i32 %n, 2\n %s1 = shl i32 %a32, 1\n %s2 = or i32 %s, %s1\n"
             "%s3 = or i32 %s2, %o32\n store i32 %s3, ptr addrspace(1) %result\n");
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(out[i], 100 * 4 + 1);
}

TEST_F(SharedTest, exitedWarpsDoNotHoldBarriers) {
  expectPass("%c = icmp ult i32 %w, 2\n br i1 %c, label %stay, label %leave\n"
             "leave:\n ret void\n stay:\n" +
             kSync);
}

TEST_F(SharedTest, deadlockSaysWhere) {
  expectFaultOf("%c = icmp ult i32 %w, 4\n br i1 %c, label %a, label %b\n a:\n"
                "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 1)\n"
                "br label %after\n b:\n"
                "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 2)\n"
                "br label %after\n after:\n",
                FaultKind::Deadlock,
                "warp 7 waits for 128 of the 256 threads of barrier 2");
}

TEST_F(SharedTest, collectiveOfAPart) {
  std::string body =
      "%c = icmp ult i32 %l, $n\n br i1 %c, label %some, label %after\n"
      "some:\n"
      "%v = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 $mask, i32 %t, i32 0, "
      "i32 31)\n"
      "br label %after\n after:\n";
  expectPass(substitute(body, {{"n", "32"}, {"mask", "-1"}}));
  expectPass(substitute(body, {{"n", "16"}, {"mask", "65535"}}));
  expectFaultOf(substitute(body, {{"n", "16"}, {"mask", "-1"}}), FaultKind::MissingLanes,
                "lane 16 is named by the mask, but is elsewhere");
}

TEST_F(SharedTest, dynamicSharedMemory) {
  parse(R"(
@fixed = internal addrspace(3) global [3 x i32] undef, align 4
@dynamic = external addrspace(3) global [0 x i8], align 128
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %g = addrspacecast ptr addrspace(3) @dynamic to ptr
  %p = getelementptr i32, ptr %g, i32 %t
  store i32 %t, ptr %p
  %a = ptrtoint ptr addrspace(3) @dynamic to i64
  %b = trunc i64 %a to i32
  store i32 %b, ptr addrspace(3) @fixed
  %q = getelementptr i32, ptr addrspace(3) @dynamic, i32 %t
  %v = load i32, ptr addrspace(3) %q
  %r = getelementptr i32, ptr addrspace(1) %out, i32 %t
  store i32 %v, ptr addrspace(1) %r
  store i32 %b, ptr addrspace(1) %out
  ret void
})");
  auto *result = allocate<int32_t>(32);
  launch({1}, {32}, 128, result);
  EXPECT_EQ(result[0] % 128, 0);
  for (int i = 1; i < 32; ++i)
    EXPECT_EQ(result[i], i);
  expectFault(FaultKind::OutOfBounds, "which has 252", {1}, {32}, 124, result);
}

TEST_F(SharedTest, atomicsDoNotRace) {
  expectPass("%z = icmp eq i32 %t, 0\n br i1 %z, label %first, label %after\n first:\n"
             "store i32 0, ptr addrspace(3) @buf\n br label %after\n after:\n" +
             kSync + "%old = atomicrmw add ptr addrspace(3) @buf, i32 1 monotonic\n" +
             kSync +
             "%v = load i32, ptr addrspace(3) @buf\n"
             "store i32 %v, ptr addrspace(1) %result\n");
  EXPECT_EQ(out[77], 256);
}

TEST_F(SharedTest, bankConflicts) {
  std::string body =
      "%i = mul i32 %l, $stride\n %j = and i32 %i, 255\n"
      "%p = getelementptr i32, ptr addrspace(3) @buf, i32 %j\n"
      "%c = icmp eq i32 %w, 0\n br i1 %c, label %write, label %after\n"
      "write:\n store i32 0, ptr addrspace(3) %p\n br label %after\n after:\n";
  for (auto [stride, passes] :
       {std::pair("1", 1u), {"2", 2u}, {"4", 4u}, {"8", 8u}, {"0", 1u}}) {
    parseBody(substitute(body, {{"stride", stride}}));
    EXPECT_EQ(launch({1}, {256}, 0, out).sharedWavefronts, passes) << stride;
  }
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

/// Warp 0 writes and arrives, round after round; the others read. @bar[0] is full,
/// @bar[1] empty.
std::string pipeline() {
  return R"(
  %full = getelementptr i64, ptr addrspace(3) @buf, i32 100
  %empty = getelementptr i64, ptr addrspace(3) @buf, i32 101
  %first = icmp eq i32 %t, 0
  br i1 %first, label %init, label %ready
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %full, i32 32)
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %empty, i32 $readers)
  br label %ready
ready:
  $sync
  %p = getelementptr i32, ptr addrspace(3) @buf, i32 %l
  %isProducer = icmp eq i32 %w, 0
  br label %loop
loop:
  %n = phi i32 [ 0, %ready ], [ %n1, %next ]
  %parity = and i32 %n, 1
  %before = xor i32 %parity, 1
  br i1 %isProducer, label %produce, label %consume
produce:
  $waitEmpty
  %x = add i32 %n, %l
  store i32 %x, ptr addrspace(3) %p
  %s = call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %full)
  br label %next
consume:
  %c = phi i32 [ 0, %loop ], [ 0, %consume ]
  %done = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) %full, i32 %parity)
  br i1 %done, label %have, label %consume
have:
  %v = load i32, ptr addrspace(3) %p
  store i32 %v, ptr addrspace(1) %result
  %s2 = call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) %empty)
  br label %next
next:
  %n1 = add i32 %n, 1
  %more = icmp ult i32 %n1, 5
  br i1 %more, label %loop, label %after
after:
)";
}
const std::string kWaitEmpty =
    "call void asm sideeffect \"{ .reg .pred P1; LAB_WAIT: "
    "mbarrier.try_wait.parity.shared.b64 P1, [$0], $1, $2; @P1 bra.uni DONE; bra.uni "
    "LAB_WAIT; DONE: }\", \"r,r,r\"(ptr addrspace(3) %empty, i32 %before, i32 100000)";

TEST_F(SharedTest, mbarrierPipeline) {
  expectPass(substitute(
      pipeline(), {{"sync", kSync}, {"readers", "224"}, {"waitEmpty", kWaitEmpty}}));
  for (int i = 32; i < 256; ++i)
    EXPECT_EQ(out[i], 4 + i % 32);
}

TEST_F(SharedTest, pipelineWithoutEmptyBarrier) {
  parseBody(
      substitute(pipeline(), {{"sync", kSync}, {"readers", "224"}, {"waitEmpty", ""}}));
  // The producer overtakes the readers: they race with it, or miss a phase.
  for (uint64_t seed = 0; seed < 16; ++seed) {
    device.setSeed(seed);
    expectFaultIn({FaultKind::SharedRace, FaultKind::MbarrierMisuse, FaultKind::Deadlock},
                  "warp", {1}, {256}, 0, out);
  }
}

TEST_F(SharedTest, mbarrierBeforeInit) {
  // Who comes early finds no mbarrier, or one whose initialisation is not ordered.
  expectFaultOf(substitute(pipeline(),
                           {{"sync", ""}, {"readers", "224"}, {"waitEmpty", kWaitEmpty}}),
                FaultKind::MbarrierMisuse, "");
}

TEST_F(SharedTest, mbarrierCounts) {
  expectFaultOf(
      substitute(pipeline(),
                 {{"sync", kSync}, {"readers", "225"}, {"waitEmpty", kWaitEmpty}}),
      FaultKind::Deadlock, "which lacks 1 arrivals");
}

// A warp that has asked in vain may still do what others wait for.
TEST_F(SharedTest, testWaitDoesNotBlock) {
  std::string body = R"(
  %first = icmp eq i32 %t, 0
  br i1 %first, label %init, label %after
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @buf, i32 1)
  %no = call i1 @llvm.nvvm.mbarrier.test.wait.parity.scope.cta.space.cta(ptr addrspace(3) @buf, i32 0)
  $arrive
  br label %spin
spin:
  %yes = call i1 @llvm.nvvm.mbarrier.test.wait.parity.scope.cta.space.cta(ptr addrspace(3) @buf, i32 0)
  br i1 %yes, label %have, label %spin
have:
  %n = zext i1 %no to i32
  store i32 %n, ptr addrspace(1) %result
  br label %after
after:
)";
  expectPass(
      substitute(body, {{"arrive", "%s = call i64 @llvm.nvvm.mbarrier.arrive.shared("
                                   "ptr addrspace(3) @buf)"}}));
  EXPECT_EQ(out[0], 0);
  expectFaultOf(substitute(body, {{"arrive", ""}}), FaultKind::Deadlock, "warp 0 polls");
}

TEST_F(SharedTest, mbarrierOverflow) {
  std::string body =
      "%first = icmp eq i32 %t, 0\n br i1 %first, label %init, label %after\n"
      "init:\n"
      "call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @buf, i32 3)\n"
      "%s = call i64 @llvm.nvvm.mbarrier.arrive.scope.cta.space.cta(ptr "
      "addrspace(3) @buf, i32 $n)\n"
      "br label %after\n after:\n";
  expectPass(substitute(body, {{"n", "3"}}));
  expectFaultOf(substitute(body, {{"n", "4"}}), FaultKind::MbarrierMisuse,
                "4 arrivals at an mbarrier that lacks 3 of 3");
}

TEST_F(SharedTest, ordinaryAccessToMbarrier) {
  expectFaultOf(
      "%first = icmp eq i32 %t, 0\n br i1 %first, label %init, label %after\n"
      "init:\n"
      "call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @buf, i32 3)\n"
      "store i32 0, ptr addrspace(3) @buf\n"
      "br label %after\n after:\n",
      FaultKind::MbarrierMisuse, "an ordinary access");
}

} // namespace
