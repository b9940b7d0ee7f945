/*===- level.c - which instruction level runs here ------------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* Registers that the operating system saves. */
static uint64_t extended_control_register(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

/* CPUID by hand and not __builtin_cpu_supports: the latter needs libgcc, which
 * a library's link line does not have. */
static int detect_level(void) {
  const uint32_t basic_needed = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C | bit_MOVBE;
  const uint32_t avx2_needed = bit_AVX2 | bit_BMI | bit_BMI2;
  const uint32_t avx512_needed =
      bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  const uint32_t bf16_needed = 1u << 5;
  const uint64_t ymm_saved = 0x06, zmm_saved = 0xe6;

  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & basic_needed) != basic_needed)
    return 0;
  uint64_t saved = extended_control_register();
  if ((saved & ymm_saved) != ymm_saved)
    return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & avx2_needed) != avx2_needed)
    return 0;
  if ((saved & zmm_saved) != zmm_saved || (b & avx512_needed) != avx512_needed)
    return SA_LEVEL_AVX2;
  uint32_t last_subleaf = a;
  if (last_subleaf < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) ||
      (a & bf16_needed) != bf16_needed)
    return SA_LEVEL_AVX512;
  return SA_LEVEL_AVX512_BF16;
}
static const char kNeeds[] = "avx2 needs AVX2, FMA, F16C and BMI2";
#elif defined(__aarch64__)
/* Every AArch64 processor that runs Linux has NEON. */
static int detect_level(void) { return SA_LEVEL_NEON; }

static const char kNeeds[] = "neon runs on every AArch64 processor";
#else
static int detect_level(void) { return 0; }

static const char kNeeds[] = "there are levels for x86-64 and AArch64 alone";
#endif

/* The best level of this processor; 0 for none. CPUID traps under virtual
 * machines and takes microseconds there, so it is asked once. */
static int processor_level(void) {
  static _Atomic int known = -1;
  int level = atomic_load_explicit(&known, memory_order_relaxed);
  if (level < 0) {
    level = detect_level();
    atomic_store_explicit(&known, level, memory_order_relaxed);
  }
  return level;
}

/* "avx2, avx512" */
static const char *list_levels(const sa_attention *attention, char *text, size_t size) {
  size_t used = 0;
  text[0] = 0;
  for (int32_t i = 0; i < attention->level_count && used < size; ++i)
    used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
                             attention->levels[i].name);
  return text;
}

sparse_attn_status sa_select_level(const sparse_attn_kernel *kernel,
                                   const sa_attention *attention,
                                   const sa_level **level) {
  char names[128];
  int best = processor_level();
  const char *wanted = getenv("SPARSE_ATTN_LEVEL");
  if (wanted && !*wanted)
    wanted = NULL;

  *level = NULL;
  for (int32_t i = 0; i < attention->level_count; ++i) {
    const sa_level *candidate = &attention->levels[i];
    if (wanted && strcmp(wanted, candidate->name) != 0)
      continue;
    if (candidate->level <= best) {
      *level = candidate; /* best last */
    } else if (wanted) {
      return sa_fail(SPARSE_ATTN_UNSUPPORTED_CPU,
                     "kernel '%s': SPARSE_ATTN_LEVEL asks for '%s', which this "
                     "processor does not support; unset it",
                     kernel->name, wanted);
    }
  }
  if (*level)
    return SPARSE_ATTN_OK;
  if (wanted)
    return sa_fail(SPARSE_ATTN_UNSUPPORTED_CPU,
                   "kernel '%s': SPARSE_ATTN_LEVEL asks for '%s', but the "
                   "library holds %s",
                   kernel->name, wanted, list_levels(attention, names, sizeof(names)));
  return sa_fail(SPARSE_ATTN_UNSUPPORTED_CPU,
                 "kernel '%s': this processor supports no instruction level of "
                 "the library (%s); %s",
                 kernel->name, list_levels(attention, names, sizeof(names)), kNeeds);
}

const char *sparse_attn_kernel_level(const sparse_attn_kernel *kernel) {
  if (!kernel) {
    sa_fail(SPARSE_ATTN_INVALID_ARGUMENT, "kernel is null");
    return NULL;
  }
  const char *name = "";
  for (int32_t i = 0; i < kernel->step_count; ++i) {
    if (kernel->steps[i].kind != SA_STEP_ATTENTION)
      continue;
    const sa_level *level;
    if (sa_select_level(kernel, kernel->steps[i].attention, &level))
      return NULL;
    name = level->name;
  }
  return name;
}
