#include "tests/support/op_try.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/backends/check_gradient.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/variants.h"

namespace op_check {

using namespace blockgrad;

namespace {

// The same number for the same text on every machine.
std::uint32_t seed_of(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

// A scalar that every element enters with a weight of its own, exact in every floating type.
Expr weighted(const Expr& y) {
  std::mt19937 random(7);
  const Array weights =
      make_array(y.shape(), [&](const Index&) { return 0.5 + double(random() % 64) / 64; });
  return sum(y * constant(tensor_of(weights, y.dtype())));
}

std::vector<std::int64_t> sizes_of(const Shape& shape) {
  return {shape.sizes().begin(), shape.sizes().end()};
}

}  // namespace

bool is_near(double got, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(got);
  if (std::isinf(expected)) return got == expected;
  return got == expected ||
         std::abs(got - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

std::string mistake_in_no_gradient(const Expr& y, const Expr& x) {
  const Audit found = audit(y, {&x, 1});
  for (const AuditEntry& entry : found.entries) {
    if (entry.kind == AuditEntry::Kind::missing) return entry.text;
  }
  return found.has_errors() ? "" : "a gradient reaches " + describe(x);
}

OpTry::OpTry(const OpCase& row, const std::vector<Shape>& shapes, DType dtype, bool same)
    : row_(row), dtype_(dtype), same_(same), random_(seed_of(row.name)) {
  BOOST_TEST_REQUIRE((row.inputs.empty() || row.inputs.size() == shapes.size()));
  constexpr int most_draws = 200;
  for (int draw = 0; draw < most_draws; ++draw) {
    draw_inputs(shapes);
    if (!row.near_kink || !is_floating(dtype) || !row.near_kink(arrays())) break;
    // With one tensor for all, its elements tie with themselves everywhere.
    BOOST_TEST((draw + 1 < most_draws || same), "no point away from a kink in " << most_draws);
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (same && i > 0) {
      slot.expr = slots_[0].expr;
      continue;
    }
    if (slot.draw.is_constant) {
      slot.expr = constant(slot.value);
      continue;
    }
    slot.expr = input("x" + std::to_string(i), slot.value.shape(), slot.value.dtype());
    feeds_.push_back({slot.expr, slot.value});
    if (is_variable(slot)) variables_.push_back(slot.expr);
  }
  y_ = row.op(exprs());
}

void OpTry::draw_inputs(const std::vector<Shape>& shapes) {
  slots_.clear();
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    Slot slot;
    slot.draw = row_.inputs.empty() ? Draw::number(row_.low, row_.high) : row_.inputs[i];
    slot.value = same_ && i > 0 ? slots_[0].value : drawn(slot.draw, shapes[i], shapes);
    slot.array = array_of(slot.value);
    slots_.push_back(std::move(slot));
  }
}

Tensor OpTry::drawn(const Draw& draw, const Shape& shape, const std::vector<Shape>& shapes) {
  switch (draw.kind) {
    case Draw::Kind::number: {
      std::uniform_real_distribution<double> number(draw.low, draw.high);
      std::uniform_int_distribution<int> digit(1, 9);
      return tensor_of(make_array(shape,
                                  [&](const Index&) {
                                    return is_floating(dtype_) ? number(random_) : digit(random_);
                                  }),
                       dtype_);
    }
    case Draw::Kind::index: {
      const Shape& other = shapes[static_cast<std::size_t>(draw.of)];
      const std::int64_t below =
          draw.below > 0 ? draw.below : other[normalize_axis(draw.axis, other.rank())];
      std::uniform_int_distribution<std::int64_t> index(0, std::max<std::int64_t>(below, 1) - 1);
      return tensor_of(make_array(shape, [&](const Index&) { return double(index(random_)); }),
                       dtype_ == DType::f64 ? DType::i32 : DType::i64);
    }
    case Draw::Kind::boolean:
      return tensor_of(make_array(shape, [&](const Index&) { return double(random_() % 2); }),
                       DType::boolean);
  }
  return {};
}

std::vector<Expr> OpTry::exprs() const {
  std::vector<Expr> all;
  for (const Slot& slot : slots_) all.push_back(slot.expr);
  return all;
}

std::vector<Array> OpTry::arrays() const {
  std::vector<Array> all;
  for (const Slot& slot : slots_) all.push_back(slot.array);
  return all;
}

bool OpTry::is_variable(const Slot& slot) const {
  return slot.draw.has_gradient && is_floating(slot.value.dtype());
}

std::vector<Expr> OpTry::outputs() {
  if (row_.has_gradient && !variables_.empty() && is_floating(y_.dtype()))
    gradients_ = grad(weighted(y_), variables_);
  std::vector<Expr> all{y_};
  all.insert(all.end(), gradients_.begin(), gradients_.end());
  return all;
}

void OpTry::run_checks() {
  expected_ = run(outputs(), feeds_);
  const bool has_gradient = !gradients_.empty();
  check_value();
  if (has_gradient && dtype_ == DType::f64) check_differences();
  if (has_gradient && dtype_ != DType::f64) check_narrow_gradients();
  if (!row_.has_gradient && y_.dtype() == dtype_) check_no_gradient();
  if (dtype_ == DType::f64 && !same_) check_constants();
  check_variants();
  check_transposed_view();
  check_sliced_view();
  check_broadcast_view();
}

void OpTry::check_value() {
  Array expected = row_.reference(arrays());
  if (dtype_ == DType::u8 && y_.dtype() == DType::u8) {
    for (double& value : expected.values) value = std::fmod(value + 256, 256);
  }
  BOOST_TEST_REQUIRE((y_.shape() == expected.shape),
                     to_string(y_.shape()) << " instead of " << to_string(expected.shape));
  const double tolerance = dtype_ == DType::f64  ? row_.tolerance64
                           : is_floating(dtype_) ? row_.tolerance32
                                                 : 0;
  compare_near("value", expected_[0], tensor_of(expected, DType::f64), tolerance);
}

void OpTry::check_differences() {
  std::vector<Tensor> values;
  for (const Slot& slot : slots_) {
    if (is_variable(slot) && !(same_ && !values.empty())) values.push_back(slot.value);
  }
  const auto op = [&](std::span<const Expr> x) {
    std::vector<Expr> all;
    std::size_t next = 0;
    for (const Slot& slot : slots_) {
      if (same_ && !all.empty()) all.push_back(all[0]);
      else all.push_back(is_variable(slot) ? x[next++] : constant(slot.value));
    }
    return row_.op(all);
  };
  const GradientReport report = check_gradient(op, values,
                                               {.step = row_.step,
                                                .tolerance = row_.gradient_tolerance,
                                                .second_order = row_.has_second_order,
                                                .throws = false});
  BOOST_TEST(report.passed(), to_string(report));
  comparisons_ += report.comparisons();
}

// Gradients in a narrow type against those in f64 at the same point.
void OpTry::check_narrow_gradients() {
  std::vector<Expr> wide, variables;
  Feeds feeds;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (same_ && i > 0) {
      wide.push_back(wide[0]);
    } else if (is_floating(slot.value.dtype())) {
      wide.push_back(input("w" + std::to_string(i), slot.value.shape(), DType::f64));
      feeds.push_back({wide.back(), slot.value.astype(DType::f64)});
      if (is_variable(slot)) variables.push_back(wide.back());
    } else {
      wide.push_back(constant(slot.value));
    }
  }
  const std::vector<Tensor> exact = run(grad(weighted(row_.op(wide)), variables), feeds);
  const double tolerance = row_.gradient32 > 0 ? row_.gradient32 : 10 * row_.tolerance32;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    compare_near("gradient " + std::to_string(i) + " in " + std::string(name(dtype_)),
                 expected_[i + 1], exact[i], tolerance);
  }
}

// A row without gradient has none by any input, and its ops declare that.
void OpTry::check_no_gradient() {
  if (!is_floating(dtype_)) return;
  for (const Expr& variable : variables_) {
    ++comparisons_;
    const std::string mistake = mistake_in_no_gradient(weighted(y_), variable);
    BOOST_TEST(mistake.empty(), mistake);
  }
}

// Subsets of the inputs as constants: the value keeps its bits, the gradients by the others their
// values.
void OpTry::check_constants() {
  const std::size_t n = slots_.size();
  constexpr std::size_t most_for_all = 3;
  for (unsigned mask = 1; mask < (1u << n); ++mask) {
    std::vector<char> is_constant;
    for (std::size_t i = 0; i < n; ++i) is_constant.push_back(static_cast<char>(mask >> i & 1u));
    const auto count =
        static_cast<std::size_t>(std::count(is_constant.begin(), is_constant.end(), 1));
    if (n > most_for_all && count > 1 && count + 1 < n) continue;
    std::vector<Expr> inputs, open;
    std::vector<Tensor> wanted;
    std::size_t variable = 0;
    for (std::size_t i = 0; i < n; ++i) {
      inputs.push_back(is_constant[i] ? constant(slots_[i].value) : slots_[i].expr);
      if (!is_variable(slots_[i])) continue;
      ++variable;
      if (is_constant[i] || gradients_.empty()) continue;
      open.push_back(slots_[i].expr);
      wanted.push_back(expected_[variable]);
    }
    std::vector<Expr> outputs{row_.op(inputs)};
    if (!open.empty()) {
      const std::vector<Expr> found = grad(weighted(outputs[0]), open);
      outputs.insert(outputs.end(), found.begin(), found.end());
    }
    const std::vector<Tensor> got = run(outputs, feeds_);
    const std::string title = "with constants " + std::to_string(mask);
    compare_bits(title + " the value", got[0], expected_[0]);
    for (std::size_t i = 0; i < wanted.size(); ++i)
      compare_near(title + " a gradient", got[i + 1], wanted[i], 1e-12);
  }
}

void OpTry::check_variants() {
  std::vector<Expr> outputs{y_};
  outputs.insert(outputs.end(), gradients_.begin(), gradients_.end());
  for (const Variant& variant : variants()) {
    const std::vector<Tensor> got = run(outputs, feeds_, variant.options);
    for (std::size_t i = 0; i < got.size(); ++i)
      compare_bits(variant.name + ": output " + std::to_string(i), got[i], expected_[i]);
    if (dtype_ != DType::f64) break;  // the first leaves out the most
  }
}

// The same elements through a transposed view of each input.
void OpTry::check_transposed_view() {
  std::vector<Expr> seen;
  Feeds feeds;
  for (const Slot& slot : slots_) {
    if (same_ && !seen.empty()) {
      seen.push_back(seen[0]);
      continue;
    }
    std::vector<std::int64_t> sizes = sizes_of(slot.array.shape);
    if (sizes.size() < 2 || slot.draw.is_constant) {
      seen.push_back(slot.draw.is_constant ? slot.expr : constant(slot.value));
      continue;
    }
    std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
    const Array moved = make_array(Shape(sizes), [&](Index index) {
      std::swap(index[index.size() - 1], index[index.size() - 2]);
      return slot.array.at(index);
    });
    const Expr leaf = input("t" + std::to_string(seen.size()), Shape(sizes), slot.value.dtype());
    seen.push_back(transpose(leaf));
    feeds.push_back({leaf, tensor_of(moved, slot.value.dtype())});
  }
  check_seen("transposed", seen, feeds, expected_);
}

// The same elements as every second one along the last axis.
void OpTry::check_sliced_view() {
  std::vector<Expr> seen;
  Feeds feeds;
  for (const Slot& slot : slots_) {
    if (same_ && !seen.empty()) {
      seen.push_back(seen[0]);
      continue;
    }
    std::vector<std::int64_t> sizes = sizes_of(slot.array.shape);
    if (sizes.empty() || slot.draw.is_constant) {
      seen.push_back(slot.draw.is_constant ? slot.expr : constant(slot.value));
      continue;
    }
    sizes.back() = 2 * sizes.back() + 1;
    const Array wide = make_array(Shape(sizes), [&](Index index) {
      const bool own = index.back() % 2 == 1;
      index.back() /= 2;
      return own ? slot.array.at(index) : 1.0;
    });
    const Expr leaf = input("s" + std::to_string(seen.size()), Shape(sizes), slot.value.dtype());
    seen.push_back(slice(leaf, -1, 1, sizes.back(), 2));
    feeds.push_back({leaf, tensor_of(wide, slot.value.dtype())});
  }
  check_seen("sliced", seen, feeds, expected_);
}

// Numbers repeated along their last axis by a view, against the same numbers laid out.
void OpTry::check_broadcast_view() {
  std::vector<Expr> seen, dense;
  Feeds feeds, dense_feeds;
  for (const Slot& slot : slots_) {
    if (same_ && !seen.empty()) {
      seen.push_back(seen[0]);
      dense.push_back(dense[0]);
      continue;
    }
    std::vector<std::int64_t> sizes = sizes_of(slot.array.shape);
    const bool is_number = slot.draw.kind == Draw::Kind::number && !slot.draw.is_constant;
    if (sizes.empty() || sizes.back() < 2 || !is_number) {
      seen.push_back(slot.draw.is_constant ? slot.expr : constant(slot.value));
      dense.push_back(seen.back());
      continue;
    }
    sizes.back() = 1;
    const auto first = [&](Index index) {
      index.back() = 0;
      return slot.array.at(index);
    };
    const Expr leaf = input("b" + std::to_string(seen.size()), Shape(sizes), slot.value.dtype());
    seen.push_back(broadcast_to(leaf, slot.array.shape));
    feeds.push_back({leaf, tensor_of(make_array(Shape(sizes), first), slot.value.dtype())});
    dense.push_back(slot.expr);
    dense_feeds.push_back(
        {slot.expr, tensor_of(make_array(slot.array.shape, first), slot.value.dtype())});
  }
  if (feeds.empty()) return;
  check_seen("broadcast", seen, feeds, run(std::vector<Expr>{row_.op(dense)}, dense_feeds));
}

void OpTry::check_seen(const char* form, const std::vector<Expr>& seen, const Feeds& feeds,
                       const std::vector<Tensor>& expected) {
  if (feeds.empty()) return;
  std::vector<Expr> outputs{row_.op(seen)};
  std::vector<Tensor> wanted{expected[0]};
  if (!gradients_.empty() && expected.size() > 1) {
    std::vector<Expr> variables;
    std::size_t next = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (!is_variable(slots_[i]) || (same_ && i > 0)) continue;
      variables.push_back(seen[i]);
      wanted.push_back(expected[++next]);
    }
    const std::vector<Expr> found = grad(weighted(outputs[0]), variables);
    outputs.insert(outputs.end(), found.begin(), found.end());
  }
  const std::vector<Tensor> got = run(outputs, feeds);
  for (std::size_t i = 0; i < got.size(); ++i)
    compare_bits(std::string(form) + " inputs: output " + std::to_string(i), got[i], wanted[i]);
}

void OpTry::compare_bits(const std::string& what, const Tensor& got, const Tensor& expected) {
  comparisons_ += expected.size();
  if (same_bits(got, expected)) return;  // its text is long to make
  BOOST_TEST(false,
             what << " is " << to_string(got, 50) << " instead of " << to_string(expected, 50));
}

void OpTry::compare_near(const std::string& what, const Tensor& got, const Tensor& expected,
                         double tolerance) {
  BOOST_TEST_REQUIRE((got.shape() == expected.shape()));
  comparisons_ += expected.size();
  for (std::int64_t i = 0; i < got.size(); ++i) {
    if (is_near(got.at(i), expected.at(i), tolerance)) continue;
    BOOST_TEST(false, what << ": element " << i << " is " << got.at(i) << ", expected "
                           << expected.at(i) << " within " << tolerance);
    return;
  }
}

}  // namespace op_check
