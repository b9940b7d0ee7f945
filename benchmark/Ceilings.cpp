//===- Ceilings.cpp - what the machine can do at most ---------------------===//
//
// Part of the sparse-attn project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Ceilings.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cpuid.h>
#include <immintrin.h>
#include <thread>
#include <unistd.h>
#include <vector>

using Clock = std::chrono::steady_clock;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Twelve or more independent chains cover the latency of a fused multiply-add; the
// empty asm keeps the compiler from folding them.
#define SPARSE_ATTN_FMA_LOOP(Vector, chains, set1, fmadd)                                \
  Vector x[chains], a = set1(0.999f), b = set1(1e-6f);                                   \
  for (int i = 0; i < chains; ++i)                                                       \
    x[i] = set1(1.0f + i);                                                               \
  for (long step = 0; step < steps; ++step)                                              \
    for (int i = 0; i < chains; ++i) {                                                   \
      x[i] = fmadd(x[i], a, b);                                                          \
      asm volatile("" : "+v"(x[i]));                                                     \
    }

__attribute__((target("avx512f"))) static void runFma512(long steps) {
  SPARSE_ATTN_FMA_LOOP(__m512, 16, _mm512_set1_ps, _mm512_fmadd_ps)
}
__attribute__((target("avx2,fma"))) static void runFma256(long steps) {
  SPARSE_ATTN_FMA_LOOP(__m256, 12, _mm256_set1_ps, _mm256_fmadd_ps)
}

// By asm, since a compiler may expand the intrinsic. Its latency is 6 cycles.
__attribute__((target("avx512f"))) static void runBf16Dot(long steps) {
  __m512 x[16], a = _mm512_setzero_ps(), b = _mm512_setzero_ps();
  for (__m512 &sum : x)
    sum = _mm512_setzero_ps();
  for (long step = 0; step < steps; ++step)
    for (__m512 &sum : x)
      asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

bool sparse_attn_bench::hasBf16Dot() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx512f") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
         a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}

/// Runs `work` on every thread until `seconds` have passed; returns the sum of
/// what the calls return, over the time.
template <typename Work> static double measure(int threads, double seconds, Work work) {
  std::atomic<bool> stop = false;
  std::vector<double> amounts(threads, 0.0);
  std::vector<std::thread> workers;
  auto start = Clock::now();
  for (int t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      while (!stop)
        amounts[t] += work(t);
    });
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread &worker : workers)
    worker.join();
  double time = secondsSince(start), total = 0;
  for (double amount : amounts)
    total += amount;
  return total / time;
}

double sparse_attn_bench::measureFma(int threads, double seconds) {
  constexpr long kSteps = 100000;
  if (__builtin_cpu_supports("avx512f"))
    return measure(threads, seconds, [](int) {
      runFma512(kSteps);
      return kSteps * 16.0 * 16 * 2;
    });
  return measure(threads, seconds, [](int) {
    runFma256(kSteps);
    return kSteps * 12.0 * 8 * 2;
  });
}

double sparse_attn_bench::measureBf16Dot(int threads, double seconds) {
  constexpr long kSteps = 100000;
  if (!hasBf16Dot())
    return 0;
  return measure(threads, seconds, [](int) {
    runBf16Dot(kSteps);
    return kSteps * 16.0 * 16 * 4;
  });
}

__attribute__((target("avx2"))) static float sumAll(const float *data, size_t count) {
  __m256 sums[8] = {};
  for (size_t i = 0; i < count; i += 64)
    for (int u = 0; u < 8; ++u)
      sums[u] = _mm256_add_ps(sums[u], _mm256_loadu_ps(data + i + 8 * u));
  float total = 0;
  for (__m256 sum : sums)
    total += sum[0];
  return total;
}

size_t sparse_attn_bench::getBytesBeyondCaches() {
  long lastLevel = sysconf(_SC_LEVEL3_CACHE_SIZE); // 0 or -1: not known
  return std::max(size_t(256) << 20, 2 * size_t(std::max(lastLevel, 0L)));
}

double sparse_attn_bench::measureRead(int threads, double seconds) {
  // In parts, so that no call takes much longer than it was asked to.
  constexpr size_t kPart = size_t(16) << 20;
  static std::vector<std::vector<float>> data;
  size_t parts = getBytesBeyondCaches() / (kPart * sizeof(float)) + 1;
  while (data.size() < size_t(threads))
    data.emplace_back(parts * kPart, 1.0f);
  std::vector<size_t> next(threads, 0);
  std::atomic<float> sink = 0;
  return measure(threads, seconds, [&](int t) {
    sink = sumAll(data[t].data() + next[t] * kPart, kPart);
    next[t] = (next[t] + 1) % parts;
    return double(kPart * sizeof(float));
  });
}
