// Measures which kernel or library algorithm is the fastest for each matrix product of a list on
// this machine's GPU, and writes the table that programs compiled later follow. Ctrl-C keeps what
// is measured. Ends with 3, and the reason, where there is no GPU.

#include "blockgrad/blockgrad.h"
#include "support/run_main.h"

#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace bg = blockgrad;

namespace {

bg::StopToken stop;

/// C[m, n] = A[m, k] B[k, n], `batch` times.
struct Product {
  long long m = 0, n = 0, k = 0, batch = 1;
};

/// "16x8x4" is m, n, k; "16x8x4x12" a batch of 12.
Product parse(const std::string& shape) {
  Product p;
  char rest = 0;
  const int count =
      std::sscanf(shape.c_str(), "%lldx%lldx%lldx%lld%c", &p.m, &p.n, &p.k, &p.batch, &rest);
  if ((count != 3 && count != 4) || p.m < 1 || p.n < 1 || p.k < 1 || p.batch < 1)
    throw std::invalid_argument(
        "expected a shape such as 64x10x128 or, a batch of 12, 64x10x128x12, got " + shape);
  return p;
}

/// The products of a training step of GPT-2 124M: width 768, 12 heads of 64, 50257 words; forward,
/// to the inputs (NT) and to the weights (TN).
std::vector<std::string> gpt2(long long rows) {
  std::vector<std::string> shapes;
  const std::string r = std::to_string(rows);
  const auto linear = [&](const std::string& in, const std::string& out) {
    shapes.push_back(r + "x" + out + "x" + in + ":NN");
    shapes.push_back(r + "x" + in + "x" + out + ":NT");
    shapes.push_back(in + "x" + out + "x" + r + ":TN");
  };
  linear("768", "2304");
  linear("768", "768");
  linear("768", "3072");
  linear("3072", "768");
  linear("768", "50257");
  return shapes;
}

/// Those of the small rows of bench_ladder: an MLP 784-128-10 and a GPT of 4 x 128.
std::vector<std::string> small() {
  std::vector<std::string> shapes;
  for (const char* shape : {"64x128x784", "64x10x128", "768x384x128", "768x128x128", "768x512x128",
                            "768x128x512", "768x65x128"}) {
    const Product p = parse(shape);
    const auto text = [](long long m, long long n, long long k, const char* layout) {
      return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + ":" + layout;
    };
    shapes.push_back(text(p.m, p.n, p.k, "NN"));
    shapes.push_back(text(p.m, p.k, p.n, "NT"));
    shapes.push_back(text(p.k, p.n, p.m, "TN"));
  }
  return shapes;
}

/// Of the operands and of the result: "bf16", or "bf16-f32" where halves give f32.
struct Types {
  bg::DType operands, result;
};

Types types_of(const std::string& name) {
  for (const bg::DType dtype : {bg::DType::f32, bg::DType::f64, bg::DType::bf16, bg::DType::f16}) {
    const std::string own(bg::name(dtype));
    if (name == own) return {dtype, dtype};
    if (bg::is_half(dtype) && name == own + "-f32") return {dtype, bg::DType::f32};
  }
  throw std::invalid_argument("expected f32, f64, bf16, f16, bf16-f32 or f16-f32, got " + name);
}

/// Its inputs are named by it, so that many go into one program.
bg::Expr product_of(const std::string& shape, const std::string& type) {
  const std::size_t colon = shape.find(':');
  const std::string layout = colon == std::string::npos ? "NN" : shape.substr(colon + 1);
  if (layout.size() != 2 || layout.find_first_not_of("NT") != std::string::npos)
    throw std::invalid_argument("expected NN, NT, TN or TT behind the colon, got " + shape);
  const Product p = parse(shape.substr(0, colon));
  const bool ta = layout[0] == 'T', tb = layout[1] == 'T';
  const Types types = types_of(type);
  const auto leaf = [&](const char* name, long long rows, long long columns) {
    const bg::Shape all =
        p.batch > 1 ? bg::Shape{p.batch, rows, columns} : bg::Shape{rows, columns};
    return bg::input(shape + " " + type + name, all, types.operands);
  };
  const bg::Expr a = ta ? leaf(" a", p.k, p.m) : leaf(" a", p.m, p.k);
  const bg::Expr b = tb ? leaf(" b", p.n, p.k) : leaf(" b", p.k, p.n);
  if (!bg::is_half(types.operands)) return bg::matmul(a, b, {.transpose_a = ta, .transpose_b = tb});
  // matmul() of halves multiplies in f32; what modes make of it are products of halves.
  return bg::make(bg::MatMul{types.result}, {ta ? bg::transpose(a) : a, tb ? bg::transpose(b) : b});
}

int run(int argc, char** argv) {
  CLI::App app{
      "Measures who multiplies fastest on the GPU, and writes the table that programs follow."};
  std::vector<std::string> shapes, lists, types{"f32"};
  long long rows = 65536;
  bg::TuneOptions options;
  double rotated = 128;
  std::string math = "exact";
  app.add_option("--shapes", shapes,
                 "products, as 64x10x128 (m, n, k), with x12 for a batch and :NT for layouts");
  app.add_option("--lists", lists, "of products: gpt2, small, squares")
      ->check(CLI::IsMember({"gpt2", "small", "squares"}));
  app.add_option("--rows", rows, "of gpt2: batch times length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--types", types, "f32, f64, bf16, f16; bf16-f32, f16-f32: halves, the result f32")
      ->capture_default_str();
  app.add_option("--math", math, "exact, or tf32 for f32; the arithmetic of programs that follow")
      ->check(CLI::IsMember({"exact", "tf32"}))
      ->capture_default_str();
  app.add_option("--table", options.table, "the file (default: the one that programs follow)");
  app.add_option("--algorithms", options.algorithms, "asked of the library")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--milliseconds", options.milliseconds, "least length of a repetition")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--warm", options.warm_milliseconds, "milliseconds of work before the first")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  constexpr double most_rotated = 1 << 20;
  app.add_option("--rotated", rotated, "MiB of operands taken in turns, at most 1048576")
      ->check(CLI::Range(0.0, most_rotated))
      ->capture_default_str();
  app.add_flag("--again", options.again, "also those that the table has");
  CLI11_PARSE(app, argc, argv);
  options.rotated_bytes = static_cast<std::int64_t>(rotated * (1 << 20));
  if (shapes.empty() && lists.empty()) lists = {"small", "squares", "gpt2"};
  for (const std::string& list : lists) {
    const std::vector<std::string> more =
        list == "gpt2"    ? gpt2(rows)
        : list == "small" ? small()
                          : std::vector<std::string>{"1024x1024x1024", "2048x2048x2048",
                                                     "4096x4096x4096", "8192x8192x8192"};
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  std::vector<bg::Output> products;
  for (const std::string& type : types) {
    for (const std::string& shape : shapes) products.emplace_back(product_of(shape, type));
  }
  std::vector<bg::Device> devices;
  try {
    devices.push_back(bg::cuda());
  } catch (const bg::DeviceError& error) {
    std::printf("nothing was tuned: %s\n", error.what());
    return 3;
  }
  std::signal(SIGINT, [](int) { stop.request_stop(); });
  options.stop = &stop;
  options.progress = [](std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stdout);
  };
  bg::CompileOptions compiled;
  compiled.math = bg::math_mode(math);
  const bg::TuneReport report = bg::tune_products(products, {}, devices[0], options, compiled);
  std::printf("%s: %d of %d products measured, %d known%s\n", report.table.c_str(), report.measured,
              report.products, report.known, report.stopped ? "; stopped" : "");
  return report.stopped ? 130 : 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
