// RUN: sparse-attn-opt %s --sparse-attn-to-kernel=level=avx512_bf16 | FileCheck %s
// RUN: sparse-attn-compile %s --emit=asm --level=avx512_bf16 | FileCheck %s --check-prefix=ASM
// RUN: sparse-attn-compile %s --emit=asm --level=avx512 | FileCheck %s --check-prefix=F32 --implicit-check-not=vdpbf16ps

!qk = tensor<?x?x?x33xbf16>
!v = tensor<?x?x?x40xbf16>
!state = tensor<?x?x?xf32>

// A word is a pair of neighbours on the contracted axis. 33 elements make 17 words, the
// last of one element: 32 keys are loaded as 16 words of one key and transposed.
// CHECK-LABEL: func.func private @{{.*}}_pack_tile(
// CHECK:         vector.load %{{.*}} : memref<?x?x?x?xbf16, {{.*}}>, vector<32xbf16>
// CHECK:         vector.bitcast %{{.*}} : vector<32xbf16> to vector<16xi32>
// CHECK:         vector.store %{{.*}} : memref<{{[0-9]+}}x17x32xi32>, vector<16xi32>
// V: two keys side by side, no conversion.
// CHECK:         vector.interleave %{{.*}}, %{{.*}} : vector<16xbf16> -> vector<32xbf16>
// CHECK:         vector.store %{{.*}} : memref<{{[0-9]+}}xi32>, vector<16xi32>

// CHECK-LABEL: func.func private @{{.*}}_scores(
// CHECK:         memref.load %{{.*}} : memref<{{[0-9]+}}x17xi32>
// CHECK:         vector.load %{{.*}} : memref<17x32xi32>, vector<16xi32>
// CHECK-COUNT-16: "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK-NOT:     dpbf16ps
// Few rows: 33 elements of a key where it is, as one vector of words and a word. One row
// takes a vector of keys at once, several take a key after the other.
// CHECK-LABEL: func.func private @{{.*}}_scores_in_place(
// CHECK:         vector.load %{{.*}} : memref<?x?x?x?xbf16, {{.*}}>, vector<32xbf16>
// CHECK:         vector.maskedload %{{.*}} : memref<?x?x?x?xbf16, {{.*}}>
// CHECK-COUNT-34: "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK-NOT:     dpbf16ps

// Weights are rounded when they are stored, after their sum.
// CHECK-LABEL: func.func private @{{.*}}_softmax_full(
// CHECK:         arith.addf
// CHECK:         "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
// CHECK:         vector.store %{{.*}} : memref<{{[0-9]+}}x{{[0-9]+}}xbf16>, vector<32xbf16>

// 40 columns are a panel of two vectors and one of one, as many words long.
// CHECK-LABEL: func.func private @{{.*}}_accumulate(
// CHECK:         vector.load %{{.*}} : memref<[[WORDS:[0-9]+]]x32xi32>, vector<16xi32>
// CHECK-COUNT-16: "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK:         vector.load %{{.*}} : memref<[[WORDS]]x16xi32>, vector<16xi32>
// CHECK-COUNT-8: "llvm.x86.avx512bf16.dpbf16ps.512"

// Values where they are: 32 columns of two keys side by side within 128 bits, and their
// sums in order again after the last word.
// CHECK-LABEL: func.func private @{{.*}}_accumulate_in_place(
// CHECK-COUNT-2: vector.load %{{.*}} : memref<?x?x?x?xbf16, {{.*}}>, vector<32xbf16>
// CHECK:         vector.shuffle %{{.*}}, %{{.*}} [0, 32, 1, 33, 2, 34, 3, 35, 8, 40,
// CHECK:         vector.shuffle %{{.*}}, %{{.*}} [4, 36, 5, 37, 6, 38, 7, 39, 12, 44,
// CHECK:         "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK:         vector.shuffle %{{.*}}, %{{.*}} [0, 1, 2, 3, 16, 17, 18, 19, 4,

// ASM: vscalefps
// ASM: vcvtne2ps2bf16
// ASM: vdpbf16ps %zmm{{.*}}, %zmm{{.*}}, %zmm
// F32: vfmadd{{.*}}ps
func.func @brain(%q: !qk, %k: !qk, %v: !v) -> (!v, !state) {
  %m = sparse_attn.causal
  %o, %l = sparse_attn.attention %q, %k, %v mask(%m) : !qk, !qk, !v -> !v, !state
  return %o, %l : !v, !state
}
