// RUN: sparse-attn-opt %s --sparse-attn-to-plan | sed s/sa_classify_segments/sa_classify_other/ \
// RUN:   | not sparse-attn-opt --convert-plan-to-gpu=target=sm_80 2>&1 | FileCheck %s

// A mask whose questions have no device code is told where a kernel would have to ask them.

!qkv = tensor<?x?x?x64xbf16>
!state = tensor<?x?x?xf32>

// CHECK: error: cannot be compiled for sm_80: lists beside masks that only the processor looks up have no GPU kernels yet
func.func @unknown(%q: !qkv, %k: !qkv, %v: !qkv, %offsets: tensor<?x?xi32>,
                   %keys: tensor<?x?x?x?xi32>) -> (!qkv, !state) {
  %same = sparse_attn.segments %offsets : tensor<?x?xi32>
  %listed = sparse_attn.listed %keys : tensor<?x?x?x?xi32>
  %mask = sparse_attn.intersect %same, %listed
  %o, %lse = sparse_attn.attention %q, %k, %v mask(%mask) : !qkv, !qkv, !qkv -> !qkv, !state
  return %o, %lse : !qkv, !state
}
