# The CUDA backend: whether it is built, and how its kernels are. After this BLOCKGRAD_WITH_CUDA is true or false, and
# BLOCKGRAD_CUDA_STATE says why. bg_kernels is where `.cu` files are listed.
set(BLOCKGRAD_CUDA_LEAST 13.0)

# Finds nvcc as CMake does, and in the toolkit's usual folder too; sets `missing` to what is not there.
macro(bg_find_nvcc missing)
  set(${missing} "")
  if(CMAKE_CROSSCOMPILING)
    set(${missing} "this is a build for another processor")
  else()
    include(CheckLanguage)
    find_package(CUDAToolkit QUIET)
    if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND CUDAToolkit_NVCC_EXECUTABLE)
      set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}")
    endif()
    if(NOT CMAKE_CUDA_COMPILER)
      check_language(CUDA)
    endif()
    if(NOT CMAKE_CUDA_COMPILER)
      set(${missing} "nvcc was not found")
    elseif(NOT CUDAToolkit_FOUND)
      set(${missing} "nvcc is there, the CUDA toolkit's headers and libraries are not")
    elseif(CUDAToolkit_VERSION VERSION_LESS BLOCKGRAD_CUDA_LEAST)
      set(${missing} "the CUDA toolkit is version ${CUDAToolkit_VERSION}, ${BLOCKGRAD_CUDA_LEAST} or newer is needed")
    elseif(NOT TARGET CUDA::cudart_static)
      set(${missing} "the CUDA toolkit has no libcudart_static.a")
    endif()
  endif()
endmacro()

set(BLOCKGRAD_WITH_CUDA FALSE)
if(NOT BLOCKGRAD_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "BLOCKGRAD_CUDA is AUTO, ON or OFF; got '${BLOCKGRAD_CUDA}'")
elseif(BLOCKGRAD_CUDA STREQUAL "OFF")
  set(BLOCKGRAD_CUDA_STATE "BLOCKGRAD_CUDA=OFF")
else()
  bg_find_nvcc(missing)
  if(NOT missing)
    # Which processors kernels are built for is said by bg_kernels alone.
    set(CMAKE_CUDA_ARCHITECTURES OFF)
    enable_language(CUDA)
    set(BLOCKGRAD_WITH_CUDA TRUE)
    set(BLOCKGRAD_CUDA_STATE "toolkit ${CUDAToolkit_VERSION}: sm_90a, and PTX for compute_80 and compute_90")
  elseif(BLOCKGRAD_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BLOCKGRAD_CUDA=ON: ${missing}; install the CUDA toolkit ${BLOCKGRAD_CUDA_LEAST}, "
      "point CUDACXX to its nvcc, or take BLOCKGRAD_CUDA=AUTO")
  else()
    set(BLOCKGRAD_CUDA_STATE "${missing}")
  endif()
endif()

# Adds kernels of the current folder to the library: bg_kernels(image.cu). They are compiled apart from it, since
# options and link language of C++ are not theirs; what runs on the host too stands in a .cuh that g++ compiles as well.
function(bg_kernels)
  if(NOT TARGET blockgrad_kernels)
    add_library(blockgrad_kernels OBJECT)
    set_target_properties(blockgrad_kernels PROPERTIES
      CUDA_SEPARABLE_COMPILATION OFF POSITION_INDEPENDENT_CODE ON)
    target_include_directories(blockgrad_kernels PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}")
    target_compile_options(blockgrad_kernels PRIVATE
      -std=c++20  # CMake 3.25 does not know that nvcc 13 does
      # Code for 9.0a runs nowhere else: newer chips take the PTX, older ones that of 8.0.
      "SHELL:-gencode arch=compute_90a,code=sm_90a"
      "SHELL:-gencode arch=compute_90,code=compute_90"
      "SHELL:-gencode arch=compute_80,code=compute_80"
      --compress-mode=size
      # One result on every machine: a fused multiply-add is written, never left to the compiler.
      --fmad=false
      -Xcompiler=-ffp-contract=off,-Wall,-Wextra)
    if(BLOCKGRAD_WERROR)
      target_compile_options(blockgrad_kernels PRIVATE "SHELL:--Werror all-warnings")
    endif()
    target_sources(blockgrad PRIVATE $<TARGET_OBJECTS:blockgrad_kernels>)
  endif()
  foreach(source IN LISTS ARGN)
    target_sources(blockgrad_kernels PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()
