//===- MatrixTest.cpp - mma, ldmatrix, cp.async against plain products ----===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

class MatrixTest : public EmulatorTest {
protected:
  std::mt19937 random{7};

  std::vector<uint16_t> randomMatrix(size_t count, const llvm::fltSemantics &format) {
    std::uniform_real_distribution<float> distribution(-2, 2);
    std::vector<uint16_t> matrix;
    for (size_t i = 0; i < count; ++i)
      matrix.push_back(encode(distribution(random), format));
    return matrix;
  }

  /// C[m][n] of A[m][k] and B[n][k].
  std::vector<float> product(const std::vector<uint16_t> &a,
                             const std::vector<uint16_t> &b, unsigned m, unsigned n,
                             unsigned k, const llvm::fltSemantics &format) {
    std::vector<float> c(m * n);
    for (unsigned i = 0; i < m; ++i)
      for (unsigned j = 0; j < n; ++j) {
        double sum = 0;
        for (unsigned l = 0; l < k; ++l)
          sum += double(decode(a[i * k + l], format)) * decode(b[j * k + l], format);
        c[i * n + j] = float(sum);
      }
    return c;
  }

  void expectNear(const float *actual, const std::vector<float> &expected) {
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], 1e-4) << "element " << i;
  }
};

// One mma with fragments loaded from global memory element by element, as the PTX manual
// numbers them: a0..a3 are rows g and g + 8 of columns 2t, 2t + 1 and 2t + 8, 2t + 9.
TEST_F(MatrixTest, mmaBF16FragmentsByHand) {
  parse(R"(
define internal i32 @pair(ptr addrspace(1) %m, i32 %row, i32 %column) {
  %o = mul i32 %row, 16
  %i = add i32 %o, %column
  %p = getelementptr i16, ptr addrspace(1) %m, i32 %i
  %v = load i32, ptr addrspace(1) %p, align 4
  ret i32 %v
}
define ptx_kernel void @k(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %g = lshr i32 %l, 2
  %g8 = add i32 %g, 8
  %t = and i32 %l, 3
  %t2 = shl i32 %t, 1
  %t10 = add i32 %t2, 8
  %a0 = call i32 @pair(ptr addrspace(1) %a, i32 %g, i32 %t2)
  %a1 = call i32 @pair(ptr addrspace(1) %a, i32 %g8, i32 %t2)
  %a2 = call i32 @pair(ptr addrspace(1) %a, i32 %g, i32 %t10)
  %a3 = call i32 @pair(ptr addrspace(1) %a, i32 %g8, i32 %t10)
  %b0 = call i32 @pair(ptr addrspace(1) %b, i32 %g, i32 %t2)
  %b1 = call i32 @pair(ptr addrspace(1) %b, i32 %g, i32 %t10)
  %d = call { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float 1.0, float 1.0, float 1.0, float 1.0)
  %e = call { float, float, float, float } asm "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};", "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float 1.0, float 1.0, float 1.0, float 1.0)
  %d0 = extractvalue { float, float, float, float } %d, 0
  %d1 = extractvalue { float, float, float, float } %d, 1
  %d2 = extractvalue { float, float, float, float } %e, 2
  %d3 = extractvalue { float, float, float, float } %e, 3
  %o = mul i32 %g, 8
  %o1 = add i32 %o, %t2
  %p = getelementptr float, ptr addrspace(1) %c, i32 %o1
  store float %d0, ptr addrspace(1) %p
  %p1 = getelementptr float, ptr addrspace(1) %p, i32 1
  store float %d1, ptr addrspace(1) %p1
  %p2 = getelementptr float, ptr addrspace(1) %p, i32 64
  store float %d2, ptr addrspace(1) %p2
  %p3 = getelementptr float, ptr addrspace(1) %p, i32 65
  store float %d3, ptr addrspace(1) %p3
  ret void
})");
  const llvm::fltSemantics &format = llvm::APFloat::BFloat();
  auto a = randomMatrix(16 * 16, format), b = randomMatrix(8 * 16, format);
  std::vector<float> expected = product(a, b, 16, 8, 16, format);
  for (float &value : expected)
    value += 1;
  auto *c = allocate<float>(128);
  Statistics statistics = launch({1}, {32}, 0, upload(a), upload(b), c);
  expectNear(c, expected);
  EXPECT_EQ(statistics[InstructionKind::Mma], 2u);
  EXPECT_EQ(statistics.matrixMultiplyAdds, 2u * 16 * 8 * 16);
}

