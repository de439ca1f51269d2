// Row programs: whatever fuse_rows joins gives the bits of the same graph with the pass left out,
// at every size of lines and blocks, instruction set and number of threads.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor random_tensor(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::uniform_real_distribution<double>(-2, 2)(random));
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

struct Question {
  std::vector<Output> outputs;
  Feeds feeds;

  std::vector<Tensor> run(const CompileOptions& options) const {
    Program program = compile(outputs, {}, cpu(), options);
    program.run(feeds);  // the arena of the second run holds the values of the first
    const Results results = program.run(feeds);
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      all.push_back(results.tensor(static_cast<int>(i)));
    return all;
  }
  std::int64_t kernels(const CompileOptions& options = {}) const {
    return compile(outputs, {}, cpu(), options).report().kernels;
  }
};

const CompileOptions apart{.skip = {"fuse_rows"}, .threads = 1};

void check_bits(const Question& question, const std::string& what) {
  const std::vector<Tensor> expected = question.run(apart);
  const auto check = [&](const std::string& how, const CompileOptions& options) {
    BOOST_TEST(same_bits(question.run(options), expected), what << " " << how);
  };
  check("fused", {.threads = 1});
  check("with 3 threads", {.threads = 3});
  check("with memory of its own", {.threads = 1, .reuse_memory = false});
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (is_supported(isa))
      check(std::string(isa_name(isa)), {.threads = 1, .isa = std::string(isa_name(isa))});
  }
}

struct Kind {
  const char* name;
  std::function<Expr(const Expr& x, int axis, const Expr& along)> make;  // along: a value per k
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"softmax", [](const Expr& x, int axis, const Expr&) { return softmax(x, axis); }},
      {"log_softmax",
       [](const Expr& x, int axis, const Expr& g) { return log_softmax(x * g, axis) * g; }},
      {"logsumexp",
       [](const Expr& x, int axis, const Expr& g) { return (x - logsumexp(x, axis, true)) * g; }},
      {"layer_norm",
       [](const Expr& x, int axis, const Expr& g) {
         const Expr centred = x - mean(x, axis, true);
         return centred * rsqrt(mean(square(centred), axis, true) + 1e-5) * g + 0.5;
       }},
      {"norm with means of means",
       [](const Expr& x, int axis, const Expr&) { return x * stddev(x, axis, true); }},
      {"argmax and range",
       [](const Expr& x, int axis, const Expr&) {
         const Expr places = coordinate(x.shape(), axis);
         const Expr top = where(equal(places, expand_dims(argmax(x, axis), axis)), x, 0.0);
         return top + max(x, axis, true) - min(x, axis, true) * x;
       }},
      {"share of positives", [](const Expr& x, int axis, const Expr&) {
         return x * sum(where(x > 0.0, x, 0.0), axis, true) +
                where(any(x > 1.9, axis, true), x, -x);
       }}};
  return all;
}

Question question_of(const Kind& kind, const Shape& shape, int axis, DType dtype) {
  const Expr x = input("x", shape, dtype), dy = input("dy", shape, dtype);
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(shape.rank()), 1);
  sizes[static_cast<std::size_t>(axis)] = shape[axis];
  const Expr g = input("g", Shape(sizes), dtype);
  const Expr y = kind.make(x, axis, g) * dy + g;
  Question question{{y},
                    {{x, random_tensor(shape, dtype, 1)},
                     {dy, random_tensor(shape, dtype, 2)},
                     {g, random_tensor(Shape(sizes), dtype, 3)}}};
  for (const Expr& slope : grad(sum(square(y)), {x, g})) question.outputs.emplace_back(slope);
  return question;
}

struct Lines {
  Shape shape;
  int axis;
};

// As batch norm over [N, C, H, W], with an output that is a sum of the same lines.
Question channels(const Shape& shape, DType dtype) {
  const Expr x = input("x", shape, dtype), dy = input("dy", shape, dtype);
  const Expr g = input("g", {shape[1]}, dtype), b = input("b", {shape[1]}, dtype);
  const BatchNorm norm = batch_norm_training(x, g, b);
  const Expr y = relu(norm.y) + x;
  Question question{{y, norm.mean, norm.variance},
                    {{x, random_tensor(shape, dtype, 1)},
                     {dy, random_tensor(shape, dtype, 2)},
                     {g, random_tensor({shape[1]}, dtype, 3)},
                     {b, random_tensor({shape[1]}, dtype, 4)}}};
  for (const Expr& slope : grad(sum(y * dy), {x, g, b})) question.outputs.emplace_back(slope);
  return question;
}

