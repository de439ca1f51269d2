// Kernels that users add for CUDA, on its executable: what they see, what they refuse, and what is
// said of their mistakes. The compiler here is the host's; the last case asks NVRTC.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/harness/host_runtime.h"
#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"
#include "blockgrad/blockgrad.h"
#include "custom_op/smooth.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::contains;
using test_support::drawn;
using test_support::error_of;

namespace {

std::string at_line(int line) { return "user_kernels_test.cpp:" + std::to_string(line); }

// Ops that differ by number alone.
template <int number>
struct Turn {
  static constexpr std::string_view name = "turn";
  double by = 1;
  bool operator==(const Turn&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {make(Turn{by}, {b.dy()})}; }
};

// y = by * x from back to front.
CudaSource turned(double by, Types in) {
  const std::int64_t n = in[0].shape.size();
  return {.text = R"(
    // KERNEL(is, only, spoken, of)
    __device__ long mirrored(long i, long n) { return n - 1 - i; }
    __global__ void KERNEL(const X0* x, Y0* y, long n, double by /* a number, too */) {
      const long i = blockIdx.x * 32L + threadIdx.x;
      if (i < n) y[i] = static_cast<Y0>(by * static_cast<double>(x[mirrored(i, n)]));
    })",
          .blocks = (n + 31) / 32,
          .threads = 32,
          .numbers = {n, by}};
}

template <int number>
void add_turn() {
  cuda_kernels().add<Turn<number>>(
      [](const Turn<number>& op, Types in, Types) { return turned(op.by, in); });
}

template <int number>
Tensor turn(const Tensor& x, const Device& device) {
  const Expr input = blockgrad::input("x", x.shape(), x.dtype());
  Program program = compile({make(Turn<number>{2}, {input})}, {}, device);
  return program.run({{input, x}}).tensor(0);
}

// Sum and count of x's elements; no gradient.
struct Count {
  static constexpr std::string_view name = "count all";
  bool operator==(const Count&) const = default;
  std::vector<TensorType> infer(Types in) const { return {{in[0].dtype, {}}, {DType::i64, {}}}; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
};

// By composition x + x; a kernel that adds 1000 shows which of both ran.
struct Twice {
  static constexpr std::string_view name = "twice";
  bool operator==(const Twice&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {make(Twice{}, {b.dy()})}; }
  Expr expand(std::span<const Expr> in) const { return in[0] + in[0]; }
};

template <int number>
struct Loose : Turn<number> {
  bool operator==(const Loose&) const = default;
  bool accepts(int, const Layout&) const { return true; }
};

// Compiles as a device does, and can do nothing else.
class CompilingRuntime final : public CudaRuntime {
 public:
  std::string title() const override { return "NVRTC"; }
  CudaLimits limits() const override { return {}; }
  std::int64_t free_bytes() const override { return 1 << 30; }
  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    for (const CudaText& text : texts) {
      compile_cubin(nvrtc(), {.text = cuda_program({&text, 1})});
    }
    return std::vector<CudaFunction>(texts.size());
  }
  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override {
    return {new std::byte[static_cast<std::size_t>(bytes)], std::default_delete<std::byte[]>()};
  }
  void launch(const CudaCall&) override {}
  void copy_in(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_within(std::byte*, const std::byte*, std::int64_t) override {}
  void copy_out(std::byte*, const std::byte*, std::int64_t) override {}
  void wait() override {}
  std::unique_ptr<CudaSequence> record(const std::function<void()>&) override { return nullptr; }
};

// The message of compiling a Turn<number> of 3 elements on the harness.
template <int number>
std::string refusal() {
  return error_of([] {
    compile({make(Turn<number>{}, {input("x", {3})})}, {}, test_support::cuda_test_device());
  });
}
const std::string at_refusal = "turn (" + at_line(__LINE__ - 3) + "): ";

}  // namespace

BOOST_AUTO_TEST_SUITE(user_kernels)

