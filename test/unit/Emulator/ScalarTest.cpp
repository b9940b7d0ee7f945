//===- ScalarTest.cpp - scalar and vector instructions, branches, calls ---===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatorTesting.h"
#include "llvm/ADT/APFloat.h"
#include <cmath>

using namespace sparse_attn::emulator;

namespace {

class ScalarTest : public EmulatorTest {
protected:
  /// Executes `body` for i = 0..63, which has %x = in[i] and defines %y; returns all y.
  template <typename In, typename Out>
  std::vector<Out> map(const std::string &in, const std::string &out,
                       const std::string &body, const std::vector<In> &values) {
    parse(substitute(R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
entry:
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr $in, ptr addrspace(1) %in, i32 %i
  %x = load $in, ptr addrspace(1) %p
  $body
  %q = getelementptr $out, ptr addrspace(1) %out, i32 %i
  store $out %y, ptr addrspace(1) %q
  ret void
})",
                     {{"in", in}, {"out", out}, {"body", body}}));
    In *from = upload(values);
    Out *to = allocate<Out>(values.size());
    launch({1}, {unsigned(values.size())}, 0, from, to);
    return std::vector<Out>(to, to + values.size());
  }

  std::vector<int32_t> someInts() {
    std::vector<int32_t> values;
    for (int i = 0; i < 64; ++i)
      values.push_back(i % 3 == 0 ? -i * 123457 : i * 7919 + 1);
    return values;
  }
  std::vector<float> someFloats() {
    std::vector<float> values;
    for (int i = 0; i < 60; ++i)
      values.push_back((i - 30) * 0.37f);
    values.insert(values.end(), {INFINITY, -INFINITY, NAN, 1e-41f});
    return values;
  }

  void expectInts(const std::string &body, int32_t (*reference)(int32_t)) {
    std::vector<int32_t> in = someInts();
    std::vector<int32_t> out = map<int32_t, int32_t>("i32", "i32", body, in);
    for (size_t i = 0; i < in.size(); ++i)
      EXPECT_EQ(out[i], reference(in[i])) << body << " of " << in[i];
  }
  void expectFloats(const std::string &body, float (*reference)(float)) {
    std::vector<float> in = someFloats();
    std::vector<float> out = map<float, float>("float", "float", body, in);
    for (size_t i = 0; i < in.size(); ++i) {
      float expected = reference(in[i]);
      if (std::isnan(expected))
        EXPECT_TRUE(std::isnan(out[i])) << body << " of " << in[i];
      else
        EXPECT_EQ(out[i], expected) << body << " of " << in[i];
    }
  }
};

