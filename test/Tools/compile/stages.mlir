// Every stage of one kernel, to the screen or to a file.
// RUN: sparse-attn-compile %s --emit=mlir | FileCheck %s --check-prefix=MLIR
// RUN: sparse-attn-compile %s --emit=plan | FileCheck %s --check-prefix=PLAN
// RUN: sparse-attn-compile %s --emit=kernel | FileCheck %s --check-prefix=KERNEL
// RUN: sparse-attn-compile %s --emit=llvm | FileCheck %s --check-prefix=LLVM
// RUN: sparse-attn-compile %s --emit=asm | FileCheck %s --check-prefixes=ASM,ZMM
// RUN: sparse-attn-compile %s --emit=asm --level=avx512 | FileCheck %s --check-prefixes=ASM,ZMM
// RUN: sparse-attn-compile %s --emit=asm --level=avx2 \
// RUN:   | FileCheck %s --check-prefix=ASM --implicit-check-not=zmm
// RUN: sparse-attn-compile %s --emit=obj -o %t.o
// RUN: llvm-nm %t.o | FileCheck %s --check-prefix=OBJ

// What is printed is read again.
// RUN: sparse-attn-compile %s --emit=mlir -o %t.mlir
// RUN: sparse-attn-compile %t.mlir --emit=mlir | diff %t.mlir -

// MLIR:   sparse_attn.causal
// PLAN:   block_plan.attention
// KERNEL: vector.
// LLVM:   define {{.*}}attend
// ASM:    attend
// ZMM:    vfmadd{{.*}}zmm
// OBJ:    attend
func.func @stages(%q: tensor<?x?x?x64xf32> {sparse_attn.name = "q"},
                  %k: tensor<?x?x?x64xf32> {sparse_attn.name = "k"},
                  %v: tensor<?x?x?x64xf32> {sparse_attn.name = "v"})
    -> (tensor<?x?x?x64xf32>, tensor<?x?x?xf32>) {
  %mask = sparse_attn.causal
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%mask)
      : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>
     -> tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
  return %out, %lse : tensor<?x?x?x64xf32>, tensor<?x?x?xf32>
}
