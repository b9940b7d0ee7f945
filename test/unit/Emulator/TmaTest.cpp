//===- TmaTest.cpp - TMA against plain loops ------------------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixTesting.h"

using namespace sparse_attn::emulator;

namespace {

class TmaTest : public EmulatorTest {
protected:
  /// Loads one tile of a tensor of `rank` dimensions, copies its bytes to %out as they
  /// lie in shared memory, and stores it with a second map elsewhere.
  void parseRoundTrip(unsigned rank, const std::string &afterLoad,
                      const std::string &waitStore) {
    std::string coordinates, names;
    for (unsigned i = 0; i < rank; ++i) {
      coordinates += ", i32 %c" + std::to_string(i);
      names += (i ? ", i32 %c" : "i32 %c") + std::to_string(i);
    }
    parse(substitute(R"(
@smem = external addrspace(3) global [0 x i8], align 1024
define ptx_kernel void @k(ptr byval([128 x i8]) align 64 %from, ptr byval([128 x i8]) align 64 %to, ptr addrspace(1) %out, i32 %bytes, $names) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %bar = getelementptr i8, ptr addrspace(3) @smem, i32 16384
  %first = icmp eq i32 %t, 0
  br i1 %first, label %load, label %wait
load:
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) %bar, i32 1)
  call void @llvm.nvvm.fence.mbarrier_init.release.cluster()
  %s = call i64 @llvm.nvvm.mbarrier.arrive.expect.tx.scope.cta.space.cta(ptr addrspace(3) %bar, i32 %bytes)
  %dst = addrspacecast ptr addrspace(3) @smem to ptr addrspace(7)
  call void @llvm.nvvm.cp.async.bulk.tensor.g2s.tile.$rankd(ptr addrspace(7) %dst, ptr addrspace(3) %bar, ptr %from$coordinates, i16 0, i64 0, i1 false, i1 false, i32 0)
  br label %wait
wait:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  br label %spin
spin:
  %ok = call i1 @llvm.nvvm.mbarrier.test.wait.parity.scope.cta.space.cta(ptr addrspace(3) %bar, i32 0)
  br i1 %ok, label %copy, label %spin
copy:
  %i = phi i32 [ %t, %spin ], [ %i1, %next ]
  %more = icmp ult i32 %i, %bytes
  br i1 %more, label %next, label %store
next:
  %p = getelementptr i8, ptr addrspace(3) @smem, i32 %i
  %v = load i8, ptr addrspace(3) %p
  %q = getelementptr i8, ptr addrspace(1) %out, i32 %i
  store i8 %v, ptr addrspace(1) %q
  %i1 = add i32 %i, 64
  br label %copy
store:
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  $afterLoad
  br i1 %first, label %bulk, label %exit
bulk:
  call void @llvm.nvvm.cp.async.bulk.tensor.s2g.tile.$rankd(ptr addrspace(3) @smem, ptr %to$coordinates, i64 0, i1 false)
  call void @llvm.nvvm.cp.async.bulk.commit.group()
  $waitStore
  br label %exit
exit:
  ret void
})",
                     {{"names", names},
                      {"rank", std::to_string(rank)},
                      {"coordinates", coordinates},
                      {"afterLoad", afterLoad},
                      {"waitStore", waitStore}}));
  }

  const std::string waitStore =
      "call void @llvm.nvvm.cp.async.bulk.wait.group.read(i32 0)\n";
};

/// Element i of a tensor.
uint16_t valueAt(size_t i) { return uint16_t(i * 7 + 1); }

TEST_F(TmaTest, oneToFiveDimensions) {
  const uint64_t sizes[5] = {40, 9, 5, 4, 3};
  const uint32_t box[5] = {16, 4, 3, 2, 2};
  // The tile leaves the tensor at both sides.
  const int32_t at[5] = {32, -2, 3, 3, -1};
  for (unsigned rank = 1; rank <= 5; ++rank) {
    SCOPED_TRACE(rank);
    TensorMapInfo info;
    info.rank = rank;
    info.element = TensorElement::U16;
    size_t count = 1, boxCount = 1;
    for (unsigned i = 0; i < rank; ++i) {
      info.sizes[i] = sizes[i];
      info.box[i] = box[i];
      count *= sizes[i];
      boxCount *= box[i];
      if (i + 1 < 5)
        info.strides[i] = count * 2;
    }
    std::vector<uint16_t> values(count);
    for (size_t i = 0; i < count; ++i)
      values[i] = valueAt(i);
    info.base = upload(values);
    TensorMap from = llvm::cantFail(encodeTensorMap(info));
    auto *target = upload(std::vector<uint16_t>(count, 0));
    info.base = target;
    TensorMap to = llvm::cantFail(encodeTensorMap(info));
    auto *out = allocate<uint16_t>(boxCount);
    parseRoundTrip(rank, "", waitStore);
    auto bytes = unsigned(boxCount * 2);
    switch (rank) {
    case 1:
      launch({1}, {64}, 17000, from, to, out, bytes, at[0]);
      break;
    case 2:
      launch({1}, {64}, 17000, from, to, out, bytes, at[0], at[1]);
      break;
    case 3:
      launch({1}, {64}, 17000, from, to, out, bytes, at[0], at[1], at[2]);
      break;
    case 4:
      launch({1}, {64}, 17000, from, to, out, bytes, at[0], at[1], at[2], at[3]);
      break;
    default:
      launch({1}, {64}, 17000, from, to, out, bytes, at[0], at[1], at[2], at[3], at[4]);
    }
    std::vector<uint16_t> stored(count, 0);
    for (size_t i = 0; i < boxCount; ++i) {
      size_t rest = i, index = 0, step = 1;
      bool inside = true;
      for (unsigned d = 0; d < rank; ++d) {
        int64_t x = at[d] + int64_t(rest % box[d]);
        rest /= box[d];
        inside &= x >= 0 && x < int64_t(sizes[d]);
        index += x * step;
        step *= sizes[d];
      }
      EXPECT_EQ(out[i], inside ? values[index] : 0) << i;
      if (inside)
        stored[index] = values[index];
    }
    for (size_t i = 0; i < count; ++i)
      EXPECT_EQ(target[i], stored[i]) << i;
  }
}

