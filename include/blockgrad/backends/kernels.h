#pragma once
// Kernels of your own for the CPU. An op that is more than a formula is a plain struct like the
// built-in ones; what computes it is registered here, by a call, once. The table is locked and only
// grows, so kernels may be added while other threads compile; programs compiled before keep what
// they have.

#include <concepts>
#include <span>
#include <type_traits>
#include <typeindex>

#include "blockgrad/graph/op.h"

namespace blockgrad {

class KernelTable;

/// The values of one node in one step: inputs and results, dense and row-major. Results hold
/// anything before the kernel writes them, and share no memory with inputs. Valid during the call.
class KernelArgs {
 public:
  KernelArgs(Types inputs, Types outputs, const std::byte* const* in, std::byte* const* out)
      : inputs_(inputs), outputs_(outputs), in_(in), out_(out) {}

  int input_count() const { return static_cast<int>(inputs_.size()); }
  int output_count() const { return static_cast<int>(outputs_.size()); }
  /// Shape and dtype. Throws Error if there is no input or output i.
  const TensorType& input_type(int i) const;
  const TensorType& output_type(int i = 0) const;

  /// The elements of input i. Throws Error if there is none or T is not its dtype.
  template <class T>
  std::span<const T> input(int i) const {
    return {reinterpret_cast<const T*>(input_bytes(i, dtype_of<T>())),
            static_cast<std::size_t>(input_type(i).shape.size())};
  }
  /// The elements of result i, to be written, all of them. Throws Error as `input`.
  template <class T>
  std::span<T> output(int i = 0) const {
    return {reinterpret_cast<T*>(output_bytes(i, dtype_of<T>())),
            static_cast<std::size_t>(output_type(i).shape.size())};
  }

 private:
  const std::byte* input_bytes(int i, DType asked) const;
  std::byte* output_bytes(int i, DType asked) const;

  Types inputs_, outputs_;
  const std::byte* const* in_;
  std::byte* const* out_;
};

/// The kernels of the CPU, by type of op.
class CpuKernels {
 public:
  /// From now on programs compute ops of type T by `kernel(const T& op, const KernelArgs& args)`,
  /// in one thread, also where T has an `expand`. The kernel is a lambda without captures: what it
  /// needs are inputs and attributes of the op. What it throws ends the step, which then updates
  /// nothing, and comes out as an Error with op and line in front; a DeviceError, or memory running
  /// out, as a DeviceError. Adding the same lambda again changes nothing.
  /// Throws Error if T has another kernel already.
  ///
  /// Example: `cpu_kernels().add<Reverse>([](const Reverse&, const KernelArgs& args) {
  ///   std::ranges::reverse_copy(args.input<float>(0), args.output<float>().begin()); });`
  template <OpLike T, class F>
  void add(F, SourceLoc where = SourceLoc::here()) const {
    static_assert(std::is_empty_v<F> && std::default_initializable<F>,
                  "a kernel captures nothing: what it needs are inputs and attributes of its op");
    static_assert(std::invocable<const F&, const T&, const KernelArgs&>,
                  "a kernel is called with (const Op&, const KernelArgs&)");
    add(
        typeid(T), T::name, typeid(F),
        [](const Op& op, const KernelArgs& args) { F{}(*op.as<T>(), args); }, where);
  }

 private:
  friend CpuKernels cpu_kernels();
  explicit CpuKernels(KernelTable& table) : table_(table) {}
  void add(std::type_index op, std::string_view name, std::type_index function,
           void (*kernel)(const Op&, const KernelArgs&), SourceLoc where) const;

  KernelTable& table_;
};

CpuKernels cpu_kernels();

}  // namespace blockgrad
