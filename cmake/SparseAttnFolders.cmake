# sparse_attn_add_folders([EXCLUDE folders...])
#
# Adds every subfolder of the current one that has a CMakeLists.txt, in
# alphabetical order: a new folder needs no edit above it.
function(sparse_attn_add_folders)
  cmake_parse_arguments(ARG "" "" "EXCLUDE" ${ARGN})
  file(GLOB lists CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt")
  foreach(list IN LISTS lists)
    get_filename_component(folder "${list}" DIRECTORY)
    get_filename_component(name "${folder}" NAME)
    if(NOT name IN_LIST ARG_EXCLUDE)
      add_subdirectory("${folder}")
    endif()
  endforeach()
endfunction()
