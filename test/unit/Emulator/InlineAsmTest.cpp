//===- InlineAsmTest.cpp - statements of inline PTX -----------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

class InlineAsmTest : public EmulatorTest {
protected:
  /// %y of thread 0 .. 31 from %x = 3 * thread + 1 in an assembly of two operands.
  std::vector<uint32_t> apply(const std::string &assembly,
                              const std::string &constraints) {
    parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %m = mul i32 %t, 3
  %x = add i32 %m, 1
  %y = call i32 asm sideeffect ")" +
          assembly + "\", \"" + constraints + R"("(i32 %x)
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %t
  store i32 %y, ptr addrspace(1) %q
  ret void
})");
    auto *out = allocate<uint32_t>(32);
    launch({1}, {32}, 0, out);
    return {out, out + 32};
  }

  void expectMap(const std::string &assembly, uint32_t (*reference)(uint32_t),
                 const std::string &constraints = "=r,r") {
    std::vector<uint32_t> out = apply(assembly, constraints);
    for (uint32_t t = 0; t < 32; ++t)
      EXPECT_EQ(out[t], reference(3 * t + 1)) << assembly;
  }
};

TEST_F(InlineAsmTest, arithmetic) {
  expectMap("add.s32 $0, $1, 5;", [](uint32_t x) { return x + 5; });
  expectMap("mov.b32 ${0:x}, ${1};", [](uint32_t x) { return x; });
  expectMap(
      "{ .reg .b32 a, b; mul.lo.u32 a, $1, 3; xor.b32 b, a, 0xff; sub.u32 $0, b, a; }",
      [](uint32_t x) { return (3 * x ^ 0xff) - 3 * x; });
  expectMap("{ .reg .b64 w; mov.b64 w, {$1, $1}; shr.u64 w, w, 4; mov.b64 {$0, _}, w; }",
            [](uint32_t x) { return uint32_t((uint64_t(x) << 32 | x) >> 4); });
  expectMap("{ .reg .b16 l, h; mov.b32 {l, h}, $1; mov.b32 $0, {h, l}; }",
            [](uint32_t x) { return x << 16 | x >> 16; });
}

TEST_F(InlineAsmTest, predicates) {
  expectMap("{ .reg .pred p; setp.lt.u32 p, $1, 40; mov.b32 $0, 7; @p mov.b32 $0, $1; }",
            [](uint32_t x) { return x < 40 ? x : 7; });
  expectMap(
      "{ .reg .pred p; setp.ge.s32 p, $1, 40; selp.b32 $0, 1, 2, p; @!p add.u32 $0, "
      "$0, 10; }",
      [](uint32_t x) { return x >= 40 ? 1 : 12u; });
  // A tied result keeps its value where the predicate is off, and the operand everywhere.
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %x = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %y = call i32 asm sideeffect "{ .reg .pred p; setp.eq.u32 p, $1, 4; @p mov.b32 $0, 100; }", "=r,0"(i32 %x)
  %z = sub i32 %y, %x
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %x
  store i32 %z, ptr addrspace(1) %q
  ret void
})");
  auto *out = allocate<uint32_t>(32);
  launch({1}, {32}, 0, out);
  for (uint32_t x = 0; x < 32; ++x)
    EXPECT_EQ(out[x], x == 4 ? 96 : 0u);
  expectMap(
      "{ .reg .pred p; setp.eq.u32 p, $1, 4; @p mov.b32 $0, 100; }",
      [](uint32_t x) { return x == 4 ? 100 : x; }, "=r,0");
}

TEST_F(InlineAsmTest, loops) {
  // Counts down from x, each lane for itself.
  expectMap("{ .reg .pred p; .reg .b32 n; mov.b32 n, $1; mov.b32 $0, 0;\\0A"
            "LOOP: add.u32 $0, $0, n;\\0A sub.u32 n, n, 1; setp.gt.s32 p, n, 0;\\0A"
            "@p bra.uni LOOP; }",
            [](uint32_t x) { return x * (x + 1) / 2; });
  expectMap("{ .reg .pred p; setp.lt.u32 p, $1, 50; mov.b32 $0, 1;\\0A @!p bra L${:uid}; "
            "mov.b32 $0, 2; // comment\\0A L${:uid}: }",
            [](uint32_t x) { return x < 50 ? 2 : 1u; });
}

