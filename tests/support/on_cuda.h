#pragma once
// Programs on CUDA beside the same on the CPU. Their kernels run on the harness, or, with
// BLOCKGRAD_TEST_DEVICE=cuda, on the GPU.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda_runtime.h"
#include "blockgrad/backends/program.h"

namespace test_support {

/// With BLOCKGRAD_TEST_DEVICE=cuda; the harness may lack its compiler there.
bool tests_a_gpu();

/// Why no program of CUDA can run in this build, as a test says that skips itself; else empty.
std::string why_no_cuda_programs();

/// Says so if that is so.
bool skips_cuda_programs();

/// Uniform in [low, high), the same for the same seed.
blockgrad::Tensor drawn(const blockgrad::Shape& shape, blockgrad::DType dtype, std::uint64_t seed,
                        double low, double high);

/// Says so, and is true, where a GPU is tested: for what runs on the CPU alone.
bool skips_harness();

/// Of a GPU, or the harness's, which draws the order of threads from the seed.
std::shared_ptr<blockgrad::CudaRuntime> cuda_test_runtime(std::uint64_t seed);

/// The harness's device, or the GPU. One for a process.
const blockgrad::Device& cuda_test_device();

/// Compiles every kernel that the harness's device has run in this process, and that was not
/// compiled by an earlier call, to machine code for a GPU. Says once where NVRTC is missing.
void check_machine_code();

/// Runs both programs and compares every output: floats within `tolerance` times the largest number
/// of the output, or 1, integers and bools exactly; NaN and infinities are met by themselves alone.
/// Failures go to Boost.Test. With tolerance 0 the bits are equal, those of NaN left out.
void check_on_cuda(const std::vector<blockgrad::Output>& outputs, const blockgrad::Feeds& feeds,
                   double tolerance);
/// The same on a device of CUDA's executable.
void check_on_cuda(const std::vector<blockgrad::Output>& outputs, const blockgrad::Feeds& feeds,
                   double tolerance, const blockgrad::Device& device);

}  // namespace test_support
