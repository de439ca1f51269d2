#include "backends/cuda/harness/ladder_times.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "backends/cuda/harness/ladder.h"
#include "backends/cuda/machine/errors.h"
#include "backends/cuda/products/matmul_kernels.h"
#include "blockgrad/graph/error.h"

namespace blockgrad::harness {

namespace {

using gpu::Reads;

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  const std::string text = cuda_error_text(error);
  forget_cuda_error();
  throw DeviceError(std::string(call) + ": " + text);
}

/// Floats on the device.
class Floats {
 public:
  explicit Floats(long count) : count_(static_cast<std::size_t>(count)) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), bytes()), "cudaMalloc");
  }
  ~Floats() { (void)cudaFree(data_); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;

  float* data() const { return data_; }

  void put(const std::vector<float>& values) {
    check(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  std::vector<float> get() const {
    std::vector<float> values(count_);
    check(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }
  /// NaN, so that what a kernel leaves out shows.
  void poison() { check(cudaMemset(data_, 0xff, bytes()), "cudaMemset"); }

 private:
  std::size_t bytes() const { return count_ * sizeof(float); }

  std::size_t count_;
  float* data_ = nullptr;
};

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { (void)cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { check(cudaEventRecord(event_), "cudaEventRecord"); }
  float milliseconds_since(const Event& begin) const {
    check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float time = 0;
    check(cudaEventElapsedTime(&time, begin.event_, event_), "cudaEventElapsedTime");
    return time;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

struct Launchable {
  const CudaConfig* config = nullptr;
  const void* address = nullptr;
};

/// The kernel for row-major operands, with packs if there is one, allowed its shared memory.
Launchable find(const CudaConfig& config) {
  Launchable found{&config, nullptr};
  for (const MatmulKernel& kernel : matmul_kernels()) {
    if (kernel.kernel != config.kernel || kernel.dtype != config.dtype ||
        kernel.math != config.math || !(kernel.block == config.block))
      continue;
    const bool is_in_packs =
        kernel.reads_a == Reads::along_k && kernel.reads_b == Reads::along_width;
    if (is_in_packs || found.address == nullptr) found.address = kernel.address;
  }
  if (found.address == nullptr) throw DeviceError("a rung of the ladder is not in this build");
  check(cudaFuncSetAttribute(found.address, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(config.shared_bytes)),
        "cudaFuncSetAttribute");
  return found;
}

const CudaConfig& config(CudaKernel kernel, CudaMath math, gpu::Tile block) {
  for (const CudaConfig& one : cuda_configs())
    if (one.kernel == kernel && one.dtype == DType::f32 && one.math == math && one.block == block)
      return one;
  throw DeviceError("a rung of the ladder is not in this build");
}

unsigned parts(long size, int tile) { return static_cast<unsigned>((size + tile - 1) / tile); }

/// One launch of a rung, on operands that lie on the device.
void launch(const Launchable& rung, gpu::Product<float> p) {
  const CudaConfig& config = *rung.config;
  unsigned char epilogue = 0;
  void* arguments[] = {&p, &epilogue};
  dim3 grid, block(static_cast<unsigned>(config.threads));
  const unsigned rows = parts(p.m, config.block.m), columns = parts(p.n, config.block.n);
  switch (config.kernel) {
    case CudaKernel::elements:
    case CudaKernel::shared:
      grid = dim3(columns, rows);
      block = dim3(static_cast<unsigned>(config.block.n), static_cast<unsigned>(config.block.m));
      break;
    case CudaKernel::registers:
    case CudaKernel::warps:
    case CudaKernel::mma: grid = dim3(rows * columns * static_cast<unsigned>(p.k_splits)); break;
  }
  check(cudaLaunchKernel(rung.address, grid, block, arguments,
                         static_cast<std::size_t>(config.shared_bytes), nullptr),
        "cudaLaunchKernel");
}

/// The sums of two slices, joined into c.
void launch_splits(const Launchable& rung, gpu::Product<float> p, float* sums) {
  gpu::Product<float> slices = p;
  const long step = rung.config->block.k;
  slices.k_slice = (p.k / 2 + step - 1) / step * step;
  slices.k_splits = slices.k_slice < p.k ? 2 : 1;
  slices.c = {sums, p.n, 1, p.m * p.n};
  launch(rung, slices);
  p.k_splits = slices.k_splits;
  const float* from = sums;
  long batches = 1;
  unsigned char epilogue = 0;
  void* arguments[] = {&p, &from, &batches, &epilogue};
  check(cudaLaunchKernel(join_splits_kernel(DType::f32), dim3(parts(p.m * p.n, 256)), dim3(256),
                         arguments, 0, nullptr),
        "cudaLaunchKernel");
}

std::vector<float> random_floats(long count, std::uint64_t state) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    value = static_cast<float>(static_cast<double>(state >> 40) / (1 << 23) - 1.0);
  }
  return values;
}

double largest_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double off = std::fabs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    if (std::isnan(off)) return off;
    error = std::max(error, off);
    size = std::max(size, std::fabs(static_cast<double>(expected[i])));
  }
  return size > 0 ? error / size : error;
}

/// A row of C by chains of fused multiply-adds in ascending k, from 0.
std::vector<float> chains(const std::vector<float>& a, const std::vector<float>& b,
                          const LadderSize& size, long row) {
  std::vector<float> sums(static_cast<std::size_t>(size.n));
  for (long k = 0; k < size.k; ++k) {
    const float factor = a[static_cast<std::size_t>(row * size.k + k)];
    const float* const from = b.data() + k * size.n;
    for (std::size_t column = 0; column < sums.size(); ++column)
      sums[column] = std::fma(factor, from[column], sums[column]);
  }
  return sums;
}

/// The largest error of the first, a middle and the last row of C.
double error_of_rows(const std::vector<float>& c, const std::vector<float>& a,
                     const std::vector<float>& b, const LadderSize& size) {
  double error = 0;
  for (const long row : {0L, size.m / 2, size.m - 1}) {
    const auto begin = c.begin() + row * size.n;
    const double off = largest_error({begin, begin + size.n}, chains(a, b, size, row));
    if (std::isnan(off)) return off;
    error = std::max(error, off);
  }
  return error;
}

}  // namespace

