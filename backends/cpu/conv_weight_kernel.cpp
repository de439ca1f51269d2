// Conv2dWeight on the CPU, by ConvSums.
#include <algorithm>
#include <memory>

#include "backends/cpu/conv_sizes.h"
#include "backends/cpu/conv_sums.h"
#include "backends/cpu/families.h"
#include "blockgrad/ops/conv.h"

namespace blockgrad {

namespace {

using detail::ConvKernels;
using detail::ConvSizes;
using detail::ConvSums;
using detail::ConvSumsForm;

template <class T>
Kernel weight_kernel(const ConvSizes& s, Isa isa) {
  const ConvSumsForm form{s.images,
                          s.out,
                          s.in,
                          s.rows.forward(),
                          s.columns.forward(),
                          s.groups * s.out * s.y_channel(),
                          s.groups * s.in * s.x_channel()};
  const ConvKernels<T>& kernels = detail::conv_table(isa).of<T>();
  const auto sums = std::make_shared<const ConvSums>(form, kernels);
  Kernel kernel;
  kernel.parts = s.groups * sums->channel_blocks() * sums->result_blocks();
  kernel.scratch = static_cast<std::size_t>(sums->scratch()) * sizeof(T);
  kernel.cost = s.nanoseconds();
  kernel.why = join({"blocks of ", sums->image_block(), " images and ", sums->row_block(),
                     " rows, scratch of ", kernel.scratch, " bytes"});
  kernel.run = [s, sums, &kernels](const KernelCall& call, std::int64_t first, std::int64_t last) {
    const T* const x = reinterpret_cast<const T*>(call.in[0]);
    const T* const dy = reinterpret_cast<const T*>(call.in[1]);
    T* const w = reinterpret_cast<T*>(call.out[0]);
    const std::int64_t blocks = sums->result_blocks();
    while (first < last) {
      const std::int64_t of = first / blocks, begin = first % blocks;
      const std::int64_t end = std::min(blocks, begin + last - first);
      const std::int64_t group = of / sums->channel_blocks();
      sums->run(kernels, dy + group * s.out * s.y_channel(), x + group * s.in * s.x_channel(),
                w + group * s.out * s.in * s.taps(), s.in * s.taps(), of % sums->channel_blocks(),
                begin, end, reinterpret_cast<T*>(call.scratch));
      first += end - begin;
    }
  };
  return kernel;
}

}  // namespace

void add_conv_weight_kernels(KernelTable& table) {
  table.add<Conv2dWeight>([](const KernelRequest& r) {
    const ConvSizes sizes(r.node.op.as<Conv2dWeight>()->options, r.inputs[0].layout.shape,
                          r.outputs[0].layout.shape, r.inputs[1].layout.shape);
    return r.inputs[0].dtype == DType::f32 ? weight_kernel<float>(sizes, r.isa)
                                           : weight_kernel<double>(sizes, r.isa);
  });
}

}  // namespace blockgrad
