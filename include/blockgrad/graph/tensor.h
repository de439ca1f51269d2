#pragma once
// Tensor: immutable typed data in host memory, dense and row-major. Copies share the data. Safe to
// read from several threads.

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/shape.h"

namespace blockgrad {

struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  bool operator==(const TensorType&) const = default;
};

/// "f32[32, 784]".
std::string to_string(const TensorType& type);

/// Bytes of a dense value. Throws Error when they do not fit 64 bits.
std::int64_t bytes_of(const TensorType& type);

class Tensor {
 public:
  /// An f32 scalar 0.
  Tensor();

  const TensorType& type() const { return type_; }
  const Shape& shape() const { return type_.shape; }
  DType dtype() const { return type_.dtype; }
  std::int64_t size() const { return type_.shape.size(); }
  const std::byte* bytes() const { return data_.get(); }
  /// Who keeps the bytes alive.
  const std::shared_ptr<const std::byte>& owner() const { return data_; }

  /// The elements, row-major. Throws Error if T is not the tensor's dtype.
  template <class T>
  std::span<const T> span() const {
    require(dtype_of<T>() == dtype(), "asked for ", dtype_of<T>(), " elements of a tensor of ",
            dtype());
    return {reinterpret_cast<const T*>(data_.get()), static_cast<std::size_t>(size())};
  }

  /// Element i in row-major order as double. Throws Error if i is out of range.
  double at(std::int64_t i) const;

  /// The rows [first, last) of axis 0, sharing the data. Throws Error if the range does not fit.
  Tensor rows(std::int64_t first, std::int64_t last) const;

  /// The same elements in row-major order. Throws Error if the sizes differ.
  Tensor reshape(const Shape& shape) const;

  /// Converted element by element; integers from floats truncate and saturate, NaN gives 0.
  Tensor astype(DType dtype) const;

 private:
  friend Tensor adopt(TensorType type, std::shared_ptr<const std::byte> data);
  Tensor(TensorType type, std::shared_ptr<const std::byte> data)
      : type_(type), data_(std::move(data)) {}

  TensorType type_;
  std::shared_ptr<const std::byte> data_;
};

/// A tensor on bytes that someone else made; `data` is dense and 64-byte aligned or aligned to its
/// elements.
Tensor adopt(TensorType type, std::shared_ptr<const std::byte> data);

/// Memory for a value, 64-byte aligned, not initialised; from 2 MB on huge pages. Or DeviceError.
std::shared_ptr<std::byte> allocate_bytes(std::int64_t bytes);

/// A tensor with copied values. Throws Error if their number is not shape.size().
template <class T>
Tensor tensor(std::span<const T> values, const Shape& shape) {
  require(static_cast<std::int64_t>(values.size()) == shape.size(), "shape ", shape, " wants ",
          shape.size(), " values, got ", values.size());
  const TensorType type{dtype_of<T>(), shape};
  auto data = allocate_bytes(bytes_of(type));
  if (!values.empty()) std::memcpy(data.get(), values.data(), values.size_bytes());
  return adopt(type, std::move(data));
}

/// The same for a vector, an array, or anything else whose elements lie in a row.
template <class Values>
  requires requires(const Values& values) { std::span(std::data(values), std::size(values)); }
Tensor tensor(const Values& values, const Shape& shape) {
  using T = std::remove_reference_t<decltype(*std::data(values))>;
  return tensor(std::span<const T>(std::data(values), std::size(values)), shape);
}

/// `tensor({1.0f, 2.0f}, {2, 1})`; the dtype is that of the values.
template <class T>
Tensor tensor(std::initializer_list<T> values, const Shape& shape) {
  return tensor(std::span<const T>(values.begin(), values.size()), shape);
}

/// A tensor on memory of the caller, not copied; `owner` keeps it alive (may be empty: the caller
/// does). The caller must not change the values while a program reads them.
template <class T>
Tensor borrow(std::span<const T> values, const Shape& shape,
              std::shared_ptr<const void> owner = nullptr) {
  require(static_cast<std::int64_t>(values.size()) == shape.size(), "shape ", shape, " wants ",
          shape.size(), " values, got ", values.size());
  return adopt({dtype_of<T>(), shape},
               std::shared_ptr<const std::byte>(std::move(owner),
                                                reinterpret_cast<const std::byte*>(values.data())));
}

Tensor full(const Shape& shape, double value, DType dtype = DType::f32);
Tensor zeros(const Shape& shape, DType dtype = DType::f32);
Tensor ones(const Shape& shape, DType dtype = DType::f32);
/// start, start + step, … before stop. Throws Error if step is 0.
Tensor arange(double start, double stop, double step = 1, DType dtype = DType::f32);
/// `count` values evenly from start to stop, both included; one value is start. Throws Error for a
/// negative count or an end that is not finite.
Tensor linspace(double start, double stop, std::int64_t count, DType dtype = DType::f32);
/// The identity matrix [n, n].
Tensor eye(std::int64_t n, DType dtype = DType::f32);

/// Nested rows like "[[1, 2], [3, 4]]"; more than `limit` elements are cut short.
std::string to_string(const Tensor& tensor, std::int64_t limit = 1000);

/// Prints each tensor on a line of its own to standard output.
void print_line(const Tensor& tensor);
template <class... Tensors>
void print(const Tensors&... tensors) {
  (print_line(tensors), ...);
}

}  // namespace blockgrad
