# Checks of the tree itself, not of what it computes.
bg_tests(house BUSY
  docs/ops_table.cpp
  docs/public_functions.cpp
  house/mutants_test.cpp
  house/ops_table_test.cpp
  house/version_test.cpp
  mutants/edits.cpp
)
target_compile_definitions(test_house PRIVATE BG_CMAKE_VERSION="${PROJECT_VERSION}")

if(CMAKE_CROSSCOMPILING)
  return()
endif()

add_test(NAME house/layers
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} -P ${PROJECT_SOURCE_DIR}/cmake/check_layers.cmake)
add_test(NAME house/layers_finds_mistakes
  COMMAND ${CMAKE_COMMAND} -DWORK=${PROJECT_BINARY_DIR}/check_layers
    -DCHECK=${PROJECT_SOURCE_DIR}/cmake/check_layers.cmake
    -P ${CMAKE_CURRENT_SOURCE_DIR}/house/check_layers_test.cmake)
add_test(NAME house/public_headers_compile_alone
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} -DCXX=${CMAKE_CXX_COMPILER}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/house/check_headers.cmake)
set_tests_properties(house/public_headers_compile_alone PROPERTIES COST 1000)  # the longest starts first

# A weak symbol compiled for AVX-512 could be the one the linker keeps for every processor.
get_property(isa_sources GLOBAL PROPERTY BLOCKGRAD_ISA_SOURCES)
if(isa_sources AND NOT BLOCKGRAD_SANITIZE)
  list(JOIN isa_sources "|" pattern)
  add_test(NAME house/isa_units_have_no_weak_symbols
    COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
      "-DOBJECTS=$<FILTER:$<TARGET_OBJECTS:blockgrad>,INCLUDE,/(${pattern})\\.o$>"
      -P ${CMAKE_CURRENT_SOURCE_DIR}/house/check_symbols.cmake
    COMMAND_EXPAND_LISTS)
endif()

if(BLOCKGRAD_WITH_CUDA)
  set(binaries $<TARGET_FILE:test_cuda_loading>)
  if(BLOCKGRAD_EXAMPLES)
    list(APPEND binaries $<TARGET_FILE:ad_spend>)
  endif()
  if(BUILD_SHARED_LIBS)
    list(APPEND binaries $<TARGET_FILE:blockgrad>)
  endif()
  add_test(NAME house/programs_need_no_cuda_library
    COMMAND ${CMAKE_COMMAND} -DREADELF=${CMAKE_READELF} "-DFILES=${binaries}"
      -P ${CMAKE_CURRENT_SOURCE_DIR}/house/check_needed.cmake)
  list(REMOVE_AT binaries 0)
  if(binaries AND BLOCKGRAD_WITH_THRUST)
    set(kernels DeviceRadixSortOnesweepKernel DeviceScanKernel DeviceSelectSweepKernel)
    add_test(NAME house/programs_hold_cubs_kernels
      COMMAND ${CMAKE_COMMAND} -DREADELF=${CMAKE_READELF} "-DFILES=${binaries}" "-DKERNELS=${kernels}"
        -P ${CMAKE_CURRENT_SOURCE_DIR}/house/check_kernels.cmake)
  endif()
endif()

# Only the way that needs no second build of the library; .ci/run checks the others too.
if(NOT BLOCKGRAD_SANITIZE AND BLOCKGRAD_INSTALL)
  add_test(NAME consumer/find_package
    COMMAND ${CMAKE_COMMAND} -DWAY=find_package -DSOURCE=${PROJECT_SOURCE_DIR}
      -DBUILD=${PROJECT_BINARY_DIR} -DWORK=${PROJECT_BINARY_DIR}/consumer -DCXX=${CMAKE_CXX_COMPILER}
      -DSHARED=${BUILD_SHARED_LIBS} -DGENERATOR=${CMAKE_GENERATOR} -P ${CMAKE_CURRENT_SOURCE_DIR}/consumer/check.cmake)
endif()
