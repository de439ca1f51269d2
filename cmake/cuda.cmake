# The CUDA backend: whether it is built, and how its kernels are. After this BLOCKGRAD_WITH_CUDA is TRUE or FALSE, which
# the cache shows to ./run, and BLOCKGRAD_CUDA_STATE says why. bg_kernels is where `.cu` files are listed.
set(BLOCKGRAD_CUDA_LEAST 13.0)

# Finds an nvcc that compiles: CMAKE_CUDA_COMPILER, CUDACXX, or that of the toolkit CMake finds, in its usual folder too.
# The toolkit is the one nvcc is of. Sets `missing` to what is not there.
macro(bg_find_nvcc missing)
  set(${missing} "")
  if(CMAKE_CROSSCOMPILING)
    set(${missing} "this is a build for another processor")
  else()
    include(CheckLanguage)
    # What an earlier configure did not find, or what is gone since then, is looked for again.
    if(NOT CMAKE_CUDA_COMPILER OR (IS_ABSOLUTE "${CMAKE_CUDA_COMPILER}" AND NOT EXISTS "${CMAKE_CUDA_COMPILER}"))
      unset(CMAKE_CUDA_COMPILER CACHE)
    endif()
    set(bg_nvcc "${CMAKE_CUDA_COMPILER}")
    if(NOT bg_nvcc)
      set(bg_nvcc "$ENV{CUDACXX}")
    endif()
    if(IS_ABSOLUTE "${bg_nvcc}" AND NOT CUDAToolkit_ROOT)
      get_filename_component(bg_toolkit "${bg_nvcc}" REALPATH)
      get_filename_component(bg_toolkit "${bg_toolkit}/../.." ABSOLUTE)
      if(EXISTS "${bg_toolkit}/bin/nvcc")
        set(CUDAToolkit_ROOT "${bg_toolkit}")
      endif()
    endif()
    find_package(CUDAToolkit QUIET)
    if(NOT bg_nvcc AND CUDAToolkit_NVCC_EXECUTABLE)
      set(ENV{CUDACXX} "${CUDAToolkit_NVCC_EXECUTABLE}")
    endif()
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
      set(${missing} "nvcc was not found, or it does not compile")
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
      "point CUDACXX to its nvcc and CUDAHOSTCXX to a g++ it takes, or take BLOCKGRAD_CUDA=AUTO")
  else()
    set(BLOCKGRAD_CUDA_STATE "${missing}")
  endif()
endif()
# Thrust and CUB come with the toolkit. Where they are not, own kernels sort.
set(BLOCKGRAD_WITH_THRUST FALSE)
if(BLOCKGRAD_WITH_CUDA)
  find_path(BLOCKGRAD_CCCL thrust/version.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES cccl NO_DEFAULT_PATH)
  mark_as_advanced(BLOCKGRAD_CCCL)
  if(BLOCKGRAD_CCCL)
    set(BLOCKGRAD_WITH_THRUST TRUE)
  else()
    string(APPEND BLOCKGRAD_CUDA_STATE "; without Thrust and CUB, whose headers were not found")
  endif()
endif()
# What a source that includes them is compiled with: bg_thrust(target source system), CUDA or CPP. A namespace of its own
# keeps each device system apart, from the other and from what a user's program links.
function(bg_thrust target source system)
  string(TOLOWER ${system} name)
  set_source_files_properties("${source}" TARGET_DIRECTORY ${target} PROPERTIES
    COMPILE_DEFINITIONS
      "THRUST_CUB_WRAPPED_NAMESPACE=blockgrad_${name};THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_${system};CCCL_DISABLE_NVTX")
endfunction()
set(BLOCKGRAD_WITH_CUDA ${BLOCKGRAD_WITH_CUDA} CACHE INTERNAL "Whether the CUDA backend is built")

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
