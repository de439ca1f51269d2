// Sort and Scan on the CPU. Parts are lines, or runs of columns; both orders depend on the shape
// alone.
#include <algorithm>
#include <bit>
#include <cmath>

#include "backends/cpu/families.h"
#include "blockgrad/ops/order.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_elements = 8192;

// An unsigned number that sorts as the value does: -0 as 0, NaN last.
template <class T>
auto key_of(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    constexpr Bits sign = Bits{1} << (8 * sizeof(T) - 1);
    if (std::isnan(value)) return ~Bits{0};
    const auto bits = value == 0 ? Bits{0} : std::bit_cast<Bits>(value);
    return static_cast<Bits>(bits & sign ? ~bits : bits | sign);
  } else if constexpr (sizeof(T) == 8) {
    return static_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << 63);
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<std::uint32_t>(value) ^ (std::uint32_t{1} << 31);
  } else {
    return static_cast<std::uint32_t>(value);
  }
}

// Numbers of two bytes in the type they are computed in.
template <class T>
using Working = std::conditional_t<std::is_class_v<T>, float, T>;

// A key and its place, so that no two are equal and any sort is stable.
struct WidePlace {
  std::uint64_t key;
  std::uint64_t place;
  bool operator<(const WidePlace& other) const {
    return key != other.key ? key < other.key : place < other.place;
  }
};

std::uint64_t keyed(std::uint32_t key, std::int64_t place) {
  return std::uint64_t{key} << 32 | static_cast<std::uint64_t>(place);
}
WidePlace keyed(std::uint64_t key, std::int64_t place) {
  return {key, static_cast<std::uint64_t>(place)};
}
std::int32_t place_of(std::uint64_t entry) { return static_cast<std::int32_t>(entry); }
std::int32_t place_of(const WidePlace& entry) { return static_cast<std::int32_t>(entry.place); }

struct Lines {
  std::int64_t lines, n, count, per_part;
  bool descending;

  template <class T>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    using Keyed = decltype(keyed(key_of(Working<T>{}), 0));
    Keyed* const sorted = reinterpret_cast<Keyed*>(call.scratch);
    for (std::int64_t line = first; line < last; ++line) {
      const T* x = reinterpret_cast<const T*>(call.in[0]) + line * n;
      std::int32_t* y = reinterpret_cast<std::int32_t*>(call.out[0]) + line * count;
      for (std::int64_t i = 0; i < n; ++i) {
        const auto key = key_of(static_cast<Working<T>>(x[i]));
        sorted[i] = keyed(descending ? ~key : key, i);
      }
      if (count < n) std::partial_sort(sorted, sorted + count, sorted + n);
      else std::sort(sorted, sorted + n);
      for (std::int64_t i = 0; i < count; ++i) y[i] = place_of(sorted[i]);
    }
  }
};

Kernel sort_kernel(const KernelRequest& request) {
  const Shape& x = request.inputs[0].layout.shape;
  const Sort& op = *request.node.op.as<Sort>();
  Lines sort{0, x[x.rank() - 1], op.count, 0, op.descending};
  sort.lines = op.count == 0 ? 0 : request.outputs[0].layout.shape.size() / op.count;
  sort.per_part = std::max<std::int64_t>(1, part_elements / std::max<std::int64_t>(1, sort.n));
  Kernel kernel;
  const bool wide = size_of(request.inputs[0].dtype) == 8;
  kernel.scratch = static_cast<std::size_t>(sort.n) * (wide ? sizeof(WidePlace) : 8);
  kernel.run = visit(request.inputs[0].dtype, [&](auto zero) -> decltype(kernel.run) {
    using T = decltype(zero);
    return [sort](const KernelCall& call, std::int64_t first, std::int64_t last) {
      sort.run<T>(call, first * sort.per_part, std::min(sort.lines, last * sort.per_part));
    };
  });
  kernel.parts = std::max<std::int64_t>(1, (sort.lines + sort.per_part - 1) / sort.per_part);
  const auto n = static_cast<double>(sort.n);
  kernel.cost = 20 + 2 * static_cast<double>(sort.lines) * n *
                         std::log2(2 + std::min(n, static_cast<double>(sort.count)));
  kernel.why = join({sort.lines, " lines of ", sort.n});
  return kernel;
}

