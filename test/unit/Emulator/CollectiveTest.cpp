//===- CollectiveTest.cpp - shuffles, votes, matches, reductions of a warp -===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"
#include <bit>

using namespace sparse_attn::emulator;

namespace {

uint32_t valueOf(uint32_t lane) { return lane * lane % 13 + 100; }

class CollectiveTest : public EmulatorTest {
protected:
  /// %y of every lane from %x, valueOf of the lane %l.
  std::vector<uint32_t> apply(const std::string &body) {
    parse(substitute(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.laneid()
  %s = mul i32 %l, %l
  %m = urem i32 %s, 13
  %x = add i32 %m, 100
  $body
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %l
  store i32 %y, ptr addrspace(1) %q
  ret void
})",
                     {{"body", body}}));
    auto *out = allocate<uint32_t>(32);
    launch({1}, {32}, 0, out);
    return {out, out + 32};
  }

  template <typename F> void expectLanes(const std::string &body, F &&reference) {
    std::vector<uint32_t> out = apply(body);
    for (uint32_t lane = 0; lane < 32; ++lane)
      EXPECT_EQ(out[lane], reference(lane)) << body << " lane " << lane;
  }
};

// Segments of 8 lanes: the upper bits of the last operand are the mask 0b11000.
TEST_F(CollectiveTest, shuffles) {
  auto shuffle = [](const char *mode, const char *by, const char *clamp) {
    return std::string("%y = call i32 @llvm.nvvm.shfl.sync.") + mode +
           ".i32(i32 -1, i32 %x, i32 " + by + ", i32 " + clamp + ")";
  };
  expectLanes(shuffle("bfly", "5", "31"), [](uint32_t l) { return valueOf(l ^ 5); });
  expectLanes(shuffle("idx", "9", "31"), [](uint32_t) { return valueOf(9); });
  expectLanes(shuffle("idx", "3", "6175"),
              [](uint32_t l) { return valueOf(l / 8 * 8 + 3); });
  expectLanes(shuffle("up", "2", "0"),
              [](uint32_t l) { return valueOf(l >= 2 ? l - 2 : l); });
  expectLanes(shuffle("up", "2", "6144"),
              [](uint32_t l) { return valueOf(l % 8 >= 2 ? l - 2 : l); });
  expectLanes(shuffle("down", "3", "31"),
              [](uint32_t l) { return valueOf(l + 3 < 32 ? l + 3 : l); });
  expectLanes(shuffle("down", "3", "6175"),
              [](uint32_t l) { return valueOf(l % 8 + 3 < 8 ? l + 3 : l); });
  expectLanes(
      "%p = call { i32, i1 } @llvm.nvvm.shfl.sync.down.i32p(i32 -1, i32 %x, i32 3, "
      "i32 31)\n%v = extractvalue { i32, i1 } %p, 1\n%y = zext i1 %v to i32",
      [](uint32_t l) { return uint32_t(l + 3 < 32); });
}

TEST_F(CollectiveTest, votes) {
  uint32_t ballot = 0;
  for (uint32_t l = 0; l < 32; ++l)
    ballot |= uint32_t(valueOf(l) > 104) << l;
  const std::string predicate = "%c = icmp ugt i32 %x, 104\n";
  expectLanes(predicate + "%y = call i32 @llvm.nvvm.vote.ballot.sync(i32 -1, i1 %c)",
              [=](uint32_t) { return ballot; });
  expectLanes(predicate + "%v = call i1 @llvm.nvvm.vote.any.sync(i32 -1, i1 %c)\n"
                          "%y = zext i1 %v to i32",
              [](uint32_t) { return 1u; });
  expectLanes(predicate + "%v = call i1 @llvm.nvvm.vote.all.sync(i32 -1, i1 %c)\n"
                          "%y = zext i1 %v to i32",
              [](uint32_t) { return 0u; });
  expectLanes("%y = call i32 @llvm.nvvm.match.any.sync.i32(i32 -1, i32 %x)",
              [](uint32_t l) {
                uint32_t equal = 0;
                for (uint32_t k = 0; k < 32; ++k)
                  equal |= uint32_t(valueOf(k) == valueOf(l)) << k;
                return equal;
              });
}

TEST_F(CollectiveTest, reductions) {
  auto fold = [](auto &&function) {
    uint32_t sum = valueOf(0);
    for (uint32_t l = 1; l < 32; ++l)
      sum = function(sum, valueOf(l));
    return [sum](uint32_t) { return sum; };
  };
  auto reduction = [](const char *name) {
    return std::string("%y = call i32 @llvm.nvvm.redux.sync.") + name +
           "(i32 %x, i32 -1)";
  };
  expectLanes(reduction("add"), fold([](uint32_t a, uint32_t b) { return a + b; }));
  expectLanes(reduction("umax"),
              fold([](uint32_t a, uint32_t b) { return std::max(a, b); }));
  expectLanes(reduction("min"),
              fold([](uint32_t a, uint32_t b) { return std::min(a, b); }));
  expectLanes(reduction("xor"), fold([](uint32_t a, uint32_t b) { return a ^ b; }));
}

TEST_F(CollectiveTest, electAndMasks) {
  expectLanes("%e = call { i32, i1 } @llvm.nvvm.elect.sync(i32 -1)\n"
              "%p = extractvalue { i32, i1 } %e, 1\n%y = zext i1 %p to i32",
              [](uint32_t l) { return uint32_t(l == 0); });
  expectLanes("%y = call i32 @llvm.nvvm.read.ptx.sreg.lanemask.lt()",
              [](uint32_t l) { return (1u << l) - 1; });
  // The lanes that are together in a branch.
  expectLanes("%c = icmp ult i32 %l, 5\nbr i1 %c, label %a, label %b\na:\n"
              "%v = call i32 @llvm.nvvm.activemask()\nbr label %b\nb:\n"
              "%y = phi i32 [ 0, %0 ], [ %v, %a ]",
              [](uint32_t l) { return l < 5 ? 31u : 0u; });
}