std::vector<RungTime> time_ladder(const LadderSize& size, int repetitions) {
  check_internal(size.m > 0 && size.n > 0 && size.n % 4 == 0 && size.k > 0 && size.k % 4 == 0 &&
                     repetitions > 0,
                 "times of the ladder want sizes above 0, n and k multiples of 4");
  constexpr CudaMath exact = CudaMath::exact;
  // In the order of ladder(); the sixth takes the kernel of the fifth in slices.
  const Launchable kernels[] = {find(config(CudaKernel::elements, exact, {8, 16, 1})),
                                find(config(CudaKernel::shared, exact, {32, 32, 32})),
                                find(config(CudaKernel::registers, exact, {64, 64, 8})),
                                find(config(CudaKernel::registers, exact, {128, 128, 8})),
                                find(config(CudaKernel::warps, exact, {128, 128, 8})),
                                find(config(CudaKernel::warps, exact, {128, 128, 8})),
                                find(config(CudaKernel::mma, CudaMath::tf32, {128, 128, 16}))};
  constexpr std::size_t splits = 5;
  check_internal(std::size(kernels) == ladder().size(), "the ladder has another rung");

  Floats a(size.m * size.k), b(size.k * size.n), c(size.m * size.n), sums(2 * size.m * size.n);
  const std::vector<float> from_a = random_floats(size.m * size.k, 1),
                           from_b = random_floats(size.k * size.n, 2);
  a.put(from_a);
  b.put(from_b);
  const gpu::Product<float> product{{a.data(), size.k, 1, 0},
                                    {b.data(), size.n, 1, 0},
                                    {c.data(), size.n, 1, 0},
                                    size.m,
                                    size.n,
                                    size.k,
                                    size.k,
                                    1,
                                    8,
                                    true};
  std::vector<RungTime> times;
  std::vector<float> expected;
  for (std::size_t i = 0; i < std::size(kernels); ++i) {
    const auto once = [&] {
      if (i == splits) launch_splits(kernels[i], product, sums.data());
      else launch(kernels[i], product);
    };
    c.poison();
    once();
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    const std::vector<float> found = c.get();
    if (i == 0) expected = found;
    const double error =
        i == 0 ? error_of_rows(found, from_a, from_b, size) : largest_error(found, expected);
    std::vector<float> milliseconds;
    for (int repetition = 0; repetition < repetitions; ++repetition) {
      Event begin, end;
      begin.record();
      once();
      end.record();
      milliseconds.push_back(end.milliseconds_since(begin));
    }
    const auto median = milliseconds.begin() + repetitions / 2;
    std::nth_element(milliseconds.begin(), median, milliseconds.end());
    const double flops = 2.0 * static_cast<double>(size.m) * static_cast<double>(size.n) *
                         static_cast<double>(size.k);
    times.push_back({ladder()[i].name, static_cast<double>(*median),
                     flops / (static_cast<double>(*median) * 1e9), error, ladder()[i].bound});
  }
  return times;
}

}  // namespace blockgrad::harness
