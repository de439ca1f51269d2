// Rows by number on the CPU. Indices were checked by CheckIndex, whose output replaces a bad index
// by 0: nothing behind it reads out of bounds, and the run ends in an Error before it updates
// anything. Rows are read in parts of equal bytes; rows are written in parts of whole columns, so
// that every place sees its values in order of position whoever does a part.
#include <algorithm>
#include <cstring>

#include "backends/cpu/families.h"
#include "backends/cpu/prefetch.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/losses.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_bytes = 65536;  // read or written by a part of a Gather
constexpr std::int64_t part_columns = 64;   // of a part of a ScatterAdd or Put

// y = x where `fits` holds, else 0 and a report.
template <class T, class F>
void check_each(const KernelCall& call, std::int64_t count, F fits) {
  const T* x = reinterpret_cast<const T*>(call.in[0]);
  T* y = reinterpret_cast<T*>(call.out[0]);
  for (std::int64_t i = 0; i < count; ++i) {
    const bool is_good = fits(x[i]);
    if (!is_good) call.errors->report(i, x[i]);
    y[i] = is_good ? x[i] : T{0};
  }
}

template <class F>
Kernel check_kernel(std::int64_t count, F run) {
  Kernel kernel;
  kernel.run = [run](const KernelCall& call, std::int64_t, std::int64_t) { run(call); };
  kernel.cost = 20 + static_cast<double>(count);
  return kernel;
}

Kernel index_check(const KernelRequest& request) {
  const std::int64_t count = request.inputs[0].layout.shape.size();
  const std::int64_t n = request.node.op.as<CheckIndex>()->n;
  const bool narrow = request.inputs[0].dtype == DType::i32;
  Kernel kernel = check_kernel(count, [=](const KernelCall& call) {
    const auto fits = [n](std::int64_t i) { return i >= 0 && i < n; };
    if (narrow) check_each<std::int32_t>(call, count, fits);
    else check_each<std::int64_t>(call, count, fits);
  });
  kernel.why = join({count, " indices below ", n});
  kernel.thing = "index";
  kernel.rule = join({"is out of range [0, ", n, ")"});
  return kernel;
}

Kernel count_check(const KernelRequest& request) {
  const std::int64_t count = request.inputs[0].layout.shape.size();
  const bool narrow = request.inputs[0].dtype == DType::f32;
  Kernel kernel = check_kernel(count, [=](const KernelCall& call) {
    const auto fits = [](double x) { return !(x < 0); };
    if (narrow) check_each<float>(call, count, fits);
    else check_each<double>(call, count, fits);
  });
  kernel.why = join({count, " counts"});
  kernel.thing = "count";
  kernel.rule = "is negative";
  return kernel;
}

Kernel divisor_check(const KernelRequest& request) {
  const std::int64_t count = request.inputs[0].layout.shape.size();
  Kernel kernel =
      check_kernel(count, [count, dtype = request.inputs[0].dtype](const KernelCall& call) {
        const auto fits = [](std::int64_t x) { return x != 0; };
        if (dtype == DType::i32) check_each<std::int32_t>(call, count, fits);
        else if (dtype == DType::i64) check_each<std::int64_t>(call, count, fits);
        else check_each<std::uint8_t>(call, count, fits);
      });
  kernel.why = join({count, " divisors"});
  kernel.thing = "divisor";
  kernel.rule = "is not allowed";
  return kernel;
}

struct Rows {
  std::int64_t count;    // of indices
  std::int64_t height;   // rows of x
  std::int64_t width;    // elements of a row
  std::int64_t element;  // bytes
  std::int64_t per_part = 1;

  explicit Rows(const KernelRequest& request)
      : count(request.inputs[1].layout.shape.size()),
        height(request.inputs[0].layout.shape[0]),
        width(height == 0 ? 0 : request.inputs[0].layout.shape.size() / height),
        element(static_cast<std::int64_t>(size_of(request.inputs[0].dtype))) {}
  std::int64_t bytes() const { return width * element; }
};

// y[k] = x[i[k]] for elements that are as wide as T.
template <class T, class Index>
void gather_elements(const KernelCall& call, std::int64_t first, std::int64_t last) {
  const T* x = reinterpret_cast<const T*>(call.in[0]);
  const Index* i = reinterpret_cast<const Index*>(call.in[1]);
  T* y = reinterpret_cast<T*>(call.out[0]);
  for (std::int64_t k = first; k < last; ++k) y[k] = x[i[k]];
}

template <class Index>
void gather_rows(const KernelCall& call, std::int64_t bytes, std::int64_t first,
                 std::int64_t last) {
  switch (bytes) {
    case 0: return;
    case 1: return gather_elements<std::uint8_t, Index>(call, first, last);
    case 2: return gather_elements<std::uint16_t, Index>(call, first, last);
    case 4: return gather_elements<std::uint32_t, Index>(call, first, last);
    case 8: return gather_elements<std::uint64_t, Index>(call, first, last);
    default: break;
  }
  const Index* i = reinterpret_cast<const Index*>(call.in[1]);
  constexpr std::int64_t ahead = 8;  // rows on their way to the cache
  for (std::int64_t k = first; k < last; ++k) {
    if (k + ahead < last)
      prefetch_to_read(call.in[0] + i[k + ahead] * bytes, std::min<std::int64_t>(bytes, 1024));
    std::memcpy(call.out[0] + k * bytes, call.in[0] + i[k] * bytes,
                static_cast<std::size_t>(bytes));
  }
}

