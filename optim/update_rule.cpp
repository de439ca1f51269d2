// One parameter's view of a rule: its settings, its slots, and rows of them.
#include <algorithm>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/rows.h"
#include "optim/core.h"

namespace blockgrad {

namespace {
// Of the call that a recipe runs in.
SourceLoc line() { return current_origin({}).where; }
}  // namespace

UpdateRule::UpdateRule(detail::OptimizerCore& core, detail::SettingGroup& group, Updates& updates,
                       const Gradient& gradient, Expr guard)
    : core_(core),
      group_(group),
      updates_(updates),
      gradient_(gradient),
      parameter_(gradient.parameter),
      guard_(std::move(guard)) {}

// Rows that a dense sweep was built for stay dense, and where rows are behind, a dense gradient is
// one that names them all: the slots know one way of being behind.
void UpdateRule::use_rows() {
  const Expr table = gradient_.parameter;
  const bool is_swept =
      std::find(core_.swept.begin(), core_.swept.end(), table) != core_.swept.end();
  if (gradient_.rows && (is_swept || !core_.recipe.by_rows(*this)))
    gradient_ = detail::dense(gradient_);
  if (!gradient_.rows && core_.has_slot(table, "last_update")) {
    const std::int64_t n = table.shape()[0];
    gradient_.rows = coordinate({n}, 0);
    gradient_.count = constant(full({}, static_cast<double>(n), DType::i64));
  }
  if (gradient_.rows) parameter_ = rows_of(table);
}

Expr UpdateRule::rows_of(const Expr& leaf) {
  if (!gradient_.rows) return leaf;
  rows_.emplace_back(make(Gather{}, {leaf, gradient_.rows}), leaf);
  return rows_.back().first;
}

Expr UpdateRule::setting(std::string_view name) const {
  auto& setting = group_.at(name, line());
  setting.is_read = true;
  return setting.now();
}

Expr UpdateRule::cast(const Expr& number) const { return astype(number, parameter_.dtype()); }

bool UpdateRule::uses(std::string_view name) const {
  auto& setting = group_.at(name, line());
  const bool used = setting.scheduled || setting.leaf.value().at(0) != 0;
  setting.left_out = setting.left_out || !used;
  return used;
}

Expr UpdateRule::slot(std::string_view name) {
  const Expr& table = gradient_.parameter;
  return rows_of(core_.slot(table, name, table.type(), line()));
}

Expr UpdateRule::slot(std::string_view name, const Expr& rate) {
  const Expr rows = slot(name);
  if (!gradient_.rows) {
    core_.swept.push_back(gradient_.parameter);
    return rows;
  }
  const Expr leaf = rows_.back().second;
  rows_.emplace_back(rows * caught_up(rate), leaf);
  return rows_.back().first;
}

// rate^(updates that left the row out), shaped to multiply rows.
Expr UpdateRule::caught_up(const Expr& rate) {
  const Expr& table = gradient_.parameter;
  if (!missed_) {
    const TensorType per_row{DType::f64, {table.shape()[0]}};
    const Expr last = rows_of(core_.slot(table, "last_update", per_row, line()));
    const Expr now = count();
    missed_ = now - 1.0 - last;
    set(last, broadcast_to(now, last.shape()));
  }
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(table.rank()), 1);
  sizes[0] = missed_.shape()[0];
  // One formula: 0 times log(0) is not to be seen.
  const Expr factor = map("rate", {missed_, rate}, [](std::span<const Scalar> s) {
    return where(s[0] > 0, exp(s[0] * log(s[1])), 1);
  });
  return reshape(cast(factor), Shape(sizes));
}

Expr UpdateRule::count() {
  if (count_) return count_;
  const Expr done = core_.slot(gradient_.parameter, "count", {DType::f64, {}}, line());
  count_ = done + 1.0;
  set(done, count_);
  return count_;
}

void UpdateRule::set(const Expr& leaf, const Expr& value) {
  const auto rows =
      std::find_if(rows_.begin(), rows_.end(), [&](const auto& one) { return one.first == leaf; });
  if (rows == rows_.end()) {
    updates_.set(leaf, value, guard_);
    return;
  }
  const Expr& whole = rows->second;
  updates_.set(whole, make(PutRows{}, {whole, gradient_.rows, value, gradient_.count}), guard_);
}

}  // namespace blockgrad
