# Declares tests: lit suites and GoogleTest binaries, both seen by ctest.
#
# Labels: `fast` (no kernel is executed) is what ./dev check runs; every other
# test is `full`.

# sparse_attn_lit_suite(FOLDER [LABEL fast|full] [SHARDS n] [TIMEOUT seconds])
#
# Registers the lit tests of test/FOLDER as one ctest test, or as n that ctest
# can run side by side. A folder without tests registers nothing.
function(sparse_attn_lit_suite folder)
  cmake_parse_arguments(ARG "" "LABEL;SHARDS;TIMEOUT" "" ${ARGN})
  foreach(default LABEL:fast SHARDS:1 TIMEOUT:1200)
    string(REPLACE ":" ";" default ${default})
    list(POP_FRONT default key value)
    if(NOT ARG_${key})
      set(ARG_${key} ${value})
    endif()
  endforeach()
  # The suffixes of lit.cfg.py.
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS
       "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.mlir"
       "${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.test")
  if(NOT tests)
    return()
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    set(name "lit/${folder}")
    set(only)
    if(ARG_SHARDS GREATER 1)
      string(APPEND name "/${shard}of${ARG_SHARDS}")
      # Shards agree on the order only where it does not depend on earlier times.
      set(only --num-shards=${ARG_SHARDS} --run-shard=${shard})
    endif()
    add_test(NAME "${name}"
             COMMAND "${SPARSE_ATTN_PYTHON}" "${LLVM_EXTERNAL_LIT}" -sv --workers=1 --order=lexical ${only}
                     "${CMAKE_CURRENT_BINARY_DIR}/${folder}")
    set_tests_properties("${name}" PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  endforeach()
endfunction()

# sparse_attn_unit_test(NAME sources... [LINK libs...] [LABEL fast|full])
#
# A GoogleTest binary: each of its tests is one test of ctest.
function(sparse_attn_unit_test name)
  cmake_parse_arguments(ARG "" "LABEL" "LINK" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL fast)
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${SPARSE_ATTN_CXX_FLAGS}>)
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gtest_main)
  if(NOT ARG_LINK STREQUAL "sparse_attn_runtime") # whose tests see no LLVM
    sparse_attn_precompiled(${name})
  endif()
  # The discovery has time on a machine that is busy compiling.
  gtest_discover_tests(${name} TEST_PREFIX "unit/${name}/" DISCOVERY_TIMEOUT 120
                       PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 1200)
endfunction()

# sparse_attn_python_test(NAME SCRIPT [LABEL fast|full] [ARGS arguments...])
#
# A Python program that fails by its exit status. It finds the tools first in
# PATH.
function(sparse_attn_python_test name script)
  cmake_parse_arguments(ARG "" "LABEL" "ARGS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL full)
  endif()
  add_test(NAME "python/${name}"
           COMMAND "${SPARSE_ATTN_PYTHON}" "${CMAKE_CURRENT_SOURCE_DIR}/${script}" ${ARG_ARGS})
  set_tests_properties("python/${name}" PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 1800
    ENVIRONMENT_MODIFICATION "PATH=path_list_prepend:${PROJECT_BINARY_DIR}/bin")
endfunction()

# sparse_attn_page_test(PAGE)
#
# Executes the blocks of a Markdown page, in a copy of the tree.
function(sparse_attn_page_test page)
  string(MAKE_C_IDENTIFIER "${page}" copy)
  add_test(NAME "docs/${page}"
           COMMAND "${SPARSE_ATTN_PYTHON}" "${PROJECT_SOURCE_DIR}/test/DocsTest/run.py"
                   --source "${PROJECT_SOURCE_DIR}"
                   --copy "${PROJECT_BINARY_DIR}/test/pages/${copy}" "${page}")
  set_tests_properties("docs/${page}" PROPERTIES LABELS full TIMEOUT 1800
    ENVIRONMENT_MODIFICATION "PATH=path_list_prepend:${PROJECT_BINARY_DIR}/bin")
endfunction()