// Short and long lines, one and many, columns in whole and in strided blocks, odd sizes everywhere.
const Lines sizes[] = {{{1, 2}, 1},    {{3, 5}, 1},       {{33, 65}, 1},      {{300, 17}, 1},
                       {{5, 511}, 1},  {{4, 512}, 1},     {{3, 1031}, 1},     {{2, 2, 3000}, 2},
                       {{2, 3}, 0},    {{2, 7, 5}, 1},    {{65, 33}, 0},      {{3, 40, 16}, 1},
                       {{130, 70}, 0}, {{2, 70, 130}, 1}, {{1, 1000, 18}, 1}, {{40, 3, 2}, 1},
                       {{2, 9221}, 1}, {{1, 4096}, 1}};

}  // namespace

BOOST_AUTO_TEST_SUITE(row_program)

BOOST_AUTO_TEST_CASE(fused_lines_have_the_bits_of_separate_kernels) {
  for (const Kind& kind : kinds()) {
    for (const Lines& lines : sizes) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Question question = question_of(kind, lines.shape, lines.axis, dtype);
        const std::string what = std::string(kind.name) + " of " + to_string(lines.shape) + " " +
                                 std::string(name(dtype));
        BOOST_TEST(question.kernels() < question.kernels(apart), what);
        check_bits(question, what);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(lines_in_pieces_have_the_bits_of_separate_kernels) {
  for (const Shape& shape :
       {Shape{2, 3, 2, 2}, Shape{3, 1, 5, 7}, Shape{2, 5, 19, 31}, Shape{40, 2, 3, 9},
        Shape{5, 4, 1, 3}, Shape{40, 2, 7, 7}, Shape{70, 3, 1, 17}, Shape{64, 3, 8, 8},
        Shape{9, 2, 16, 16}, Shape{5, 2, 32, 32}, Shape{3, 2, 32, 64}, Shape{64, 3, 16, 16},
        Shape{140, 3, 8, 8}, Shape{9, 3, 32, 32}, Shape{3, 3, 64, 64}, Shape{260, 3, 4, 4},
        Shape{130, 2, 4, 8}}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Question question = channels(shape, dtype);
      BOOST_TEST(question.kernels() < question.kernels(apart), to_string(shape));
      check_bits(question, to_string(shape) + " " + std::string(name(dtype)));
    }
  }
}

// Each kind of step, values that wait for others, and lines with a rest of chunks.
BOOST_AUTO_TEST_CASE(passes_in_registers_have_the_bits_of_separate_kernels) {
  for (const Shape& shape : {Shape{2, 4096}, Shape{3, 9216}, Shape{2, 13000}}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Expr x = input("x", shape, dtype), y = input("y", shape, dtype);
      const Expr c = input("c", {shape[0], 1}, dtype), mean_x = mean(x, 1, true);
      const Expr d = x - mean_x, e = y - sum(x * y, 1, true);
      const std::vector<Expr> made = {
          d * e - x * mean_x,
          e * c - x * y,
          where(d < e, x * y, c - y),
          where(d >= mean_x, d, e) + where(x <= y, c, d) - where(y > 0.0, d * e, e),
          relu(-square(d) + e) * square(e),
          d / c - c / (x * y + mean_x),
          (x * y + d) * (x * y - d) + mean(x * y * d, 1, true),
          sum(square(square(x) - y), 1, true) * x};
      Question question{{},
                        {{x, random_tensor(shape, dtype, 1)},
                         {y, random_tensor(shape, dtype, 2)},
                         {c, random_tensor({shape[0], 1}, dtype, 3)}}};
      for (const Expr& value : made) {
        question.outputs = {value};
        check_bits(question, to_string(shape));
      }
      question.outputs.assign(made.begin(), made.end());
      check_bits(question, "all of " + to_string(shape));
    }
  }
}

BOOST_AUTO_TEST_CASE(sums_of_products_that_are_flushed_have_the_bits_of_separate_kernels) {
  const Shape shape{3, 8192};
  const Expr x = input("x", shape), a = input("a", shape), b = input("b", shape);
  const Tensor numbers = random_tensor(shape, DType::f32, 1);
  std::vector<float> around;  // the least normal number
  for (std::int64_t i = 0; i < shape.size(); ++i)
    around.push_back(static_cast<float>(numbers.at(i)) * 0x1p-126f);
  const Tensor small = tensor(std::span<const float>(around), shape);
  const Feeds feeds{{x, small},
                    {a, random_tensor(shape, DType::f32, 2)},
                    {b, random_tensor(shape, DType::f32, 3)}};
  for (const Expr& y : {x * a + x * b, x * a + x}) {
    const Expr kept = flush_subnormal(y);
    check_bits({{kept, kept - sum(kept, 1, true)}, feeds}, "flushed");
  }
}

