#include "smooth.h"

namespace bg = blockgrad;

namespace {

struct Smooth {
  static constexpr std::string_view name = "smooth";
  bg::Number memory;
  bool reversed = false;
  bool operator==(const Smooth&) const = default;
  bg::TensorType infer(bg::Types in) const {
    bg::require(in.size() == 1 && in[0].shape.rank() == 1, "wants one series");
    return in[0];
  }
  std::vector<bg::Expr> vjp(const bg::Backward& b) const {
    return {bg::make(Smooth{memory, !reversed}, {b.dy()})};
  }
};

}  // namespace

bg::Expr smooth(bg::Arg x, double memory) {
  return bg::make(Smooth{memory}, {bg::as_expr(x, bg::DType::f32)}, x.where());
}

void add_smooth_kernel() {
  bg::cpu_kernels().add<Smooth>([](const Smooth& op, const bg::KernelArgs& args) {
    const auto x = args.input<float>(0);
    const auto y = args.output<float>();
    double last = 0;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const std::size_t at = op.reversed ? x.size() - 1 - t : t;
      last = op.memory.value * last + (1 - op.memory.value) * x[at];
      y[at] = static_cast<float>(last);
    }
  });
}
