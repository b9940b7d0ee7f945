/*===- philox.c - the counter-based random generator ----------------------===*
 *
 * Part of the sparse-attn project, under the Apache License v2.0 with LLVM
 * Exceptions. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===----------------------------------------------------------------------===*
 *
 * Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). docs/semantics.md, section 6, says what goes into key and counter.
 *
 *===----------------------------------------------------------------------===*/

#include "internal.h"

void sa_philox(uint32_t counter[4], uint64_t key) {
  const uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
  const uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;
  uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t product0 = multiplier0 * counter[0];
    uint64_t product1 = multiplier1 * counter[2];
    uint32_t next0 = (uint32_t)(product1 >> 32) ^ counter[1] ^ key0;
    uint32_t next2 = (uint32_t)(product0 >> 32) ^ counter[3] ^ key1;
    counter[1] = (uint32_t)product1;
    counter[3] = (uint32_t)product0;
    counter[0] = next0;
    counter[2] = next2;
    key0 += weyl0;
    key1 += weyl1;
  }
}