Kernel gather_kernel(const KernelRequest& request) {
  Rows rows(request);
  rows.per_part = std::max<std::int64_t>(1, part_bytes / std::max<std::int64_t>(1, rows.bytes()));
  const bool narrow = request.inputs[1].dtype == DType::i32;
  Kernel kernel;
  kernel.run = [=](const KernelCall& call, std::int64_t first, std::int64_t last) {
    const std::int64_t begin = first * rows.per_part;
    const std::int64_t end = std::min(rows.count, last * rows.per_part);
    if (narrow) gather_rows<std::int32_t>(call, rows.bytes(), begin, end);
    else gather_rows<std::int64_t>(call, rows.bytes(), begin, end);
  };
  kernel.parts = std::max<std::int64_t>(1, (rows.count + rows.per_part - 1) / rows.per_part);
  kernel.cost =
      20 + static_cast<double>(rows.count) + static_cast<double>(rows.count * rows.bytes()) / 8;
  kernel.why = join({rows.count, " rows of ", rows.bytes(), " bytes"});
  return kernel;
}

// y = x, then rows of v combined into rows of y in order of position, on columns [first, last).
struct Scatter : Rows {
  bool adds = false;
  bool x_is_number = false, v_is_number = false;

  using Rows::Rows;

  template <class T, class Index>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    const T* x = reinterpret_cast<const T*>(call.in[0]);
    const Index* i = reinterpret_cast<const Index*>(call.in[1]);
    const T* v = reinterpret_cast<const T*>(call.in[2]);
    T* y = reinterpret_cast<T*>(call.out[0]);
    const std::int64_t n = last - first;
    if (n <= 0 || height == 0) return;
    if (x_is_number && n == width) std::fill_n(y, height * width, *x);
    else if (n == width) std::copy_n(x, height * width, y);
    else
      for (std::int64_t row = 0; row < height; ++row) {
        T* to = y + row * width + first;
        if (x_is_number) std::fill_n(to, n, *x);
        else std::copy_n(x + row * width + first, n, to);
      }
    if (width == 1 && !v_is_number) {
      if (adds)
        for (std::int64_t k = 0; k < count; ++k) add(y[i[k]], v[k]);
      else
        for (std::int64_t k = 0; k < count; ++k) y[i[k]] = v[k];
      return;
    }
    for (std::int64_t k = 0; k < count; ++k) {
      T* to = y + i[k] * width + first;
      const T* from = v + k * width + first;
      if (v_is_number) std::fill_n(to, n, *v);
      else if (!adds) std::copy_n(from, n, to);
      else
        for (std::int64_t c = 0; c < n; ++c) add(to[c], from[c]);
    }
  }

  template <class T>
  static void add(T& to, T from) {
    if constexpr (std::is_class_v<T>) fail_internal({"rows of two bytes are added as f32"});
    else to = static_cast<T>(to + from);
  }
};

// The C++ type whose arithmetic has no undefined overflow.
template <class T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<std::int32_t> {
  using type = std::uint32_t;
};
template <>
struct Wrapping<std::int64_t> {
  using type = std::uint64_t;
};
template <>
struct Wrapping<bool> {
  using type = std::uint8_t;
};

Kernel scatter_kernel(const KernelRequest& request, bool adds) {
  Scatter scatter(request);
  scatter.adds = adds;
  scatter.x_is_number = !request.inputs[0].layout.is_dense();
  scatter.v_is_number = !request.inputs[2].layout.is_dense();
  scatter.per_part = scatter.width >= 2 * part_columns ? part_columns : scatter.width;
  const std::int64_t width = scatter.width;
  const bool narrow = request.inputs[1].dtype == DType::i32;
  Kernel kernel;
  kernel.run = visit(request.inputs[0].dtype, [&](auto zero) -> decltype(kernel.run) {
    using T = typename Wrapping<decltype(zero)>::type;
    return [=](const KernelCall& call, std::int64_t first, std::int64_t last) {
      const std::int64_t begin = first * scatter.per_part;
      const std::int64_t end = std::min(width, last * scatter.per_part);
      if (narrow) scatter.run<T, std::int32_t>(call, begin, end);
      else scatter.run<T, std::int64_t>(call, begin, end);
    };
  });
  kernel.parts = width == 0 ? 1 : (width + scatter.per_part - 1) / scatter.per_part;
  kernel.cost = 20 + static_cast<double>(scatter.count) +
                static_cast<double>((scatter.count + scatter.height) * scatter.bytes()) / 8;
  kernel.why = join({scatter.count, " rows of ", scatter.bytes(), " bytes, in order"});
  return kernel;
}

}  // namespace

void add_index_kernels(KernelTable& table) {
  table.add<CheckIndex>(index_check);
  table.add<CheckCount>(count_check);
  table.add<CheckDivisor>(divisor_check);
  table.add<Gather>(gather_kernel);
  table.add<ScatterAdd>([](const KernelRequest& request) { return scatter_kernel(request, true); });
  table.add<Put>([](const KernelRequest& request) { return scatter_kernel(request, false); });
}

}  // namespace blockgrad