TEST_F(ScalarTest, integers) {
  expectInts("%y = add i32 %x, 12345", [](int32_t x) { return x + 12345; });
  expectInts("%y = sub i32 7, %x", [](int32_t x) { return 7 - x; });
  expectInts("%y = mul i32 %x, 31", [](int32_t x) { return int32_t(uint32_t(x) * 31); });
  expectInts("%y = sdiv i32 %x, 7", [](int32_t x) { return x / 7; });
  expectInts("%y = srem i32 %x, 7", [](int32_t x) { return x % 7; });
  expectInts("%y = udiv i32 %x, 7", [](int32_t x) { return int32_t(uint32_t(x) / 7); });
  expectInts("%y = urem i32 %x, 7", [](int32_t x) { return int32_t(uint32_t(x) % 7); });
  expectInts("%y = ashr i32 %x, 3", [](int32_t x) { return x >> 3; });
  expectInts("%y = lshr i32 %x, 3", [](int32_t x) { return int32_t(uint32_t(x) >> 3); });
  expectInts("%y = shl i32 %x, 5", [](int32_t x) { return int32_t(uint32_t(x) << 5); });
  expectInts("%y = xor i32 %x, -1", [](int32_t x) { return ~x; });
  expectInts("%c = icmp slt i32 %x, 5\n %y = select i1 %c, i32 %x, i32 5",
             [](int32_t x) { return std::min(x, 5); });
  expectInts("%c = icmp ult i32 %x, 5\n %y = zext i1 %c to i32",
             [](int32_t x) { return int32_t(uint32_t(x) < 5); });
  expectInts("%c = icmp sgt i32 %x, 5\n %y = sext i1 %c to i32",
             [](int32_t x) { return -int32_t(x > 5); });
  expectInts("%t = trunc i32 %x to i8\n %y = sext i8 %t to i32",
             [](int32_t x) { return int32_t(int8_t(x)); });
  expectInts("%t = trunc i32 %x to i16\n %u = sdiv i16 %t, -3\n %y = sext i16 %u to i32",
             [](int32_t x) { return int32_t(int16_t(x) / -3); });
  expectInts("%w = sext i32 %x to i64\n %m = mul i64 %w, %w\n %s = ashr i64 %m, 20\n"
             "%y = trunc i64 %s to i32",
             [](int32_t x) { return int32_t(int64_t(x) * x >> 20); });
  expectInts("%y = call i32 @llvm.smax.i32(i32 %x, i32 -4)",
             [](int32_t x) { return std::max(x, -4); });
  expectInts("%y = call i32 @llvm.umin.i32(i32 %x, i32 99)",
             [](int32_t x) { return int32_t(std::min(uint32_t(x), 99u)); });
  expectInts("%y = call i32 @llvm.abs.i32(i32 %x, i1 false)",
             [](int32_t x) { return std::abs(x); });
  expectInts("%y = call i32 @llvm.ctpop.i32(i32 %x)",
             [](int32_t x) { return __builtin_popcount(x); });
  expectInts("%y = call i32 @llvm.ctlz.i32(i32 %x, i1 false)",
             [](int32_t x) { return x ? __builtin_clz(x) : 32; });
  expectInts("%y = call i32 @llvm.cttz.i32(i32 %x, i1 false)",
             [](int32_t x) { return x ? __builtin_ctz(x) : 32; });
  expectInts("%y = call i32 @llvm.bswap.i32(i32 %x)",
             [](int32_t x) { return int32_t(__builtin_bswap32(x)); });
  expectInts("%y = call i32 @llvm.fshl.i32(i32 %x, i32 %x, i32 9)",
             [](int32_t x) { return int32_t(uint32_t(x) << 9 | uint32_t(x) >> 23); });
  expectInts("%y = call i32 @llvm.usub.sat.i32(i32 %x, i32 1000)",
             [](int32_t x) { return int32_t(uint32_t(x) > 1000 ? x - 1000 : 0); });
}

TEST_F(ScalarTest, floats) {
  expectFloats("%y = fadd float %x, 1.5", [](float x) { return x + 1.5f; });
  expectFloats("%y = fdiv float 1.0, %x", [](float x) { return 1.0f / x; });
  expectFloats("%y = fneg float %x", [](float x) { return -x; });
  expectFloats("%y = call float @llvm.fma.f32(float %x, float %x, float 1.0)",
               [](float x) { return std::fma(x, x, 1.0f); });
  expectFloats("%y = call float @llvm.fabs.f32(float %x)",
               [](float x) { return std::fabs(x); });
  expectFloats("%y = call float @llvm.maxnum.f32(float %x, float 0.0)",
               [](float x) { return std::fmax(x, 0.0f); });
  expectFloats("%y = call float @llvm.maximum.f32(float %x, float 0.0)",
               [](float x) { return std::isnan(x) ? x : std::fmax(x, 0.0f); });
  expectFloats("%y = call float @llvm.minimum.f32(float %x, float 0.0)",
               [](float x) { return std::isnan(x) ? x : std::fmin(x, 0.0f); });
  expectFloats("%y = call float @llvm.exp2.f32(float %x)",
               [](float x) { return std::exp2(x); });
  expectFloats("%y = call float @llvm.nvvm.ex2.approx.ftz.f32(float %x)",
               [](float x) { return std::fabs(x) < 1e-38f ? 1.0f : std::exp2(x); });
  expectFloats("%y = call float @llvm.log2.f32(float %x)",
               [](float x) { return std::log2(x); });
  expectFloats("%y = call float @llvm.nvvm.rcp.approx.ftz.f(float %x)", [](float x) {
    return std::fabs(x) < 1e-38f ? std::copysign(INFINITY, x) : 1.0f / x;
  });
  expectFloats("%c = fcmp olt float %x, 0.0\n %y = select i1 %c, float 1.0, float 2.0",
               [](float x) { return x < 0 ? 1.0f : 2.0f; });
  expectFloats("%c = fcmp ult float %x, 0.0\n %y = select i1 %c, float 1.0, float 2.0",
               [](float x) { return !(x >= 0) ? 1.0f : 2.0f; });
  expectFloats("%w = fpext float %x to double\n %m = fmul double %w, 3.0\n"
               "%y = fptrunc double %m to float",
               [](float x) { return float(double(x) * 3.0); });
  expectFloats("%n = fptosi float %x to i32\n %y = sitofp i32 %n to float", [](float x) {
    if (std::isnan(x))
      return 0.0f;
    return std::isinf(x) ? (x > 0 ? 2147483648.0f : -2147483648.0f)
                         : std::trunc(x) + 0.0f;
  });
}