// f16 operands come as vectors of two halves.
TEST_F(MatrixTest, mmaF16) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %g = lshr i32 %l, 2
  %t = and i32 %l, 3
  %r = mul i32 %g, 8
  %i = add i32 %r, %t
  %pa = getelementptr <2 x half>, ptr addrspace(1) %a, i32 %i
  %pa1 = getelementptr <2 x half>, ptr addrspace(1) %pa, i32 64
  %pa2 = getelementptr <2 x half>, ptr addrspace(1) %pa, i32 4
  %pa3 = getelementptr <2 x half>, ptr addrspace(1) %pa, i32 68
  %pb = getelementptr <2 x half>, ptr addrspace(1) %b, i32 %i
  %pb1 = getelementptr <2 x half>, ptr addrspace(1) %pb, i32 4
  %a0 = load <2 x half>, ptr addrspace(1) %pa
  %a1 = load <2 x half>, ptr addrspace(1) %pa1
  %a2 = load <2 x half>, ptr addrspace(1) %pa2
  %a3 = load <2 x half>, ptr addrspace(1) %pa3
  %b0 = load <2 x half>, ptr addrspace(1) %pb
  %b1 = load <2 x half>, ptr addrspace(1) %pb1
  %d = call { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> %a0, <2 x half> %a1, <2 x half> %a2, <2 x half> %a3, <2 x half> %b0, <2 x half> %b1, float 0.0, float 0.0, float 0.0, float 0.0)
  %h = call { <2 x half>, <2 x half> } @llvm.nvvm.mma.m16n8k16.row.col.f16.f16(<2 x half> %a0, <2 x half> %a1, <2 x half> %a2, <2 x half> %a3, <2 x half> %b0, <2 x half> %b1, <2 x half> zeroinitializer, <2 x half> zeroinitializer)
  %d0 = extractvalue { float, float, float, float } %d, 0
  %d1 = extractvalue { float, float, float, float } %d, 1
  %h1 = extractvalue { <2 x half>, <2 x half> } %h, 1
  %w = fpext <2 x half> %h1 to <2 x float>
  %t2 = shl i32 %t, 1
  %o = add i32 %r, %t2
  %p = getelementptr float, ptr addrspace(1) %c, i32 %o
  store float %d0, ptr addrspace(1) %p
  %p1 = getelementptr float, ptr addrspace(1) %p, i32 1
  store float %d1, ptr addrspace(1) %p1
  %p2 = getelementptr float, ptr addrspace(1) %p, i32 64
  store <2 x float> %w, ptr addrspace(1) %p2
  ret void
})");
  const llvm::fltSemantics &format = llvm::APFloat::IEEEhalf();
  auto a = randomMatrix(16 * 16, format), b = randomMatrix(8 * 16, format);
  std::vector<float> expected = product(a, b, 16, 8, 16, format);
  auto *c = allocate<float>(128);
  launch({1}, {32}, 0, upload(a), upload(b), c);
  for (unsigned i = 0; i < 128; ++i)
    EXPECT_NEAR(c[i], expected[i], i < 64 ? 1e-4 : 1e-2) << i;
}