TEST_F(InlineAsmTest, conversionsAndFunctions) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %p = call i32 asm "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f"(float 1.0, float -2.0)
  %h = call i32 asm "cvt.rn.f16x2.f32 $0, $1, $2;", "=r,f,f"(float 1.0, float -2.0)
  %e = call float asm "ex2.approx.ftz.f32 $0, $1;", "=f,f"(float 3.0)
  %m = call float asm "{ fma.rn.f32 $0, $1, $2, $1; max.f32 $0, $0, 0f41200000; }", "=f,f,f"(float 3.0, float 2.0)
  %ei = bitcast float %e to i32
  %mi = bitcast float %m to i32
  %v0 = insertelement <4 x i32> poison, i32 %p, i32 0
  %v1 = insertelement <4 x i32> %v0, i32 %h, i32 1
  %v2 = insertelement <4 x i32> %v1, i32 %ei, i32 2
  %v3 = insertelement <4 x i32> %v2, i32 %mi, i32 3
  store <4 x i32> %v3, ptr addrspace(1) %out
  ret void
})");
  auto *out = allocate<uint32_t>(4);
  launch({1}, {1}, 0, out);
  EXPECT_EQ(out[0], 0x3f80c000u);
  EXPECT_EQ(out[1], 0x3c00c000u);
  EXPECT_EQ(std::bit_cast<float>(out[2]), 8.0f);
  EXPECT_EQ(std::bit_cast<float>(out[3]), 10.0f);
}

TEST_F(InlineAsmTest, vectorsAreOneRegister) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %v = load <2 x bfloat>, ptr addrspace(1) %out, align 4
  %r = call { <2 x bfloat>, i32 } asm "{ xor.b32 $0, $2, 1; mov.b32 $1, $2; }", "=r,=r,r"(<2 x bfloat> %v)
  %w = extractvalue { <2 x bfloat>, i32 } %r, 0
  %i = extractvalue { <2 x bfloat>, i32 } %r, 1
  %e = extractelement <2 x bfloat> %w, i32 0
  store bfloat %e, ptr addrspace(1) %out
  %q = getelementptr i32, ptr addrspace(1) %out, i32 1
  store i32 %i, ptr addrspace(1) %q
  ret void
})");
  auto *out = upload<uint32_t>({0x12345678, 0});
  launch({1}, {1}, 0, out);
  EXPECT_EQ(out[0], 0x12345679u);
  EXPECT_EQ(out[1], 0x12345678u);
}

TEST_F(InlineAsmTest, sharedMemory) {
  parse(R"(
@buf = internal addrspace(3) global [64 x i32] undef, align 16
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr [2 x i32], ptr addrspace(3) @buf, i32 %t
  %a = ptrtoint ptr addrspace(3) %p to i32
  call void asm sideeffect "st.shared.v2.b32 [$0], {$1, $2};", "r,r,r"(i32 %a, i32 %t, i32 7)
  call void asm sideeffect "bar.warp.sync 0xffffffff;", ""()
  %b = xor i32 %a, 8
  %v = call i32 asm sideeffect "ld.shared.u32 $0, [$1];", "=r,r"(i32 %b)
  %w = call i32 asm sideeffect "ld.shared::cta.u32 $0, [$1+4];", "=r,l"(ptr addrspace(3) %p)
  %s = add i32 %v, %w
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %t
  store i32 %s, ptr addrspace(1) %q
  ret void
})");
  auto *out = allocate<uint32_t>(32);
  launch({1}, {32}, 0, out);
  for (uint32_t t = 0; t < 32; ++t)
    EXPECT_EQ(out[t], (t ^ 1) + 7);
}

TEST_F(InlineAsmTest, electOneLane) {
  expectMap(
      "{ .reg .pred p; elect.sync _|p, 0xffffffff; mov.b32 $0, 0; @p mov.b32 $0, 9; "
      "add.u32 $0, $0, $1; }",
      [](uint32_t x) { return x + (x == 1 ? 9 : 0); });
}

TEST_F(InlineAsmTest, unknownIsNamed) {
  parse(R"(
define ptx_kernel void @k() {
  call void asm sideeffect "add.u32 %r0, %r1, 2;", ""()
  ret void
})");
  EXPECT_NE(loadError().find("%r1"), std::string::npos) << loadError();
  parse(R"(
define ptx_kernel void @k(i32 %x) {
  %y = call i32 asm sideeffect "{ mov.b32 $0, $1; frobnicate.u32 $0, 2; }", "=r,r"(i32 %x)
  ret void
})");
  EXPECT_NE(loadError().find("frobnicate.u32 $0, 2"), std::string::npos) << loadError();
}

} // namespace