BOOST_AUTO_TEST_CASE(an_op_with_a_kernel_of_its_own_is_computed_and_differentiated) {
  if (test_support::skips_cuda_programs()) return;
  add_turn<0>();
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Expr x = input("x", {5}, dtype);
    const Expr y = make(Turn<0>{2}, {x * 2.0});
    const Expr slope = grad(sum(y * constant(tensor({1, 2, 3, 4, 5}, {5}).astype(dtype))), {x})[0];
    Program program = compile({y, slope}, {}, test_support::cuda_test_device());
    const Results results =
        program.run({{x, tensor({1.0, 2.0, 3.0, 4.0, 5.0}, {5}).astype(dtype)}});
    for (int i = 0; i < 5; ++i) {
      BOOST_TEST(results.tensor(0).at(i) == 4.0 * (5 - i));
      BOOST_TEST(results.tensor(1).at(i) == 4.0 * (5 - i));
    }
  }
}

BOOST_AUTO_TEST_CASE(views_arrive_dense_and_sizes_share_one_kernel) {
  if (test_support::skips_cuda_programs()) return;
  add_turn<1>();
  const auto& device = test_support::cuda_test_device();
  const Expr x = input("x", {2, 2});
  Program turned = compile({make(Turn<1>{}, {transpose(x)})}, {}, device);
  const Tensor result = turned.run({{x, tensor({1.F, 2.F, 3.F, 4.F}, {2, 2})}}).tensor(0);
  for (int i = 0; i < 4; ++i) BOOST_TEST(result.at(i) == std::vector<double>({4, 2, 3, 1})[i]);
  const auto sized = [&](std::int64_t n) {
    const Expr y = input("y", Shape{n});
    Program program = compile({make(Turn<1>{}, {y})}, {}, device);
    const Tensor given = drawn({n}, DType::f32, 1, -1, 1);
    const Tensor back = program.run({{y, given}}).tensor(0);
    for (std::int64_t i = 0; i < n; ++i) BOOST_TEST(back.at(i) == given.at(n - 1 - i));
  };
  sized(1);
  const std::int64_t kernels = harness::host_counts().kernels;
  for (const std::int64_t n : {0, 31, 33, 100}) sized(n);
  BOOST_TEST(harness::host_counts().kernels == kernels);
}

BOOST_AUTO_TEST_CASE(a_kernel_may_write_several_results_and_share_memory) {
  if (test_support::skips_cuda_programs()) return;
  cuda_kernels().add<Count>([](const Count&, Types in, Types out) -> CudaSource {
    require(out.size() == 2, "types differ from those of the node");
    return {.text = R"(
      __global__ void KERNEL(const X0* x, Y0* sum, Y1* count, long n) {
        __shared__ X0 of[64];
        of[threadIdx.x] = 0;
        for (long i = threadIdx.x; i < n; i += 64) of[threadIdx.x] += x[i];
        __syncthreads();
        if (threadIdx.x > 0) return;
        *sum = 0;
        for (int i = 0; i < 64; ++i) *sum += of[i];
        *count = n;
      })",
            .threads = 64,
            .numbers = {in[0].shape.size()}};
  });
  for (const std::int64_t n : {0, 200}) {
    const Expr x = input("x", Shape{n});
    const std::vector<Expr> both = make_all(Count{}, {x});
    Program program = compile({both[0], both[1]}, {}, test_support::cuda_test_device());
    const Results results = program.run({{x, full({n}, 0.5F)}});
    BOOST_TEST(results.number(0) == 0.5 * static_cast<double>(n));
    BOOST_TEST(results.number(1) == static_cast<double>(n));
  }
}

BOOST_AUTO_TEST_CASE(the_example_smooths_as_its_cpu_kernel_does) {
  if (test_support::skips_cuda_programs()) return;
  custom_op::add_smooth_kernels();
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t n : {0, 1, 255, 257, 1000}) {
      const Expr x = input("x", Shape{n}, dtype);
      const Expr y = custom_op::smooth(x, 0.9);
      test_support::check_on_cuda({y, grad(sum(y * y), {x})[0]}, {{x, drawn({n}, dtype, 2, -1, 1)}},
                                  dtype == DType::f32 ? 1e-6 : 1e-14);  // sums of other order
    }
  }
}

BOOST_AUTO_TEST_CASE(a_composite_takes_its_kernel_from_the_next_compile_on) {
  if (test_support::skips_cuda_programs()) return;
  const auto& device = test_support::cuda_test_device();
  const Expr x = input("x", {});
  Program before = compile({make(Twice{}, {x})}, {}, device);
  cuda_kernels().add<Twice>([](const Twice&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const float* x, float* y) { *y = 2 * *x + 1000; }",
            .threads = 1};
  });
  Program after = compile({make(Twice{}, {x})}, {}, device);
  Program elsewhere = compile({make(Twice{}, {x})});
  const Feed three{x, tensor({3.F}, {})};
  BOOST_TEST(before.run({three}).number(0) == 6);
  BOOST_TEST(after.run({three}).number(0) == 1006);
  BOOST_TEST(elsewhere.run({three}).number(0) == 6);
}