float rounded(float value, const llvm::fltSemantics &format) {
  llvm::APFloat number(value);
  bool lossy;
  number.convert(format, llvm::APFloat::rmNearestTiesToEven, &lossy);
  return number.convertToFloat();
}

TEST_F(ScalarTest, halves) {
  const float ties[] = {1 + 0x1p-11f, 1 + 0x3p-11f, 1 + 0x1p-8f, 1 + 0x3p-8f,
                        65519.0f,     65520.0f,     0x1p-25f,    0x3p-25f};
  std::vector<float> in;
  for (int i = 0; i < 1024; ++i)
    in.push_back(std::ldexp(1.0f + i * 0.00137f, i % 48 - 30) * (i % 2 ? -1 : 1));
  std::copy(std::begin(ties), std::end(ties), in.begin());
  std::vector<float> half = map<float, float>(
      "float", "float", "%h = fptrunc float %x to half\n %y = fpext half %h to float",
      in);
  std::vector<float> bfloat = map<float, float>(
      "float", "float", "%h = fptrunc float %x to bfloat\n %y = fpext bfloat %h to float",
      in);
  for (size_t i = 0; i < in.size(); ++i) {
    EXPECT_EQ(half[i], rounded(in[i], llvm::APFloat::IEEEhalf())) << in[i];
    EXPECT_EQ(bfloat[i], rounded(in[i], llvm::APFloat::BFloat())) << in[i];
  }
}

TEST_F(ScalarTest, vectors) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out) {
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %p = getelementptr <4 x float>, ptr addrspace(1) %in, i32 %i
  %x = load <4 x float>, ptr addrspace(1) %p, align 16
  %r = shufflevector <4 x float> %x, <4 x float> poison, <4 x i32> <i32 3, i32 2, i32 1, i32 0>
  %s = fadd <4 x float> %x, %r
  %e = extractelement <4 x float> %x, i32 1
  %t = insertelement <4 x float> %s, float %e, i32 0
  %j = and i32 %i, 3
  %d = extractelement <4 x float> %x, i32 %j
  %u = insertelement <4 x float> %t, float %d, i32 %j
  %h = fptrunc <4 x float> %u to <4 x bfloat>
  %b = bitcast <4 x bfloat> %h to <2 x i32>
  %q = getelementptr <2 x i32>, ptr addrspace(1) %out, i32 %i
  store <2 x i32> %b, ptr addrspace(1) %q, align 8
  ret void
})");
  std::vector<float> in(128);
  for (unsigned i = 0; i < 128; ++i)
    in[i] = float(i % 17);
  float *from = upload(in);
  auto *to = allocate<uint16_t>(128);
  launch({1}, {32}, 0, from, to);
  for (unsigned i = 0; i < 32; ++i) {
    float expected[4];
    for (unsigned k = 0; k < 4; ++k)
      expected[k] = in[4 * i + k] + in[4 * i + 3 - k];
    expected[0] = in[4 * i + 1];
    expected[i & 3] = in[4 * i + (i & 3)];
    for (unsigned k = 0; k < 4; ++k)
      EXPECT_EQ(std::bit_cast<float>(uint32_t(to[4 * i + k]) << 16), expected[k]);
  }
}

// Lanes leave the loop after different numbers of rounds; all of them add up together
// after it, which a shuffle of the whole warp needs.
TEST_F(ScalarTest, divergentLoopJoins) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
entry:
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  br label %header
header:
  %n = phi i32 [ 0, %entry ], [ %n1, %latch ]
  %sum = phi i32 [ 0, %entry ], [ %sum1, %latch ]
  %more = icmp slt i32 %n, %i
  br i1 %more, label %body, label %exit
