// Reductions and row programs on CUDA's executable against the CPU's kernels.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <random>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/harness/host_runtime.h"
#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

constexpr double nearly = 2e-6;  // f32 sums in another order, in parts of the largest number

Tensor drawn(const Shape& shape, DType dtype, std::uint64_t seed) {
  // Sums are as large as their numbers.
  return test_support::drawn(shape, dtype, seed, -1, 3);
}

/// Outputs and what they read, for one program.
struct Question {
  std::vector<Output> outputs;
  Feeds feeds;

  Expr in(const Shape& shape, DType dtype) {
    const Expr x = input("x" + std::to_string(feeds.size()), shape, dtype);
    feeds.push_back({x, drawn(shape, dtype, feeds.size() + 1)});
    return x;
  }
  void check(double tolerance) const { test_support::check_on_cuda(outputs, feeds, tolerance); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(rows)

BOOST_AUTO_TEST_CASE(axes_of_all_shapes_are_reduced) {
  if (test_support::skips_cuda_programs()) return;
  struct Case {
    Shape shape;
    std::vector<int> axes;
  };
  const std::vector<Case> cases = {{{7}, {0}},
                                   {{3, 5}, {1}},
                                   {{65, 33}, {0}},
                                   {{5, 1300}, {1}},
                                   {{2, 9221}, {1}},
                                   {{2100, 3}, {0}},
                                   {{3, 40, 5}, {1}},
                                   {{3, 4, 5, 6}, {0, 2}},
                                   {{3, 4, 5, 6}, {1, 3}},
                                   {{2, 3, 2, 3, 2}, {0, 2, 4}},
                                   {{30011}, {0}},
                                   {{4, 1, 6}, {1}}};
  Question question;
  for (const Case& it : cases) {
    const Expr x = question.in(it.shape, DType::f32);
    for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min,
                                  ReduceKind::argmax, ReduceKind::argmin})
      question.outputs.emplace_back(reduce(x, kind, it.axes, false));
  }
  question.check(nearly);
}

BOOST_AUTO_TEST_CASE(whole_values_are_reduced) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  for (const std::int64_t n : {1, 5, 1000, 20011}) {
    const Expr x = question.in({n}, DType::f32), y = question.in({n}, DType::f32);
    const Expr turned = permute_dims(question.in({3, 17}, DType::f32), std::vector<int>{1, 0});
    question.outputs.emplace_back(sum(x * y));
    question.outputs.emplace_back(max(abs(x)));
    question.outputs.emplace_back(min(y));
    question.outputs.emplace_back(sum(astype(x > y, DType::i32)));
    question.outputs.emplace_back(all(isfinite(x)));
    question.outputs.emplace_back(sum(square(turned)));
  }
  question.check(nearly);
}

BOOST_AUTO_TEST_CASE(all_dtypes_are_reduced) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  for (const DType dtype :
       {DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8, DType::boolean}) {
    for (const int axis : {0, 1}) {
      const Expr x = abs(question.in({33, 65}, dtype == DType::boolean ? DType::i32 : dtype));
      const Expr y = dtype == DType::boolean ? x > 1 : x;
      for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min,
                                    ReduceKind::argmax, ReduceKind::argmin}) {
        const bool picks = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
        if (picks && dtype == DType::boolean) continue;
        question.outputs.emplace_back(reduce(y, kind, std::vector<int>{axis}, true));
      }
    }
  }
  question.check(0.008);  // bf16 is rounded once more
}

BOOST_AUTO_TEST_CASE(halves_are_added_up_to_f32) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const auto& [shape, axes] : std::vector<std::pair<Shape, std::uint32_t>>{{{300, 40}, 1},
                                                                                  {{33, 65}, 2},
                                                                                  {{3, 4, 5, 6}, 5},
                                                                                  {{2, 9221}, 2},
                                                                                  {{40000}, 1},
                                                                                  {{1, 6}, 1}}) {
      const Expr x = question.in(shape, dtype), y = question.in(shape, DType::f32);
      const Expr s = make(Reduce{ReduceKind::sum, axes, true}, {x});
      question.outputs.emplace_back(s);
      question.outputs.emplace_back(y / s);
      question.outputs.emplace_back(make(Reduce{ReduceKind::sum, axes}, {astype(sin(y), dtype)}));
    }
  }
  question.check(nearly);
}