TEST_F(MatrixTest, mmaTF32) {
  parse(R"(
define ptx_kernel void @k(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %g = lshr i32 %l, 2
  %t = and i32 %l, 3
  %r = mul i32 %g, 8
  %i = add i32 %r, %t
  %pa = getelementptr i32, ptr addrspace(1) %a, i32 %i
  %pa1 = getelementptr i32, ptr addrspace(1) %pa, i32 64
  %pa2 = getelementptr i32, ptr addrspace(1) %pa, i32 4
  %pa3 = getelementptr i32, ptr addrspace(1) %pa, i32 68
  %pb = getelementptr i32, ptr addrspace(1) %b, i32 %i
  %pb1 = getelementptr i32, ptr addrspace(1) %pb, i32 4
  %a0 = load i32, ptr addrspace(1) %pa
  %a1 = load i32, ptr addrspace(1) %pa1
  %a2 = load i32, ptr addrspace(1) %pa2
  %a3 = load i32, ptr addrspace(1) %pa3
  %b0 = load i32, ptr addrspace(1) %pb
  %b1 = load i32, ptr addrspace(1) %pb1
  %d = call { float, float, float, float } @llvm.nvvm.mma.m16n8k8.row.col.tf32(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float 0.0, float 0.0, float 0.0, float 0.0)
  %d0 = extractvalue { float, float, float, float } %d, 0
  %d1 = extractvalue { float, float, float, float } %d, 1
  %d2 = extractvalue { float, float, float, float } %d, 2
  %d3 = extractvalue { float, float, float, float } %d, 3
  %v = insertelement <2 x float> poison, float %d0, i32 0
  %v1 = insertelement <2 x float> %v, float %d1, i32 1
  %u = insertelement <2 x float> poison, float %d2, i32 0
  %u1 = insertelement <2 x float> %u, float %d3, i32 1
  %t2 = shl i32 %t, 1
  %o = add i32 %r, %t2
  %p = getelementptr float, ptr addrspace(1) %c, i32 %o
  store <2 x float> %v1, ptr addrspace(1) %p
  %p2 = getelementptr float, ptr addrspace(1) %p, i32 64
  store <2 x float> %u1, ptr addrspace(1) %p2
  ret void
})");
  std::uniform_real_distribution<float> distribution(-2, 2);
  std::vector<float> a(128), b(64), expected(128);
  for (float &x : a)
    x = distribution(random);
  for (float &x : b)
    x = distribution(random);
  auto cut = [](float x) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(x) >> 13 << 13);
  };
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 8; ++j)
      for (unsigned l = 0; l < 8; ++l)
        expected[i * 8 + j] += cut(a[i * 8 + l]) * cut(b[j * 8 + l]);
  auto *c = allocate<float>(128);
  launch({1}, {32}, 0, upload(a), upload(b), c);
  expectNear(c, expected);
}

