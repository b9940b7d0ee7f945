// What is wrong with a file is told at its line, with a caret.
// RUN: rm -rf %t && split-file %s %t

// RUN: not sparse-attn-compile %t/syntax.mlir -o %t/out 2>&1 | FileCheck %s --check-prefix=SYNTAX --strict-whitespace
//      SYNTAX:syntax.mlir:2:31: error: expected '='
// SYNTAX-NEXT:  %w = sparse_attn.window left 3
// SYNTAX-NEXT:                              ^

// RUN: not sparse-attn-compile %t/verifier.mlir -o %t/out 2>&1 | FileCheck %s --check-prefix=VERIFIER
// VERIFIER:      verifier.mlir:2:8: error: 'sparse_attn.window' op left must be in [0, 2^30), got -1
// VERIFIER-NEXT: %w = sparse_attn.window left = -1

// RUN: not sparse-attn-compile %t/empty.mlir -o %t/out 2>&1 | FileCheck %s --check-prefix=EMPTY
// EMPTY: error: {{.*}}has no kernel

// Nothing was written.
// RUN: not ls %t/out

//--- syntax.mlir
func.func @f() {
  %w = sparse_attn.window left 3
  return
}
//--- verifier.mlir
func.func @f() {
  %w = sparse_attn.window left = -1
  return
}
//--- empty.mlir
func.func private @f()
