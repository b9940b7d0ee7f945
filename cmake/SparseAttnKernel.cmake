# add_sparse_attention_kernel(NAME
#   PATTERN "causal & window(1023, 0)" HEAD_DIM 64 [VALUE_DIM 64] [DTYPE f32]
#   | SOURCE pattern.mlir
#   [SHARED] [OPTIONS arguments of sparse-attn-compile...])
#
# Compiles a mask into a library while your project builds, and makes the target
# NAME for it:
#
#   find_package(SparseAttn REQUIRED)
#   add_sparse_attention_kernel(longctx PATTERN "causal & window(1023, 0)" HEAD_DIM 64)
#   target_link_libraries(my_program PRIVATE longctx)     # and #include "longctx.h"
#
# PATTERN is a mask expression; SOURCE is a file with one or more kernels, in
# which the head size and the element type are part of the types. The library is
# an archive, or a shared library with SHARED.
function(add_sparse_attention_kernel name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "SHARED"
    "PATTERN;SOURCE;HEAD_DIM;VALUE_DIM;DTYPE" "OPTIONS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "add_sparse_attention_kernel(${name}): "
            "unknown arguments '${ARG_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT name MATCHES "^[A-Za-z][A-Za-z0-9_]*$")
    message(FATAL_ERROR "add_sparse_attention_kernel(${name}): the name becomes part of C "
            "identifiers; use letters, digits and underscores, beginning with a letter")
  endif()

  if(ARG_SOURCE AND NOT DEFINED ARG_PATTERN)
    if(ARG_HEAD_DIM OR ARG_VALUE_DIM OR ARG_DTYPE)
      message(FATAL_ERROR "add_sparse_attention_kernel(${name}): the types in ${ARG_SOURCE} "
              "say HEAD_DIM, VALUE_DIM and DTYPE; leave them out")
    endif()
    get_filename_component(source "${ARG_SOURCE}" ABSOLUTE
                           BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
    if(NOT EXISTS "${source}")
      message(FATAL_ERROR "add_sparse_attention_kernel(${name}): there is no ${source}")
    endif()
    set(arguments "${source}")
    set(inputs "${source}")
  elseif(DEFINED ARG_PATTERN AND NOT ARG_SOURCE)
    if(NOT ARG_HEAD_DIM)
      message(FATAL_ERROR "add_sparse_attention_kernel(${name}): PATTERN needs HEAD_DIM, the "
              "size D of queries and keys")
    endif()
    set(arguments --pattern "${ARG_PATTERN}" --head-dim "${ARG_HEAD_DIM}")
    if(ARG_VALUE_DIM)
      list(APPEND arguments --value-dim "${ARG_VALUE_DIM}")
    endif()
    if(ARG_DTYPE)
      list(APPEND arguments --dtype "${ARG_DTYPE}")
    endif()
    set(inputs)
  else()
    message(FATAL_ERROR "add_sparse_attention_kernel(${name}): give either PATTERN or SOURCE")
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/${name}.sparse-attn")
  file(MAKE_DIRECTORY "${folder}")
  set(outputs "${folder}/lib${name}.a" "${folder}/lib${name}.so" "${folder}/${name}.h"
              "${folder}/${name}.json")
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND "${SPARSE_ATTN_COMPILE}" ${arguments} --name "${name}" ${ARG_OPTIONS} -o "${folder}"
    DEPENDS ${inputs} "${SPARSE_ATTN_COMPILE}"
    COMMENT "Compiling the attention kernel ${name}"
    VERBATIM)
  add_custom_target(${name}.compile DEPENDS ${outputs})

  if(ARG_SHARED)
    add_library(${name} SHARED IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES
      IMPORTED_LOCATION "${folder}/lib${name}.so"
      IMPORTED_SONAME "lib${name}.so")
  else()
    add_library(${name} STATIC IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES
      IMPORTED_LOCATION "${folder}/lib${name}.a"
      INTERFACE_LINK_LIBRARIES "${SPARSE_ATTN_SYSTEM_LIBRARIES}")
  endif()
  set_target_properties(${name} PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${folder};${SPARSE_ATTN_INCLUDE_DIR}")
  add_dependencies(${name} ${name}.compile)
endfunction()
