// Kernels that users add: what they see, what they refuse, and how their errors end a step.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <new>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

// y_i = x_0 + … + x_i over all elements in order; backwards from the end if reversed.
struct RunningSum {
  static constexpr std::string_view name = "running_sum";
  bool reversed = false;
  bool operator==(const RunningSum&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {make(RunningSum{!reversed}, {b.dy()})}; }
};

constexpr auto running_sum = [](const RunningSum& op, const KernelArgs& args) {
  visit(args.input_type(0).dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto x = args.input<T>(0);
    const auto y = args.output<T>();
    if constexpr (is_half(dtype_of<T>())) fail({"adds ", dtype_of<T>(), " nowhere"});
    else if (op.reversed) std::partial_sum(x.rbegin(), x.rend(), y.rbegin());
    else std::partial_sum(x.begin(), x.end(), y.begin());
  });
};

// Least and greatest element, as two results.
struct Extremes {
  static constexpr std::string_view name = "extremes";
  bool operator==(const Extremes&) const = default;
  std::vector<TensorType> infer(Types in) const { return {{in[0].dtype, {}}, {in[0].dtype, {}}}; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
};

// Twice x, by composition; a kernel that adds 1000 shows which of both ran.
struct Twice {
  static constexpr std::string_view name = "twice";
  bool operator==(const Twice&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {make(Twice{}, {b.dy()})}; }
  Expr expand(std::span<const Expr> in) const { return in[0] + in[0]; }
};

// Promises what x is and gives something else.
struct Liar {
  static constexpr std::string_view name = "liar";
  int mood = 0;
  bool operator==(const Liar&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy()}; }
  std::vector<Expr> expand(std::span<const Expr> in) const {
    if (mood == 0) return {sum(in[0])};
    if (mood == 1) return {Expr()};
    return {};
  }
};

// Ops that differ by number alone, for the cases below.
template <int number>
struct Same {
  static constexpr std::string_view name = "same";
  bool operator==(const Same&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy()}; }
};

struct Scattered {
  static constexpr std::string_view name = "scattered";
  bool operator==(const Scattered&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy()}; }
  bool makes(int, const Layout&) const { return true; }
};

template <int number>
struct Loose : Same<number> {
  bool accepts(int, const Layout&) const { return true; }
};

// 0, 1, … n-1: an op without inputs.
struct Iota {
  static constexpr std::string_view name = "iota";
  std::int64_t n = 0;
  bool operator==(const Iota&) const = default;
  TensorType infer(Types) const { return {DType::f32, Shape{n}}; }
  std::vector<Expr> vjp(const Backward&) const { return {}; }
};

constexpr auto count_up = [](const Iota&, const KernelArgs& args) {
  const auto y = args.output<float>();
  std::iota(y.begin(), y.end(), 0.F);
};

constexpr auto copy_f32 = [](const auto&, const KernelArgs& args) {
  const auto x = args.input<float>(0);
  std::copy(x.begin(), x.end(), args.output<float>().begin());
};

