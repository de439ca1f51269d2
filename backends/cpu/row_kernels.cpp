// Sums of equal rows, and rows written by number, on the CPU.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/families.h"
#include "blockgrad/ops/rows.h"

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

struct Named {
  std::int64_t row, position;
};

struct MergeSizes {
  DType index;
  std::int64_t named, largest, inner;  // indices, rows of the result, elements of a row
};

// Positions sorted by row: by row and position, as one key without a stable sort's memory.
template <class T>
void merge(const KernelCall& call, const MergeSizes& sizes) {
  auto* order = reinterpret_cast<Named*>(call.scratch);
  for (std::int64_t p = 0; p < sizes.named; ++p)
    order[p] = {index_at(call.in[0], sizes.index, p), p};
  std::sort(order, order + sizes.named, [](const Named& a, const Named& b) {
    return a.row < b.row || (a.row == b.row && a.position < b.position);
  });
  const T* v = reinterpret_cast<const T*>(call.in[1]);
  T* sums = reinterpret_cast<T*>(call.out[1]);
  std::fill_n(sums, sizes.largest * sizes.inner, T{0});
  std::int64_t count = 0;
  for (std::int64_t p = 0; p < sizes.named; ++p) {
    if (p == 0 || order[p].row != order[p - 1].row) {
      if (count == sizes.largest) break;
      put_index(call.out[0], sizes.index, count++, order[p].row);
    }
    T* sum = sums + (count - 1) * sizes.inner;
    const T* row = v + order[p].position * sizes.inner;
    for (std::int64_t i = 0; i < sizes.inner; ++i) sum[i] = sum[i] + row[i];
  }
  *reinterpret_cast<std::int64_t*>(call.out[2]) = count;
  for (std::int64_t k = count; k < sizes.largest; ++k) put_index(call.out[0], sizes.index, k, 0);
}

Kernel merge_kernel(const KernelRequest& request) {
  const Shape& v = request.inputs[1].layout.shape;
  MergeSizes sizes{request.inputs[0].dtype, v[0], request.outputs[1].layout.shape[0], 1};
  for (int a = 1; a < v.rank(); ++a) sizes.inner *= v[a];
  const bool is_double = request.inputs[1].dtype == DType::f64;
  Kernel kernel;
  kernel.run = [=](const KernelCall& call, std::int64_t, std::int64_t) {
    if (is_double) merge<double>(call, sizes);
    else merge<float>(call, sizes);
  };
  kernel.scratch = static_cast<std::size_t>(sizes.named) * sizeof(Named);
  const auto named = static_cast<double>(sizes.named);
  kernel.cost =
      20 + 2 * named * std::log2(named + 2) + named * static_cast<double>(sizes.inner) / 4;
  kernel.why = join({sizes.named, " rows of ", sizes.inner, " elements, sorted by number, into ",
                     sizes.largest, " at most"});
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
  kernel.run = [=](const KernelCall& call, std::int64_t, std::int64_t) {
    if (!in_place && all > 0) std::memcpy(call.out[0], call.in[0], static_cast<std::size_t>(all));
    const std::int64_t count =
        std::min(*reinterpret_cast<const std::int64_t*>(call.in[3]), largest);
    for (std::int64_t k = 0; k < count && row > 0; ++k) {
      const std::int64_t to = index_at(call.in[1], index, k);
      if (to < 0 || to >= n) continue;
      std::memcpy(call.out[0] + to * row, call.in[2] + k * row, static_cast<std::size_t>(row));
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
}

}  // namespace blockgrad
