# Finds LLVM and MLIR 22.1 and offers one way to declare our libraries and tools.
#
# Everything links the two shared libraries of the distribution, so a tool links
# in seconds and there is one copy of LLVM in every process.

find_package(MLIR 22.1 REQUIRED CONFIG)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
link_directories(${LLVM_LIBRARY_DIRS})
# clang finds its own lld; gcc, which compiles the C runtime, would look for an
# unversioned one.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options($<$<LINK_LANGUAGE:CXX>:-fuse-ld=lld>)
endif()
# The distribution's CMake files name a lit that is not there.
set(LLVM_EXTERNAL_LIT "${LLVM_TOOLS_BINARY_DIR}/lit" CACHE STRING "" FORCE)

# LLVM is built with RTTI and without exceptions. -fPIC in programs, too: precompiled
# headers are of one kind.
set(SPARSE_ATTN_CXX_FLAGS -fno-exceptions -Wall -Wextra -Wno-unused-parameter
                          -fvisibility-inlines-hidden -fPIC)
include(SparseAttnPrecompiled)

# sparse_attn_library(NAME sources... [LINK libs...] [DEPENDS targets...])
function(sparse_attn_library name)
  cmake_parse_arguments(ARG "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${SPARSE_ATTN_CXX_FLAGS}>)
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  sparse_attn_precompiled(${name})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# sparse_attn_tool(NAME sources... [LINK libs...])
function(sparse_attn_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE ${SPARSE_ATTN_CXX_FLAGS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} MLIR LLVM)
  sparse_attn_precompiled(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endfunction()
