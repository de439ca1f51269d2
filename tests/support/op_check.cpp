#include "tests/support/op_check.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"

namespace op_check {

using namespace blockgrad;

double Array::at(std::span<const std::int64_t> index) const {
  std::int64_t flat = 0;
  for (int a = 0; a < shape.rank(); ++a)
    flat = flat * shape[a] + index[static_cast<std::size_t>(a)];
  return values[static_cast<std::size_t>(flat)];
}

namespace {

// The next index in row-major order.
void advance(Index& index, const Shape& shape) {
  for (int a = shape.rank() - 1; a >= 0; --a) {
    auto& digit = index[static_cast<std::size_t>(a)];
    if (++digit < shape[a]) return;
    digit = 0;
  }
}

Index start(const Shape& shape) { return Index(static_cast<std::size_t>(shape.rank()), 0); }

double element_below(const Array& x, const Index& index) {
  Index own(index.end() - x.shape.rank(), index.end());
  for (int a = 0; a < x.shape.rank(); ++a) {
    if (x.shape[a] == 1) own[static_cast<std::size_t>(a)] = 0;
  }
  return x.at(own);
}

}  // namespace

Array make_array(const Shape& shape, const std::function<double(const Index&)>& f) {
  Array made{shape, {}};
  Index index = start(shape);
  for (std::int64_t i = 0; i < shape.size(); ++i, advance(index, shape))
    made.values.push_back(f(index));
  return made;
}

Array pointwise(std::span<const Array> args,
                const std::function<double(std::span<const double>)>& f) {
  Shape shape;
  for (const Array& a : args) shape = broadcast(shape, a.shape);
  return make_array(shape, [&](const Index& index) {
    std::vector<double> values;
    for (const Array& a : args) values.push_back(element_below(a, index));
    return f(values);
  });
}

Array along(const Array& x, std::vector<int> axes, bool keepdims,
            const std::function<double(const std::vector<double>&)>& f) {
  const int rank = x.shape.rank();
  std::vector<char> drops(static_cast<std::size_t>(rank), axes.empty() ? 1 : 0);
  for (const int a : axes) drops[static_cast<std::size_t>(a < 0 ? a + rank : a)] = 1;
  std::vector<std::int64_t> sizes;
  for (int a = 0; a < rank; ++a) {
    if (!drops[static_cast<std::size_t>(a)]) sizes.push_back(x.shape[a]);
    else if (keepdims) sizes.push_back(1);
  }
  const Shape shape(sizes);
  std::vector<std::vector<double>> lines(static_cast<std::size_t>(shape.size()));
  Index index = start(x.shape);
  for (std::int64_t i = 0; i < x.shape.size(); ++i, advance(index, x.shape)) {
    std::int64_t line = 0;
    for (int a = 0; a < rank; ++a) {
      if (!drops[static_cast<std::size_t>(a)])
        line = line * x.shape[a] + index[static_cast<std::size_t>(a)];
    }
    lines[static_cast<std::size_t>(line)].push_back(x.values[static_cast<std::size_t>(i)]);
  }
  Array result{shape, {}};
  for (const auto& line : lines) result.values.push_back(f(line));
  return result;
}

Tensor tensor_of(const Array& array, DType dtype) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto data = std::make_unique<T[]>(array.values.size() + 1);
    for (std::size_t i = 0; i < array.values.size(); ++i) data[i] = static_cast<T>(array.values[i]);
    return tensor(std::span<const T>(data.get(), array.values.size()), array.shape);
  });
}

Array array_of(const Tensor& tensor) {
  Array array{tensor.shape(), {}};
  for (std::int64_t i = 0; i < tensor.size(); ++i) array.values.push_back(tensor.at(i));
  return array;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         (a.size() == 0 ||
          std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0);
}

