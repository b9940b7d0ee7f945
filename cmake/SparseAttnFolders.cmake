# sparse_attn_add_folders()
#
# Adds every subfolder of the current one that has a CMakeLists.txt, in
# alphabetical order: a new folder needs no edit above it.
function(sparse_attn_add_folders)
  file(GLOB lists CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt")
  foreach(list IN LISTS lists)
    get_filename_component(folder "${list}" DIRECTORY)
    add_subdirectory("${folder}")
  endforeach()
endfunction()