// y[j] = carry + local: `local` adds up a block, `carry` the blocks before it. Lines lie side by
// side in `inner` columns; a part is up to 64 of them.
struct Columns {
  static constexpr std::int64_t most = 64, block = 256;
  std::int64_t outer, n, inner, per_part;
  bool reverse;

  std::int64_t parts_of_a_row() const { return (inner + most - 1) / most; }

  template <class T, class Sum>
  void run(const KernelCall& call, std::int64_t part) const {
    const std::int64_t line = part / parts_of_a_row();
    const std::int64_t first = part % parts_of_a_row() * most;
    const std::int64_t width = std::min(most, inner - first);
    const T* x = reinterpret_cast<const T*>(call.in[0]) + line * n * inner + first;
    Sum* y = reinterpret_cast<Sum*>(call.out[0]) + line * n * inner + first;
    constexpr Sum nothing = std::is_floating_point_v<Sum> ? static_cast<Sum>(-0.0) : Sum{0};
    Sum carry[most], local[most];
    std::fill_n(carry, width, nothing);
    std::fill_n(local, width, nothing);
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t row = (reverse ? n - 1 - j : j) * inner;
      if (j > 0 && j % block == 0) {
        for (std::int64_t c = 0; c < width; ++c) {
          carry[c] += local[c];
          local[c] = nothing;
        }
      }
      for (std::int64_t c = 0; c < width; ++c) {
        local[c] += static_cast<Sum>(x[row + c]);
        y[row + c] = carry[c] + local[c];
      }
    }
  }
};

template <class T>
struct Total {
  using type = std::uint64_t;  // wraps; the bits of an i64
};
template <>
struct Total<float> {
  using type = float;
};
template <>
struct Total<double> {
  using type = double;
};

Kernel scan_kernel(const KernelRequest& request) {
  const Shape& x = request.inputs[0].layout.shape;
  const Scan& op = *request.node.op.as<Scan>();
  Columns scan{1, x[op.axis], 1, 1, op.reverse};
  if (x.size() > 0) {
    for (int a = 0; a < op.axis; ++a) scan.outer *= x[a];
    scan.inner = x.size() / (scan.outer * scan.n);
  }
  const std::int64_t tasks = x.size() == 0 ? 0 : scan.outer * scan.parts_of_a_row();
  scan.per_part = std::max<std::int64_t>(
      1, part_elements / std::max<std::int64_t>(1, scan.n * std::min(scan.inner, Columns::most)));
  Kernel kernel;
  kernel.run = visit(request.inputs[0].dtype, [&](auto zero) -> decltype(kernel.run) {
    using T = Working<decltype(zero)>;
    return [scan, tasks](const KernelCall& call, std::int64_t first, std::int64_t last) {
      const std::int64_t end = std::min(tasks, last * scan.per_part);
      for (std::int64_t task = first * scan.per_part; task < end; ++task)
        scan.run<T, typename Total<T>::type>(call, task);
    };
  });
  kernel.parts = std::max<std::int64_t>(1, (tasks + scan.per_part - 1) / scan.per_part);
  kernel.cost = 20 + static_cast<double>(x.size()) * (scan.inner == 1 ? 1.5 : 0.5);
  kernel.why = join({x.size() == 0 ? 0 : scan.outer * scan.inner, " lines of ", scan.n});
  return kernel;
}

}  // namespace

void add_order_kernels(KernelTable& table) {
  table.add<Sort>(sort_kernel);
  table.add<Scan>(scan_kernel);
}

}  // namespace blockgrad
