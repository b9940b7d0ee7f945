# What `cmake --install` writes beside the tools: the runtime, the headers that a
# program includes (DLPack's, too, so that users need nothing else), and the CMake
# package SparseAttn.
include(CMakePackageConfigHelpers)

find_path(SPARSE_ATTN_DLPACK_DIR dlpack/dlpack.h REQUIRED)
install(FILES "${SPARSE_ATTN_DLPACK_DIR}/dlpack/dlpack.h"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/dlpack")
install(FILES "${PROJECT_SOURCE_DIR}/runtime/include/sparse_attn/runtime.h"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/sparse_attn")
install(TARGETS sparse_attn_runtime ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")

set(package "${CMAKE_INSTALL_LIBDIR}/cmake/SparseAttn")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/SparseAttnConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/SparseAttnConfig.cmake"
  INSTALL_DESTINATION "${package}"
  PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/SparseAttnConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/SparseAttnConfig.cmake"
              "${PROJECT_BINARY_DIR}/SparseAttnConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/SparseAttnKernel.cmake"
        DESTINATION "${package}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
