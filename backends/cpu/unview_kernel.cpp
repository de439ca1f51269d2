// Unview on the CPU: parts are put one after the other; a place hit for the first time is stored,
// later hits add.
#include <algorithm>
#include <cstring>
#include <memory>

#include "backends/cpu/families.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

struct Placement {
  std::vector<Layout> layouts;
  std::int64_t size = 0;
  double fill = 0;

  // `hit` marks places that hold a part's value already.
  std::int64_t marks() const { return (size + 63) / 64 * 64; }

  template <class T>
  void run(const KernelCall& call) const {
    put<T>(call, reinterpret_cast<T*>(call.out[0]));
  }

  // bf16 and f16 are added as f32 and rounded once.
  template <class T>
  void run_wide(const KernelCall& call) const {
    auto* sums = reinterpret_cast<float*>(call.scratch + marks());
    put<T>(call, sums);
    T* out = reinterpret_cast<T*>(call.out[0]);
    for (std::int64_t i = 0; i < size; ++i) out[i] = T(sums[i]);
  }

  template <class T, class Sum>
  void put(const KernelCall& call, Sum* out) const {
    auto* hit = reinterpret_cast<std::uint8_t*>(call.scratch);
    std::fill_n(out, size, start<Sum>());
    std::memset(hit, 0, static_cast<std::size_t>(size));
    for (std::size_t p = 0; p < layouts.size(); ++p)
      place(out, hit, reinterpret_cast<const T*>(call.in[p]), layouts[p]);
  }

  // A negative fill of an integer comes here as unsigned.
  template <class T>
  T start() const {
    if constexpr (std::is_floating_point_v<T>) return static_cast<T>(fill);
    else return static_cast<T>(static_cast<std::int64_t>(fill));
  }

  template <class Sum, class T>
  static void place(Sum* out, std::uint8_t* hit, const T* part, const Layout& layout) {
    const int rank = layout.shape.rank();
    std::array<std::int64_t, max_rank> at{};
    std::int64_t where = layout.offset;
    for (std::int64_t i = 0; i < layout.shape.size(); ++i) {
      const auto value = static_cast<Sum>(part[i]);
      out[where] = hit[where] ? static_cast<Sum>(out[where] + value) : value;
      hit[where] = 1;
      for (int a = rank - 1; a >= 0; --a) {
        const auto axis = static_cast<std::size_t>(a);
        where += layout.strides[axis];
        if (++at[axis] < layout.shape[a]) break;
        where -= layout.shape[a] * layout.strides[axis];
        at[axis] = 0;
      }
    }
  }
};

}  // namespace

void add_unview_kernels(KernelTable& table) {
  table.add<Unview>([](const KernelRequest& request) {
    const Unview& op = *request.node.op.as<Unview>();
    auto placement =
        std::make_shared<const Placement>(Placement{op.layouts, op.shape.size(), op.fill.value});
    const DType dtype = request.outputs[0].dtype;
    Kernel kernel;
    const std::int64_t sums = is_half(dtype) ? op.shape.size() * std::int64_t{4} : 0;
    kernel.scratch = static_cast<std::size_t>(placement->marks() + sums);
    kernel.cost = 20 + 2.0 * static_cast<double>(op.shape.size());
    kernel.why = join({op.layouts.size(), " parts into ", op.shape});
    kernel.run = [placement, dtype](const KernelCall& call, std::int64_t, std::int64_t) {
      switch (dtype) {
        case DType::f32: return placement->run<float>(call);
        case DType::f64: return placement->run<double>(call);
        case DType::bf16: return placement->run_wide<bf16>(call);
        case DType::f16: return placement->run_wide<f16>(call);
        case DType::i32: return placement->run<std::uint32_t>(call);
        case DType::i64: return placement->run<std::uint64_t>(call);
        default: return placement->run<std::uint8_t>(call);
      }
    };
    return kernel;
  });
}

}  // namespace blockgrad
