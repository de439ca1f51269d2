#include "blockgrad/ops/embedding.h"

#include <algorithm>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

Expr embedding(Arg table, Arg indices) {
  const Expr rows = as_expr(table, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("embedding", table.where(), [&] {
    require(rows.rank() >= 1, "wants a table of rows, got a scalar");
    return make(Gather{}, {rows, detail::checked_index(i, rows.shape()[0], "embedding", {})});
  });
}

Expr embedding_bag(Arg table, Arg indices, const EmbeddingBagOptions& options) {
  const Expr rows = as_expr(table, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("embedding_bag", table.where(), [&] {
    require(rows.rank() == 2, "wants a table [n, d], got ", rows.shape());
    require(is_floating(rows.dtype()), "wants a floating table, got ", rows.dtype());
    require(i.rank() >= 1, "wants indices [.., L], got a scalar");
    require(i.dtype() == DType::i32 || i.dtype() == DType::i64, "indices must be i32 or i64, got ",
            i.dtype());
    const std::int64_t n = rows.shape()[0];
    const auto taken = [&](const Expr& numbers) {
      const Expr checked = detail::checked_index(numbers, n, "embedding_bag", {});
      return cast(make(Gather{}, {rows, checked}), working_dtype(rows.dtype()));
    };
    if (!options.padding_index) {
      const Expr total = sum(taken(i), -2);
      const std::int64_t length = std::max<std::int64_t>(1, i.shape()[i.rank() - 1]);
      return cast(options.mean ? total / static_cast<double>(length) : total, rows.dtype());
    }
    const bool fits = i.dtype() == DType::i64 ||
                      static_cast<std::int32_t>(*options.padding_index) == *options.padding_index;
    require(fits, "padding_index ", *options.padding_index, " does not fit i32");
    const Expr is_row = not_equal(i, static_cast<double>(*options.padding_index));
    const Expr bag = sum(where(expand_dims(is_row, -1), taken(where(is_row, i, 0)), 0), -2);
    if (!options.mean) return cast(bag, rows.dtype());
    const Expr count = sum(cast(is_row, bag.dtype()), -1, true);
    return cast(bag / maximum(count, 1), rows.dtype());
  });
}

}  // namespace blockgrad
