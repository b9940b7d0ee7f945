# The runtime for the architectures that this machine is not: sparse-attn-compile
# --target=NAME puts it into libraries. It is compiled with the clang of our LLVM and
# Debian's C library for the other architecture; where that is not installed, the
# build goes on without and the compiler says what is missing.

# sparse_attn_find_cross(NAME DEBIAN_NAME)
#
# Sets SPARSE_ATTN_CROSS_<NAME> to the command that compiles C for an architecture,
# empty where something is missing, and SPARSE_ATTN_CROSS_<NAME>_MISSING to what.
function(sparse_attn_find_cross name debian_name)
  find_program(SPARSE_ATTN_CLANG NAMES clang clang-22 HINTS "${LLVM_TOOLS_BINARY_DIR}")
  find_program(SPARSE_ATTN_LLVM_AR NAMES llvm-ar llvm-ar-22 HINTS "${LLVM_TOOLS_BINARY_DIR}")
  set(headers "/usr/${name}-linux-gnu/include")
  set(command)
  set(missing)
  if(NOT SPARSE_ATTN_CLANG OR NOT SPARSE_ATTN_LLVM_AR)
    set(missing "clang-22 llvm-22")
  elseif(NOT EXISTS "${headers}/stdio.h"
         OR NOT EXISTS "/usr/${name}-linux-gnu/lib/libgomp.so.1")
    set(missing "libc6-dev-${debian_name}-cross libgomp1-${debian_name}-cross")
  else()
    # DLPack's header serves all architectures; what else lies beside it does not, so
    # that folder comes last. No helper functions for atomics: nothing would define
    # them.
    find_path(SPARSE_ATTN_DLPACK_DIR dlpack/dlpack.h REQUIRED)
    set(command "${SPARSE_ATTN_CLANG}" --target=${name}-linux-gnu -nostdlibinc
                -isystem "${headers}" -idirafter "${SPARSE_ATTN_DLPACK_DIR}"
                -O2 -fPIC -std=c11)
    if(name STREQUAL aarch64)
      list(APPEND command -mno-outline-atomics)
    endif()
  endif()
  set(SPARSE_ATTN_CROSS_${name} "${command}" PARENT_SCOPE)
  set(SPARSE_ATTN_CROSS_${name}_MISSING "${missing}" PARENT_SCOPE)
endfunction()

# sparse_attn_cross_runtime(NAME)
#
# The archive of the runtime for an architecture, in a folder named after it, by the
# command that sparse_attn_find_cross has found.
function(sparse_attn_cross_runtime name)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${name}-linux-gnu")
  get_target_property(sources sparse_attn_runtime SOURCES)
  set(objects)
  foreach(source IN LISTS sources)
    get_filename_component(stem "${source}" NAME_WE)
    set(object "${folder}/${stem}.o")
    add_custom_command(
      OUTPUT "${object}"
      COMMAND ${SPARSE_ATTN_CROSS_${name}} -fvisibility=hidden -Wall -Wextra
              -Wstrict-prototypes -I "${CMAKE_CURRENT_SOURCE_DIR}/include"
              -MD -MF "${object}.d" -c "${CMAKE_CURRENT_SOURCE_DIR}/${source}" -o "${object}"
      DEPENDS "${source}"
      DEPFILE "${object}.d"
      COMMENT "Compiling ${source} for ${name}"
      VERBATIM)
    list(APPEND objects "${object}")
  endforeach()
  set(archive "${folder}/libsparse_attn_runtime.a")
  add_custom_command(
    OUTPUT "${archive}"
    COMMAND "${CMAKE_COMMAND}" -E rm -f "${archive}"
    COMMAND "${SPARSE_ATTN_LLVM_AR}" rcsD "${archive}" ${objects}
    DEPENDS ${objects}
    COMMENT "Archiving the runtime for ${name}"
    VERBATIM)
  add_custom_target(sparse_attn_runtime_${name} ALL DEPENDS "${archive}")
  install(FILES "${archive}" DESTINATION "${CMAKE_INSTALL_LIBDIR}/${name}-linux-gnu")
endfunction()

# Every architecture of lib/Target/CPU but the one that we run on. Those that can be
# compiled for are SPARSE_ATTN_CROSS_ARCHITECTURES.
set(SPARSE_ATTN_CROSS_ARCHITECTURES)
foreach(pair aarch64:arm64 x86_64:amd64)
  string(REPLACE ":" ";" pair "${pair}")
  list(GET pair 0 name)
  list(GET pair 1 debian_name)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL name)
    continue()
  endif()
  sparse_attn_find_cross(${name} ${debian_name})
  if(SPARSE_ATTN_CROSS_${name})
    list(APPEND SPARSE_ATTN_CROSS_ARCHITECTURES ${name})
    message(STATUS "sparse-attn-compile --target=${name}: yes")
  else()
    message(STATUS "sparse-attn-compile --target=${name}: no; install "
                   "${SPARSE_ATTN_CROSS_${name}_MISSING}")
  endif()
endforeach()
