// Rows by number and parts of larger values, large enough that several threads share them.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <random>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

Tensor waves(const Shape& shape, DType dtype = DType::f32) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.37 * static_cast<double>(i)) * 3);
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

Tensor evaluated(const Expr& e, int threads) { return evaluate(e, {}, {.threads = threads}); }

std::int64_t differences(const Tensor& a, const std::vector<float>& b) {
  std::int64_t wrong = a.size() == static_cast<std::int64_t>(b.size()) ? 0 : 1;
  for (std::int64_t i = 0; wrong == 0 && i < a.size(); ++i)
    wrong += a.at(i) != static_cast<double>(b[static_cast<std::size_t>(i)]);
  return wrong;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(row_kernels)

BOOST_AUTO_TEST_CASE(merged_rows_are_the_sums_in_order_for_any_numbers_widths_and_threads) {
  std::mt19937_64 generator(5);
  for (const std::int64_t span : {std::int64_t{1}, std::int64_t{200}, std::int64_t{1} << 50}) {
    for (const std::int64_t width : {1, 63, 64, 200}) {
      const std::int64_t count = 700;
      std::vector<std::int64_t> numbers;
      for (std::int64_t i = 0; i < count; ++i)
        numbers.push_back(
            static_cast<std::int64_t>(generator() % static_cast<unsigned long>(span)) - span / 3);
      const Tensor v = waves({count, width});
      std::map<std::int64_t, std::vector<float>> sums;
      for (std::int64_t i = 0; i < count; ++i) {
        std::vector<float>& sum = sums[numbers[static_cast<std::size_t>(i)]];
        sum.resize(static_cast<std::size_t>(width), 0);
        for (std::int64_t c = 0; c < width; ++c)
          sum[static_cast<std::size_t>(c)] += static_cast<float>(v.at(i * width + c));
      }
      std::vector<float> expected(static_cast<std::size_t>(count * width), 0);
      std::size_t at = 0;
      for (const auto& [number, sum] : sums) {
        std::copy(sum.begin(), sum.end(), expected.begin() + static_cast<std::ptrdiff_t>(at));
        at += sum.size();
      }
      for (const int threads : {1, 3}) {
        const Rows rows = merge_rows(
            constant(tensor(std::span<const std::int64_t>(numbers), {count})), constant(v));
        BOOST_TEST(evaluated(rows.count, threads).at(0) == static_cast<double>(sums.size()));
        BOOST_TEST(differences(evaluated(rows.values, threads), expected) == 0);
        const Tensor found = evaluated(rows.rows, threads);
        std::int64_t k = 0;
        for (const auto& [number, sum] : sums)
          BOOST_TEST(found.at(k++) == static_cast<double>(number));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_are_put_in_place_or_aside_by_any_number_of_threads) {
  const Shape shape{300, 200};
  const Rows rows{constant(tensor({7, 299, 0, 12, 5}, {5})), constant(ones({5, 200})),
                  constant(full({}, 3, DType::i64))};
  std::vector<float> expected;
  for (std::int64_t i = 0; i < shape.size(); ++i) {
    const std::int64_t row = i / 200;
    expected.push_back(row == 7 || row == 299 || row == 0
                           ? 1.f
                           : static_cast<float>(std::sin(0.37 * static_cast<double>(i)) * 3));
  }
  for (const int threads : {1, 3}) {
    const Expr w = parameter(waves(shape), "w");
    BOOST_TEST(differences(evaluated(put_rows(w, rows), threads), expected) == 0);
    Updates updates;
    updates.set(w, put_rows(w, rows));
    compile(std::initializer_list<Output>{}, updates, cpu(), {.threads = threads}).run();
    BOOST_TEST(differences(w.value(), expected) == 0);
  }
}

BOOST_AUTO_TEST_CASE(parts_side_by_side_are_copied_and_what_they_leave_open_is_filled) {
  const Expr a = constant(waves({70, 1000})), b = constant(waves({70, 1500}));
  std::vector<float> joined, padded;
  for (std::int64_t r = 0; r < 70; ++r) {
    for (std::int64_t c = 0; c < 2500; ++c) {
      const std::int64_t i = c < 1000 ? r * 1000 + c : r * 1500 + c - 1000;
      joined.push_back(static_cast<float>(std::sin(0.37 * static_cast<double>(i)) * 3));
    }
    for (std::int64_t c = 0; c < 1003; ++c) {
      const double wave = std::sin(0.37 * static_cast<double>(r * 1000 + c - 1)) * 3;
      padded.push_back(c == 0 || c > 1000 ? -2.5f : static_cast<float>(wave));
    }
  }
  for (const int threads : {1, 2, 3, 7}) {
    BOOST_TEST(differences(evaluated(concat({a, b}, 1), threads), joined) == 0);
    Layout inside{{70, 1000}, {1003, 1}, 1};
    const Expr filled = make(Unview{{inside}, {70, 1003}, -2.5}, {a});
    BOOST_TEST(differences(evaluated(filled, threads), padded) == 0);
  }
}

BOOST_AUTO_TEST_CASE(gaps_are_filled_whether_parts_keep_to_rows_of_the_result_or_cross_them) {
  const Shape shape{300, 1003};
  const std::vector<std::vector<Layout>> cases = {
      {{{100, 400}, {3 * 1003, 2}, 5}},
      {{{150, 400}, {2 * 1003, -1}, 1003 + 700}},
      {{{299, 10}, {1003, 1}, 0}, {{1, 500}, {1003, 1}, 299 * 1003 + 400}},
      {{{1000, 290}, {1, 1003}, 0}},
      {{{10, 30000}, {30090, 1}, 7}},
      {{{300, 0}, {1003, 1}, 0}, {{}, {}, 12}},
  };
  for (const std::vector<Layout>& layouts : cases) {
    std::vector<float> expected(static_cast<std::size_t>(shape.size()), -2.5f);
    std::vector<Expr> parts;
    for (const Layout& layout : layouts) {
      const Tensor values = waves(layout.shape);
      parts.push_back(constant(values));
      for (std::int64_t i = 0; i < layout.shape.size(); ++i) {
        std::int64_t at = layout.offset, rest = i;
        for (int a = layout.shape.rank() - 1; a >= 0; --a) {
          at += rest % layout.shape[a] * layout.strides[static_cast<std::size_t>(a)];
          rest /= layout.shape[a];
        }
        expected[static_cast<std::size_t>(at)] = static_cast<float>(values.at(i));
      }
    }
    for (const int threads : {1, 2, 3, 7}) {
      const Expr filled = make(Unview{layouts, shape, -2.5}, parts);
      BOOST_TEST(differences(evaluated(filled, threads), expected) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_second_element_is_taken_and_put_back_along_all_axes) {
  for (const Shape& shape : {Shape{3, 5, 7, 9}, Shape{2, 300, 41}, Shape{40, 30, 2, 70}}) {
    std::vector<Range> ranges(static_cast<std::size_t>(shape.rank()), Range{.step = 2});
    ranges[0] = {.start = 1};
    const auto is_taken = [&](std::int64_t i) {
      bool is = true;
      for (int a = shape.rank(); a-- > 0; i /= shape[a])
        is = is && (a == 0 ? i % shape[a] > 0 : i % shape[a] % 2 == 0);
      return is;
    };
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::u8}) {
      const Tensor x = waves(shape, dtype);
      std::vector<float> few, back;
      for (std::int64_t i = 0; i < shape.size(); ++i) {
        const auto value = static_cast<float>(x.at(i));
        if (is_taken(i)) few.push_back(value);
        back.push_back(is_taken(i) && is_floating(dtype) ? value : 0.0f);
      }
      for (const int threads : {1, 3}) {
        const Expr all = is_floating(dtype) ? parameter(x, "x") : state(x, "x"),
                   some = slice(all, ranges);
        const Tensor taken = evaluated(some, threads);
        BOOST_TEST(differences(taken.astype(DType::f32), few) == 0);
        if (!is_floating(dtype)) continue;
        const Expr slope = grad(sum(some * constant(taken)), {all})[0];
        BOOST_TEST(differences(evaluated(slope, threads).astype(DType::f32), back) == 0);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