// The matrix of 8 x 8 i16 with element 8 row + column, four of them.
TEST_F(MatrixTest, loadAndStoreMatrix) {
  for (bool transposed : {false, true}) {
    parse(substitute(R"(
@buf = internal addrspace(3) global [256 x i16] undef, align 16
@back = internal addrspace(3) global [256 x i16] undef, align 16
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out, ptr addrspace(1) %copy) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %pi = getelementptr <4 x i32>, ptr addrspace(1) %in, i32 %l
  %v = load <4 x i32>, ptr addrspace(1) %pi
  %p = getelementptr <4 x i32>, ptr addrspace(3) @buf, i32 %l
  store <4 x i32> %v, ptr addrspace(3) %p
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %m = call { i32, i32, i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4$trans.b16.p3(ptr addrspace(3) %p)
  %m0 = extractvalue { i32, i32, i32, i32 } %m, 0
  %m1 = extractvalue { i32, i32, i32, i32 } %m, 1
  %m2 = extractvalue { i32, i32, i32, i32 } %m, 2
  %m3 = extractvalue { i32, i32, i32, i32 } %m, 3
  %o0 = insertelement <4 x i32> poison, i32 %m0, i32 0
  %o1 = insertelement <4 x i32> %o0, i32 %m1, i32 1
  %o2 = insertelement <4 x i32> %o1, i32 %m2, i32 2
  %o3 = insertelement <4 x i32> %o2, i32 %m3, i32 3
  %po = getelementptr <4 x i32>, ptr addrspace(1) %out, i32 %l
  store <4 x i32> %o3, ptr addrspace(1) %po
  %pb = getelementptr <4 x i32>, ptr addrspace(3) @back, i32 %l
  call void @llvm.nvvm.stmatrix.sync.aligned.m8n8.x4$trans.b16.p3(ptr addrspace(3) %pb, i32 %m0, i32 %m1, i32 %m2, i32 %m3)
  call void @llvm.nvvm.bar.warp.sync(i32 -1)
  %w = load <4 x i32>, ptr addrspace(3) %pb
  %pc = getelementptr <4 x i32>, ptr addrspace(1) %copy, i32 %l
  store <4 x i32> %w, ptr addrspace(1) %pc
  ret void
})",
                     {{"trans", transposed ? ".trans" : ""}}));
    std::vector<uint16_t> in(256);
    for (unsigned i = 0; i < 256; ++i)
      in[i] = uint16_t(i * 3);
    auto *out = allocate<uint16_t>(256), *copy = allocate<uint16_t>(256);
    Statistics statistics = launch({1}, {32}, 0, upload(in), out, copy);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned matrix = 0; matrix < 4; ++matrix)
        for (unsigned half = 0; half < 2; ++half) {
          unsigned row = lane / 4, column = 2 * (lane % 4) + half;
          if (transposed)
            std::swap(row, column);
          EXPECT_EQ(out[lane * 8 + matrix * 2 + half],
                    in[matrix * 64 + row * 8 + column]);
        }
    for (unsigned i = 0; i < 256; ++i)
      EXPECT_EQ(copy[i], in[i]);
    EXPECT_EQ(statistics[InstructionKind::LoadMatrix], 1u);
  }
}

//===----------------------------------------------------------------------===//
// C = A B^T with two stages of cp.async, ldmatrix and mma
//===----------------------------------------------------------------------===//

// A block of two warps computes 32 x 16 of C; each k step is 16. Stage s of A begins at
// byte 1536 s, of B 1024 after: rows of 16 bf16 in order.
const char *kGemm = R"(
@smem = internal addrspace(3) global [3072 x i8] undef, align 128
define internal void @fetch(i32 %t, i32 %step, i32 %k, ptr addrspace(1) %a, ptr addrspace(1) %b) {
entry:
  %stage = and i32 %step, 1
  %base = mul i32 %stage, 1536
  %row = lshr i32 %t, 1
  %part = and i32 %t, 1
  %part8 = shl i32 %part, 3
  %column = shl i32 %step, 4
  %c = add i32 %column, %part8
  %rk = mul i32 %row, %k
  %from = add i32 %rk, %c
  %pa = getelementptr i16, ptr addrspace(1) %a, i32 %from
  %to = shl i32 %t, 4
  %to1 = add i32 %to, %base
  %sa = getelementptr i8, ptr addrspace(3) @smem, i32 %to1
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %sa, ptr addrspace(1) %pa)
  %isB = icmp ult i32 %t, 32
  br i1 %isB, label %fetchB, label %done
fetchB:
  %pb = getelementptr i16, ptr addrspace(1) %b, i32 %from
  %sb = getelementptr i8, ptr addrspace(3) %sa, i32 1024
  call void @llvm.nvvm.cp.async.cg.shared.global.16(ptr addrspace(3) %sb, ptr addrspace(1) %pb)
  br label %done
done:
  ret void
}
define ptx_kernel void @k(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c, i32 %k) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %l = and i32 %t, 31
  %w = lshr i32 %t, 5
  %steps = lshr i32 %k, 4
  call void @fetch(i32 %t, i32 0, i32 %k, ptr addrspace(1) %a, ptr addrspace(1) %b)
  call void @llvm.nvvm.cp.async.commit.group()
  br label %loop