TEST_F(CollectiveTest, laneNamesItself) {
  parse(R"(
define ptx_kernel void @k() {
  %y = call i32 @llvm.nvvm.shfl.sync.idx.i32(i32 65535, i32 0, i32 0, i32 31)
  ret void
})");
  expectFault(FaultKind::MissingLanes, "whose mask does not name it", {1}, {32}, 0);
}

TEST_F(CollectiveTest, faultHasDebugLocation) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %p) !dbg !3 {
  store i32 0, ptr addrspace(1) %p, !dbg !5
  ret void
}
!llvm.dbg.cu = !{!1}
!llvm.module.flags = !{!6}
!1 = distinct !DICompileUnit(language: DW_LANG_C, file: !2)
!2 = !DIFile(filename: "attend.mlir", directory: "/")
!3 = distinct !DISubprogram(name: "k", file: !2, unit: !1, type: !4, spFlags: DISPFlagDefinition)
!4 = !DISubroutineType(types: !{null})
!5 = !DILocation(line: 42, column: 7, scope: !3)
!6 = !{i32 2, !"Debug Info Version", i32 3}
)");
  expectFault(FaultKind::OutOfBounds, "(attend.mlir:42:7)", {1}, {1}, 0, uint64_t(64));
}

TEST_F(CollectiveTest, clusterOfOneBlock) {
  parse(R"(
@buf = internal addrspace(3) global [64 x i32] undef, align 4
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr i32, ptr addrspace(3) @buf, i32 %t
  store i32 %t, ptr addrspace(3) %p
  call void @llvm.nvvm.barrier.cluster.arrive.aligned()
  call void @llvm.nvvm.griddepcontrol.wait()
  call void @llvm.nvvm.barrier.cluster.wait.aligned()
  %r = sub i32 63, %t
  %q = getelementptr i32, ptr addrspace(3) @buf, i32 %r
  %v = load i32, ptr addrspace(3) %q
  %o = getelementptr i32, ptr addrspace(1) %out, i32 %t
  store i32 %v, ptr addrspace(1) %o
  ret void
})");
  auto *out = allocate<int32_t>(64);
  launch({1}, {64}, 0, out);
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(out[i], 63 - i);
}

// Warp 0 copies and lets its copies arrive at the mbarrier; warp 1 reads.
TEST_F(CollectiveTest, copiesThatArriveAtAnMbarrier) {
  const std::string text = R"(
@buf = internal addrspace(3) global [32 x i32] undef, align 16
@bar = internal addrspace(3) global i64 undef, align 8
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %l = and i32 %t, 31
  %p = getelementptr i32, ptr addrspace(3) @buf, i32 %l
  %first = icmp eq i32 %t, 0
  br i1 %first, label %init, label %ready
init:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @bar, i32 $count)
  br label %ready
ready:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %isCopier = icmp ult i32 %t, 32
  br i1 %isCopier, label %copy, label %wait
copy:
  %g = getelementptr i32, ptr addrspace(1) %in, i32 %l
  call void @llvm.nvvm.cp.async.ca.shared.global.4(ptr addrspace(3) %p, ptr addrspace(1) %g)
  $arrive
  br label %exit
wait:
  %ok = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) @bar, i32 0)
  br i1 %ok, label %read, label %wait
read:
  %n = xor i32 %l, 7
  %q = getelementptr i32, ptr addrspace(3) @buf, i32 %n
  %v = load i32, ptr addrspace(3) %q
  %o = getelementptr i32, ptr addrspace(1) %out, i32 %l
  store i32 %v, ptr addrspace(1) %o
  br label %exit
exit:
  ret void
})";
  std::vector<int32_t> in(32);
  for (int i = 0; i < 32; ++i)
    in[i] = 5 * i;
  auto *from = upload(in), *out = allocate<int32_t>(32);
  const std::string noinc =
      "call void @llvm.nvvm.cp.async.mbarrier.arrive.noinc.shared(ptr addrspace(3) @bar)";
  const std::string arrive =
      "%s = call i64 @llvm.nvvm.mbarrier.arrive.shared(ptr addrspace(3) "
      "@bar)";
  for (uint64_t seed = 0; seed < 8; ++seed) {
    device.setSeed(seed);
    parse(substitute(text, {{"count", "32"}, {"arrive", noinc}}));
    launch({1}, {64}, 0, from, out);
    for (int i = 0; i < 32; ++i)
      EXPECT_EQ(out[i], 5 * (i ^ 7));
    // An arrival of the thread does not mean that its copies are complete.
    parse(substitute(text, {{"count", "32"}, {"arrive", arrive}}));
    expectFault(FaultKind::AsyncInFlight, "load i32", {1}, {64}, 0, from, out);
    // Without noinc, the arrival of the copies is not one that is expected.
    const std::string inc =
        "call void @llvm.nvvm.cp.async.mbarrier.arrive.shared(ptr addrspace(3) @bar)\n";
    parse(substitute(text, {{"count", "32"}, {"arrive", inc + arrive}}));
    launch({1}, {64}, 0, from, out);
    parse(substitute(text, {{"count", "33"}, {"arrive", noinc}}));
    expectFault(FaultKind::Deadlock, "lacks 1 arrivals", {1}, {64}, 0, from, out);
  }
}

} // namespace
