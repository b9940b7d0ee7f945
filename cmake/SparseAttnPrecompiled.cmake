# The headers of LLVM and MLIR, read once instead of by every file: of the 18 seconds that a
# file with a dozen includes takes, 16 are theirs. None of ours is among them, so that no
# edit makes it all again. Files still include what they use;
# -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON shows whether they do.

file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "")
add_library(SparseAttnPrecompiled OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
target_precompile_headers(SparseAttnPrecompiled PRIVATE
  <mlir/Bytecode/BytecodeOpInterface.h>
  <mlir/Dialect/Arith/IR/Arith.h>
  <mlir/Dialect/Func/IR/FuncOps.h>
  <mlir/Dialect/LLVMIR/LLVMDialect.h>
  <mlir/Dialect/LLVMIR/NVVMDialect.h>
  <mlir/Dialect/Math/IR/Math.h>
  <mlir/Dialect/MemRef/IR/MemRef.h>
  <mlir/Dialect/SCF/IR/SCF.h>
  <mlir/Dialect/Tensor/IR/Tensor.h>
  <mlir/Dialect/Vector/IR/VectorOps.h>
  <mlir/IR/Builders.h>
  <mlir/IR/BuiltinOps.h>
  <mlir/IR/Matchers.h>
  <mlir/IR/OpImplementation.h>
  <mlir/IR/PatternMatch.h>
  <mlir/Interfaces/SideEffectInterfaces.h>
  <mlir/Pass/Pass.h>
  <llvm/ADT/STLExtras.h>
  <llvm/ADT/StringExtras.h>
  <llvm/ADT/TypeSwitch.h>
  <llvm/IR/Instructions.h>
  <llvm/IR/Module.h>
  <llvm/Support/FormatVariadic.h>
  <llvm/Support/MathExtras.h>)
target_compile_options(SparseAttnPrecompiled PRIVATE ${SPARSE_ATTN_CXX_FLAGS})
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # ccache compares contents, which would differ by the time.
  target_compile_options(SparseAttnPrecompiled PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
endif()

# sparse_attn_precompiled(TARGET): for targets with SPARSE_ATTN_CXX_FLAGS.
function(sparse_attn_precompiled target)
  target_precompile_headers(${target} REUSE_FROM SparseAttnPrecompiled)
endfunction()