loop:
  %s = phi i32 [ 0, %entry ], [ %s1, %compute ]
  %x0 = phi float [ 0.0, %entry ], [ %y0, %compute ]
  %x1 = phi float [ 0.0, %entry ], [ %y1, %compute ]
  %x2 = phi float [ 0.0, %entry ], [ %y2, %compute ]
  %x3 = phi float [ 0.0, %entry ], [ %y3, %compute ]
  %x4 = phi float [ 0.0, %entry ], [ %y4, %compute ]
  %x5 = phi float [ 0.0, %entry ], [ %y5, %compute ]
  %x6 = phi float [ 0.0, %entry ], [ %y6, %compute ]
  %x7 = phi float [ 0.0, %entry ], [ %y7, %compute ]
  %s1 = add i32 %s, 1
  %more = icmp ult i32 %s1, %steps
  br i1 %more, label %prefetch, label %wait
prefetch:
  call void @fetch(i32 %t, i32 %s1, i32 %k, ptr addrspace(1) %a, ptr addrspace(1) %b)
  br label %wait
wait:
  call void @llvm.nvvm.cp.async.commit.group()
  call void @llvm.nvvm.cp.async.wait.group(i32 $left)
  $barrier
  br label %compute
compute:
  %stage = and i32 %s, 1
  %base = mul i32 %stage, 1536
  ; A: lanes 0-15 name rows of columns 0-7, lanes 16-31 of columns 8-15
  %ar = and i32 %l, 15
  %w16 = shl i32 %w, 4
  %arow = add i32 %ar, %w16
  %half = lshr i32 %l, 4
  %ao = shl i32 %arow, 5
  %ho = shl i32 %half, 4
  %ao1 = add i32 %ao, %ho
  %ao2 = add i32 %ao1, %base
  %pa = getelementptr i8, ptr addrspace(3) @smem, i32 %ao2
  %fa = call { i32, i32, i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %pa)
  ; B: matrices are columns 0-7 and 8-15 of rows 0-7, then of rows 8-15
  %br = and i32 %l, 7
  %b8 = lshr i32 %l, 3
  %bh = and i32 %b8, 1
  %bn = lshr i32 %l, 4
  %bn8 = shl i32 %bn, 3
  %brow = add i32 %br, %bn8
  %bo = shl i32 %brow, 5
  %bho = shl i32 %bh, 4
  %bo1 = add i32 %bo, %bho
  %bo2 = add i32 %bo1, %base
  %bo3 = add i32 %bo2, 1024
  %pb = getelementptr i8, ptr addrspace(3) @smem, i32 %bo3
  %fb = call { i32, i32, i32, i32 } @llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3(ptr addrspace(3) %pb)
  %a0 = extractvalue { i32, i32, i32, i32 } %fa, 0
  %a1 = extractvalue { i32, i32, i32, i32 } %fa, 1
  %a2 = extractvalue { i32, i32, i32, i32 } %fa, 2
  %a3 = extractvalue { i32, i32, i32, i32 } %fa, 3
  %b0 = extractvalue { i32, i32, i32, i32 } %fb, 0
  %b1 = extractvalue { i32, i32, i32, i32 } %fb, 1
  %b2 = extractvalue { i32, i32, i32, i32 } %fb, 2
  %b3 = extractvalue { i32, i32, i32, i32 } %fb, 3
  %d = call { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b0, i32 %b1, float %x0, float %x1, float %x2, float %x3)
  %e = call { float, float, float, float } @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %a0, i32 %a1, i32 %a2, i32 %a3, i32 %b2, i32 %b3, float %x4, float %x5, float %x6, float %x7)
  %y0 = extractvalue { float, float, float, float } %d, 0
  %y1 = extractvalue { float, float, float, float } %d, 1
  %y2 = extractvalue { float, float, float, float } %d, 2
  %y3 = extractvalue { float, float, float, float } %d, 3
  %y4 = extractvalue { float, float, float, float } %e, 0
  %y5 = extractvalue { float, float, float, float } %e, 1
  %y6 = extractvalue { float, float, float, float } %e, 2
  %y7 = extractvalue { float, float, float, float } %e, 3
  $barrierAfter
  br i1 %more, label %loop, label %write