namespace {

struct Variant {
  const char* name;
  CompileOptions options;
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  const auto add = [&](const char* name) -> CompileOptions& {
    return all.emplace_back(Variant{name, {}}).options;
  };
  add("simplify left out").skip = {"simplify"};
  add("merge_equal left out").skip = {"merge_equal"};
  add("fuse_maps left out").skip = {"fuse_maps"};
  add("no pass").skip = {"simplify", "merge_equal", "fuse_maps"};
  add("memory not reused").reuse_memory = false;
  add("portable").isa = "portable";
  CompileOptions& plain = add("portable, no pass, memory not reused");
  plain.skip = {"simplify", "merge_equal", "fuse_maps"};
  plain.isa = "portable";
  plain.reuse_memory = false;
  add("1 thread").threads = 1;
  add("3 threads").threads = 3;
  return all;
}

std::vector<Tensor> run(std::span<const Expr> outputs, const Feeds& feeds,
                        const CompileOptions& options) {
  std::vector<Output> wanted(outputs.begin(), outputs.end());
  Program program = compile(wanted, {}, cpu(), options);
  const Results results = program.run(feeds);
  std::vector<Tensor> all;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    all.push_back(results.tensor(static_cast<int>(i)));
  return all;
}

// One try of a row: shapes and a dtype.
class Try {
 public:
  Try(const OpCase& row, const std::vector<Shape>& shapes, DType dtype, bool same)
      : row_(row),
        dtype_(dtype),
        random_(static_cast<unsigned>(std::hash<std::string>{}(row.name) % 1000003)) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (same && i > 0) {
        inputs_.push_back(inputs_[0]);
        arrays_.push_back(arrays_[0]);
        continue;
      }
      inputs_.push_back(input("x" + std::to_string(i), shapes[i], dtype));
      const Tensor value = draw(shapes[i], dtype);
      arrays_.push_back(array_of(value));
      feeds_.push_back({inputs_.back(), value});
      variables_.push_back(inputs_.back());
      values_.push_back(value);
    }
    y_ = row.op(inputs_);
  }

  void run_checks() {
    check_value();
    const bool differentiates = row_.has_gradient && is_floating(dtype_) && is_floating(y_.dtype());
    std::vector<Expr> outputs{y_};
    if (differentiates) {
      const Expr s = weighted(y_);
      const std::vector<Expr> gradients = grad(s, variables_);
      outputs.insert(outputs.end(), gradients.begin(), gradients.end());
      if (dtype_ == DType::f64) {
        check_gradient("gradient", s, gradients);
        check_second_order(gradients);
        check_constants();
      }
    }
    check_variants(outputs);
    check_views();
  }

 private:
  Tensor draw(const Shape& shape, DType dtype) {
    std::uniform_real_distribution<double> number(row_.low, row_.high);
    std::uniform_int_distribution<int> digit(1, 9);
    return tensor_of(make_array(shape,
                                [&](const Index&) {
                                  return is_floating(dtype) ? number(random_) : digit(random_);
                                }),
                     dtype);
  }

  Expr weighted(const Expr& y) {
    const Array weights = make_array(y.shape(), [&](const Index&) {
      return std::uniform_real_distribution<double>(0.5, 1.5)(random_);
    });
    return sum(y * constant(tensor_of(weights, y.dtype())));
  }

  void check_value() {
    const Array expected = row_.reference(arrays_);
    const Array got = array_of(evaluate(y_, feeds_));
    BOOST_TEST_REQUIRE((got.shape == expected.shape),
                       to_string(got.shape) << " instead of " << to_string(expected.shape));
    const double tolerance = dtype_ == DType::f64   ? 1e-13
                             : dtype_ == DType::f32 ? row_.tolerance32
                                                    : 0;
    for (std::size_t i = 0; i < got.values.size(); ++i) {
      const double want = dtype_ == DType::u8 && y_.dtype() == DType::u8
                              ? std::fmod(expected.values[i] + 256, 256)
                              : expected.values[i];
      const double have = got.values[i];
      const bool fits =
          std::isnan(want)
              ? std::isnan(have)
              : have == want || std::abs(have - want) <= tolerance * std::max(1.0, std::abs(want));
      BOOST_TEST(fits, "element " << i << " is " << have << ", expected " << want);
    }
  }

  void check_gradient(const char* what, const Expr& s, std::span<const Expr> gradients) {
    const double error = gradient_error(s, gradients, variables_, values_);
    BOOST_TEST(error <= 1e-6, what << " is off by " << error);
  }

  void check_second_order(std::span<const Expr> gradients) {
    Expr s;
    for (const Expr& g : gradients) s = s ? s + weighted(g) : weighted(g);
    // A function that is linear in an input has a gradient without that input.
    std::vector<Expr> reached;
    const std::vector<const Node*> nodes = detail::in_order({&s, 1});
    for (std::size_t i = 0; i < variables_.size(); ++i) {
      if (std::find(nodes.begin(), nodes.end(), variables_[i].node()) == nodes.end()) continue;
      try {
        grad(s, {variables_[i]});
      } catch (const Error& error) {
        const bool is_cut =
            std::string_view(error.what()).find("every path is cut") != std::string_view::npos;
        BOOST_TEST(is_cut, error.what());
        continue;  // only through comparisons
      }
      reached.push_back(variables_[i]);
    }
    if (reached.empty()) return;
    const std::vector<Expr> second = grad(s, reached);
    // The others have a flat zero.
    std::vector<Expr> all;
    std::size_t next = 0;
    for (const Expr& v : variables_) {
      const bool is_reached = next < reached.size() && reached[next] == v;
      all.push_back(is_reached ? second[next++] : constant(zeros(v.shape(), v.dtype())));
    }
    const double error = gradient_error(s, all, variables_, values_);
    BOOST_TEST(error <= 1e-5, "second order is off by " << error);
  }

  // Each subset of inputs as constants: the gradients by the others keep their values.
  void check_constants() {
    const std::size_t n = variables_.size();
    if (n < 2) return;
    for (unsigned mask = 1; mask + 1 < (1u << n); ++mask) {
      std::vector<Expr> inputs, open;
      Feeds feeds;
      for (std::size_t i = 0; i < n; ++i) {
        const bool is_constant = (mask >> i & 1u) != 0;
        inputs.push_back(is_constant ? constant(values_[i]) : variables_[i]);
        if (is_constant) continue;
        open.push_back(variables_[i]);
        feeds.push_back({variables_[i], values_[i]});
      }
      std::mt19937 again = random_;
      random_.seed(7);
      const Expr y = row_.op(inputs);
      const std::vector<Expr> found = grad(weighted(y), open);
      random_.seed(7);
      const std::vector<Expr> wanted = grad(weighted(y_), open);
      random_ = again;
      const std::vector<Tensor> a = run(found, feeds, {});
      const std::vector<Tensor> b = run(wanted, feeds_, {});
      for (std::size_t i = 0; i < a.size(); ++i) {
        for (std::int64_t e = 0; e < a[i].size(); ++e) {
          const double x = a[i].at(e), z = b[i].at(e);
          BOOST_TEST((x == z || std::abs(x - z) <= 1e-12 * std::max(1.0, std::abs(z))),
                     "with constants " << mask << ": gradient " << x << " instead of " << z);
        }
      }
    }
  }

  void check_variants(std::span<const Expr> outputs) {
    static const std::vector<Variant> all = variants();
    const std::vector<Tensor> expected = run(outputs, feeds_, {});
    for (const Variant& variant : all) {
      const std::vector<Tensor> got = run(outputs, feeds_, variant.options);
      for (std::size_t i = 0; i < got.size(); ++i) {
        BOOST_TEST(same_bits(got[i], expected[i]),
                   variant.name << ": output " << i << " is " << to_string(got[i]) << " instead of "
                                << to_string(expected[i]));
      }
    }
  }

  // The same elements through a transposed, a sliced and a broadcast view.
  void check_views() {
    const Tensor expected = evaluate(y_, feeds_);
    for (int form = 0; form < 2; ++form) {
      std::vector<Expr> seen;
      Feeds feeds;
      for (std::size_t i = 0; i < variables_.size(); ++i) {
        const Array& x = array_of(values_[i]);
        const int rank = x.shape.rank();
        if (form == 0 && rank >= 2) {
          std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
          std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
          const Array moved = make_array(Shape(sizes), [&](Index index) {
            std::swap(index[index.size() - 1], index[index.size() - 2]);
            return x.at(index);
          });
          const Expr leaf = input("t" + std::to_string(i), Shape(sizes), dtype_);
          seen.push_back(transpose(leaf));
          feeds.push_back({leaf, tensor_of(moved, dtype_)});
        } else if (form == 1 && rank >= 1) {
          std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
          sizes.back() = 2 * sizes.back() + 1;
          const Array wide = make_array(Shape(sizes), [&](Index index) {
            const bool own = index.back() % 2 == 1;
            index.back() /= 2;
            return own ? x.at(index) : 1.0;
          });
          const Expr leaf = input("s" + std::to_string(i), Shape(sizes), dtype_);
          seen.push_back(slice(leaf, -1, 1, sizes.back(), 2));
          feeds.push_back({leaf, tensor_of(wide, dtype_)});
        } else {
          seen.push_back(variables_[i]);
          feeds.push_back({variables_[i], values_[i]});
        }
      }
      while (seen.size() < inputs_.size()) seen.push_back(seen[0]);
      const Tensor got = evaluate(row_.op(seen), feeds);
      BOOST_TEST(same_bits(got, expected), (form == 0 ? "transposed" : "sliced")
                                               << " inputs give " << to_string(got)
                                               << " instead of " << to_string(expected));
    }
  }

  const OpCase& row_;
  const DType dtype_;
  std::mt19937 random_;
  std::vector<Expr> inputs_;     // as given to the op
  std::vector<Expr> variables_;  // without repetition
  std::vector<Tensor> values_;
  std::vector<Array> arrays_;
  Feeds feeds_;
  Expr y_;
};

