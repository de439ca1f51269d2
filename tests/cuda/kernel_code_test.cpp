// nvcc compiles every kernel of the ladder, and its machine code is what was planned: no spills,
// registers within the configuration, wide loads, tensor cores. No GPU is needed.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "backends/cuda/harness/thrust_on_cpu.h"
#include "backends/cuda/products/cuda_tile.h"
#include "tests/cuda/cubin.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using cubin::Kernel;
using cubin::Kind;

namespace {

const std::string nvcc = BG_NVCC, folder = BG_CUBIN_DIR, source_dir = BG_SOURCE_DIR;

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The kernels of folder/name.cu of backends/cuda for one processor; none where there is no nvcc.
std::vector<Kernel> compiled(const std::string& part, const std::string& name,
                             const std::string& processor, const std::string& options = "") {
  if (nvcc.empty()) {
    BOOST_TEST_MESSAGE("skipped: nvcc was not found when the tests were configured");
    return {};
  }
  if (test_support::skips_harness()) return {};  // which may have no sources of it
  const std::string base = folder + "/" + name + "." + processor;
  const std::string command = "'" + nvcc + "' -std=c++20 --fmad=false -arch=" + processor + " " +
                              options + " -cubin -Xptxas -v -I'" + source_dir + "' -I'" +
                              source_dir + "/include' -o '" + base + ".cubin' '" + source_dir +
                              "/backends/cuda/" + part + "/" + name + ".cu' > '" + base +
                              ".log' 2>&1";
  const int status = std::system(command.c_str());
  const std::string log = content(base + ".log");
  BOOST_REQUIRE_MESSAGE(status == 0, log);
  BOOST_TEST(log.find("(C75") == std::string::npos, log);
  return cubin::read(content(base + ".cubin"), log);
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string text(gpu::Tile tile) {
  return "blockgrad::gpu::Cut<" + std::to_string(tile.m) + ", " + std::to_string(tile.n) + ", " +
         std::to_string(tile.k) + ">";
}

/// How the names of a configuration's kernels begin, after the return type.
std::string begin_of(const CudaConfig& config) {
  const std::string dtype = config.dtype == DType::f32    ? "float"
                            : config.dtype == DType::bf16 ? "blockgrad::bf16"
                            : config.dtype == DType::f16  ? "blockgrad::f16"
                                                          : "double";
  const std::string call = " blockgrad::gpu::matmul_";
  switch (config.kernel) {
    case CudaKernel::elements: return call + "elements<" + dtype + ",";
    case CudaKernel::shared:
      return call + "shared<" + dtype + ", " + std::to_string(config.block.k);
    case CudaKernel::registers:
      return call + "registers<" + dtype + ", " + text(config.block) + ", " +
             text(config.instruction);
    case CudaKernel::warps:
      return call + "warps<" + dtype + ", " + text(config.block) + ", " + text(config.warp);
    case CudaKernel::mma:
      return call + "mma<" + dtype + ", " + dtype + ", " + text(config.block) + ", " +
             text(config.warp);
  }
  return "";
}

bool reads_one_by_one(const Kernel& kernel) {
  return holds(kernel.name, "(blockgrad::gpu::Reads)2");
}

/// What every kernel of a configuration must be made of: the steps of its innermost loop at least.
void check(const CudaConfig& config, const Kernel& kernel) {
  BOOST_TEST_CONTEXT(kernel.name) {
    const bool is_mma = config.kernel == CudaKernel::mma;
    const int resident = is_mma ? gpu::mma_blocks(static_cast<int>(size_of(config.dtype)),
                                                  config.block, reads_one_by_one(kernel))
                                : 1;
    BOOST_TEST(resident * config.threads * kernel.registers <= CudaLimits{}.registers);
    if (!is_mma || !reads_one_by_one(kernel)) BOOST_TEST(kernel.registers <= config.registers);
    const gpu::Tile block = config.block, instruction = config.instruction;
    if (config.kernel == CudaKernel::warps || config.kernel == CudaKernel::registers) {
      const bool is_f32 = config.dtype == DType::f32;
      const long products = long{block.k} * instruction.m * instruction.n;
      BOOST_TEST(kernel.count(is_f32 ? Kind::fma_f32 : Kind::fma_f64) >= products);
    }
    if (config.kernel == CudaKernel::warps) {
      // A thread reads its values of A and B 16 bytes at a time, never less.
      const long pack = 16 / static_cast<long>(size_of(config.dtype));
      BOOST_TEST(kernel.count(Kind::load_shared, 128) ==
                 block.k * (instruction.m + instruction.n) / pack);
      BOOST_TEST(kernel.count(Kind::load_shared) == kernel.count(Kind::load_shared, 128));
      BOOST_TEST(kernel.count(Kind::store_global, 128) > 0);
      if (!reads_one_by_one(kernel)) {
        BOOST_TEST(kernel.count(Kind::load_global, 128) > 0);
        BOOST_TEST(2 * config.threads * kernel.registers <= CudaLimits{}.registers);  // two blocks
      }
    }
    if (is_mma) {
      const long steps = block.k / instruction.k;
      const long tiles = config.warp.m / instruction.m * (config.warp.n / instruction.n);
      BOOST_TEST(kernel.count(Kind::tensor_core) == steps * tiles);
      // ldmatrix transposes elements of two bytes only.
      BOOST_TEST((config.dtype == DType::f32 || kernel.count(Kind::load_matrices) > 0));
      BOOST_TEST((reads_one_by_one(kernel) || kernel.count(Kind::copy_async) > 0));
    }
  }
}

void check_all(const std::string& processor) {
  const std::vector<Kernel> kernels = compiled("products", "matmul_kernels", processor);
  if (nvcc.empty()) return;
  std::vector<int> found(cuda_configs().size());
  for (const Kernel& kernel : kernels) {
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.stack == 0);
      BOOST_TEST(kernel.spills == 0);
      BOOST_TEST(kernel.count(Kind::load_local) + kernel.count(Kind::store_local) == 0);
    }
    for (std::size_t i = 0; i < found.size(); ++i)
      if (holds(kernel.name, begin_of(cuda_configs()[i]))) {
        found[i] += 1;
        check(cuda_configs()[i], kernel);
      }
  }
  for (std::size_t i = 0; i < found.size(); ++i)
    BOOST_TEST(found[i] > 0, "no kernel of" << begin_of(cuda_configs()[i]));
  std::printf("CUDA kernels compiled for %s: %zu\n", processor.c_str(), kernels.size());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kernel_code)