write:
  %g = lshr i32 %l, 2
  %row = add i32 %g, %w16
  %th = and i32 %l, 3
  %col = shl i32 %th, 1
  %ro = shl i32 %row, 4
  %o = add i32 %ro, %col
  %p = getelementptr float, ptr addrspace(1) %c, i32 %o
  %p1 = getelementptr float, ptr addrspace(1) %p, i32 1
  %p2 = getelementptr float, ptr addrspace(1) %p, i32 128
  %p3 = getelementptr float, ptr addrspace(1) %p, i32 129
  %p4 = getelementptr float, ptr addrspace(1) %p, i32 8
  %p5 = getelementptr float, ptr addrspace(1) %p, i32 9
  %p6 = getelementptr float, ptr addrspace(1) %p, i32 136
  %p7 = getelementptr float, ptr addrspace(1) %p, i32 137
  store float %y0, ptr addrspace(1) %p
  store float %y1, ptr addrspace(1) %p1
  store float %y2, ptr addrspace(1) %p2
  store float %y3, ptr addrspace(1) %p3
  store float %y4, ptr addrspace(1) %p4
  store float %y5, ptr addrspace(1) %p5
  store float %y6, ptr addrspace(1) %p6
  store float %y7, ptr addrspace(1) %p7
  ret void
})";

TEST_F(MatrixTest, gemmWithTwoStages) {
  const llvm::fltSemantics &format = llvm::APFloat::BFloat();
  constexpr int k = 80;
  auto a = randomMatrix(32 * k, format), b = randomMatrix(16 * k, format);
  std::vector<float> expected = product(a, b, 32, 16, k, format);
  auto *deviceA = upload(a), *deviceB = upload(b);
  auto *c = allocate<float>(32 * 16);
  parse(substitute(kGemm, {{"left", "1"}, {"barrierAfter", kSync}, {"barrier", kSync}}));
  for (uint64_t seed = 0; seed < 8; ++seed) {
    device.setSeed(seed);
    launch({1}, {64}, 0, deviceA, deviceB, c, k);
    expectNear(c, expected);
  }
  // Warps that are far apart meet copies in flight, others what is read or written.
  auto broken = [&](const char *left, const std::string &barrierAfter) {
    parse(substitute(
        kGemm, {{"left", left}, {"barrierAfter", barrierAfter}, {"barrier", kSync}}));
    for (uint64_t seed = 0; seed < 8; ++seed) {
      device.setSeed(seed);
      expectFaultIn({FaultKind::AsyncInFlight, FaultKind::SharedRace}, "cp.async", {1},
                    {64}, 0, deviceA, deviceB, c, k);
    }
  };
  // Reads a stage whose copies are in flight.
  broken("2", kSync);
  // Overwrites a stage that the other warp reads.
  broken("1", "");
}

TEST_F(MatrixTest, copyWithZeroFill) {
  parse(R"(
@smem = internal addrspace(3) global [512 x i8] undef, align 128
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out, i32 %n) {
  %l = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %s = getelementptr i64, ptr addrspace(3) @smem, i32 %l
  %p = getelementptr i64, ptr addrspace(1) %in, i32 %l
  call void @llvm.nvvm.cp.async.ca.shared.global.8.s(ptr addrspace(3) %s, ptr addrspace(1) %p, i32 %n)
  call void @llvm.nvvm.cp.async.wait.all()
  %v = load i64, ptr addrspace(3) %s
  %q = getelementptr i64, ptr addrspace(1) %out, i32 %l
  store i64 %v, ptr addrspace(1) %q
  ret void
})");
  std::vector<int64_t> in(32, 0x1122334455667788);
  auto *out = allocate<int64_t>(32);
  int64_t *from = upload(in);
  launch({1}, {32}, 0, from, out, 3);
  EXPECT_EQ(out[5], 0x667788);
  launch({1}, {32}, 0, from, out, 0);
  EXPECT_EQ(out[5], 0);
  expectFault(FaultKind::BadOperand, "9 bytes", {1}, {32}, 0, from, out, 9);
}

} // namespace
