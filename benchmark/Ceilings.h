//===- Ceilings.h - what the machine can do at most ------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_BENCHMARK_CEILINGS_H
#define SPARSE_ATTN_BENCHMARK_CEILINGS_H

#include <cstddef>

namespace sparse_attn_bench {

/// Bytes that no cache holds: twice the last level, of which servers have hundreds of
/// MiB, and 256 MiB at least.
size_t getBytesBeyondCaches();

/// f32 fused multiply-adds of all of `threads` cores at once, in FLOP/s (two for
/// each lane), over about `seconds`.
double measureFma(int threads, double seconds);

/// Whether the processor has vdpbf16ps, dot products of pairs of bf16.
bool hasBf16Dot();

/// The same of vdpbf16ps (four for each lane); 0 where the processor has none.
double measureBf16Dot(int threads, double seconds);

/// Streaming read of all of `threads` cores at once, in bytes/s. What it reads stays
/// allocated: getBytesBeyondCaches() for each thread.
double measureRead(int threads, double seconds);

} // namespace sparse_attn_bench

#endif // SPARSE_ATTN_BENCHMARK_CEILINGS_H
