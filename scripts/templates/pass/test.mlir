// RUN: sparse-attn-opt %s --@KEBAB@ | FileCheck %s

// TODO(you): one case, and what this pass did to it.
// CHECK-LABEL: func.func @case(
func.func @case() {
  return
}
