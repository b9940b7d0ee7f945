//===- WgmmaTest.cpp - wgmma against plain products, all layouts ----------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

class WgmmaTest : public MatrixProductTest {};

//===----------------------------------------------------------------------===//
// Descriptors: the image of shared memory is made here, element by element
//===----------------------------------------------------------------------===//

struct Layout {
  const char *name;
  /// Bytes of the swizzle; 0 for none.
  unsigned swizzle;
  /// M or N major.
  bool transposed;

  uint64_t descriptor(uint64_t start, unsigned leading, unsigned stride) const {
    uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    return (start >> 4 & 0x3fff) | uint64_t(leading >> 4) << 16 |
           uint64_t(stride >> 4) << 32 | mode << 62;
  }
};

const Layout kLayouts[] = {{"none", 0, false},  {"32", 32, false},    {"64", 64, false},
                           {"128", 128, false}, {"none MN", 0, true}, {"32 MN", 32, true},
                           {"64 MN", 64, true}, {"128 MN", 128, true}};

/// Where element (row, k) of `bytes` each lies, for strides that fill memory: a matrix of
/// `rows` x 32 bytes of k.
unsigned offsetOf(const Layout &layout, unsigned rows, unsigned row, unsigned k,
                  unsigned bytes, unsigned &leading, unsigned &stride) {
  unsigned s = layout.swizzle;
  if (!layout.transposed) {
    unsigned column = k * bytes;
    if (s == 0) { // Core matrices of 8 rows x 16 bytes.
      leading = 128;
      stride = 256;
      return row / 8 * stride + column / 16 * leading + row % 8 * 16 + column % 16;
    }
    // 8 rows of s bytes; rows of 128 bytes of memory decide which chunks change places.
    stride = 8 * s;
    leading = 16;
    unsigned plain = row * s + column;
    return plain ^ (plain / 128 % 8 * 16 & (s - 1) & ~15u);
  }
  unsigned column = row * bytes; // Along M or N.
  if (s == 0) {
    stride = 128;
    leading = rows * bytes / 16 * 128;
    return k / 8 * leading + column / 16 * stride + k % 8 * 16 + column % 16;
  }
  stride = 8 * s;
  leading = stride * 2; // k has 16 elements.
  unsigned plain = column / s * leading + k * s + column % s;
  return plain ^ (plain / 128 % 8 * 16 & (s - 1) & ~15u);
}

TEST_F(WgmmaTest, allLayouts) {
  constexpr unsigned n = 64, k = 16;
  std::string text = R"(
@smem = internal addrspace(3) global [16384 x i8] undef, align 1024
define ptx_kernel void @k(ptr addrspace(1) %image, ptr addrspace(1) %c, i64 %a, i64 %b) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  br label %copy
copy:
  %i = phi i32 [ 0, %0 ], [ %i1, %copy ]
  %r = shl i32 %i, 7
  %at = add i32 %r, %t
  %from = getelementptr <4 x i32>, ptr addrspace(1) %image, i32 %at
  %to = getelementptr <4 x i32>, ptr addrspace(3) @smem, i32 %at
  %v = load <4 x i32>, ptr addrspace(1) %from
  store <4 x i32> %v, ptr addrspace(3) %to
  %i1 = add i32 %i, 1
  %more = icmp ult i32 %i1, 8
  br i1 %more, label %copy, label %done
done:
  $fence
)" + kSync + kFence + "%zero = insertvalue " +
                     structOf(n / 2) + " zeroinitializer, float 0.0, 0\n" +
                     wgmma("d", "zero", n, "m64n64k16.f32.bf16.bf16", "i64 %a", "%b", "0",
                           ", p, 1, 1, $ta, $tb") +
                     kCommit + kWait + storeAccumulators("d", n) + "ret void\n}";
  const llvm::fltSemantics &format = llvm::APFloat::BFloat();
  for (const Layout &layoutA : kLayouts)
    for (const Layout &layoutB : kLayouts) {
      SCOPED_TRACE(std::string(layoutA.name) + " x " + layoutB.name);
      std::vector<float> a = randomValues(64 * k, format),
                         b = randomValues(n * k, format);
      std::vector<uint16_t> image(8192, encode(100, format));
      unsigned leadingA, strideA, leadingB, strideB;
      for (unsigned row = 0; row < 64; ++row)
        for (unsigned l = 0; l < k; ++l) {
          image[offsetOf(layoutA, 64, row, l, 2, leadingA, strideA) / 2] =
              encode(a[row * k + l], format);
          image[4096 + offsetOf(layoutB, n, row, l, 2, leadingB, strideB) / 2] =
              encode(b[row * k + l], format);
        }
      parse(substitute(text, {{"ta", layoutA.transposed ? "1" : "0"},
                              {"tb", layoutB.transposed ? "1" : "0"},
                              {"fence", kProxyFence}}));
      // Shared memory begins at 1024.
      uint64_t descriptorA = layoutA.descriptor(1024, leadingA, strideA);
      uint64_t descriptorB = layoutB.descriptor(1024 + 8192, leadingB, strideB);
      auto *c = allocate<float>(64 * n);
      launch({1}, {128}, 0, upload(image), c, descriptorA, descriptorB);
      expectNear(c, product(a, b, 64, n, k));
      if (HasFailure())
        return;
    }
  // Without the proxy fence the products may not see the stores.
  parse(substitute(text, {{"ta", "0"}, {"tb", "0"}, {"fence", ""}}));
  auto *c = allocate<float>(64 * n);
  uint64_t descriptor = kLayouts[3].descriptor(1024, 16, 1024);
  expectFault(FaultKind::MissingProxyFence, "store <4 x i32>", {1}, {128}, 0,
              upload(std::vector<uint16_t>(8192)), c, descriptor, descriptor);
  // A descriptor of memory that the block does not have.
  parse(substitute(text, {{"ta", "0"}, {"tb", "0"}, {"fence", kProxyFence}}));
  uint64_t outside = kLayouts[3].descriptor(1024 + 16384, 16, 1024);
  expectFault(FaultKind::OutOfBounds, "wgmma.mma_async", {1}, {128}, 0,
              upload(std::vector<uint16_t>(8192)), c, descriptor, outside);
}

