# Helpers of the build. Sources are listed, sorted, one a line; nothing is globbed.

# Adds a folder that has content; a folder without a CMakeLists.txt is not there yet.
macro(bg_folder folder)
  if(EXISTS "${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt")
    add_subdirectory(${folder})
  endif()
endmacro()

# What every target of the project is compiled with.
function(bg_target target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  # One result on every machine: a fused multiply-add is written, never left to the compiler.
  target_compile_options(${target} PRIVATE -ffp-contract=off
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
    # Comparisons are joined with & where a branch would cost more than both.
    $<$<CXX_COMPILER_ID:Clang>:-Wno-bitwise-instead-of-logical>
    # g++ 12 sees overlaps in std::string's operator+ that are not there (GCC bug 105651).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
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
    # What g++ 12 finds uninitialized is in its own header for AVX-512.
    list(APPEND options -march=${march}
         $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    if(BLOCKGRAD_SANITIZE MATCHES "undefined")
      # Minutes of compiling, for what it sees in the portable unit of the same source too.
      list(APPEND options -fno-sanitize=undefined)
    endif()
    if(BLOCKGRAD_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
      # The same checks by calls: with inline ones long unrolled kernels take twice as long to compile.
      list(APPEND options -mllvm -asan-instrumentation-with-call-threshold=0)
    endif()
  endif()
  set_source_files_properties("${PROJECT_SOURCE_DIR}/${source}" TARGET_DIRECTORY blockgrad PROPERTIES
    COMPILE_OPTIONS "${options}" SKIP_UNITY_BUILD_INCLUSION ON)
  if(NOT march STREQUAL "portable")
    get_filename_component(name "${source}" NAME)
    set_property(GLOBAL APPEND PROPERTY BLOCKGRAD_ISA_SOURCES "${name}")
  endif()
endfunction()

# True where the target's processor is x86-64: there the AVX sources are built.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(BLOCKGRAD_X86_64 TRUE)
else()
  set(BLOCKGRAD_X86_64 FALSE)
endif()

# What spends its time in the library is itself compiled in a hurry in a Debug build.
function(bg_calls_the_library target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Debug>:-O0>)
endfunction()

# One test binary: bg_tests(graph graph/shape_test.cpp support/reference.cpp).
# Every <suite>_test.cpp and <suite>_cases.cpp is one entry in ctest, `graph/<suite>`, that runs the
# Boost.Test suite of that name; other sources are support. What follows LIBRARIES is linked too. BUSY ones compute
# references in long loops of their own.
function(bg_tests binary)
  cmake_parse_arguments(PARSE_ARGV 1 arg "BUSY" "" "LIBRARIES")
  set(target test_${binary})
  add_executable(${target} ${arg_UNPARSED_ARGUMENTS} $<TARGET_OBJECTS:test_main>)
  bg_target(${target})
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/tests")
  target_compile_definitions(${target} PRIVATE BG_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # The library is what is measured. At -O1 tests compile for a third less, in a Debug build at -O0 for two thirds less.
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  set(headers test_headers_busy)
  if(NOT arg_BUSY)
    bg_calls_the_library(${target})
    set(headers test_headers)
  endif()
  if(BLOCKGRAD_TEST_PCH)
    target_precompile_headers(${target} REUSE_FROM ${headers})
  endif()
  target_link_libraries(${target} PRIVATE blockgrad::blockgrad boost_test ${arg_LIBRARIES})
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

# An example, named by its subject; the comment line above its call is what ./run prints for it.
# It sees include/blockgrad, examples/ and the helper libraries; PLAIN ones do without the engine. Files it ships
# lie in BG_EXAMPLE_DIR. bg_example(ad_spend ad_spend/main.cpp ad_spend/options.cpp LIBRARIES CLI11::CLI11)
function(bg_example name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "PLAIN" "" "LIBRARIES")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  bg_target(${name})
  bg_calls_the_library(${name})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/examples")
  target_compile_definitions(${name} PRIVATE BG_EXAMPLE_DIR="${PROJECT_SOURCE_DIR}/examples/${name}")
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  if(NOT arg_PLAIN)
    target_link_libraries(${name} PRIVATE blockgrad::blockgrad)
  endif()
endfunction()

# A benchmark: bg_bench(matmul matmul.cpp LIBRARIES Eigen3::Eigen) builds bench/bench_matmul.
function(bg_bench name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES")
  add_executable(bench_${name} ${arg_UNPARSED_ARGUMENTS})
  bg_target(bench_${name})
  bg_calls_the_library(bench_${name})
  target_include_directories(bench_${name} PRIVATE "${PROJECT_SOURCE_DIR}/bench")
  target_compile_definitions(bench_${name} PRIVATE BG_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(bench_${name} PRIVATE bench_support ${arg_LIBRARIES})
endfunction()

# A libFuzzer target and a short run of it in ctest. Sources of the library that it should look into are
# listed too: bg_fuzzer(csv fuzz/csv_fuzz.cpp ../data/csv.cpp).
function(bg_fuzzer name)
  set(sanitizers -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
  add_executable(fuzz_${name} ${ARGN})
  bg_target(fuzz_${name})
  target_compile_options(fuzz_${name} PRIVATE ${sanitizers} -g1)
  target_link_options(fuzz_${name} PRIVATE ${sanitizers})
  target_include_directories(fuzz_${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(fuzz_${name} PRIVATE
    blockgrad::blockgrad blockgrad_fmt nlohmann_json::nlohmann_json)
  add_test(NAME fuzz/${name} COMMAND fuzz_${name} -seed=1 -max_total_time=10 -max_len=4096 -timeout=5
    -verbosity=0)
endfunction()
