// Two kernels of one file share a library, which takes the file's name.
// RUN: rm -rf %t && sparse-attn-compile %s -o %t --time 2>&1 | FileCheck %s --check-prefix=TIME
// RUN: ls %t | FileCheck %s --check-prefix=FILES --implicit-check-not={{.}}
// TIME: read
// TIME: compile {{.*}} s
// TIME: package
// FILES:      liblibrary.a
// FILES-NEXT: liblibrary.so
// FILES-NEXT: library.h
// FILES-NEXT: library.json

// RUN: FileCheck %s --check-prefix=HEADER --input-file=%t/library.h
// HEADER: library_library(void);
// HEADER: *library_dense_kernel(void)
// HEADER: library_dense_plan(
// HEADER: library_dense_run(
// HEADER: Layout operands, given to library_documents_plan:
// HEADER-NEXT: offsets i32 [B or 1, any]
// HEADER: library_documents_plan(
// HEADER-NEXT: const sparse_attn_shape *shape, const DLTensor *offsets,

// The manifest is JSON, and the one inside the library is the same.
// RUN: %python -c "import json; print([k['name'] for k in json.load(open('%t/library.json'))['kernels']])" \
// RUN:   | FileCheck %s --check-prefix=MANIFEST
// MANIFEST: ['dense', 'documents']

// Only the C interface is visible, and little is needed.
// RUN: llvm-nm --dynamic --defined-only --format=just-symbols %t/liblibrary.so \
// RUN:   | FileCheck %s --check-prefix=SYMBOLS --implicit-check-not={{^[^s]}}
// SYMBOLS: library_library{{$}}
// SYMBOLS: library_library_descriptor{{$}}
// SYMBOLS: sparse_attn_library_descriptor{{$}}
// SYMBOLS: sparse_attn_run{{$}}
// RUN: llvm-readobj --needed-libs %t/liblibrary.so \
// RUN:   | FileCheck %s --check-prefix=NEEDED --implicit-check-not=LLVM --implicit-check-not=stdc++
// NEEDED: libc.so.6
// NEEDED: libgomp.so.1

// C and C++ programs run the kernels, from the archive and from the library.
// RUN: %cc -std=c99 -Wall -Wextra -pedantic -Werror %S/Inputs/run.c -I%t -I%runtime_include \
// RUN:   %t/liblibrary.a -lgomp -lpthread -ldl -lm -o %t/static && %t/static %t/library.json
// RUN: %cxx -x c++ -std=c++17 -Wall -Wextra -pedantic -Werror %S/Inputs/run.c -I%t -I%runtime_include \
// RUN:   -L%t -llibrary -Wl,-rpath,%t -o %t/shared && %t/shared %t/library.json

// Another name, and one level: the other is not there.
// RUN: sparse-attn-compile %s -o %t/one --name=one --level=avx2
// RUN: FileCheck %s --check-prefix=ONE --input-file=%t/one/one.json --implicit-check-not=avx512
// ONE: "avx2"
// RUN: FileCheck %s --check-prefix=BOTH --input-file=%t/library.json
// BOTH: "avx2"
// BOTH: "avx512"

func.func @dense(%q: tensor<?x?x?x8xf32> {sparse_attn.name = "q"},
                 %k: tensor<?x?x?x8xf32> {sparse_attn.name = "k"},
                 %v: tensor<?x?x?x8xf32> {sparse_attn.name = "v"})
    -> (tensor<?x?x?x8xf32>, tensor<?x?x?xf32>) {
  %mask = sparse_attn.all
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%mask) scale = 1.0
      : tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>
     -> tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
  return %out, %lse : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
}

func.func @documents(%q: tensor<?x?x?x8xf32> {sparse_attn.name = "q"},
                     %k: tensor<?x?x?x8xf32> {sparse_attn.name = "k"},
                     %v: tensor<?x?x?x8xf32> {sparse_attn.name = "v"},
                     %offsets: tensor<?x?xi32> {sparse_attn.name = "offsets"})
    -> (tensor<?x?x?x8xf32>, tensor<?x?x?xf32>) {
  %mask = sparse_attn.segments %offsets : tensor<?x?xi32>
  %out, %lse = sparse_attn.attention %q, %k, %v mask(%mask) scale = 1.0
      : tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>
     -> tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
  return %out, %lse : tensor<?x?x?x8xf32>, tensor<?x?x?xf32>
}
