#include "tests/support/with_products.h"

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/harness/host_runtime.h"

namespace test_support {

using namespace blockgrad;

namespace {

class WithProducts final : public CudaRuntime {
 public:
  explicit WithProducts(const CudaProducts& products) : products_(products) {}

  std::string title() const override { return host_->title(); }
  CudaLimits limits() const override { return host_->limits(); }
  CudaLibraries libraries() const override { return {.products = &products_}; }
  std::int64_t free_bytes() const override { return host_->free_bytes(); }
  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    return host_->load(texts);
  }
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override {
    return host_->allocate(bytes);
  }
  void launch(const CudaCall& call) override { host_->launch(call); }
  void copy_in(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    host_->copy_in(to, from, bytes);
  }
  void copy_within(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    host_->copy_within(to, from, bytes);
  }
  void copy_out(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    host_->copy_out(to, from, bytes);
  }
  void wait() override { host_->wait(); }
  std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) override {
    return host_->record(calls);
  }

 private:
  const CudaProducts& products_;
  std::shared_ptr<CudaRuntime> host_ = harness::host_runtime();
};

}  // namespace

Device device_with_products(const CudaProducts& products, std::function<double()> now) {
  return make_device("cuda on the CPU",
                     cuda_backend(std::make_shared<WithProducts>(products), std::move(now)));
}

}  // namespace test_support