BOOST_AUTO_TEST_CASE(nan_wins_and_the_first_of_equals_is_taken) {
  if (test_support::skips_cuda_programs()) return;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  Question question;
  for (const auto& [shape, axis] :
       std::vector<std::pair<Shape, int>>{{{4, 3000}, 1}, {{6, 50}, 1}, {{50, 6}, 0}}) {
    Tensor values = full(shape, 0.5);
    std::vector<float> numbers(static_cast<std::size_t>(shape.size()), 0.5f);
    std::mt19937 random(7);
    for (std::size_t i = 0; i < numbers.size(); i += 17)
      numbers[i] = random() % 4 == 0 ? static_cast<float>(nan) : i % 34 == 0 ? -2.0f : 2.0f;
    const Expr x = input("n" + std::to_string(question.feeds.size()), shape);
    question.feeds.push_back({x, tensor(std::span<const float>(numbers), shape)});
    for (const ReduceKind kind :
         {ReduceKind::max, ReduceKind::min, ReduceKind::argmax, ReduceKind::argmin}) {
      question.outputs.emplace_back(reduce(x, kind, std::vector<int>{axis}, false));
      const Expr numbers_only = where(isnan(x), 0.0, x);
      question.outputs.emplace_back(reduce(numbers_only, kind, std::vector<int>{axis}, false));
    }
  }
  question.check(0);
}

BOOST_AUTO_TEST_CASE(axes_of_size_0_and_1_are_taken) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  for (const Shape& shape : {Shape{0, 4}, Shape{4, 0}, Shape{1, 1}, Shape{3, 1}, Shape{2, 0, 3}}) {
    const Expr x = question.in(shape, DType::f32);
    for (const int axis : {0, 1}) {
      question.outputs.emplace_back(sum(x, axis));
      question.outputs.emplace_back(any(x > 0.0, axis));
      question.outputs.emplace_back(all(x > 0.0, axis));
      question.outputs.emplace_back(sum(x > 0.0, axis));
    }
    question.outputs.emplace_back(sum(x));
    question.outputs.emplace_back(softmax(x, -1) * x + mean(x, 0, true));
  }
  question.check(nearly);
}

BOOST_AUTO_TEST_CASE(layouts_of_all_kinds_are_reduced) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  const Expr x = question.in({6, 4, 10}, DType::f32);
  const Expr row = broadcast_to(question.in({10}, DType::f32), {6, 4, 10});
  const Expr turned = permute_dims(x, std::vector<int>{2, 0, 1});
  const Expr folded =
      reshape(permute_dims(question.in({4, 6}, DType::f32), std::vector<int>{1, 0}), {3, 8});
  for (const Expr& it : {x, row, turned, flip(x, 2), flip(x, {0, 1})}) {
    for (const int axis : {0, 1, 2}) question.outputs.emplace_back(sum(it, axis));
    question.outputs.emplace_back(argmax(it, 1));
    question.outputs.emplace_back(softmax(it, 1));
    question.outputs.emplace_back(softmax(it, 2));
  }
  question.outputs.emplace_back(sum(folded, 1));
  question.outputs.emplace_back(softmax(folded, 1) * folded);
  question.outputs.emplace_back(softmax(folded, 0) * folded);
  question.check(nearly);
}

namespace {

/// What a framework has for lines, with gradients.
void ask_lines(Question& question, const Shape& shape, int axis, DType dtype) {
  const Expr x = question.in(shape, dtype), dy = question.in(shape, dtype);
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(shape.rank()), 1);
  sizes[static_cast<std::size_t>(axis)] = shape[axis];
  const Expr g = question.in(Shape(sizes), dtype);
  const Expr centred = x - mean(x, axis, true);
  const Expr places = coordinate(shape, axis);
  const Expr top = where(equal(places, expand_dims(argmax(x, axis), axis)), x, 0.0);
  const std::vector<Expr> made = {
      softmax(x * g, axis), log_softmax(x, axis) * g,
      centred * rsqrt(mean(square(centred), axis, true) + 1e-5) * g + 0.5,
      top + max(x, axis, true) * g - min(x, axis, true) * x,
      x * sum(where(x > 0.0, x, 0.0), axis, true) + where(any(x > 1.9, axis, true), x, -x) * g};
  for (const Expr& y : made) {
    question.outputs.emplace_back(y * dy);
    for (const Expr& slope : grad(sum(y * dy), {x, g})) question.outputs.emplace_back(slope);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(short_lines_are_walked) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  ask_lines(question, {3, 5}, 1, DType::f32);
  ask_lines(question, {33, 68}, 1, DType::f32);
  ask_lines(question, {20, 17}, 0, DType::f32);
  ask_lines(question, {2, 7, 5}, 1, DType::f32);
  question.check(2e-5);
}

BOOST_AUTO_TEST_CASE(long_lines_are_walked) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  ask_lines(question, {2, 1100}, 1, DType::f32);
  ask_lines(question, {1, 9000}, 1, DType::f64);
  ask_lines(question, {600, 20}, 0, DType::f32);
  question.check(2e-5);
}