body:
  %odd = and i32 %n, 1
  %isOdd = icmp ne i32 %odd, 0
  br i1 %isOdd, label %latch, label %even
even:
  br label %latch
latch:
  %add = phi i32 [ 100, %body ], [ 1, %even ]
  %sum1 = add i32 %sum, %add
  %n1 = add i32 %n, 1
  br label %header
exit:
  %other = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %sum, i32 1, i32 31)
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %i
  store i32 %other, ptr addrspace(1) %q
  ret void
})");
  auto *out = allocate<int32_t>(32);
  launch({1}, {32}, 0, out);
  for (int i = 0; i < 32; ++i) {
    int n = i ^ 1;
    EXPECT_EQ(out[i], n / 2 * 100 + (n + 1) / 2);
  }
}

// A loop whose exit comes first, inside of another; phis exchange values.
TEST_F(ScalarTest, nestedLoopsAndExchangedPhis) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %out) {
entry:
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  br label %outer
outer:
  %n = phi i32 [ 0, %entry ], [ %n1, %next ]
  %a0 = phi i32 [ 0, %entry ], [ %sum, %next ]
  br label %inner
inner:
  %m = phi i32 [ 0, %outer ], [ %m1, %body ]
  %a = phi i32 [ %a0, %outer ], [ %b, %body ]
  %b = phi i32 [ 1, %outer ], [ %a, %body ]
  %limit = and i32 %i, 3
  %done = icmp uge i32 %m, %limit
  br i1 %done, label %next, label %body
body:
  %m1 = add i32 %m, 1
  br label %inner
next:
  %other = call i32 @llvm.nvvm.shfl.sync.bfly.i32(i32 -1, i32 %a, i32 4, i32 31)
  %sum = add i32 %other, %b
  %n1 = add i32 %n, 1
  %end = icmp uge i32 %n1, 3
  br i1 %end, label %exit, label %outer
exit:
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %i
  store i32 %sum, ptr addrspace(1) %q
  ret void
})");
  auto *out = allocate<int32_t>(32);
  launch({1}, {32}, 0, out);
  // Lanes that are 4 apart go the same way, so that no lane sees another's value.
  for (int i = 0; i < 32; ++i) {
    int sum = 0;
    for (int n = 0; n < 3; ++n) {
      int a = sum, b = 1;
      for (int m = 0; m < i % 4; ++m)
        std::swap(a, b);
      sum = a + b;
    }
    EXPECT_EQ(out[i], sum);
  }
}

TEST_F(ScalarTest, switchAndCall) {
  parse(R"(
define internal i32 @pick(i32 %x, ptr %p) {
entry:
  switch i32 %x, label %other [ i32 0, label %zero
                                i32 5, label %five ]
zero:
  ret i32 77
five:
  %v = load i32, ptr %p
  ret i32 %v
other:
  %r = mul i32 %x, 2
  ret i32 %r
}
define ptx_kernel void @k(ptr addrspace(1) %out) {
  %a = alloca [2 x i32]
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %m = urem i32 %i, 7
  %p = getelementptr [2 x i32], ptr %a, i32 0, i32 1
  %w = add i32 %i, 1000
  store i32 %w, ptr %p
  %r = call i32 @pick(i32 %m, ptr %p)
  %s = call i32 @pick(i32 %r, ptr %p)
  %q = getelementptr i32, ptr addrspace(1) %out, i32 %i
  store i32 %s, ptr addrspace(1) %q
  ret void
})");
  auto *out = allocate<int32_t>(32);
  launch({1}, {32}, 0, out);
  auto pick = [](int x, int i) { return x == 0 ? 77 : x == 5 ? 1000 + i : 2 * x; };
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(out[i], pick(pick(i % 7, i), i));
}

