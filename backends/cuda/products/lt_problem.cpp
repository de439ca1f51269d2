#include "backends/cuda/products/lt_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace blockgrad {

namespace {

/// The strides of a factor; along axes of size 1 they are 0.
struct Strides {
  std::int64_t row = 0, column = 0, batch = 0;
};

std::optional<Strides> strides_of(const CudaFactor& factor) {
  if (factor.type != "Matrix") return std::nullopt;
  Strides strides;
  for (const auto& [name, value] : factor.fields) {
    if (name == "row") strides.row = value;
    if (name == "column") strides.column = value;
    if (name == "batch") strides.batch = value;
  }
  return strides;
}

/// The largest power of two, at most 16, that divides all of them.
int alignment_of(std::initializer_list<std::int64_t> bytes) {
  int alignment = 16;
  for (const std::int64_t number : bytes) {
    while (number % alignment != 0) alignment /= 2;
  }
  return alignment;
}

/// A matrix of `rows` x `columns` elements whose columns have these strides; nothing if its
/// elements do not lie side by side in columns that begin one after the other.
std::optional<LtMatrix> in_columns(std::int64_t rows, std::int64_t columns, std::int64_t along,
                                   std::int64_t across, std::int64_t batch) {
  if (rows > 1 && along != 1) return std::nullopt;
  const std::int64_t leading = columns > 1 ? across : rows;
  if (leading < rows || batch < 0) return std::nullopt;
  return LtMatrix{rows, columns, leading, batch};
}

/// A row-major m x n factor as it lies, which is its transpose in columns, or transposed.
struct Seen {
  LtMatrix matrix;
  lt::Operation operation = lt::Operation::none;
};

std::optional<Seen> seen(const CudaFactor& factor, std::int64_t m, std::int64_t n, DType dtype) {
  const std::optional<Strides> s = strides_of(factor);
  if (!s) return std::nullopt;
  Seen result;
  std::optional<LtMatrix> matrix = in_columns(n, m, s->column, s->row, s->batch);
  if (!matrix) {
    matrix = in_columns(m, n, s->row, s->column, s->batch);
    result.operation = lt::Operation::transpose;
  }
  if (!matrix) return std::nullopt;
  result.matrix = *matrix;
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  result.matrix.alignment =
      alignment_of({factor.memory.offset, matrix->leading * size, matrix->batch_stride * size});
  return result;
}

std::string why_unseen(const CudaFactor& factor, std::string_view name) {
  if (factor.type == "Matrices")
    return fmt::format("the batch of {} does not lie at equal distances", name);
  if (factor.type != "Matrix") return fmt::format("{} is not a matrix in memory", name);
  return fmt::format("neither rows nor columns of {} lie one after the other", name);
}

bool set_types(const CudaProduct& product, LtProblem& problem) {
  problem.scale = lt::Type::f32;
  switch (product.dtype) {
    case DType::f32:
      problem.type = lt::Type::f32;
      problem.compute =
          product.math == CudaMath::tf32 ? lt::Compute::f32_as_tf32 : lt::Compute::f32_pedantic;
      return true;
    case DType::f64:
      problem.type = problem.scale = lt::Type::f64;
      problem.compute = lt::Compute::f64;
      return true;
    case DType::f16:
      problem.type = lt::Type::f16;
      problem.compute = lt::Compute::f32;
      return true;
    case DType::bf16:
      problem.type = lt::Type::bf16;
      problem.compute = lt::Compute::f32;
      return true;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean: break;
  }
  return false;
}

}  // namespace

LtFit lt_problem(const CudaProduct& product, const CudaFactor& a, const CudaFactor& b,
                 const CudaFactor& c, DType dtype) {
  LtFit fit;
  const auto refuse = [&](std::string why) {
    fit.why_not = std::move(why);
    return fit;
  };
  const std::int64_t m = product.m, n = product.n, k = product.k;
  if (std::min({m, n, k, product.batch}) <= 0) return refuse("there is nothing to multiply");
  if (std::max({m, n, k, product.batch}) > std::numeric_limits<std::int32_t>::max())
    return refuse("a size is over 2147483647");
  if (!set_types(product, fit.problem))
    return refuse(fmt::format("no products of {}", name(product.dtype)));
  fit.problem.result_type = dtype == DType::f32 ? lt::Type::f32 : fit.problem.type;
  if (dtype != product.dtype && (dtype != DType::f32 || product.dtype == DType::f64))
    return refuse(fmt::format("no products of {} as {}", name(product.dtype), name(dtype)));
  const auto right = seen(a, m, k, product.dtype), left = seen(b, k, n, product.dtype),
             result = seen(c, m, n, dtype);
  if (!right) return refuse(why_unseen(a, "A"));
  if (!left) return refuse(why_unseen(b, "B"));
  if (!result) return refuse(why_unseen(c, "C"));
  if (result->operation != lt::Operation::none) return refuse("C lies transposed");
  if (product.batch > 1 && result->matrix.batch_stride == 0)
    return refuse("the batch of C lies in one place");
  fit.problem.left = left->matrix;
  fit.problem.right = right->matrix;
  fit.problem.result = result->matrix;
  fit.problem.left_operation = left->operation;
  fit.problem.right_operation = right->operation;
  fit.problem.batch = static_cast<std::int32_t>(product.batch);
  return fit;
}

}  // namespace blockgrad
