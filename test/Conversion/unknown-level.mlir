// RUN: not sparse-attn-opt %s --convert-plan-to-kernel=level=sse2 2>&1 | FileCheck %s

// CHECK: error: unknown instruction level 'sse2'; there are neon, avx2, avx512, avx512_bf16
module {}
