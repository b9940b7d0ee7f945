//===- Numbers.h - numbers as people read them -----------------*- C++ -*-===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef SPARSE_ATTN_LIB_EXPLAIN_NUMBERS_H
#define SPARSE_ATTN_LIB_EXPLAIN_NUMBERS_H

#include "sparse_attn/Explain/Explain.h"

namespace sparse_attn {

/// "16,384"
std::string formatCount(int64_t count);
/// "46.1 %", three digits
std::string formatPercent(double share);
/// "1.25 MiB"
std::string formatBytes(uint64_t bytes);
/// "134 MFLOP"
std::string formatFlop(double flop);
/// "2.17", three digits
std::string formatFactor(double factor);
/// "64", "1.5k", "2M": positions on an axis, in powers of 1024 where they are round
std::string formatPosition(int64_t position);

/// "B 1, H 8, Hkv 8, M 1,024, N 1,024, D 64, Dv 64"
std::string formatShape(const Explanation &explanation, const AttentionFacts &facts);
/// "58.6 % of pairs kept", with how many rows were looked at if not all.
std::string formatPairs(const AttentionFacts &facts, double density);
/// "2 * 64 * 128 * (64 + 64)": the formula of AttentionFacts::tileFlop.
std::string formatTileFlop(const AttentionFacts &facts);
/// "240 bytes, no table" or "1.25 MiB"
std::string formatPlan(const Explanation &explanation);
/// "1.25 MiB with one thread, 96 KiB for each more"
std::string formatWorkspace(const Explanation &explanation);
/// What became of unions of different periods, empty where there are none.
std::string formatUnions(const Explanation &explanation);

} // namespace sparse_attn

#endif // SPARSE_ATTN_LIB_EXPLAIN_NUMBERS_H
