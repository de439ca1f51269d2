#include "custom_op/smooth.h"

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

void add_smooth_kernel() {
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
}

}  // namespace custom_op
