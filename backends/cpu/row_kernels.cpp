// Sums of equal rows, and rows written by number, on the CPU.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/families.h"
#include "blockgrad/ops/rows.h"
#include "graph/row_update.h"

namespace blockgrad {

namespace {

std::int64_t index_at(const std::byte* indices, DType dtype, std::int64_t i) {
  return dtype == DType::i32 ? reinterpret_cast<const std::int32_t*>(indices)[i]
                             : reinterpret_cast<const std::int64_t*>(indices)[i];
}

void put_index(std::byte* indices, DType dtype, std::int64_t i, std::int64_t value) {
  if (dtype == DType::i32)
    reinterpret_cast<std::int32_t*>(indices)[i] = static_cast<std::int32_t>(value);
  else reinterpret_cast<std::int64_t*>(indices)[i] = value;
}

constexpr std::int64_t prefetched = 8;  // rows ahead of the one that is read

// Rows are worked on in parts of whole columns, so that each place sees its values in order.
struct ColumnParts {
  std::int64_t columns, parts;

  explicit ColumnParts(std::int64_t n)
      : columns(n), parts(std::clamp<std::int64_t>(n / 64, 1, 16)) {}
  std::int64_t start(std::int64_t part) const { return columns * part / parts; }
};

struct Named {
  std::int64_t row, position;
};

struct MergeSizes {
  DType index;
  std::int64_t named, largest, inner;  // indices, rows of the result, elements of a row
};

// Stable: by row, equal ones by position. Digits of 8 bits from the lowest to the highest that
// differs; gives the array of the two that holds the result.
const Named* sorted(Named* from, Named* to, std::int64_t n) {
  std::uint64_t lowest = ~std::uint64_t{0}, highest = 0;
  const auto key = [](const Named& x) {
    return static_cast<std::uint64_t>(x.row) ^ std::uint64_t{1} << 63;
  };
  for (std::int64_t i = 0; i < n; ++i) {
    lowest = std::min(lowest, key(from[i]));
    highest = std::max(highest, key(from[i]));
  }
  for (int shift = 0; n > 0 && shift < 64 && (highest - lowest) >> shift != 0; shift += 8) {
    const auto digit = [&](const Named& x) {
      return static_cast<std::size_t>((key(x) - lowest) >> shift & 255u);
    };
    std::array<std::int64_t, 257> starts{};
    for (std::int64_t i = 0; i < n; ++i) ++starts[digit(from[i]) + 1];
    for (std::size_t d = 1; d < starts.size(); ++d) starts[d] += starts[d - 1];
    for (std::int64_t i = 0; i < n; ++i) to[starts[digit(from[i])]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

// The columns first .. last-1 of the sums; the numbers of rows with the first ones.
template <class T>
void merge(const KernelCall& call, const MergeSizes& sizes, std::int64_t first, std::int64_t last) {
  auto* named = reinterpret_cast<Named*>(call.scratch);
  for (std::int64_t p = 0; p < sizes.named; ++p)
    named[p] = {index_at(call.in[0], sizes.index, p), p};
  const Named* order = sorted(named, named + sizes.named, sizes.named);
  const T* v = reinterpret_cast<const T*>(call.in[1]);
  T* sums = reinterpret_cast<T*>(call.out[1]);
  std::int64_t count = 0;
  for (std::int64_t p = 0; p < sizes.named; ++p) {
    const T* row = v + order[p].position * sizes.inner;
    if (p + prefetched < sizes.named)
      __builtin_prefetch(v + order[p + prefetched].position * sizes.inner + first);
    if (p > 0 && order[p].row == order[p - 1].row) {
      T* sum = sums + (count - 1) * sizes.inner;
      for (std::int64_t i = first; i < last; ++i) sum[i] = sum[i] + row[i];
      continue;
    }
    if (count == sizes.largest) break;
    if (first == 0) put_index(call.out[0], sizes.index, count, order[p].row);
    T* sum = sums + count++ * sizes.inner;
    for (std::int64_t i = first; i < last; ++i) sum[i] = T{0} + row[i];
  }
  for (std::int64_t k = count; k < sizes.largest; ++k)
    std::fill_n(sums + k * sizes.inner + first, last - first, T{0});
  if (first > 0) return;
  *reinterpret_cast<std::int64_t*>(call.out[2]) = count;
  for (std::int64_t k = count; k < sizes.largest; ++k) put_index(call.out[0], sizes.index, k, 0);
}

Kernel merge_kernel(const KernelRequest& request) {
  const Shape& v = request.inputs[1].layout.shape;
  MergeSizes sizes{request.inputs[0].dtype, v[0], request.outputs[1].layout.shape[0], 1};
  for (int a = 1; a < v.rank(); ++a) sizes.inner *= v[a];
  const bool is_double = request.inputs[1].dtype == DType::f64;
  Kernel kernel;
  const ColumnParts columns(sizes.inner);
  kernel.parts = columns.parts;
  kernel.run = [=](const KernelCall& call, std::int64_t first, std::int64_t last) {
    if (is_double) merge<double>(call, sizes, columns.start(first), columns.start(last));
    else merge<float>(call, sizes, columns.start(first), columns.start(last));
  };
  kernel.scratch = 2 * static_cast<std::size_t>(sizes.named) * sizeof(Named);
  const auto named = static_cast<double>(sizes.named);
  kernel.cost = 20 + 5 * named + named * static_cast<double>(sizes.inner) / 4;
  kernel.why = join({sizes.named, " rows of ", sizes.inner, " elements, sorted by number, into ",
                     sizes.largest, " at most"});
  return kernel;
}

// See RowOrder.
void order_rows(const KernelCall& call, const MergeSizes& sizes) {
  auto* named = reinterpret_cast<Named*>(call.scratch);
  for (std::int64_t p = 0; p < sizes.named; ++p)
    named[p] = {index_at(call.in[0], sizes.index, p), p};
  const Named* const by_row = sorted(named, named + sizes.named, sizes.named);
  auto* const positions = reinterpret_cast<std::int32_t*>(call.out[1]);
  auto* const starts = reinterpret_cast<std::int32_t*>(call.out[2]);
  std::int64_t count = 0, p = 0;
  for (; p < sizes.named; ++p) {
    positions[p] = static_cast<std::int32_t>(by_row[p].position);
    if (p > 0 && by_row[p].row == by_row[p - 1].row) continue;
    if (count == sizes.largest) break;
    starts[count] = static_cast<std::int32_t>(p);
    put_index(call.out[0], sizes.index, count++, by_row[p].row);
  }
  for (std::int64_t k = count; k < sizes.largest; ++k) put_index(call.out[0], sizes.index, k, 0);
  std::fill(starts + count, starts + sizes.largest + 1, static_cast<std::int32_t>(p));
  std::fill(positions + p, positions + sizes.named, 0);
  *reinterpret_cast<std::int64_t*>(call.out[3]) = count;
}

Kernel order_kernel(const KernelRequest& request) {
  const std::int64_t named = request.inputs[0].layout.shape[0];
  const MergeSizes sizes{request.inputs[0].dtype, named, request.outputs[0].layout.shape[0], 0};
  Kernel kernel;
  kernel.run = [=](const KernelCall& call, std::int64_t, std::int64_t) { order_rows(call, sizes); };
  kernel.scratch = 2 * static_cast<std::size_t>(named) * sizeof(Named);
  kernel.cost = 20 + 5 * static_cast<double>(named);
  kernel.why = join({named, " numbers sorted, ", sizes.largest, " different at most"});
  return kernel;
}

Kernel put_kernel(const KernelRequest& request) {
  const TensorType x{request.inputs[0].dtype, request.inputs[0].layout.shape};
  const std::int64_t n = x.shape[0], all = bytes_of(x), row = n == 0 ? 0 : all / n;
  const std::int64_t largest = request.inputs[1].layout.shape[0];
  const DType index = request.inputs[1].dtype;
  const bool in_place = request.inputs[0].place == request.outputs[0].place &&
                        request.inputs[0].at == request.outputs[0].at;
  Kernel kernel;
  const ColumnParts columns(row);
  kernel.parts = columns.parts;
  kernel.run = [=](const KernelCall& call, std::int64_t first, std::int64_t last) {
    const std::int64_t begin = columns.start(first);
    const auto bytes = static_cast<std::size_t>(columns.start(last) - begin);
    if (bytes == 0) return;
    const auto copy = [&](const std::byte* from, std::int64_t to) {
      std::memcpy(call.out[0] + to * row + begin, from + begin, bytes);
    };
    for (std::int64_t k = 0; !in_place && k < n; ++k) copy(call.in[0] + k * row, k);
    const std::int64_t count =
        std::min(*reinterpret_cast<const std::int64_t*>(call.in[3]), largest);
    for (std::int64_t k = 0; k < count; ++k) {
      const std::int64_t to = index_at(call.in[1], index, k);
      if (to >= 0 && to < n) copy(call.in[2] + k * row, to);
    }
  };
  const double moved =
      static_cast<double>(largest * row) + (in_place ? 0 : static_cast<double>(all));
  kernel.cost = 20 + moved / 8;
  kernel.why =
      in_place
          ? join({largest, " rows of ", row, " bytes at most, in place"})
          : join({largest, " rows of ", row, " bytes at most, into a copy of ", all, " bytes"});
  return kernel;
}

}  // namespace

void add_row_kernels(KernelTable& table) {
  table.add<MergeRows>(merge_kernel);
  table.add<PutRows>(put_kernel);
  table.add<RowOrder>(order_kernel);
}

}  // namespace blockgrad
