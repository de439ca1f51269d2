# Install rules and the package that find_package(blockgrad) reads; it works from a moved tree.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/blockgrad)

install(TARGETS blockgrad EXPORT blockgradTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/blockgrad"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(EXPORT blockgradTargets NAMESPACE blockgrad:: DESTINATION ${package_dir})
# Whoever links the static library links zlib too, where it was found.
if(ZLIB_FOUND AND NOT BUILD_SHARED_LIBS)
  set(BLOCKGRAD_LINKS_ZLIB TRUE)
else()
  set(BLOCKGRAD_LINKS_ZLIB FALSE)
endif()
# So it does the CUDA runtime, which is an archive of the toolkit.
if(BLOCKGRAD_WITH_CUDA AND NOT BUILD_SHARED_LIBS)
  set(BLOCKGRAD_LINKS_CUDART TRUE)
else()
  set(BLOCKGRAD_LINKS_CUDART FALSE)
endif()
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/blockgradConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/blockgradConfig.cmake" INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/blockgradConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/blockgradConfig.cmake"
  "${PROJECT_BINARY_DIR}/blockgradConfigVersion.cmake" DESTINATION ${package_dir})
