// A library holds each kernel once for every level that makes it faster: f32 gains
// nothing from instructions on bf16.
// RUN: rm -rf %t && split-file %s %t
// RUN: sparse-attn-compile %t/mixed.mlir -o %t
// RUN: %python %t/held.py %t/mixed.json | FileCheck %s --check-prefix=ALL
// ALL:      wide ['avx2', 'avx512']
// ALL-NEXT: brain ['avx2', 'avx512', 'avx512_bf16']
// RUN: llvm-nm --format=just-symbols %t/libmixed.a | FileCheck %s --check-prefix=SYMBOLS --implicit-check-not=wide_0_attend_avx512_bf16
// SYMBOLS-DAG: mixed.wide_0_attend_avx512{{$}}
// SYMBOLS-DAG: mixed.brain_0_attend_avx512{{$}}
// SYMBOLS-DAG: mixed.brain_0_attend_avx512_bf16{{$}}

// What is asked for is held.
// RUN: sparse-attn-compile %t/mixed.mlir -o %t --name one --level=avx512_bf16
// RUN: %python %t/held.py %t/one.json | FileCheck %s --check-prefix=ONE
// ONE:      wide ['avx512_bf16']
// ONE-NEXT: brain ['avx512_bf16']

//--- held.py
import json
import sys

for kernel in json.load(open(sys.argv[1]))["kernels"]:
    print(kernel["name"], [level["name"] for level in kernel["attentions"][0]["levels"]])

//--- mixed.mlir
!f32 = tensor<?x?x?x16xf32>
!bf16 = tensor<?x?x?x16xbf16>
!state = tensor<?x?x?xf32>
func.func @wide(%q: !f32, %k: !f32, %v: !f32) -> (!f32, !state) {
  %m = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !f32, !f32, !f32 -> !f32, !state
  return %o, %l : !f32, !state
}
func.func @brain(%q: !bf16, %k: !bf16, %v: !bf16) -> (!bf16, !state) {
  %m = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !bf16, !bf16, !bf16 -> !bf16, !state
  return %o, %l : !bf16, !state
}