TEST_F(ScalarTest, parametersAndGlobals) {
  parse(R"(
@table = internal addrspace(4) constant [3 x { i8, i32 }] [{ i8, i32 } { i8 1, i32 10 },
  { i8, i32 } { i8 2, i32 20 }, { i8, i32 } { i8 3, i32 30 }]
define ptx_kernel void @k(i8 %a, ptr byval({ i64, [4 x i16] }) align 8 %b, double %c,
                          ptr addrspace(1) %out) {
  %p = getelementptr { i64, [4 x i16] }, ptr %b, i32 0, i32 1, i32 2
  %h = load i16, ptr %p
  %t = getelementptr [3 x { i8, i32 }], ptr addrspace(4) @table, i32 0, i8 %a, i32 1
  %g = load i32, ptr addrspace(4) %t
  %h32 = zext i16 %h to i32
  %s = add i32 %h32, %g
  %n = fptosi double %c to i32
  %u = add i32 %s, %n
  store i32 %u, ptr addrspace(1) %out
  ret void
})");
  struct {
    int64_t first = -1;
    int16_t rest[4] = {1, 2, 300, 4};
  } b;
  auto *out = allocate<int32_t>(1);
  launch({1}, {1}, 0, int8_t(2), b, 7000.5, out);
  EXPECT_EQ(*out, 300 + 30 + 7000);
}

TEST_F(ScalarTest, atomicsAndGrid) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %sum, ptr addrspace(1) %most, ptr addrspace(1) %f) {
  %b = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %n = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %base = mul i32 %b, %n
  %t = add i32 %base, %i
  %old = atomicrmw add ptr addrspace(1) %sum, i32 %t monotonic
  %old2 = atomicrmw max ptr addrspace(1) %most, i32 %t monotonic
  %old3 = atomicrmw fadd ptr addrspace(1) %f, float 0.5 monotonic
  %ex = cmpxchg ptr addrspace(1) %most, i32 149, i32 1000 monotonic monotonic
  ret void
})");
  auto *sum = upload<int32_t>({0});
  auto *most = upload<int32_t>({-5});
  auto *f = upload<float>({0});
  Statistics statistics = launch({3}, {50}, 0, sum, most, f);
  EXPECT_EQ(*sum, 149 * 150 / 2);
  EXPECT_EQ(*most, 1000);
  EXPECT_EQ(*f, 75.0f);
  EXPECT_EQ(statistics.blocks, 3u);
  EXPECT_EQ(statistics.warps, 6u);
  EXPECT_EQ(statistics[InstructionKind::Atomic], 24u);
}

TEST_F(ScalarTest, reductionsAndClasses) {
  expectFloats(
      "%v = insertelement <3 x float> <float poison, float 2.0, float -7.0>, "
      "float %x, i32 0\n"
      "%y = call float @llvm.vector.reduce.fadd.v3f32(float 0.5, <3 x float> %v)",
      [](float x) { return ((0.5f + x) + 2.0f) - 7.0f; });
  expectFloats(
      "%v = insertelement <2 x float> <float poison, float 2.0>, float %x, i32 0\n"
      "%y = call float @llvm.vector.reduce.fmax.v2f32(<2 x float> %v)",
      [](float x) { return std::fmax(x, 2.0f); });
  expectInts("%v = insertelement <2 x i32> <i32 poison, i32 5>, i32 %x, i32 0\n"
             "%y = call i32 @llvm.vector.reduce.smax.v2i32(<2 x i32> %v)",
             [](int32_t x) { return std::max(x, 5); });
  expectFloats("%c = call i1 @llvm.is.fpclass.f32(float %x, i32 516)\n"
               "%y = uitofp i1 %c to float",
               [](float x) { return float(std::isinf(x)); });
  expectFloats("%c = call i1 @llvm.is.fpclass.f32(float %x, i32 3)\n"
               "%y = uitofp i1 %c to float",
               [](float x) { return float(std::isnan(x)); });
}

TEST_F(ScalarTest, memoryFunctions) {
  parse(R"(
@buf = internal addrspace(3) global [32 x [3 x i32]] undef, align 4
define ptx_kernel void @k(ptr byval([3 x i32]) align 4 %in, ptr addrspace(1) %out) {
  %a = alloca [3 x i32]
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  call void @llvm.memcpy.p0.p0.i64(ptr %a, ptr %in, i64 12, i1 false)
  store i32 %i, ptr %a
  %s = getelementptr [3 x i32], ptr addrspace(3) @buf, i32 %i
  call void @llvm.memcpy.p3.p0.i32(ptr addrspace(3) %s, ptr %a, i32 12, i1 false)
  %s2 = getelementptr i32, ptr addrspace(3) %s, i32 2
  call void @llvm.memset.p3.i32(ptr addrspace(3) %s2, i8 1, i32 4, i1 false)
  %q = getelementptr [3 x i32], ptr addrspace(1) %out, i32 %i
  call void @llvm.memmove.p1.p3.i64(ptr addrspace(1) %q, ptr addrspace(3) %s, i64 12, i1 false)
  ret void
})");
  int32_t in[3] = {10, 20, 30};
  auto *out = allocate<int32_t>(96);
  launch({1}, {32}, 0, in, out);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(out[3 * i], i);
    EXPECT_EQ(out[3 * i + 1], 20);
    EXPECT_EQ(out[3 * i + 2], 0x01010101);
  }
}

