# Proves one way of use: configures, builds and runs the consumer.
# cmake -DWAY=find_package|add_subdirectory|fetch_content -DSOURCE=<blockgrad> -DWORK=<folder to use>
#   [-DBUILD=<a build of blockgrad to install>] [-DSHARED=ON] [-DCXX=<compiler>] [-DGENERATOR=<of CMake>] -P check.cmake
# find_package installs BUILD (or builds blockgrad first), then moves the installed tree before it is used.
cmake_minimum_required(VERSION 3.25)

function(bg_run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " text)
    message(FATAL_ERROR "failed: ${text}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

if(NOT SHARED)
  set(SHARED OFF)
endif()
set(options -DCMAKE_BUILD_TYPE=Release -DBLOCKGRAD_CUDA=OFF)
if(CXX)
  list(APPEND options "-DCMAKE_CXX_COMPILER=${CXX}")
endif()
if(SHARED)
  # Compiled anew, as position-independent code: it is linked, not measured.
  list(APPEND options "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
endif()
if(GENERATOR)
  list(APPEND options -G "${GENERATOR}")
endif()
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

if(WAY STREQUAL "find_package")
  if(NOT BUILD)
    set(BUILD "${WORK}/build")
    bg_run(${CMAKE_COMMAND} -S "${SOURCE}" -B "${BUILD}" ${options} -DBUILD_SHARED_LIBS=${SHARED}
      -DBLOCKGRAD_TESTS=OFF -DBLOCKGRAD_EXAMPLES=OFF -DBLOCKGRAD_BENCH=OFF)
    bg_run(${CMAKE_COMMAND} --build "${BUILD}" -j 2)
  endif()
  bg_run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${WORK}/installed")
  file(RENAME "${WORK}/installed" "${WORK}/moved")
  # Nothing installed may remember where it was made.
  file(GLOB_RECURSE package "${WORK}/moved/*.cmake" "${WORK}/moved/*.h")
  foreach(path IN LISTS package)
    file(STRINGS "${path}" lines)
    foreach(place IN ITEMS "${SOURCE}/" "${BUILD}" "${WORK}")
      string(FIND "${lines}" "${place}" at)
      if(NOT at EQUAL -1)
        message(FATAL_ERROR "${path} names ${place}")
      endif()
    endforeach()
  endforeach()
  # A consumer needs none of the libraries that blockgrad was built with.
  set(place "-DCMAKE_PREFIX_PATH=${WORK}/moved" -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON
    -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON)
else()
  set(place "-DBLOCKGRAD_SOURCE=${SOURCE}" -DBUILD_SHARED_LIBS=${SHARED})
endif()

bg_run(${CMAKE_COMMAND} -S "${SOURCE}/tests/consumer" -B "${WORK}/consumer" ${options} -DWAY=${WAY} ${place})
bg_run(${CMAKE_COMMAND} --build "${WORK}/consumer" -j 2)
if(output MATCHES "warning:")
  message(FATAL_ERROR "a consumer's build warns:\n${output}")
endif()
foreach(program IN ITEMS consumer consumer_core)
  bg_run("${WORK}/consumer/${program}")
endforeach()
message("${WAY}, shared ${SHARED}: ${output}")
file(REMOVE_RECURSE "${WORK}")
