#pragma once
// Kernels of your own for CUDA, beside those for the CPU in kernels.h: text of CUDA C++ that is
// compiled when a program is, and how it is launched. The table is locked and only grows, so
// kernels may be added while other threads compile. Nothing here needs CUDA.

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <typeindex>
#include <vector>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// A number for a kernel: a `long` or a `double` there. Throws Error for integers that no `long`
/// is.
class CudaNumber {
 public:
  template <std::integral T>
    requires(sizeof(T) <= sizeof(std::int64_t))
  CudaNumber(T value) : long_(static_cast<std::int64_t>(value)) {
    static_assert(!std::is_same_v<T, bool>, "pass 0 or 1 for a bool");
    if constexpr (std::is_unsigned_v<T> && sizeof(T) == sizeof(std::int64_t)) {
      require(value <= T{std::numeric_limits<std::int64_t>::max()},
              "a number for a CUDA kernel is a long, below 2^63; pass the halves of a larger one");
    }
  }
  template <std::floating_point T>
  CudaNumber(T value) : is_double_(true), double_(static_cast<double>(value)) {}
  CudaNumber(Number value) : CudaNumber(value.value) {}

  bool is_double() const { return is_double_; }
  /// As the 8 bytes that the kernel gets.
  std::int64_t bits() const;

 private:
  bool is_double_ = false;
  std::int64_t long_ = 0;
  double double_ = 0;
};

/// A kernel's text, and one launch of it.
struct CudaSource {
  /// CUDA C++ of `__global__ void KERNEL(const X0* x, …, Y0* y, …, long n, …)` under that name, and
  /// of what it calls. Its parameters are the inputs, the outputs, then the numbers. Values are
  /// dense and row-major; outputs hold anything before. X0, X1, … and Y0, Y1, … name the types of
  /// elements: float, double, long (i64), int (i32), unsigned char (u8), bool, bf16, f16. Nothing
  /// can be included; the functions of the elementwise language are there, as math::exp(x), with
  /// the bits of the CPU. a * b + c is not contracted; math::fma is one.
  std::string text;
  std::int64_t blocks = 1;  // of the grid, a line: at least 1
  int threads = 256;        // of a block, a line: 1 to 1024; registers are shared out for so many
  std::vector<CudaNumber> numbers = {};
};

class CudaKernels {
 public:
  /// From now on CUDA programs compute ops of type T by the kernel that
  /// `describe(const T& op, Types inputs, Types outputs)` gives, also where T has an `expand`. It
  /// is called when a program is compiled, not for nodes whose results are all empty, and gives
  /// the same for the same arguments: a lambda without captures. Keep sizes among the numbers,
  /// then one kernel does for all of them. What it throws, and what a compiler says against the
  /// text, comes out of compile as an Error with op and line in front. Adding the same lambda again
  /// changes nothing.
  /// Throws Error if T has another kernel already.
  ///
  /// Example: `cuda_kernels().add<Reverse>([](const Reverse&, Types in, Types) -> CudaSource {
  ///   const std::int64_t n = in[0].shape.size();
  ///   return {.text = R"(__global__ void KERNEL(const X0* x, Y0* y, long n) {
  ///     const long i = blockIdx.x * 256L + threadIdx.x;
  ///     if (i < n) y[i] = x[n - 1 - i];
  ///   })", .blocks = (n + 255) / 256, .numbers = {n}}; });`
  template <OpLike T, class F>
  void add(F, SourceLoc where = SourceLoc::here()) const {
    static_assert(std::is_empty_v<F> && std::default_initializable<F>,
                  "a kernel captures nothing: what it needs are types and attributes of its op");
    static_assert(std::is_invocable_r_v<CudaSource, const F&, const T&, Types, Types>,
                  "a kernel is asked for by (const Op&, Types inputs, Types outputs)");
    add(
        typeid(T), T::name, typeid(F),
        [](const Op& op, Types in, Types out) -> CudaSource { return F{}(*op.as<T>(), in, out); },
        where);
  }

 private:
  friend CudaKernels cuda_kernels();
  CudaKernels() = default;
  void add(std::type_index op, std::string_view name, std::type_index function,
           CudaSource (*describe)(const Op&, Types, Types), SourceLoc where) const;
};

CudaKernels cuda_kernels();

}  // namespace blockgrad