BOOST_AUTO_TEST_CASE(known_ops_are_one_kernel_forward) {
  const Expr x = input("x", {48, 96}), image = input("image", {4, 6, 5, 5});
  const Expr g = input("g", {96}), b = input("b", {96}), c = input("c", {6});
  const auto kernels = [](const Expr& y) { return Question{{y}, {}}.kernels(); };
  BOOST_TEST(kernels(softmax(x)) == 1);
  BOOST_TEST(kernels(softmax(x, 0)) == 1);
  BOOST_TEST(kernels(log_softmax(x)) == 1);
  BOOST_TEST(kernels(logsumexp(x, -1)) == 1);
  BOOST_TEST(kernels(layer_norm(x, g, b)) == 1);
  BOOST_TEST(kernels(rms_norm(x, g, b)) == 1);
  BOOST_TEST(kernels(group_norm(image, 3, c, c)) == 1);
  BOOST_TEST(kernels(softmax(image, 1)) == 1);
  BOOST_TEST(kernels(batch_norm_training(x, g, b).y) == 1);
  BOOST_TEST(kernels(batch_norm_training(image, c, c).y) == 1);
  BOOST_TEST(kernels(relu(layer_norm(x, g, b)) + x) == 1);
}

BOOST_AUTO_TEST_CASE(a_line_with_a_nan_leaves_the_others_alone) {
  const Expr x = input("x", {3, 40});
  Tensor values = full({3, 40}, 1);
  std::vector<float> moved(120, 1);
  moved[40] = std::numeric_limits<float>::quiet_NaN();
  const Tensor y =
      Question{{softmax(x)}, {{x, tensor(std::span<const float>(moved), {3, 40})}}}.run({})[0];
  for (std::int64_t i = 0; i < 120; ++i)
    BOOST_TEST(std::isnan(y.at(i)) == (i >= 40 && i < 80), "element " << i);
}

BOOST_AUTO_TEST_CASE(axes_of_size_0_and_1_are_taken) {
  for (const Shape& shape : {Shape{0, 4}, Shape{1, 1}, Shape{3, 1}, Shape{1, 4}, Shape{2, 0, 3}}) {
    const Expr x = input("x", shape);
    const Expr y = softmax(x) * x + mean(x, 0, true);
    check_bits({{y, grad(sum(square(y)), {x})[0]}, {{x, random_tensor(shape, DType::f32, 5)}}},
               to_string(shape));
  }
}

BOOST_AUTO_TEST_CASE(values_of_storage_dtypes_are_widened_inside) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Shape& shape : {Shape{9, 70}, Shape{2, 2500}}) {
      const Expr x = input("x", shape, dtype);
      const Question question{{softmax(x), layer_norm(x, {}, {})},
                              {{x, random_tensor(shape, dtype, 1)}}};
      BOOST_TEST(question.kernels() < question.kernels(apart));
      check_bits(question, std::string(name(dtype)));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_result_takes_the_place_of_an_input_that_dies) {
  const Expr a = input("a", {64, 64}), b = input("b", {64, 64});
  const Question question{
      {matmul(softmax(matmul(a, b)), b)},
      {{a, random_tensor({64, 64}, DType::f32, 1)}, {b, random_tensor({64, 64}, DType::f32, 2)}}};
  const Report report = compile(question.outputs, {}, cpu()).report();
  BOOST_TEST(report.arena_bytes == 2 * 64 * 64 * 4);
  check_bits(question, "softmax in place");
}

BOOST_AUTO_TEST_CASE(a_result_waits_for_passes_that_read_what_lies_in_its_place) {
  const Expr a = input("a", {4, 8}), b = input("b", {8, 5000});
  const Expr t = matmul(a, b);
  const Expr y = t - max(t, 1, true);
  check_bits(
      {{exp(t), y * t, sum(t * y, 1)},
       {{a, random_tensor({4, 8}, DType::f32, 1)}, {b, random_tensor({8, 5000}, DType::f32, 2)}}},
      "results of two passes");
}