std::string text_of(const std::function<void()>& mistake) {
  try {
    mistake();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string at_line(int line) { return "kernels_test.cpp:" + std::to_string(line); }

std::vector<float> values(const Tensor& t) {
  const auto s = t.span<float>();
  return {s.begin(), s.end()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(kernels)

BOOST_AUTO_TEST_CASE(an_op_with_a_kernel_of_its_own_is_computed_and_differentiated) {
  cpu_kernels().add<RunningSum>(running_sum);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Expr x = input("x", {4}, dtype);
    const Expr y = make(RunningSum{}, {x * 2.0});
    const Expr slope = grad(sum(y * y), {x})[0];
    const Feed feed{x, tensor({1.0, 2.0, 3.0, 4.0}, {4}).astype(dtype)};
    BOOST_TEST(values(evaluate(y, {feed}).astype(DType::f32)) == (std::vector<float>{2, 6, 12, 20}),
               boost::test_tools::per_element());
    BOOST_TEST(values(evaluate(slope, {feed}).astype(DType::f32)) ==
                   (std::vector<float>{160, 152, 128, 80}),
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(views_arrive_dense_and_sizes_of_zero_arrive_empty) {
  cpu_kernels().add<RunningSum>(running_sum);
  const Expr x = input("x", {2, 2});
  const Expr turned = make(RunningSum{}, {transpose(x)});
  BOOST_TEST(values(evaluate(turned, {{x, tensor({1.F, 2.F, 3.F, 4.F}, {2, 2})}})) ==
                 (std::vector<float>{1, 4, 6, 10}),
             boost::test_tools::per_element());
  const Expr none = input("none", {0, 3});
  BOOST_TEST(evaluate(make(RunningSum{}, {none}), {{none, zeros({0, 3})}}).size() == 0);
}

BOOST_AUTO_TEST_CASE(a_kernel_may_write_several_results_and_sees_their_types) {
  cpu_kernels().add<Extremes>([](const Extremes&, const KernelArgs& args) {
    const auto x = args.input<float>(0);
    require(args.input_count() == 1 && args.output_count() == 2 &&
                args.output_type(1).shape.rank() == 0 && args.input_type(0).shape.rank() == 1,
            "types differ from those of the node");
    args.output<float>(0)[0] = *std::min_element(x.begin(), x.end());
    args.output<float>(1)[0] = *std::max_element(x.begin(), x.end());
  });
  const std::vector<Expr> both =
      make_all(Extremes{}, {constant(tensor({3.F, -1.F, 7.F, 2.F}, {4}))});
  Program program = compile({both[0], both[1]});
  const Results results = program.run();
  BOOST_TEST(results.number(0) == -1);
  BOOST_TEST(results.number(1) == 7);
}

BOOST_AUTO_TEST_CASE(an_op_without_inputs_is_run_alone_and_inside_a_graph) {
  cpu_kernels().add<Iota>(count_up);
  Program alone = compile({make(Iota{3}, {})});
  BOOST_TEST(alone.report().kernels == 1);
  BOOST_TEST(values(alone.run().tensor(0)) == (std::vector<float>{0, 1, 2}),
             boost::test_tools::per_element());
  const Expr w = parameter(full({2, 3}, 2), "w");
  const Expr spread = broadcast_to(make(Iota{3}, {}), {2, 3});
  const Expr loss = sum(exp(w) * 0.0 + w * spread + make(Iota{3}, {}));
  for (const CompileOptions& options : {CompileOptions{}, CompileOptions{.skip = {"merge_equal"}},
                                        CompileOptions{.check_numerics = true}}) {
    Program program =
        compile({loss, grad(loss, {w})[0], spread}, Updates().set(w, w), cpu(), options);
    const Results results = program.run();
    BOOST_TEST(results.number(0) == 18);
    BOOST_TEST(values(results.tensor(1)) == (std::vector<float>{0, 1, 2, 0, 1, 2}),
               boost::test_tools::per_element());
    BOOST_TEST(values(results.tensor(2)) == (std::vector<float>{0, 1, 2, 0, 1, 2}),
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_composite_takes_its_kernel_from_the_next_compile_on) {
  const Expr x = input("x", {});
  Program before = compile({make(Twice{}, {x})});
  cpu_kernels().add<Twice>([](const Twice&, const KernelArgs& args) {
    args.output<float>()[0] = 2 * args.input<float>(0)[0] + 1000;
  });
  Program after = compile({make(Twice{}, {x})});
  const Feed three{x, tensor({3.F}, {})};
  BOOST_TEST(before.run({three}).number(0) == 6);
  BOOST_TEST(after.run({three}).number(0) == 1006);
}

BOOST_AUTO_TEST_CASE(an_op_without_kernel_and_expand_is_refused_at_compile_with_its_line) {
  const Expr y = make(Same<0>{}, {input("x", {2})});
  const int line = __LINE__ - 1;
  BOOST_TEST(text_of([&] { compile({y}); }) ==
             "same (" + at_line(line) +
                 "): the CPU has no kernel for this op, and it has no expand; cpu_kernels().add "
                 "gives it one");
}

BOOST_AUTO_TEST_CASE(an_expand_that_gives_other_types_than_infer_is_refused_with_its_line) {
  const std::string gives[] = {"f32[]", "an empty Expr", "nothing"};
  for (int mood = 0; mood < 3; ++mood) {
    const Expr y = make(Liar{mood}, {input("x", {2})});
    const int line = __LINE__ - 1;
    BOOST_TEST(text_of([&] { compile({y}); }) == "liar (" + at_line(line) + "): its expand gives " +
                                                     gives[mood] + ", its infer said f32[2]");
  }
}

BOOST_AUTO_TEST_CASE(a_wrong_dtype_or_number_is_told_with_op_and_line_and_the_next_run_works) {
  cpu_kernels().add<Same<1>>([](const Same<1>&, const KernelArgs& args) {
    const auto x = args.input<float>(args.input_type(0).shape.size() == 1 ? 1 : 0);
    if (x.size() == 2) args.output<double>();
    if (x.size() == 3) args.output<float>(-1);
    args.output<float>()[0] = x[0];
  });
  const auto run = [](const Shape& shape, DType dtype) {
    evaluate(make(Same<1>{}, {constant(zeros(shape, dtype))}));
  };
  const std::string start = "same (" + at_line(__LINE__ - 2) + "): its kernel asks for ";
  BOOST_TEST(text_of([&] { run({4}, DType::f64); }) == start + "input 0 as f32, but it is f64");
  BOOST_TEST(text_of([&] { run({1}, DType::f32); }) == start + "input 1 of 1");
  BOOST_TEST(text_of([&] { run({2}, DType::f32); }) == start + "output 0 as f64, but it is f32");
  BOOST_TEST(text_of([&] { run({3}, DType::f32); }) == start + "output -1 of 1");
  BOOST_TEST(text_of([&] { run({4}, DType::f32); }) == "no error");
}

BOOST_AUTO_TEST_CASE(an_error_in_a_kernel_ends_its_step_before_any_update) {
  cpu_kernels().add<Same<2>>([](const Same<2>& op, const KernelArgs& args) {
    require(args.input<float>(0)[0] >= 0, "wants no negative numbers");
    copy_f32(op, args);
  });
  const Expr x = input("x", {1}), w = parameter(zeros({1}), "w");
  Updates updates;
  updates.set(w, w + 1.0);
  const Expr y = make(Same<2>{}, {x});
  const int line = __LINE__ - 1;
  Program program = compile({y}, updates);
  program.run({{x, tensor({5.F}, {1})}});
  BOOST_TEST(text_of([&] { program.run({{x, tensor({-5.F}, {1})}}); }) ==
             "same (" + at_line(line) + "): wants no negative numbers");
  BOOST_TEST(w.value().at(0) == 1);
  BOOST_TEST(program.run({{x, tensor({7.F}, {1})}}).number(0) == 7);
  BOOST_TEST(w.value().at(0) == 2);
}

BOOST_AUTO_TEST_CASE(whatever_a_kernel_throws_is_told_with_op_and_line) {
  cpu_kernels().add<Same<7>>([](const Same<7>& op, const KernelArgs& args) {
    const float x = args.input<float>(0)[0];
    if (x == 1) throw std::out_of_range("no such row");
    if (x == 2) throw DeviceError("no sensor");
    if (x == 3) throw std::bad_alloc();
    copy_f32(op, args);
  });
  const Expr x = input("x", {1});
  Program program = compile({make(Same<7>{}, {x})});
  const std::string start = "same (" + at_line(__LINE__ - 1) + "): ";
  const auto run = [&](float number) { program.run({{x, tensor({number}, {1})}}); };
  BOOST_TEST(text_of([&] { run(1); }) == start + "no such row");
  BOOST_TEST(text_of([&] { run(2); }) == start + "no sensor");
  BOOST_CHECK_THROW(run(2), DeviceError);
  BOOST_TEST(text_of([&] { run(3); }) == start + "std::bad_alloc");
  BOOST_CHECK_THROW(run(3), DeviceError);
  BOOST_TEST(text_of([&] { run(4); }) == "no error");
}

BOOST_AUTO_TEST_CASE(the_same_kernel_may_be_added_again_another_one_is_refused) {
  const int line = __LINE__ + 1;
  for (int i = 0; i < 2; ++i) cpu_kernels().add<Same<3>>(copy_f32);
  const auto add_another = [] {
    cpu_kernels().add<Same<3>>([](const Same<3>&, const KernelArgs&) {});
  };
  BOOST_TEST(text_of(add_another) == "same (" + at_line(line + 2) +
                                         "): this op has another kernel already, added at " +
                                         at_line(line));
  const auto add_own = [] { cpu_kernels().add<Gather>(copy_f32); };
  BOOST_TEST(text_of(add_own) == "take (" + at_line(__LINE__ - 1) +
                                     "): the CPU's own kernel for this op cannot be replaced");
}

BOOST_AUTO_TEST_CASE(an_op_that_accepts_other_layouts_cannot_have_a_kernel_on_dense_spans) {
  cpu_kernels().add<Loose<4>>(copy_f32);
  const Expr y = make(Loose<4>{}, {transpose(input("x", {2, 3}))});
  const int line = __LINE__ - 1;
  BOOST_TEST(text_of([&] { compile({y}); }) ==
             "same (" + at_line(line) +
                 "): its kernel reads dense inputs, so its accepts() may admit no other layout, "
                 "got [3, 2] strides [1, 3] offset 0");
}

BOOST_AUTO_TEST_CASE(an_op_that_makes_other_layouts_cannot_have_a_kernel_on_dense_spans) {
  cpu_kernels().add<Scattered>(copy_f32);
  const Expr x = input("x", {8, 16, 64});
  const int line = __LINE__ + 1;
  const Expr y = make(Scattered{}, {x});
  const Expr swapped = reshape(permute_dims(y, {{1, 0, 2}}), {16, 512});
  BOOST_TEST(text_of([&] { compile({swapped}); }) ==
             "scattered (" + at_line(line) +
                 "): its kernel writes dense results, so its makes() may admit no other layout, "
                 "got [8, 16, 64] strides [64, 512, 1] offset 0");
}

BOOST_AUTO_TEST_CASE(kernels_may_be_added_while_others_compile) {
  std::atomic<int> wrong{0};
  const auto use = [&] {
    for (int i = 0; i < 20; ++i) {
      cpu_kernels().add<Same<5>>(copy_f32);
      cpu_kernels().add<Same<6>>(copy_f32);
      const Expr x = constant(tensor({4.F}, {1}));
      if (evaluate(make(Same<5>{}, {make(Same<6>{}, {x})})).at(0) != 4) ++wrong;
    }
  };
  std::thread other(use);
  use();
  other.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_SUITE_END()
