//===- Warpgroups.h - vocabulary of kernels of warpgroups ------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block has one warpgroup, the last, that brings operands into shared memory
// (Producer), and others that compute 64 rows each (Consumer). Buffers go between them in
// rings:
//
//   producer   waits till a buffer is empty, fills it by TMA or by copies, publishes it
//   consumers  wait till it is full, multiply, release it
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_CONVERSION_WARPGROUPS_H
#define SPARSE_ATTN_LIB_CONVERSION_WARPGROUPS_H

#include "AttendGPU.h"

namespace sparse_attn {

inline constexpr int64_t kWarpgroup = 4 * kWarp; // threads
inline constexpr int64_t kPanel = 64;            // columns
inline constexpr int64_t kPanelRowBytes = 128;

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

/// The operations of both sides on a ring; uses are i32.
class RingBuilder {
public:
  RingBuilder(GPUBuilder &b, const GPURing &ring, mlir::Value shared)
      : b(b), ring(ring), shared(shared) {}

  /// By one thread, before all others: `consumers` warps release each buffer.
  void init(int64_t consumers);

  void waitFull(mlir::Value use);
  void waitEmpty(mlir::Value use);
  /// By one thread of the producer: the buffer is full, or will be when the bytes that
  /// TMA was told to bring are there.
  void publish(mlir::Value use);
  void expect(mlir::Value use, int64_t bytes);
  /// By one thread of each warp of the consumers.
  void release(mlir::Value use);

  mlir::Value getFull(mlir::Value use);
  /// Number of the buffer, and its bytes of shared memory.
  mlir::Value getNumber(mlir::Value use) { return b.remU(use, ring.size); }
  mlir::Value getBuffer(mlir::Value use);

private:
  mlir::Value getBarrier(mlir::Value use, int64_t first);
  mlir::Value getParity(mlir::Value use);

  GPUBuilder &b;
  const GPURing &ring;
  mlir::Value shared;
};

/// All threads agree on what is stored, and TMA and wgmma see it too.
void buildFenceProxy(GPUBuilder &b);

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// What wgmma takes for a matrix in shared memory, in the 128-byte swizzle: i64.
mlir::Value buildDescriptor(GPUBuilder &b, mlir::Value shared, mlir::Value at,
                            int64_t panelBytes);
/// That of what lies some bytes (a multiple of 16) on.
mlir::Value advanceDescriptor(GPUBuilder &b, mlir::Value descriptor, mlir::Value bytes);

/// A wgmma: starts sums = A B, or sums += A B, of 64 rows and 16 elements. A is a
/// descriptor or four words of each thread; B a descriptor, of rows along the columns of
/// the sums, or of rows along the elements (`transposed`).
GPUBuilder::Values buildWarpgroupProduct(GPUBuilder &b, mlir::ValueRange left,
                                         mlir::Value right, bool transposed,
                                         mlir::ValueRange sums, bool accumulate,
                                         mlir::Type element);
/// Before the products of a group, of registers that are written by then.
GPUBuilder::Values buildStartProducts(GPUBuilder &b, mlir::ValueRange registers);
/// Ends a group of products.
void buildCommitProducts(GPUBuilder &b);
/// Waits till all but the last `pending` groups are done. `registers` are their sums, and
/// whatever must not be touched before.
GPUBuilder::Values buildWaitForProducts(GPUBuilder &b, int64_t pending,
                                        mlir::ValueRange registers);

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

/// What the warpgroups of a block share.
struct WarpgroupContext {
  WarpgroupContext(GPUBuilder &b, const GPUContext &context, mlir::Value args,
                   mlir::Value shared, mlir::ValueRange maps);

  const GPUContext &context;
  mlir::Value args, shared;
  mlir::Value keyMap, valueMap; ///< pointers to tensor maps
  RingBuilder queries, keys, values;

  /// Calls `body` for every item of the block, with the uses of the rings of K and V
  /// before it; it returns those after it.
  using Body = llvm::function_ref<Values(mlir::Value item, mlir::Value round,
                                         mlir::Value keyUse, mlir::Value valueUse)>;
  void forEachItem(GPUBuilder &b, Body body) const;
  /// Pointer to what tile a buffer of keys is.
  mlir::Value tileOf(GPUBuilder &b, mlir::Value keyUse);

private:
  /// The item of a round of the block.
  mlir::Value itemOf(GPUBuilder &b, mlir::Value round) const;
};

void buildProducer(GPUBuilder &b, WarpgroupContext &context);
void buildConsumer(GPUBuilder &b, WarpgroupContext &context);
/// The attend kernel.
void buildWarpgroups(GPUBuilder &b, const GPUContext &context, mlir::Value args,
                     mlir::Value shared, mlir::ValueRange maps);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_CONVERSION_WARPGROUPS_H