BOOST_AUTO_TEST_CASE(lines_in_pieces_are_walked) {
  if (test_support::skips_cuda_programs()) return;
  Question question;
  for (const Shape& shape : {Shape{3, 2, 5, 7}, Shape{5, 2, 32, 40}}) {
    const Expr x = question.in(shape, DType::f32), dy = question.in(shape, DType::f32);
    const Expr g = question.in({shape[1]}, DType::f32), b = question.in({shape[1]}, DType::f32);
    const BatchNorm norm = batch_norm_training(x, g, b);
    const Expr y = relu(norm.y) + x;
    for (const Expr& it : {y, norm.mean, norm.variance}) question.outputs.emplace_back(it);
    for (const Expr& slope : grad(sum(y * dy), {x, g, b})) question.outputs.emplace_back(slope);
  }
  question.check(2e-5);
}

namespace {

/// Keeps the texts that programs ask for; their kernels do nothing.
class Texts final : public CudaRuntime {
 public:
  std::vector<CudaText> texts;

  std::string title() const override { return host_->title(); }
  CudaLimits limits() const override { return {}; }
  std::int64_t free_bytes() const override { return host_->free_bytes(); }
  std::vector<CudaFunction> load(std::span<const CudaText> more) override {
    for (const CudaText& text : more) {
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
    }
    return std::vector<CudaFunction>(more.size());
  }
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override {
    return host_->allocate(bytes);
  }
  void launch(const CudaCall&) override {}
  void copy_in(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_within(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_out(std::byte*, const std::byte*, std::int64_t) override {}
  void wait() override {}
  std::unique_ptr<CudaSequence> record(const std::function<void()>&) override { return nullptr; }

 private:
  std::shared_ptr<CudaRuntime> host_ = harness::host_runtime();
};

}  // namespace

BOOST_AUTO_TEST_CASE(kernels_over_lines_compile_for_the_device) {
  if (test_support::skips_cuda_programs()) return;
  const Nvrtc* compiler = nullptr;
  try {
    compiler = &nvrtc();
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return;
  }
  Question question;
  const Expr lines = question.in({300, 768}, DType::f32);
  question.outputs.emplace_back(
      layer_norm(lines, question.in({768}, DType::f32), question.in({768}, DType::f32)));
  question.outputs.emplace_back(log_softmax(question.in({4, 5000}, DType::bf16), 1));
  question.outputs.emplace_back(argmax(question.in({300, 40}, DType::f64), 0));
  const Expr x = question.in({8, 3, 20, 20}, DType::f32);
  question.outputs.emplace_back(
      batch_norm_training(x, question.in({3}, DType::f32), question.in({3}, DType::f32)).y);
  question.outputs.emplace_back(sum(x, {0, 2}));
  question.outputs.emplace_back(sum(question.in({50000}, DType::f32) * 2.0));
  const auto runtime = std::make_shared<Texts>();
  compile(question.outputs, {}, make_device("texts", cuda_backend(runtime)));
  const std::size_t number = runtime->texts.size();
  const std::string cubin = compile_cubin(*compiler, {.text = cuda_program(runtime->texts)});
  BOOST_TEST(cubin.find("kernel" + std::to_string(number - 1)) != std::string::npos);
  BOOST_TEST_MESSAGE(number << " kernels, cubin of " << cubin.size() << " bytes");
}

BOOST_AUTO_TEST_SUITE_END()