std::string text_of(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += " " + to_string(shape);
  return text;
}

}  // namespace

double gradient_error(const Expr& y, std::span<const Expr> gradients, std::span<const Expr> inputs,
                      const std::vector<Tensor>& at) {
  std::vector<Output> outputs{y};
  for (const Expr& g : gradients) outputs.emplace_back(g);
  Program all = compile(outputs, {}, cpu());
  Program value = compile({y});
  Feeds feeds;
  for (std::size_t i = 0; i < inputs.size(); ++i) feeds.push_back({inputs[i], at[i]});
  const Results results = all.run(feeds);
  double worst = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor gradient = results.tensor(static_cast<int>(i) + 1);
    if (!(gradient.type() == inputs[i].type())) return INFINITY;
    const auto x = at[i].span<double>();
    std::vector<double> moved(x.begin(), x.end());
    for (std::size_t e = 0; e < moved.size(); ++e) {
      const double h = 1e-5 * std::max(1.0, std::abs(x[e]));
      const volatile double up = x[e] + h, down = x[e] - h;
      moved[e] = up;
      feeds[i].value = tensor(std::span<const double>(moved), at[i].shape());
      const double above = value.run(feeds).number(0);
      moved[e] = down;
      feeds[i].value = tensor(std::span<const double>(moved), at[i].shape());
      const double below = value.run(feeds).number(0);
      moved[e] = x[e];
      const double slope = (above - below) / (up - down);
      const double error = std::abs(gradient.at(static_cast<std::int64_t>(e)) - slope) /
                           std::max(1.0, std::abs(slope));
      if (!(error <= worst)) worst = std::isnan(error) ? INFINITY : error;
    }
    feeds[i].value = at[i];
  }
  return worst;
}

void check(const OpCase& row) {
  std::vector<DType> dtypes = row.dtypes;
  if (row.takes_integers) dtypes.insert(dtypes.end(), {DType::i32, DType::i64, DType::u8});
  for (const DType dtype : dtypes) {
    for (const std::vector<Shape>& shapes : row.shapes) {
      BOOST_TEST_CONTEXT(name(dtype) << text_of(shapes))
      Try(row, shapes, dtype, false).run_checks();
      const bool equal =
          std::all_of(shapes.begin(), shapes.end(), [&](const Shape& s) { return s == shapes[0]; });
      if (shapes.size() < 2 || !equal) continue;
      BOOST_TEST_CONTEXT(name(dtype) << text_of(shapes) << ", one tensor for all inputs")
      Try(row, shapes, dtype, true).run_checks();
    }
  }
}

bool add_cases(std::vector<OpCase> rows, const char* file, int line) {
  namespace utf = boost::unit_test;
  for (OpCase& row : rows) {
    const std::string title = row.name;
    utf::framework::current_auto_test_suite().add(utf::make_test_case(
        [row = std::move(row)] { check(row); }, title, file, static_cast<std::size_t>(line)));
  }
  return true;
}

}  // namespace op_check