// Rows of 32, 64 and 128 bytes. In 8 rows of 128 bytes, chunk c of row r lies at c ^ r;
// narrower swizzles do the same with fewer bits, each for 2 or 4 rows of memory.
TEST_F(TmaTest, swizzles) {
  for (auto [swizzle, row] : {std::pair(TensorSwizzle::None, 64u),
                              {TensorSwizzle::B32, 32u},
                              {TensorSwizzle::B64, 64u},
                              {TensorSwizzle::B128, 128u}}) {
    SCOPED_TRACE(row);
    TensorMapInfo info;
    info.rank = 2;
    info.element = TensorElement::U8;
    info.sizes[0] = info.box[0] = row;
    info.sizes[1] = info.box[1] = 32;
    info.strides[0] = row;
    info.swizzle = swizzle;
    std::vector<uint8_t> values(row * 32);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = uint8_t(i / 16 * 3 + i % 16);
    info.base = upload(values);
    TensorMap from = llvm::cantFail(encodeTensorMap(info));
    auto *target = upload(std::vector<uint8_t>(values.size(), 0));
    info.base = target;
    TensorMap to = llvm::cantFail(encodeTensorMap(info));
    auto *out = allocate<uint8_t>(values.size());
    parseRoundTrip(2, "", waitStore);
    launch({1}, {64}, 17000, from, to, out, row * 32, 0, 0);
    for (unsigned r = 0; r < 32; ++r)
      for (unsigned c = 0; c < row / 16; ++c) {
        unsigned moved = c;
        if (swizzle == TensorSwizzle::B128)
          moved = c ^ (r % 8);
        if (swizzle == TensorSwizzle::B64)
          moved = c ^ (r / 2 % 4);
        if (swizzle == TensorSwizzle::B32)
          moved = c ^ (r / 4 % 2);
        for (unsigned i = 0; i < 16; ++i)
          ASSERT_EQ(out[r * row + moved * 16 + i], values[r * row + c * 16 + i]);
      }
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(target[i], values[i]);
  }
}

TEST_F(TmaTest, faults) {
  TensorMapInfo info;
  info.rank = 2;
  info.element = TensorElement::F32;
  info.sizes[0] = info.box[0] = 16;
  info.sizes[1] = info.box[1] = 16;
  info.strides[0] = 64;
  info.base = upload(std::vector<float>(256, 1.0f));
  TensorMap map = llvm::cantFail(encodeTensorMap(info));
  auto *out = allocate<uint8_t>(1024);
  auto run = [&](FaultKind kind, const std::string &message, const TensorMap &from) {
    expectFault(kind, message, {1}, {64}, 17000, from, map, out, 1024, 0, 0);
  };
  parseRoundTrip(2, "", waitStore);
  launch({1}, {64}, 17000, map, map, out, 1024, 0, 0);
  // Not a tensor map.
  run(FaultKind::BadOperand, "no tensor map", TensorMap());
  // Of another rank.
  info.rank = 1;
  run(FaultKind::BadOperand, "rank 1 with 2 coordinates",
      llvm::cantFail(encodeTensorMap(info)));
  // Of more memory than there is.
  info.rank = 2;
  info.strides[0] = 128;
  run(FaultKind::OutOfBounds, "cp.async.bulk.tensor.g2s",
      llvm::cantFail(encodeTensorMap(info)));
  // A store that is in flight when the block ends, or when its source is written.
  parseRoundTrip(2, "", "");
  run(FaultKind::AsyncInFlight, "wait_group.read is missing", map);
  parseRoundTrip(2, "", "store i8 1, ptr addrspace(3) @smem\n" + waitStore);
  run(FaultKind::AsyncInFlight, "in flight reads", map);
  // A store of what threads wrote needs a proxy fence, and a barrier.
  const std::string sync = "call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)\n";
  const std::string fence = "call void @llvm.nvvm.fence.proxy.async.shared_cta()\n";
  const std::string write = "%w = getelementptr i32, ptr addrspace(3) @smem, i32 %t\n"
                            "store i32 %t, ptr addrspace(3) %w\n";
  parseRoundTrip(2, write + fence + sync, waitStore);
  launch({1}, {64}, 17000, map, map, out, 1024, 0, 0);
  parseRoundTrip(2, write + sync + fence, waitStore);
  launch({1}, {64}, 17000, map, map, out, 1024, 0, 0);
  parseRoundTrip(2, write + sync, waitStore);
  run(FaultKind::MissingProxyFence, "store i32 %t", map);
  parseRoundTrip(2, write + fence, waitStore);
  for (uint64_t seed = 0; seed < 8; ++seed) {
    device.setSeed(seed);
    expectFaultIn({FaultKind::SharedRace, FaultKind::AsyncInFlight}, "store i32 %t", {1},
                  {64}, 17000, map, map, out, 1024, 0, 0);
  }
}

