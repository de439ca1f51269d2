#include "tests/cuda/drawn_case.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/emit.h"
#include "backends/cuda/nvrtc.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"

namespace test_support {

using namespace blockgrad;

namespace {

/// Keeps the texts of programs that are compiled for it and runs nothing.
class Texts final : public CudaRuntime {
 public:
  std::set<std::string> headers;
  std::set<std::string> kernels;

  std::string title() const override { return "texts"; }
  CudaLimits limits() const override { return {}; }
  std::int64_t free_bytes() const override { return std::int64_t{1} << 40; }
  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    for (const CudaText& text : texts) {
      headers.insert(text.header);
      kernels.insert(text.text);
    }
    return std::vector<CudaFunction>(texts.size());
  }
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override { return allocate_bytes(bytes); }
  void launch(const CudaCall&) override {}
  void copy_in(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_within(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_out(std::byte*, const std::byte*, std::int64_t) override {}
  void wait() override {}
  std::unique_ptr<CudaSequence> record(const std::function<void()>&) override {
    struct Nothing final : CudaSequence {
      void start() override {}
    };
    return std::make_unique<Nothing>();
  }
};

std::string program_of(const Texts& texts) {
  std::string program = cuda_prelude();
  for (const std::string& header : texts.headers) program += header;
  std::size_t number = 0;
  for (std::string kernel : texts.kernels)
    program += kernel.replace(kernel.find("KERNEL"), 6, "kernel" + std::to_string(number++));
  return program;
}

void compile_to_cubin(const std::vector<Output>& outputs) {
  const auto texts = std::make_shared<Texts>();
  compile(outputs, {}, make_device("texts", cuda_backend(texts)));
  BOOST_TEST(!texts->kernels.empty());
  const Nvrtc* compiler = nullptr;
  try {
    compiler = &nvrtc();
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("not compiled by NVRTC: " << error.what());
    return;
  }
  BOOST_TEST(!compile_cubin(*compiler, {.text = program_of(*texts)}).empty());
}

}  // namespace

Expr DrawnCase::numbers(const Shape& shape, DType dtype, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& value : values) value = uniform(random);
  const Expr x = input("x" + std::to_string(feeds.size()), shape, dtype);
  feeds.push_back({x, tensor(std::span<const double>(values), shape).astype(dtype)});
  return x;
}

Expr DrawnCase::values(const Shape& shape, DType dtype) {
  if (dtype == DType::boolean) return numbers(shape, DType::i32, -4, 4) > 0;
  return numbers(shape, dtype, dtype == DType::u8 ? 0 : -100, 100);
}

Expr DrawnCase::indices(const Shape& shape, DType dtype, std::int64_t n) {
  return numbers(shape, dtype, 0, static_cast<double>(n) - 1e-6);
}

void DrawnCase::check() const {
  check_on_cuda(outputs, feeds, 0);
  compile_to_cubin(outputs);
}

bool skips_cuda_programs() {
  const std::string why = why_no_cuda_programs();
  if (!why.empty()) BOOST_TEST_MESSAGE("skipped: " << why);
  return !why.empty();
}

}  // namespace test_support