//===----------------------------------------------------------------------===//
// Element types, A from registers, groups
//===----------------------------------------------------------------------===//

// B, n x 32 bytes without swizzle, is copied to shared memory; %pa is this thread's first
// word of A, whose rows have 8 words.
std::string prologue(unsigned n) {
  return substitute(R"(
@smem = internal addrspace(3) global [$bytes x i8] undef, align 1024
define ptx_kernel void @k(ptr addrspace(1) %a, ptr addrspace(1) %image, ptr addrspace(1) %c, i32 %scale) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  br label %copy
copy:
  %i = phi i32 [ %t, %0 ], [ %i1, %next ]
  %more = icmp ult i32 %i, $chunks
  br i1 %more, label %next, label %done
next:
  %from = getelementptr <4 x i32>, ptr addrspace(1) %image, i32 %i
  %to = getelementptr <4 x i32>, ptr addrspace(3) @smem, i32 %i
  %v = load <4 x i32>, ptr addrspace(1) %from
  store <4 x i32> %v, ptr addrspace(3) %to
  %i1 = add i32 %i, 128
  br label %copy
done:
  call void @llvm.nvvm.fence.proxy.async.shared_cta()
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %l = and i32 %t, 31
  %g = lshr i32 %l, 2
  %w = lshr i32 %t, 5
  %w16 = shl i32 %w, 4
  %row = add i32 %g, %w16
  %th = and i32 %l, 3
  %r8 = shl i32 %row, 3
  %at = add i32 %r8, %th
  %pa = getelementptr i32, ptr addrspace(1) %a, i32 %at
  %pa1 = getelementptr i32, ptr addrspace(1) %pa, i32 64
  %pa2 = getelementptr i32, ptr addrspace(1) %pa, i32 4
  %pa3 = getelementptr i32, ptr addrspace(1) %pa, i32 68
  %a0 = load i32, ptr addrspace(1) %pa
  %a1 = load i32, ptr addrspace(1) %pa1
  %a2 = load i32, ptr addrspace(1) %pa2
  %a3 = load i32, ptr addrspace(1) %pa3
  %one = insertvalue $type zeroinitializer, float 1.0, 0
)",
                    {{"bytes", std::to_string(n * 32)},
                     {"chunks", std::to_string(n * 2)},
                     {"type", structOf(n / 2)}});
}
const std::string kRegisters = "i32 %a0, i32 %a1, i32 %a2, i32 %a3";

/// The image of B of 32 bytes each row, without swizzle, and its descriptor.
std::vector<uint8_t> imageOf(const std::vector<uint32_t> &words, unsigned n) {
  std::vector<uint8_t> image(n * 32);
  for (unsigned row = 0; row < n; ++row)
    for (unsigned byte = 0; byte < 32; ++byte)
      image[row / 8 * 256 + byte / 16 * 128 + row % 8 * 16 + byte % 16] =
          uint8_t(words[row * 8 + byte / 4] >> (8 * (byte % 4)));
  return image;
}
const std::string kDescriptor = std::to_string(
    uint64_t(1024 >> 4) | uint64_t(128 >> 4) << 16 | uint64_t(256 >> 4) << 32);