TEST_F(ScalarTest, unknownIsNamed) {
  parse(R"(
define ptx_kernel void @k() {
  call void @llvm.nvvm.tcgen05.wait.ld()
  ret void
})");
  EXPECT_NE(loadError().find("llvm.nvvm.tcgen05.wait.ld"), std::string::npos);
}

TEST_F(ScalarTest, launchChecks) {
  parse(R"(
define ptx_kernel void @k(i32 %n) "nvvm.reqntid"="64,1,1" {
  ret void
})");
  auto errorOf = [&](Dim3 block, unsigned shared) {
    auto done = tryLaunch({1}, block, shared, 5);
    return done ? std::string() : llvm::toString(done.takeError());
  };
  EXPECT_EQ(errorOf({64}, 0), "");
  EXPECT_NE(errorOf({32}, 0).find("blocks of 64 x 1 x 1 threads"), std::string::npos);
  EXPECT_NE(errorOf({64}, 232449).find("bytes of shared memory"), std::string::npos);
  auto done = tryLaunch({1}, {64}, 0);
  EXPECT_NE(llvm::toString(done.takeError()).find("1 parameters, not 0"),
            std::string::npos);
}

class OlderDevice : public EmulatorTest {
protected:
  OlderDevice() : EmulatorTest({.sm = 80}) {}
};

TEST_F(OlderDevice, refusesNewerInstructions) {
  parse("define ptx_kernel void @k() {\n call void "
        "@llvm.nvvm.wgmma.fence.sync.aligned()\n ret void\n}");
  EXPECT_NE(loadError().find("it needs sm_90"), std::string::npos);
}

TEST_F(ScalarTest, endlessLoop) {
  parse("define ptx_kernel void @k() {\n br label %l\nl:\n br label %l\n}");
  Options limited;
  limited.instructionLimit = 10000;
  Device other(limited);
  Kernel kernel = llvm::cantFail(other.load(*module, "k"));
  auto done = other.launch(kernel, {1}, {32}, 0, {});
  EXPECT_NE(llvm::toString(done.takeError()).find("more than 10000 warp instructions"),
            std::string::npos);
}

TEST_F(ScalarTest, globalBounds) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %p, i32 %at) {
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %j = add i32 %i, %at
  %q = getelementptr i32, ptr addrspace(1) %p, i32 %j
  store i32 %i, ptr addrspace(1) %q
  ret void
})");
  auto *p = allocate<int32_t>(100);
  launch({1}, {32}, 0, p, 68);
  expectFault(FaultKind::OutOfBounds, "lane 31 at 'store i32", {1}, {32}, 0, p, 69);
  expectFault(FaultKind::OutOfBounds, "lane 0 at 'store i32", {1}, {32}, 0, p, -1);
}

TEST_F(ScalarTest, misalignedVector) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %p, i32 %at) {
  %q = getelementptr i32, ptr addrspace(1) %p, i32 %at
  %v = load <4 x i32>, ptr addrspace(1) %q, align 16
  store <4 x i32> %v, ptr addrspace(1) %p, align 16
  ret void
})");
  auto *p = allocate<int32_t>(100);
  launch({1}, {32}, 0, p, 4);
  expectFault(FaultKind::Misaligned, "no multiple of 16", {1}, {32}, 0, p, 5);
}

TEST_F(ScalarTest, divisionByZero) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %p, i32 %by) {
  %i = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %d = sub i32 %i, %by
  %q = sdiv i32 100, %d
  store i32 %q, ptr addrspace(1) %p
  ret void
})");
  auto *p = allocate<int32_t>(1);
  launch({1}, {32}, 0, p, 50);
  expectFault(FaultKind::Undefined, "lane 9", {1}, {32}, 0, p, 9);
}

} // namespace
