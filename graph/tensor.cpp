#include "blockgrad/graph/tensor.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <limits>

namespace blockgrad {

namespace {

// C++ leaves a float outside the integer's range undefined; here it saturates and NaN gives 0.
template <class To, class From>
To convert(From value) {
  if constexpr (is_half(dtype_of<From>())) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != From{};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(value)) return To{};
    if (value <= static_cast<From>(std::numeric_limits<To>::min()))
      return std::numeric_limits<To>::min();
    if (value >= static_cast<From>(std::numeric_limits<To>::max()))
      return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

template <class Make>
Tensor generate(const TensorType& type, Make make) {
  auto data = allocate_bytes(bytes_of(type));
  visit(type.dtype, [&](auto zero) {
    using T = decltype(zero);
    auto* out = reinterpret_cast<T*>(data.get());
    for (std::int64_t i = 0; i < type.shape.size(); ++i) out[i] = convert<T>(make(i));
  });
  return adopt(type, std::move(data));
}

void append_value(std::string& text, const Tensor& tensor, std::int64_t i) {
  if (tensor.dtype() == DType::f32)
    text += fmt::format("{}", tensor.span<float>()[static_cast<std::size_t>(i)]);
  else text += fmt::format("{}", tensor.at(i));
}

}  // namespace

std::string to_string(const TensorType& type) {
  return fmt::format("{}{}", name(type.dtype), to_string(type.shape));
}

std::int64_t bytes_of(const TensorType& type) {
  return checked_multiply(type.shape.size(), static_cast<std::int64_t>(size_of(type.dtype)));
}

Tensor adopt(TensorType type, std::shared_ptr<const std::byte> data) {
  return {type, std::move(data)};
}

Tensor::Tensor() : Tensor(full({}, 0)) {}

double Tensor::at(std::int64_t i) const {
  require(i >= 0 && i < size(), "element ", i, " is outside [0, ", size(), ")");
  return visit(dtype(), [&](auto zero) {
    using T = decltype(zero);
    return static_cast<double>(reinterpret_cast<const T*>(data_.get())[i]);
  });
}

Tensor Tensor::rows(std::int64_t first, std::int64_t last) const {
  require(shape().rank() > 0, "a scalar has no rows");
  require(0 <= first && first <= last && last <= shape()[0], "rows [", first, ", ", last,
          ") do not fit a tensor of shape ", shape());
  std::array<std::int64_t, max_rank> sizes{};
  for (int a = 0; a < shape().rank(); ++a) sizes[static_cast<std::size_t>(a)] = shape()[a];
  sizes[0] = last - first;
  const Shape part(
      std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(shape().rank())));
  const std::int64_t row = shape()[0] == 0 ? 0 : bytes_of(type_) / shape()[0];
  return {{dtype(), part}, std::shared_ptr<const std::byte>(data_, data_.get() + first * row)};
}

Tensor Tensor::reshape(const Shape& shape) const {
  require(shape.size() == size(), "cannot reshape ", this->shape(), " to ", shape, ": ", size(),
          " elements against ", shape.size());
  return {{dtype(), shape}, data_};
}

Tensor Tensor::astype(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  return visit(this->dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto* in = reinterpret_cast<const T*>(data_.get());
    return generate({dtype, shape()}, [in](std::int64_t i) { return in[i]; });
  });
}

Tensor full(const Shape& shape, double value, DType dtype) {
  return generate({dtype, shape}, [value](std::int64_t) { return value; });
}

Tensor zeros(const Shape& shape, DType dtype) { return full(shape, 0, dtype); }
Tensor ones(const Shape& shape, DType dtype) { return full(shape, 1, dtype); }

Tensor arange(double start, double stop, double step, DType dtype) {
  require(step != 0, "arange: step must not be 0");
  require(std::isfinite(start) && std::isfinite(stop) && std::isfinite(step),
          "arange: start, stop and step must be finite");
  const double count = std::max(0.0, std::ceil((stop - start) / step));
  require(count < 0x1p53, "arange: too many elements from ", start, " to ", stop, " by ", step);
  return generate({dtype, {static_cast<std::int64_t>(count)}},
                  [=](std::int64_t i) { return start + static_cast<double>(i) * step; });
}

Tensor linspace(double start, double stop, std::int64_t count, DType dtype) {
  require(count >= 0, "linspace: the count must not be negative, got ", count);
  require(std::isfinite(start) && std::isfinite(stop), "linspace: start and stop must be finite");
  const double last = static_cast<double>(std::max<std::int64_t>(count - 1, 1));
  return generate({dtype, {count}}, [=](std::int64_t i) {
    const double part = static_cast<double>(i) / last;
    return start * (1 - part) + stop * part;  // exact at both ends
  });
}

Tensor eye(std::int64_t n, DType dtype) {
  return generate({dtype, {n, n}}, [n](std::int64_t i) { return i / n == i % n ? 1.0 : 0.0; });
}

std::string to_string(const Tensor& tensor, std::int64_t limit) {
  const Shape& shape = tensor.shape();
  const std::int64_t shown = std::min(limit, tensor.size());
  std::string text;
  for (std::int64_t i = 0; i < shown; ++i) {
    std::int64_t below = 1;
    int opened = 0;
    for (int a = shape.rank() - 1; a >= 0; --a) {
      below *= shape[a];
      if (i % below == 0) ++opened;
    }
    if (i > 0) {
      text.append(static_cast<std::size_t>(opened), ']');
      text += ", ";
    }
    text.append(static_cast<std::size_t>(opened), '[');
    append_value(text, tensor, i);
  }
  if (tensor.size() == 0) return fmt::format("{} (no elements)", to_string(shape));
  if (shown < tensor.size()) return text + fmt::format(", … {} more", tensor.size() - shown);
  text.append(static_cast<std::size_t>(shape.rank()), ']');
  return text;
}

void print_line(const Tensor& tensor) { std::puts(to_string(tensor).c_str()); }

}  // namespace blockgrad
