// Rows by number on the CPU. Indices were checked by CheckIndex, whose output replaces a bad index
// by 0: nothing behind it reads out of bounds, and the run ends in an Error before it updates
// anything.
#include <cstring>

#include "backends/cpu/families.h"
#include "blockgrad/ops/index.h"

namespace blockgrad {

namespace {

std::int64_t index_at(const std::byte* indices, DType dtype, std::int64_t i) {
  return dtype == DType::i32 ? reinterpret_cast<const std::int32_t*>(indices)[i]
                             : reinterpret_cast<const std::int64_t*>(indices)[i];
}

template <class T>
void check_range(const KernelCall& call, std::int64_t count, std::int64_t n) {
  const T* in = reinterpret_cast<const T*>(call.in[0]);
  T* out = reinterpret_cast<T*>(call.out[0]);
  for (std::int64_t i = 0; i < count; ++i) {
    const bool inside = in[i] >= 0 && in[i] < n;
    if (!inside) call.errors->report(i, in[i]);
    out[i] = inside ? in[i] : T{0};
  }
}

std::int64_t row_bytes(const Shape& x, DType dtype) {
  return x.size() == 0 ? 0 : x.size() / x[0] * static_cast<std::int64_t>(size_of(dtype));
}

template <class T>
void add_row(std::byte* to, const std::byte* from, std::int64_t count) {
  T* y = reinterpret_cast<T*>(to);
  const T* v = reinterpret_cast<const T*>(from);
  for (std::int64_t i = 0; i < count; ++i) y[i] = static_cast<T>(y[i] + v[i]);
}

void add_row(DType dtype, std::byte* to, const std::byte* from, std::int64_t count) {
  switch (dtype) {
    case DType::f32: return add_row<float>(to, from, count);
    case DType::f64: return add_row<double>(to, from, count);
    case DType::i32: return add_row<std::uint32_t>(to, from, count);  // wraps
    case DType::i64: return add_row<std::uint64_t>(to, from, count);
    default: return add_row<std::uint8_t>(to, from, count);
  }
}

Kernel single_part(std::function<void(const KernelCall&)> run, double bytes, std::string why) {
  return {[run = std::move(run)](const KernelCall& call, std::int64_t, std::int64_t) { run(call); },
          1, 0, 20 + bytes / 8, std::move(why)};
}

}  // namespace

void add_index_kernels(KernelTable& table) {
  table.add<CheckIndex>([](const KernelRequest& request) {
    const std::int64_t count = request.inputs[0].layout.shape.size();
    const std::int64_t n = request.node.op.as<CheckIndex>()->n;
    const bool narrow = request.inputs[0].dtype == DType::i32;
    return single_part(
        [=](const KernelCall& call) {
          if (narrow) check_range<std::int32_t>(call, count, n);
          else check_range<std::int64_t>(call, count, n);
        },
        static_cast<double>(count) * 8, join({count, " indices below ", n}));
  });
  table.add<Gather>([](const KernelRequest& request) {
    const std::int64_t count = request.inputs[1].layout.shape.size();
    const std::int64_t row = row_bytes(request.inputs[0].layout.shape, request.inputs[0].dtype);
    const DType dtype = request.inputs[1].dtype;
    return single_part(
        [=](const KernelCall& call) {
          for (std::int64_t i = 0; i < count && row > 0; ++i) {
            std::memcpy(call.out[0] + i * row, call.in[0] + index_at(call.in[1], dtype, i) * row,
                        static_cast<std::size_t>(row));
          }
        },
        static_cast<double>(count * row), join({count, " rows of ", row, " bytes"}));
  });
  table.add<ScatterAdd>([](const KernelRequest& request) {
    const std::int64_t count = request.inputs[1].layout.shape.size();
    const DType dtype = request.inputs[0].dtype;
    const DType index = request.inputs[1].dtype;
    const std::int64_t row = row_bytes(request.inputs[0].layout.shape, dtype);
    const std::int64_t all =
        request.inputs[0].layout.shape.size() * static_cast<std::int64_t>(size_of(dtype));
    const std::int64_t elements = row / static_cast<std::int64_t>(size_of(dtype));
    return single_part(
        [=](const KernelCall& call) {
          std::memcpy(call.out[0], call.in[0], static_cast<std::size_t>(all));
          for (std::int64_t i = 0; i < count && row > 0; ++i) {
            add_row(dtype, call.out[0] + index_at(call.in[1], index, i) * row, call.in[2] + i * row,
                    elements);
          }
        },
        static_cast<double>(all + count * row),
        join({count, " rows of ", row, " bytes, in order"}));
  });
}

}  // namespace blockgrad
