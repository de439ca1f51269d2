// MaxPool2d and its gradient on the CPU, channel by channel.
#include <algorithm>

#include "backends/cpu/families.h"
#include "backends/cpu/pool_kernels.h"
#include "blockgrad/ops/pool.h"

namespace blockgrad {

namespace detail {

extern const PoolTable pool_portable;
#if defined(__x86_64__)
extern const PoolTable pool_avx2;
extern const PoolTable pool_avx512;
#endif

const PoolTable& pool_table(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return pool_avx512;
  if (isa == Isa::avx2) return pool_avx2;
#endif
  // Plain loops, which compilers vectorise for every 64-bit ARM.
  check_internal(isa == Isa::portable || isa == Isa::neon, "no pooling for ", isa_name(isa));
  return pool_portable;
}

}  // namespace detail

namespace {

using detail::PoolAxis;
using detail::PoolKernels;
using detail::PoolShape;

constexpr std::int64_t most_parts = 64;
// Of images whose elements are told at once: with what they are made from, and what a formula reads
// beside them, they stay in the first cache level.
constexpr std::int64_t most_told_bytes = 8 * 1024;

// `x` and `y` are the images and the results; what a part is depends on their number alone.
template <class T, class Run>
Kernel kernel_of(const Pair& size, const Pair& stride, const Pair& padding, const Shape& x,
                 const Shape& y, Run run) {
  const int rank = x.rank();
  // A single window may be followed by any distance.
  const auto axis = [&](int a, std::int64_t width, std::int64_t step, std::int64_t around) {
    return PoolAxis{x[a], y[a], width, y[a] > 1 ? step : width, around};
  };
  const PoolShape shape{axis(rank - 2, size.rows, stride.rows, padding.rows),
                        axis(rank - 1, size.columns, stride.columns, padding.columns)};
  const std::int64_t images = x.size() / (shape.rows.x * shape.columns.x);
  const std::int64_t parts = std::clamp<std::int64_t>(images, 1, most_parts);
  Kernel kernel;
  kernel.parts = parts;
  kernel.scratch = static_cast<std::size_t>(detail::pool_scratch(shape)) * sizeof(T);
  kernel.cost = 20 + 0.5 * static_cast<double>(x.size());
  kernel.why = join({images, " images, windows of ", size.rows, "x", size.columns});
  kernel.run = [=](const KernelCall& call, std::int64_t first, std::int64_t last) {
    const std::int64_t image = shape.rows.x * shape.columns.x;
    const std::int64_t end = images * last / parts;
    const std::int64_t few = std::max<std::int64_t>(
        1, most_told_bytes / std::max<std::int64_t>(1, image * std::int64_t{sizeof(T)}));
    for (std::int64_t begin = images * first / parts, count = 0; begin < end; begin += count) {
      count = call.made.tell ? std::min(few, end - begin) : end - begin;
      run(shape, count, call, begin * image, begin * shape.rows.y * shape.columns.y,
          reinterpret_cast<T*>(call.scratch));
      if (call.made.tell) call.made.tell(call.made.context, begin * image, (begin + count) * image);
    }
  };
  return kernel;
}

template <class T>
Kernel largest_kernel(const MaxPool2d& op, const KernelRequest& r) {
  const PoolKernels<T>& kernels = detail::pool_table(r.isa).of<T>();
  return kernel_of<T>(
      op.size, op.stride, op.padding, r.inputs[0].layout.shape, r.outputs[0].layout.shape,
      [&kernels](const PoolShape& shape, std::int64_t images, const KernelCall& call,
                 std::int64_t x, std::int64_t y, T* scratch) {
        kernels.largest(shape, images, reinterpret_cast<const T*>(call.in[0]) + x,
                        reinterpret_cast<T*>(call.out[0]) + y, scratch);
      });
}

template <class T>
Kernel to_largest_kernel(const MaxPool2dInput& op, const KernelRequest& r) {
  const PoolKernels<T>& kernels = detail::pool_table(r.isa).of<T>();
  Kernel kernel = kernel_of<T>(
      op.size, op.stride, op.padding, r.inputs[0].layout.shape, r.inputs[1].layout.shape,
      [&kernels](const PoolShape& shape, std::int64_t images, const KernelCall& call,
                 std::int64_t x, std::int64_t y, T* scratch) {
        kernels.to_largest(shape, images, reinterpret_cast<const T*>(call.in[0]) + x,
                           reinterpret_cast<const T*>(call.in[1]) + y,
                           reinterpret_cast<T*>(call.out[0]) + x, scratch);
      });
  kernel.tells_elements = true;
  return kernel;
}

}  // namespace

void add_pool_kernels(KernelTable& table) {
  table.add<MaxPool2d>([](const KernelRequest& r) {
    const MaxPool2d& op = *r.node.op.as<MaxPool2d>();
    return r.inputs[0].dtype == DType::f32 ? largest_kernel<float>(op, r)
                                           : largest_kernel<double>(op, r);
  });
  table.add<MaxPool2dInput>([](const KernelRequest& r) {
    const MaxPool2dInput& op = *r.node.op.as<MaxPool2dInput>();
    return r.inputs[0].dtype == DType::f32 ? to_largest_kernel<float>(op, r)
                                           : to_largest_kernel<double>(op, r);
  });
}

}  // namespace blockgrad
