#include "custom_op/smooth.h"

#include "blockgrad/backends/cuda_kernels.h"
#include "blockgrad/backends/kernels.h"

namespace custom_op {

using namespace blockgrad;

TensorType Smooth::infer(Types in) const {
  require(in[0].shape.rank() == 1 && is_floating(in[0].dtype),
          "wants one series of fractions, got ", in[0].dtype, " ", in[0].shape);
  require(memory.value >= 0 && memory.value < 1, "memory must lie in [0, 1), got ", memory.value);
  return in[0];
}

std::vector<Expr> Smooth::vjp(const Backward& b) const {
  return {make(Smooth{memory, !reversed}, {b.dy()})};
}

Expr smooth(Arg x, double memory) {
  return make(Smooth{memory}, {as_expr(x, DType::f32)}, x.where());
}

namespace {

// A block splits the series into a chunk for each thread, which smooths it as if nothing came
// before. What each chunk leaves for the next is carried from chunk to chunk by one thread, and
// fades within the chunk as memory^steps.
constexpr const char* cuda_text = R"(
__global__ void KERNEL(const X0* x, Y0* y, long n, double memory, long reversed) {
  __shared__ double before[256];  // what reaches each chunk from those before it
  const long chunk = (n + blockDim.x - 1) / blockDim.x;
  const long first = threadIdx.x * chunk, end = first + chunk < n ? first + chunk : n;
  double last = 0, fading = 1;
  for (long t = first; t < end; ++t) {
    last = memory * last + (1 - memory) * static_cast<double>(x[reversed ? n - 1 - t : t]);
    fading *= memory;
  }
  before[threadIdx.x] = last;
  __syncthreads();
  if (threadIdx.x == 0) {
    double carried = 0;
    for (int i = 0; i < blockDim.x; ++i) {
      const double own = before[i];
      before[i] = carried;
      carried = own + fading * carried;  // chunks but the last are of one length
    }
  }
  __syncthreads();
  last = before[threadIdx.x];
  for (long t = first; t < end; ++t) {
    const long at = reversed ? n - 1 - t : t;
    last = memory * last + (1 - memory) * static_cast<double>(x[at]);
    y[at] = static_cast<Y0>(last);
  }
}
)";

}  // namespace

void add_smooth_kernels() {
  cpu_kernels().add<Smooth>([](const Smooth& op, const KernelArgs& args) {
    visit(args.input_type(0).dtype, [&]<class T>(T) {
      const auto x = args.input<T>(0);
      const auto y = args.output<T>();
      double last = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t t = op.reversed ? x.size() - 1 - i : i;
        last = op.memory.value * last + (1 - op.memory.value) * static_cast<double>(x[t]);
        y[t] = static_cast<T>(last);
      }
    });
  });
  cuda_kernels().add<Smooth>([](const Smooth& op, Types in, Types) -> CudaSource {
    return {.text = cuda_text, .numbers = {in[0].shape.size(), op.memory, int{op.reversed}}};
  });
}

}  // namespace custom_op
