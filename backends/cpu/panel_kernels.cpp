// Panels and the products that read them.
#include <algorithm>
#include <memory>
#include <type_traits>

#include "backends/cpu/families.h"
#include "backends/cpu/gemm.h"
#include "backends/panels.h"

namespace blockgrad {

namespace {

constexpr std::int64_t rows_of_part = 128;

// Parts are runs of rows of one panel.
struct Packing {
  std::int64_t k = 0, n = 0, offset = 0, ld = 0;
  bool is_transposed = false;
  Isa isa = Isa::portable;

  std::int64_t parts_of_panel() const { return (k + rows_of_part - 1) / rows_of_part; }

  template <class T>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last,
           const detail::TileKernels<T>& table) const {
    for (std::int64_t part = first; part < last; ++part) {
      const std::int64_t column = part / parts_of_panel() * panel_columns;
      const std::int64_t row = part % parts_of_panel() * rows_of_part;
      const std::int64_t rows = std::min(rows_of_part, k - row);
      const std::int64_t columns = std::min(panel_columns, n - column);
      T* const to = reinterpret_cast<T*>(call.out[0]) + column * k + row * panel_columns;
      if (columns < panel_columns) std::fill_n(to, rows * panel_columns, T{});
      const T* const b = reinterpret_cast<const T*>(call.in[0]) + offset;
      if (is_transposed)
        table.transpose(rows, columns, b + column * ld + row, ld, to, panel_columns);
      else table.copy(rows, columns, b + row * ld + column, ld, to, panel_columns);
    }
  }
};

Kernel packing_kernel(const KernelRequest& request) {
  const Layout& b = request.inputs[0].layout;
  const DType dtype = request.inputs[0].dtype;
  Packing packing{b.shape[0], b.shape[1], b.offset};
  packing.is_transposed = b.strides[1] != 1;
  packing.ld = packing.is_transposed ? b.strides[1] : b.strides[0];
  packing.isa = request.isa;
  Kernel kernel;
  kernel.parts = packing.parts_of_panel() * request.outputs[0].layout.shape[0];
  kernel.cost = 20 + 0.1 * static_cast<double>(b.shape.size());
  kernel.why = join({"for the products that share it, ", packing.is_transposed ? "transposed" : "",
                     packing.is_transposed ? ", " : "", panel_columns, " columns each"});
  kernel.run = [packing, dtype](const KernelCall& call, std::int64_t first, std::int64_t last) {
    const detail::GemmKernels& kernels = detail::gemm_kernels(packing.isa);
    if (dtype == DType::f32) packing.run(call, first, last, kernels.f32);
    else packing.run(call, first, last, kernels.f64);
  };
  return kernel;
}

Kernel product_kernel(const KernelRequest& request) {
  const Layout &a = request.inputs[0].layout, &b = request.inputs[1].layout;
  const DType dtype = request.inputs[0].dtype;
  GemmShape shape;
  shape.m = a.shape[0];
  shape.k = a.shape[1];
  shape.n = request.outputs[0].layout.shape[1];
  shape.type = dtype == DType::f32 ? GemmType::f32 : GemmType::f64;
  shape.a_row = a.strides[0];
  shape.a_col = a.strides[1];
  shape.b_row = panel_columns;
  shape.b_panel = panel_columns;
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  Kernel kernel;
  const auto gemm = std::make_shared<const Gemm>(Gemm::make(shape, request.isa));
  kernel.parts = gemm->parts();
  kernel.scratch = gemm->scratch();
  kernel.cost = 20 + 2.0 * static_cast<double>(shape.m * shape.n * shape.k) / 60;
  kernel.why = to_string(gemm->plan());
  kernel.run = [gemm, a_begin = a.offset * size, b_begin = b.offset * size](
                   const KernelCall& call, std::int64_t first, std::int64_t last) {
    gemm->run(call.in[0] + a_begin, call.in[1] + b_begin, call.out[0], first, last, call.scratch);
  };
  return kernel;
}

}  // namespace

void add_panel_kernels(KernelTable& table) {
  table.add<Panels>(packing_kernel);
  table.add<PanelProduct>(product_kernel);
}

}  // namespace blockgrad
