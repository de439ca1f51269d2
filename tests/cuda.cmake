# The tests of backends/cuda; none needs a GPU.
# Kernels of backends/cuda on the CPU, from their own source; needs no CUDA.
bg_tests(cuda
  cuda/attention_program_test.cpp
  cuda/conv_program_test.cpp
  cuda/cubin.cpp
  cuda/cuda_edges_test.cpp
  cuda/cuda_index_test.cpp
  cuda/cuda_order_test.cpp
  cuda/cuda_sorts_test.cpp
  cuda/cuda_tile_test.cpp
  cuda/cuda_unview_test.cpp
  cuda/drawn_case.cpp
  cuda/epilogue_code_test.cpp
  cuda/epilogue_program_test.cpp
  cuda/half_products_test.cpp
  cuda/harness_test.cpp
  cuda/kernel_code_test.cpp
  cuda/kernel_rows_test.cpp
  cuda/ladder_times_test.cpp
  cuda/lt_device_test.cpp
  cuda/lt_program_test.cpp
  cuda/maps_test.cpp
  cuda/matmul_mma_test.cpp
  cuda/matmul_test.cpp
  cuda/mixed_sums_test.cpp
  cuda/mixed_test.cpp
  cuda/models_test.cpp
  cuda/product_program_test.cpp
  cuda/quick_power_test.cpp
  cuda/random_graphs_test.cpp
  cuda/rows_test.cpp
  cuda/run_nodes.cpp
  cuda/steps_test.cpp
  cuda/tensor_cores_test.cpp
  cuda/tune_products_test.cpp
  cuda/user_kernel_limits_test.cpp
  cuda/user_kernels_test.cpp
  ../examples/custom_op/smooth.cpp
  support/on_cuda.cpp
  support/with_products.cpp
  ../bench/kernels/copy_op.cpp
  ../bench/kernels/drawn.cpp
  ../bench/kernels/kernel_rows.cpp
  ../bench/kernels/kernel_times.cpp
  ../bench/support/timing.cpp
  ${model_sources}
  $<TARGET_OBJECTS:random_graphs>
  LIBRARIES cuda_harness
)
# nvcc needs no GPU, so its code is tested in builds without the backend too, where nvcc could build that.
if(BLOCKGRAD_CUDA STREQUAL "OFF")
  bg_find_nvcc(missing)
endif()
if(missing)
  set(nvcc "")
  message(STATUS "CUDA machine code is not tested: ${missing}")
else()
  set(nvcc "${CMAKE_CUDA_COMPILER}")
  if(CMAKE_CUDA_HOST_COMPILER)
    set_tests_properties(cuda/kernel_code PROPERTIES ENVIRONMENT "NVCC_CCBIN=${CMAKE_CUDA_HOST_COMPILER}")
  endif()
endif()
target_include_directories(test_cuda PRIVATE "${PROJECT_SOURCE_DIR}/bench" "${PROJECT_SOURCE_DIR}/examples")
target_compile_definitions(test_cuda PRIVATE BG_NVCC="${nvcc}"
  BG_CUBIN_DIR="${CMAKE_CURRENT_BINARY_DIR}")

# How CUDA and its libraries are found, and what is said where they are not; needs no GPU.
set(runtime_tests "")
set(runtime "")
if(BLOCKGRAD_WITH_CUDA)
  set(runtime_tests cuda/calls_test.cpp limits/heap.cpp)
  set(runtime CUDA::cudart_static)
endif()
bg_tests(cuda_loading
  ${runtime_tests}
  cuda/cubin_cache_test.cpp
  cuda/cuda_products_test.cpp
  cuda/emit_test.cpp
  cuda/findings_test.cpp
  cuda/libraries_test.cpp
  cuda/lt_problem_test.cpp
  cuda/lt_product_test.cpp
  cuda/product_table_test.cpp
  cuda/product_text_test.cpp
  LIBRARIES ${runtime}
)
# The device's runtime upon a fake of CUDA's, which takes the place of the library's.
if(BLOCKGRAD_WITH_CUDA)
  set(device_sources calls cuda_event device_kernels device_runtime errors upload_ring)
  list(TRANSFORM device_sources REPLACE "(.+)" "${PROJECT_SOURCE_DIR}/backends/cuda/machine/\\1.cpp")
  bg_tests(cuda_device
    cuda/device_order_test.cpp
    cuda/device_test.cpp
    cuda/fake_cuda.cpp
    cuda/fake_cuda_call.cpp
    cuda/fake_cuda_calls.cpp
    cuda/fake_cuda_graphs.cpp
    ${device_sources}
    "${PROJECT_SOURCE_DIR}/backends/cuda/cuda_runtime.cpp"
    LIBRARIES blockgrad_fmt
  )
  target_include_directories(test_cuda_device SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
endif()
if(BLOCKGRAD_WITH_CUDA)
  target_include_directories(test_cuda_loading SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
endif()
# Calls of the CUDA runtime, from the library too, go through functions of the test that count them.
if(BLOCKGRAD_WITH_CUDA AND NOT BUILD_SHARED_LIBS)
  bg_tests(cuda_calls
    cuda/call_counts.cpp
    cuda/call_counts_test.cpp
    LIBRARIES CUDA::cudart_static
  )
  target_include_directories(test_cuda_calls SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  foreach(call cudaMalloc cudaMallocAsync cudaHostAlloc cudaMallocHost cudaFree cudaFreeHost cudaDeviceSynchronize
      cudaStreamSynchronize cudaEventSynchronize cudaMemcpy)
    target_link_options(test_cuda_calls PRIVATE "-Wl,--wrap=${call}")
  endforeach()
endif()
target_compile_definitions(test_cuda_loading PRIVATE
  BG_STUBS="${CMAKE_CURRENT_BINARY_DIR}/stubs" BG_WITH_CUDA=$<BOOL:${BLOCKGRAD_WITH_CUDA}>)
foreach(stub bare_nvrtc good_cublaslt old_cublaslt old_nvrtc)
  add_library(${stub} MODULE cuda/stubs/${stub}.cpp)
  bg_target(${stub})
  # As the vendor's: nothing of ours watches their insides, nor compares its types with theirs.
  target_compile_options(${stub} PRIVATE -fno-sanitize=all)
  target_include_directories(${stub} PRIVATE "${PROJECT_SOURCE_DIR}/include")
  set_target_properties(${stub} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/stubs")
  add_dependencies(test_cuda_loading ${stub})
endforeach()
add_dependencies(test_cuda good_cublaslt)
target_compile_definitions(test_cuda PRIVATE BG_STUBS="${CMAKE_CURRENT_BINARY_DIR}/stubs")

# The rows of ops once more, on CUDA: their kernels run on the CPU and are compiled to machine code.
get_target_property(sources test_ops SOURCES)
foreach(source IN LISTS sources)
  if(source MATCHES "^ops/(.*)_cases.cpp$")
    add_test(NAME cuda_ops/${CMAKE_MATCH_1} COMMAND test_ops --run_test=${CMAKE_MATCH_1} --color_output=no
      WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    set_tests_properties(cuda_ops/${CMAKE_MATCH_1} PROPERTIES TIMEOUT 600 ENVIRONMENT BLOCKGRAD_TEST_DEVICE=harness)
  endif()
endforeach()