BOOST_AUTO_TEST_CASE(a_result_waits_for_the_reduces_of_its_own_pass) {
  const Expr a = input("a", {4, 8}), b = input("b", {8, 5000});
  const Expr t = matmul(a, b), y = t * 2.0, e = exp(t);
  const Feeds feeds{{a, random_tensor({4, 8}, DType::f32, 1)},
                    {b, random_tensor({8, 5000}, DType::f32, 2)}};
  check_bits({{y, (y - mean(y, 1, true)) * max(t, 1, true)}, feeds}, "a product beside a maximum");
  check_bits({{e, e / sum(e, 1, true) * sum(t, 1, true)}, feeds}, "exp beside a sum");
  check_bits({{y, (y - mean(y, 1, true)) * sum(t, 1, true)}, feeds}, "a product beside a sum");
  check_bits({{y, y * t - mean(t, 1, true)}, feeds}, "products of one value");
  const Expr c = input("c", {64, 8}), d = input("d", {8, 192});
  const Expr u = reshape(matmul(c, d), {64, 3, 8, 8}), v = u * 2.0;
  const Axes over{0, 2, 3};
  const Expr w = square(u) - v;
  check_bits(
      {{v, w, (w - mean(v, over, true)) * sum(u, over, true)},
       {{c, random_tensor({64, 8}, DType::f32, 3)}, {d, random_tensor({8, 192}, DType::f32, 4)}}},
      "results beside sums of channels");
}

BOOST_AUTO_TEST_CASE(reduces_of_one_pass_have_the_same_bits_however_many_go_side_by_side) {
  for (const Shape& shape : {Shape{2, 5000}, Shape{3, 1031}, Shape{1, 4096}}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const int count : {2, 3, 4, 5, 9}) {
        const Expr x = input("x", shape, dtype);
        Expr y = x * max(x * 3.0, 1, true);
        for (int k = 0; k < count; ++k) y = y - sum(x * (x + k), 1, true);
        const Question question{{y}, {{x, random_tensor(shape, dtype, 1)}}};
        BOOST_TEST(question.kernels() == 1);
        check_bits(question, join({count, " sums of ", shape}));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(random_masks_are_the_same_inside) {
  Context context({.seed = 7, .step = constant(full({}, 3, DType::i64))});
  const Expr x = input("x", {37, 130});
  const Expr y = softmax(dropout(x, 0.3, context)) + dropout(softmax(x, 0), 0.5, context);
  check_bits({{y, grad(sum(square(y)), {x})[0]}, {{x, random_tensor({37, 130}, DType::f32, 3)}}},
             "dropout");
  const Expr z = input("z", {2, 3000});
  check_bits({{dropout(softmax(dropout(z, 0.3, context)), 0.5, context)},
              {{z, random_tensor({2, 3000}, DType::f32, 4)}}},
             "dropout in passes");
}

BOOST_AUTO_TEST_CASE(a_watched_step_names_what_is_not_finite_inside) {
  for (const std::int64_t n : {4, 3000}) {
    const Expr x = input("x", {3, n});
    const Expr part = x / sum(x, 1, true);
    const Expr y = where(isfinite(part), part, 0.0);  // hides it from the result
    Program program = compile({y}, {}, cpu(), {.check_numerics = true});
    BOOST_TEST(program.report().kernels == 1);
    const auto line = static_cast<std::size_t>(n);
    std::vector<float> values(3 * line, 1);
    for (std::size_t i = line; i < 2 * line; ++i) values[i] = i % 2 == 0 ? 1.0f : -1.0f;
    try {
      program.run({{x, tensor(std::span<const float>(values), {3, n})}});
      BOOST_TEST(false, "nothing was found");
    } catch (const Error& error) {
      BOOST_TEST(std::string(error.what()).starts_with("divide (row_program_test.cpp:"),
                 error.what());
    }
  }
}

BOOST_AUTO_TEST_CASE(what_repeats_within_a_line_is_read_where_it_lies) {
  const Expr x = input("x", {32, 32}), b = input("b", {32}), z = input("z", {3, 32, 32});
  const Expr y = x + b, w = z + b;
  const Feeds feeds{{x, random_tensor({32, 32}, DType::f32, 1)},
                    {b, random_tensor({32}, DType::f32, 2)},
                    {z, random_tensor({3, 32, 32}, DType::f32, 3)}};
  check_bits({{y - sum(y)}, {feeds[0], feeds[1]}}, "one line");
  check_bits({{w - mean(w, {1, 2}, true)}, {feeds[1], feeds[2]}}, "three lines");
}

BOOST_AUTO_TEST_CASE(explain_tells_what_a_kernel_is_made_of) {
  const Expr x = input("x", {64, 32});
  const std::string text = compile({softmax(x), sum(softmax(x, 0), 1)}).explain();
  const auto has = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(has("Rows: 10 ops run as 2 kernels, which read their lines once\n"), text);
  BOOST_TEST(has("softmax.max, softmax.subtract, softmax.exp, softmax.sum, softmax.divide\n"),
             text);
  BOOST_TEST(has("because their lines differ: sum with softmax.divide (row_program_test.cpp:"),
             text);
  BOOST_TEST(has("64 lines of 32, "), text);
}

BOOST_AUTO_TEST_SUITE_END()