TEST_F(WgmmaTest, elementTypes) {
  struct Case {
    const char *shape;
    unsigned n, k;
    const llvm::fltSemantics *format;
  };
  const Case cases[] = {
      {"m64n8k16.f32.f16.f16", 8, 16, &llvm::APFloat::IEEEhalf()},
      {"m64n24k16.f32.bf16.bf16", 24, 16, &llvm::APFloat::BFloat()},
      {"m64n256k16.f32.bf16.bf16", 256, 16, &llvm::APFloat::BFloat()},
      {"m64n40k8.f32.tf32.tf32", 40, 8, nullptr},
  };
  for (const Case &test : cases)
    for (bool scale : {false, true}) {
      SCOPED_TRACE(test.shape);
      // Numbers that every format holds.
      std::vector<float> a(64 * test.k), b(test.n * test.k);
      for (float &x : a)
        x = float(int(random() % 33) - 16) / 8;
      for (float &x : b)
        x = float(int(random() % 33) - 16) / 8;
      auto pack = [&](const std::vector<float> &values) {
        std::vector<uint32_t> words;
        for (size_t i = 0; i < values.size(); ++i)
          if (!test.format)
            words.push_back(std::bit_cast<uint32_t>(values[i]));
          else if (i % 2 == 0)
            words.push_back(encode(values[i], *test.format) |
                            encode(values[i + 1], *test.format) << 16);
        return words;
      };
      // A is negated: 64-bit accumulators begin with 1 in the first register.
      std::string tail = test.format ? ", p, -1, 1, 0" : ", p, -1, 1";
      parse(
          prologue(test.n) + kFence +
          wgmma("d", "one", test.n, test.shape, kRegisters, kDescriptor, "%scale", tail) +
          kCommit + kWait + storeAccumulators("d", test.n) + "ret void\n}");
      std::vector<float> expected = product(a, b, 64, test.n, test.k);
      for (size_t i = 0; i < expected.size(); ++i) {
        bool isFirst = i / test.n % 16 < 8 && i % test.n < 8 && i % 2 == 0;
        expected[i] = (scale && isFirst ? 1.0f : 0.0f) - expected[i];
      }
      auto *c = allocate<float>(64 * test.n);
      auto *image = upload(imageOf(pack(b), test.n));
      launch({1}, {128}, 0, upload(pack(a)), image, c, int(scale));
      expectNear(c, expected);
      if (HasFailure())
        return;
    }
}

TEST_F(WgmmaTest, groups) {
  constexpr unsigned n = 16;
  const char *shape = "m64n16k16.f32.bf16.bf16";
  auto call = [&](const char *result, const char *from) {
    return wgmma(result, from, n, shape, kRegisters, kDescriptor, "1", ", p, 1, 1, 0");
  };
  const std::string waitOne =
      "call void @llvm.nvvm.wgmma.wait_group.sync.aligned(i64 1)\n";
  const std::string store = storeAccumulators("d", n) + "ret void\n}";
  auto *a = upload(std::vector<uint32_t>(64 * 8, 0x3f803f80));
  auto *image = upload(imageOf(std::vector<uint32_t>(n * 8, 0x3f803f80), n));
  auto *c = allocate<float>(64 * n);
  auto run = [&](const std::string &body) {
    parse(prologue(n) + body);
    return tryLaunch({1}, {128}, 0, a, image, c, 1);
  };
  auto expectFaultOf = [&](const std::string &body, const std::string &message) {
    parse(prologue(n) + body);
    expectFault(FaultKind::AsyncInFlight, message, {1}, {128}, 0, a, image, c, 1);
  };
  // Two groups in flight: the first may be read after a wait for all but one.
  std::string two = kFence + call("d", "one") + kCommit + call("e", "one") + kCommit;
  EXPECT_FALSE(llvm::errorToBool(
      run(two + waitOne + storeAccumulators("d", n) + kWait + "ret void\n}")
          .takeError()));
  EXPECT_EQ(c[1], 16.0f);
  expectFaultOf(two + waitOne + storeAccumulators("e", n) + kWait + "ret void\n}",
                "reads an accumulator of a wgmma that has not been waited for");
  // A group that is not committed is not waited for.
  expectFaultOf(kFence + call("d", "one") + kWait + store, "reads an accumulator");
  // Registers written after the fence.
  expectFaultOf(kFence + "%a4 = add i32 %a0, 0\n" +
                    wgmma("d", "one", n, shape, "i32 %a4, i32 %a1, i32 %a2, i32 %a3",
                          kDescriptor, "1", ", p, 1, 1, 0") +
                    kCommit + kWait + store,
                "a register of A was written after the last wgmma.fence");
  // A warp that leaves while it computes.
  expectFaultOf(kFence + call("d", "one") + kCommit + "ret void\n}", "the warp ends");
  // Shared memory that is read must not be written before the wait.
  const std::string write = "store i32 0, ptr addrspace(3) @smem\n";
  expectFaultOf(kFence + call("d", "one") + kCommit + write + kWait + store,
                "asynchronous operation in flight reads");
  // The four warps have to agree.
  std::string other =
      wgmma("d", "one", n, shape, kRegisters, "%desc", "1", ", p, 1, 1, 0");
  parse(prologue(n) +
        "%w2 = lshr i32 %w, 1\n%w64 = zext i32 %w2 to i64\n%desc = add i64 " +
        kDescriptor + ", %w64\n" + kFence + other + kCommit + kWait + store);
  expectFaultIn(
      {FaultKind::MissingLanes, FaultKind::UninitialisedShared, FaultKind::OutOfBounds},
      "wgmma", {1}, {128}, 0, a, image, c, 1);
  // A block without a whole warpgroup.
  parse(prologue(n) + kFence + call("d", "one") + kCommit + kWait + store);
  expectFault(FaultKind::MissingLanes, "a warpgroup has four warps", {1}, {96}, 0, a,
              image, c, 1);
}

} // namespace