BOOST_AUTO_TEST_CASE(an_op_without_kernel_and_expand_is_refused_at_compile_with_its_line) {
  if (test_support::skips_cuda_programs()) return;
  BOOST_TEST(refusal<2>() == at_refusal +
                                 "CUDA has no kernel for this op, and it has no expand; "
                                 "cuda_kernels().add gives it one");
}

BOOST_AUTO_TEST_CASE(a_text_without_the_kernel_or_with_other_parameters_is_told_what_is_expected) {
  if (test_support::skips_cuda_programs()) return;
  const std::string expected = "`__global__ void KERNEL(const float*, float*, long)`";
  cuda_kernels().add<Turn<3>>([](const Turn<3>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void turn(const X0* x, Y0* y, long n) {}", .numbers = {3}};
  });
  BOOST_TEST(refusal<3>() == at_refusal + "the text of its CUDA kernel defines no " + expected);
  cuda_kernels().add<Turn<4>>([](const Turn<4>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const X0* x, Y0* y) {}", .numbers = {3}};
  });
  BOOST_TEST(refusal<4>() ==
             at_refusal +
                 "its CUDA kernel takes 2 parameters, expected 3 (inputs: 1, outputs: "
                 "1, numbers: 1): " +
                 expected);
  cuda_kernels().add<Turn<5>>([](const Turn<5>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL ( ) {}", .numbers = {3}};
  });
  BOOST_TEST(contains(refusal<5>(), "takes 0 parameters, expected 3"));
}

BOOST_AUTO_TEST_CASE(a_grid_that_no_gpu_has_is_refused) {
  if (test_support::skips_cuda_programs()) return;
  static constexpr const char* text = "__global__ void KERNEL(const X0* x, Y0* y) {}";
  cuda_kernels().add<Turn<6>>(
      [](const Turn<6>&, Types, Types) -> CudaSource { return {.text = text, .blocks = 0}; });
  BOOST_TEST(refusal<6>() == at_refusal + "its CUDA kernel wants 1 to 2147483647 blocks, got 0");
  cuda_kernels().add<Turn<7>>(
      [](const Turn<7>&, Types, Types) -> CudaSource { return {.text = text, .threads = 1025}; });
  BOOST_TEST(refusal<7>() ==
             at_refusal + "its CUDA kernel wants 1 to 1024 threads of a block, got 1025");
}

BOOST_AUTO_TEST_CASE(check_numerics_says_that_a_step_without_cpu_kernels_is_not_run_again) {
  if (test_support::skips_cuda_programs()) return;
  add_turn<18>();
  const Expr x = input("x", {2});
  CompileOptions options;
  options.check_numerics = true;
  const Expr y = make(Turn<18>{2}, {log(x)});
  const int line = __LINE__ - 1;
  Program program = compile({y}, {}, test_support::cuda_test_device(), options);
  BOOST_TEST(program.run({{x, full({2}, 1.0F)}}).tensor(0).at(0) == 0);
  BOOST_TEST(error_of([&] { program.run({{x, full({2}, -1.0F)}}); }) ==
             "check_numerics: step 0 computes a value that is not finite and updated nothing; the "
             "node that does cannot "
             "be named, since the CPU cannot run the step: turn (" +
                 at_line(line) +
                 "): the CPU has no kernel for this op, and it has no expand; "
                 "cpu_kernels().add gives it one");
}

BOOST_AUTO_TEST_CASE(what_a_compiler_says_comes_with_op_line_and_declaration) {
  if (test_support::skips_cuda_programs()) return;
  cuda_kernels().add<Turn<8>>([](const Turn<8>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const X0* x, Y0* y) {\n  y[0] = nothing;\n}"};
  });
  const std::string unknown = refusal<8>();
  BOOST_TEST_CONTEXT(unknown) {
    BOOST_TEST(unknown.starts_with(at_refusal + "its CUDA kernel does not compile as `__global__ " +
                                   "void KERNEL(const float*, float*)`: "));
    // g++ and NVRTC.
    BOOST_TEST((contains(unknown, "turn:2") || contains(unknown, "turn(2)")));
    BOOST_TEST(contains(unknown, "nothing"));
  }
  cuda_kernels().add<Turn<9>>([](const Turn<9>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const X0* x, double* y) {}"};
  });
  BOOST_TEST(refusal<9>().starts_with(at_refusal + "its CUDA kernel does not compile as "));
}