TEST_F(TmaTest, encodingChecks) {
  TensorMapInfo info;
  info.rank = 2;
  info.base = reinterpret_cast<void *>(0x1000);
  info.sizes[0] = info.sizes[1] = 64;
  info.box[0] = info.box[1] = 64;
  info.strides[0] = 128;
  info.swizzle = TensorSwizzle::B128;
  auto errorOf = [](const TensorMapInfo &wrong) {
    auto map = encodeTensorMap(wrong);
    return map ? std::string() : llvm::toString(map.takeError());
  };
  EXPECT_EQ(errorOf(info), "");
  auto expectError = [&](auto &&change, const char *message) {
    TensorMapInfo wrong = info;
    change(wrong);
    EXPECT_NE(errorOf(wrong).find(message), std::string::npos) << errorOf(wrong);
  };
  expectError([](TensorMapInfo &i) { i.rank = 6; }, "rank 6");
  expectError([](TensorMapInfo &i) { i.base = reinterpret_cast<void *>(0x1008); }, "16");
  expectError([](TensorMapInfo &i) { i.strides[0] = 136; }, "stride 136");
  expectError([](TensorMapInfo &i) { i.box[1] = 257; }, "box 257");
  expectError([](TensorMapInfo &i) { i.box[0] = 72; }, "more than the 128");
  expectError([](TensorMapInfo &i) { i.box[0] = 12; }, "no multiple of 16");
  expectError([](TensorMapInfo &i) { i.elementStrides[0] = 2; }, "element strides");
  TensorMapInfo back =
      llvm::cantFail(decodeTensorMap(llvm::cantFail(encodeTensorMap(info)).opaque));
  EXPECT_EQ(back.rank, 2u);
  EXPECT_EQ(back.sizes[1], 64u);
  EXPECT_EQ(back.strides[0], 128u);
  EXPECT_EQ(back.swizzle, TensorSwizzle::B128);
}

TEST_F(TmaTest, bulkCopies) {
  parse(R"(
@smem = internal addrspace(3) global [1024 x i8] undef, align 128
@bar = internal addrspace(3) global i64 undef, align 8
define ptx_kernel void @k(ptr addrspace(1) %in, ptr addrspace(1) %out, i32 %bytes) {
  call void @llvm.nvvm.mbarrier.init.shared(ptr addrspace(3) @bar, i32 1)
  call void @llvm.nvvm.fence.proxy.async()
  call void asm sideeffect "mbarrier.arrive.expect_tx.shared.b64 _, [$0], $1;", "r,r"(ptr addrspace(3) @bar, i32 %bytes)
  %dst = addrspacecast ptr addrspace(3) @smem to ptr addrspace(7)
  call void @llvm.nvvm.cp.async.bulk.global.to.shared.cluster(ptr addrspace(7) %dst, ptr addrspace(3) @bar, ptr addrspace(1) %in, i32 %bytes, i16 0, i64 0, i1 false, i1 false)
  br label %spin
spin:
  %ok = call i1 @llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta(ptr addrspace(3) @bar, i32 0)
  br i1 %ok, label %store, label %spin
store:
  call void @llvm.nvvm.cp.async.bulk.shared.cta.to.global(ptr addrspace(1) %out, ptr addrspace(3) @smem, i32 %bytes, i64 0, i1 false)
  call void @llvm.nvvm.cp.async.bulk.commit.group()
  call void @llvm.nvvm.cp.async.bulk.wait.group(i32 0)
  ret void
})");
  std::vector<uint8_t> in(1024);
  for (size_t i = 0; i < in.size(); ++i)
    in[i] = uint8_t(i * 5);
  auto *from = upload(in);
  auto *out = allocate<uint8_t>(1024);
  launch({1}, {1}, 0, from, out, 1024);
  for (size_t i = 0; i < in.size(); ++i)
    EXPECT_EQ(out[i], in[i]);
  expectFault(FaultKind::BadOperand, "no multiple of 16", {1}, {1}, 0, from, out, 24);
}

} // namespace
