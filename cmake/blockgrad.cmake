# Helpers of the build. Sources are listed, sorted, one a line; nothing is globbed.

# Adds a folder that has content; a folder without a CMakeLists.txt is not there yet.
function(bg_folder folder)
  if(EXISTS "${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt")
    add_subdirectory(${folder})
  endif()
endfunction()

# What every target of the project is compiled with.
function(bg_target target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  # One result on every machine: a fused multiply-add is written, never left to the compiler.
  target_compile_options(${target} PRIVATE -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow)
  if(BLOCKGRAD_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(BLOCKGRAD_SANITIZE)
    target_compile_options(${target} PRIVATE
      -fsanitize=${BLOCKGRAD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    # Only where it is linked in, so an installed sanitized library asks for its runtime too.
    target_link_options(${target} PUBLIC -fsanitize=${BLOCKGRAD_SANITIZE})
  endif()
endfunction()

# Adds sources of the current folder to the library: bg_layer(graph error.cpp shape.cpp).
function(bg_layer layer)
  foreach(source IN LISTS ARGN)
    target_sources(blockgrad PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()

# Compile options of a source, given by its path from the project's root, listed with bg_layer too.
# bg_isa_source(backends/cpu/isa_avx2.cpp x86-64-v3): march is `portable` for a unit without one.
function(bg_isa_source source march)
  set(options -O3 -fno-math-errno -fno-trapping-math)
  if(NOT march STREQUAL "portable")
    list(APPEND options -march=${march})
  endif()
  set_source_files_properties("${PROJECT_SOURCE_DIR}/${source}" TARGET_DIRECTORY blockgrad PROPERTIES
    COMPILE_OPTIONS "${options}" SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# True where the target's processor is x86-64: there the AVX sources are built.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(BLOCKGRAD_X86_64 TRUE)
else()
  set(BLOCKGRAD_X86_64 FALSE)
endif()

# One test binary: bg_tests(graph graph/shape_test.cpp support/reference.cpp).
# Every <suite>_test.cpp and <suite>_cases.cpp is one entry in ctest, `graph/<suite>`, that runs the
# Boost.Test suite of that name; other sources are support. What follows LIBRARIES is linked too.
function(bg_tests binary)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES")
  set(target test_${binary})
  add_executable(${target} ${arg_UNPARSED_ARGUMENTS} $<TARGET_OBJECTS:test_main>)
  bg_target(${target})
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${target} PRIVATE
    BOOST_TEST_DYN_LINK BG_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE
    blockgrad::blockgrad Boost::unit_test_framework ${arg_LIBRARIES})
  foreach(source IN LISTS arg_UNPARSED_ARGUMENTS)
    get_filename_component(stem "${source}" NAME_WE)
    if(stem MATCHES "^(.*)_(test|cases)$")
      set(suite ${CMAKE_MATCH_1})
      add_test(NAME ${binary}/${suite} COMMAND ${target} --run_test=${suite} --color_output=no
        WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
      set_tests_properties(${binary}/${suite} PROPERTIES TIMEOUT 600)
    endif()
  endforeach()
endfunction()