BOOST_AUTO_TEST_CASE(kernels_for_sm_80_are_as_planned) { check_all("sm_80"); }
BOOST_AUTO_TEST_CASE(kernels_for_sm_90a_are_as_planned) { check_all("sm_90a"); }

BOOST_AUTO_TEST_CASE(cubs_kernels_keep_all_in_registers) {
  if (harness::thrust_on_cpu() == nullptr) {
    BOOST_TEST_MESSAGE("skipped: no CUB in this build");
    return;
  }
  const std::vector<Kernel> kernels = compiled("index", "thrust_on_cuda", "sm_90a",
                                               "-DTHRUST_CUB_WRAPPED_NAMESPACE=blockgrad_cuda");
  if (nvcc.empty()) return;
  for (const Kernel& kernel : kernels) {
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.spills == 0);
      BOOST_TEST(kernel.count(Kind::load_local) + kernel.count(Kind::store_local) == 0);
    }
  }
  // A sort of narrow entries and one of wide ones; sums; starts.
  const auto found = [&](const std::string& name) {
    return std::ranges::count_if(kernels, [&](const Kernel& k) { return holds(k.name, name); });
  };
  BOOST_TEST(found("::DeviceRadixSortOnesweepKernel<") == 2);
  BOOST_TEST(found("::DeviceRadixSortSingleTileKernel<") == 2);
  BOOST_TEST(found("::DeviceScanKernel<") == 1);
  BOOST_TEST(found("::DeviceSelectSweepKernel<") == 1);
  std::printf("CUDA kernels of CUB compiled for sm_90a: %zu\n", kernels.size());
}

BOOST_AUTO_TEST_CASE(what_is_no_cubin_is_refused) {
  BOOST_CHECK_EXCEPTION(cubin::read("", ""), std::runtime_error, [](const std::exception& error) {
    return std::string(error.what()) == "the cubin is cut off";
  });
  BOOST_CHECK_EXCEPTION(
      cubin::read(std::string(64, 'x'), ""), std::runtime_error,
      [](const std::exception& error) { return holds(error.what(), "this is none"); });
}

BOOST_AUTO_TEST_SUITE_END()