BOOST_AUTO_TEST_CASE(what_describing_a_kernel_throws_is_told_with_op_and_line) {
  if (test_support::skips_cuda_programs()) return;
  cuda_kernels().add<Turn<10>>([](const Turn<10>&, Types in, Types) -> CudaSource {
    require(in[0].dtype == DType::f64, "wants f64");
    return {};
  });
  BOOST_TEST(refusal<10>() == at_refusal + "wants f64");
}

BOOST_AUTO_TEST_CASE(an_op_that_accepts_other_layouts_cannot_have_a_kernel_on_dense_values) {
  if (test_support::skips_cuda_programs()) return;
  cuda_kernels().add<Loose<11>>(
      [](const Loose<11>& op, Types in, Types) { return turned(op.by, in); });
  const Expr y = make(Loose<11>{}, {transpose(input("x", {2, 3}))});
  const int line = __LINE__ - 1;
  BOOST_TEST(error_of([&] { compile({y}, {}, test_support::cuda_test_device()); }) ==
             "turn (" + at_line(line) +
                 "): its CUDA kernel reads dense inputs, so its accepts() may admit no other "
                 "layout, got [3, 2] strides [1, 3] offset 0");
}

BOOST_AUTO_TEST_CASE(the_same_kernel_may_be_added_again_another_one_is_refused) {
  for (int i = 0; i < 2; ++i) add_turn<12>();
  const auto add_another = [] {
    cuda_kernels().add<Turn<12>>([](const Turn<12>&, Types, Types) { return CudaSource{}; });
  };
  const int line = __LINE__ - 2;
  BOOST_TEST(
      error_of(add_another)
          .starts_with("turn (" + at_line(line) +
                       "): this op has another CUDA kernel already, added at user_kernels_test"));
  const auto add_own = [] {
    cuda_kernels().add<Gather>([](const Gather&, Types, Types) { return CudaSource{}; });
  };
  BOOST_TEST(contains(error_of(add_own), "CUDA's own kernel for this op cannot be replaced"));
}

BOOST_AUTO_TEST_CASE(kernels_may_be_added_while_others_compile) {
  if (test_support::skips_cuda_programs()) return;
  std::atomic<int> wrong{0};
  const auto& device = test_support::cuda_test_device();
  const auto use = [&] {
    for (int i = 0; i < 5; ++i) {
      add_turn<13>();
      add_turn<14>();
      if (turn<13>(full({3}, 2.0), device).at(0) != 4) ++wrong;
      if (turn<14>(full({3}, 4.0), device).at(0) != 8) ++wrong;
    }
  };
  std::thread other(use);
  use();
  other.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(all_of_them_become_machine_code_and_nvrtc_names_the_line_of_a_mistake) {
  if (test_support::skips_cuda_programs()) return;
  test_support::check_machine_code();
  try {
    (void)nvrtc();
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return;
  }
  cuda_kernels().add<Turn<15>>([](const Turn<15>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const X0* x, Y0* y) {\n  y[0] = nothing;\n}"};
  });
  const Device device = make_device("NVRTC", cuda_backend(std::make_shared<CompilingRuntime>()));
  const auto refused = [&](const Expr& y) { return error_of([&] { compile({y}, {}, device); }); };
  const Expr x = input("x", {3});
  const std::string said = refused(make(Turn<15>{}, {exp(x)}));
  const int line = __LINE__ - 1;
  BOOST_TEST_CONTEXT(said) {
    BOOST_TEST(said.starts_with("turn (" + at_line(line) + "): its CUDA kernel does not compile"));
    BOOST_TEST(contains(said, "turn(2): error: identifier \"nothing\" is undefined"));
  }
  cuda_kernels().add<Turn<16>>([](const Turn<16>&, Types, Types) -> CudaSource {
    return {.text = "__global__ void KERNEL(const X0* x, double* y) {}"};
  });
  BOOST_TEST(contains(refused(make(Turn<16>{}, {x})),
                      "does not compile as `__global__ void KERNEL(const float*, float*)`: "));
}

BOOST_AUTO_TEST_SUITE_END()
