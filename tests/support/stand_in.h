#pragma once
// The cuBLASLt that stands in for the real one: see tests/cuda/stubs/good_cublaslt.cpp. Each has a
// file, and so a state, of its own.

#include <dlfcn.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/products/lt_product.h"
#include "data/support.h"

namespace test_support {

class StandIn {
 public:
  StandIn() {
    const std::string path = folder_ / "libcublasLt.so.13";
    std::filesystem::copy_file(std::string(BG_STUBS) + "/libgood_cublaslt.so", path);
    lt_ = blockgrad::load_cublaslt(std::vector{folder_.path()});
    library_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  }

  const blockgrad::CublasLt& lt() const { return lt_; }
  std::shared_ptr<const blockgrad::LtHandle> handle() const {
    return std::make_shared<blockgrad::LtHandle>(lt_);
  }
  std::function<blockgrad::CublasLt()> opener() const {
    return [lt = lt_] { return lt; };
  }
  /// What its products say they took, all together.
  double seconds() const { return function<double()>("fake_cublaslt_seconds")(); }
  int runs() const { return function<int()>("fake_cublaslt_runs")(); }
  /// What later handles get; 0: they are made.
  void refuse_handles(int status) const {
    function<void(int)>("fake_cublaslt_refuse_handles")(status);
  }
  /// These two, counted from 0, are proposed; the library refuses one as soon as it is asked.
  void refuse_algorithms(std::uint64_t by_check, std::uint64_t when_called) const {
    function<void(std::uint64_t, std::uint64_t)>("fake_cublaslt_refuse_algorithms")(by_check,
                                                                                    when_called);
  }

 private:
  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(::dlsym(library_, name));
  }

  data_test::TemporaryFolder folder_;
  blockgrad::CublasLt lt_;
  void* library_ = nullptr;
};

}  // namespace test_support
