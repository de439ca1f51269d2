// The rows, by what they are bound by: memory first, then products.
#include <utility>

#include "kernels/copy_op.h"
#include "kernels/kernel_row.h"

namespace bench {

namespace bg = blockgrad;
using bg::DType;
using bg::Expr;
using bg::Shape;

namespace {

double bytes_of(DType dtype, std::int64_t elements) {
  return static_cast<double>(size_of(dtype)) * static_cast<double>(elements);
}

std::string with_dtype(const std::string& name, DType dtype) {
  return dtype == DType::f32 ? name : name + "_" + std::string(bg::name(dtype));
}

/// The gradients of y to `inputs` when dy comes back, and what y needs is made again.
std::vector<Expr> pulled_back(const Expr& y, const Expr& dy, const std::vector<Expr>& inputs) {
  return bg::vjp(y, dy, inputs);
}

KernelRow map_row(const std::string& name, std::int64_t n, DType dtype, int inputs,
                  const std::function<Expr(const std::vector<Expr>&)>& formula) {
  return {.name = with_dtype(name, dtype),
          .family = name,
          .sizes = {{"n", n}},
          .dtype = dtype,
          .bytes = (inputs + 1) * bytes_of(dtype, n),
          .make = [=](Drawn& drawn) {
            std::vector<Expr> x;
            for (int i = 0; i < inputs; ++i) x.push_back(drawn.numbers(Shape{n}, dtype));
            return KernelCall{.results = {formula(x)}};
          }};
}

struct Lines {
  std::int64_t rows, columns;
  std::int64_t elements() const { return rows * columns; }
  Shape shape() const { return {rows, columns}; }
  std::map<std::string, std::int64_t> sizes() const {
    return {{"rows", rows}, {"columns", columns}};
  }
};

/// y of x and of values per column; backward, the gradients to all of them.
KernelRow lines_row(const std::string& name, const Lines& lines, DType dtype, bool is_backward,
                    int per_column, const std::function<Expr(const std::vector<Expr>&)>& formula) {
  const std::string family = is_backward ? name + "_backward" : name;
  return {.name = with_dtype(family, dtype),
          .family = family,
          .sizes = lines.sizes(),
          .dtype = dtype,
          .bytes = (is_backward ? 3 : 2) * bytes_of(dtype, lines.elements()),
          .make = [=](Drawn& drawn) {
            std::vector<Expr> inputs{drawn.numbers(lines.shape(), dtype)};
            for (int i = 0; i < per_column; ++i)
              inputs.push_back(drawn.numbers(Shape{lines.columns}, dtype));
            const Expr y = formula(inputs);
            if (!is_backward) return KernelCall{.results = {y}};
            const Expr dy = drawn.numbers(lines.shape(), dtype);
            return KernelCall{.results = pulled_back(y, dy, inputs)};
          }};
}

KernelRow layer_norm_row(const Lines& lines, DType dtype, bool is_backward) {
  return lines_row("layer_norm", lines, dtype, is_backward, 2,
                   [](const std::vector<Expr>& in) { return bg::layer_norm(in[0], in[1], in[2]); });
}

KernelRow softmax_row(const Lines& lines, DType dtype, bool is_backward) {
  return lines_row("softmax", lines, dtype, is_backward, 0,
                   [](const std::vector<Expr>& in) { return bg::softmax(in[0]); });
}

KernelRow cross_entropy_row(const Lines& lines, DType dtype) {
  return {.name = with_dtype("cross_entropy_and_gradient", dtype),
          .family = "cross_entropy_and_gradient",
          .sizes = lines.sizes(),
          .dtype = dtype,
          .bytes = 2 * bytes_of(dtype, lines.elements()),
          .make = [=](Drawn& drawn) {
            const Expr logits = drawn.numbers(lines.shape(), dtype);
            const Expr labels = drawn.below(lines.columns, Shape{lines.rows});
            const Expr loss = bg::mean(bg::cross_entropy(logits, labels));
            return KernelCall{.results = {loss, bg::grad(loss, {logits})[0]}};
          }};
}

/// The parameters of a transformer of this width and depth.
std::vector<Shape> transformer_shapes(std::int64_t width, std::int64_t layers,
                                      std::int64_t vocabulary, std::int64_t context) {
  std::vector<Shape> shapes{{vocabulary, width}, {context, width}, {width}, {width}};
  for (std::int64_t i = 0; i < layers; ++i) {
    for (const Shape& shape :
         {Shape{width}, Shape{width}, Shape{width}, Shape{width}, Shape{width, 3 * width},
          Shape{3 * width}, Shape{width, width}, Shape{width}, Shape{width, 4 * width},
          Shape{4 * width}, Shape{4 * width, width}, Shape{width}})
      shapes.push_back(shape);
  }
  return shapes;
}

KernelRow adamw_row(std::int64_t width, std::int64_t layers, std::int64_t vocabulary,
                    std::int64_t context) {
  const std::vector<Shape> shapes = transformer_shapes(width, layers, vocabulary, context);
  std::int64_t numbers = 0;
  for (const Shape& shape : shapes) numbers += shape.size();
  return {.name = "adamw",
          .family = "adamw",
          .sizes = {{"width", width},
                    {"layers", layers},
                    {"vocabulary", vocabulary},
                    {"context", context}},
          .bytes = 7 * bytes_of(DType::f32, numbers),  // gradient; number and both slots, twice
          .make = [=](Drawn& drawn) {
            std::vector<Expr> parameters, gradients;
            for (const Shape& shape : shapes) {
              parameters.push_back(drawn.numbers(shape));
              gradients.push_back(drawn.numbers(shape));
            }
            KernelCall call{.written = parameters,
                            .optimizer = std::make_shared<bg::Optimizer>(bg::AdamW{})};
            call.updates = call.optimizer->apply(parameters, gradients);
            return call;
          }};
}

struct Heads {
  std::int64_t batch, heads, length, size;
};

KernelRow attention_row(const Heads& of, DType dtype, bool is_backward) {
  const std::string family = is_backward ? "attention_backward" : "attention";
  const Shape shape{of.batch, of.heads, of.length, of.size};
  // Two products of which half is seen; backward makes scores again and has four more.
  const double products = 2.0 * static_cast<double>(of.batch * of.heads * of.length) *
                          static_cast<double>((of.length + 1) * of.size);
  return {
      .name = with_dtype(family, dtype),
      .family = family,
      .sizes = {{"batch", of.batch}, {"heads", of.heads}, {"length", of.length}, {"size", of.size}},
      .dtype = dtype,
      .bytes = (is_backward ? 8 : 4) * bytes_of(dtype, shape.size()),
      .flops = is_backward ? 2.5 * products : products,
      .make = [=](Drawn& drawn) {
        const Expr q = drawn.numbers(shape, dtype), k = drawn.numbers(shape, dtype);
        const Expr v = drawn.numbers(shape, dtype);
        const Expr y = bg::attention(q, k, v, {.causal = true});
        if (!is_backward) return KernelCall{.results = {y}};
        const Expr dy = drawn.numbers(shape, dtype);
        return KernelCall{.results = pulled_back(y, dy, {q, k, v})};
      }};
}

struct Table {
  std::int64_t rows, columns, ids;
  std::map<std::string, std::int64_t> sizes() const {
    return {{"rows", rows}, {"columns", columns}, {"ids", ids}};
  }
};

KernelRow gather_row(const Table& table) {
  return {.name = "gather",
          .family = "gather",
          .sizes = table.sizes(),
          .bytes = 2 * bytes_of(DType::f32, table.ids * table.columns),
          .make = [=](Drawn& drawn) {
            const Expr x = drawn.numbers({table.rows, table.columns});
            return KernelCall{.results = {bg::take(x, drawn.below(table.rows, {table.ids}))}};
          }};
}

KernelRow scatter_add_row(const Table& table) {
  return {.name = "scatter_add",
          .family = "scatter_add",
          .sizes = table.sizes(),
          .bytes = bytes_of(DType::f32, (2 * table.rows + table.ids) * table.columns),
          .make = [=](Drawn& drawn) {
            const Expr x = drawn.numbers({table.rows, table.columns});
            const Expr ids = drawn.below(table.rows, {table.ids});
            const Expr v = drawn.numbers({table.ids, table.columns});
            return KernelCall{.results = {bg::scatter_add(x, ids, v)}};
          }};
}

KernelRow embedding_gradient_row(const Table& table) {
  return {.name = "embedding_gradient",
          .family = "embedding_gradient",
          .sizes = table.sizes(),
          .bytes = bytes_of(DType::f32, (table.rows + table.ids) * table.columns),
          .make = [=](Drawn& drawn) {
            const Expr x = drawn.numbers({table.rows, table.columns});
            const Expr ids = drawn.below(table.rows, {table.ids});
            const Expr dy = drawn.numbers({table.ids, table.columns});
            return KernelCall{.results = pulled_back(bg::embedding(x, ids), dy, {x})};
          }};
}

KernelRow sort_row(const std::string& name, const Lines& lines) {
  return {.name = name,
          .family = "sort",
          .sizes = lines.sizes(),
          .bytes = 3 * bytes_of(DType::f32, lines.elements()),  // numbers twice, places once
          .make = [=](Drawn& drawn) {
            const Expr x = drawn.numbers(lines.shape());
            return KernelCall{.results = {bg::sort(x), bg::argsort(x)}};
          }};
}

struct Product {
  std::string name;
  std::int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
};

KernelRow product_row(const Product& of, DType dtype, bg::MathMode math, const std::string& kind) {
  const Shape a = of.transpose_a ? Shape{of.k, of.m} : Shape{of.m, of.k};
  const Shape b = of.transpose_b ? Shape{of.n, of.k} : Shape{of.k, of.n};
  return {.name = "matmul_" + of.name + (kind.empty() ? "" : "_" + kind),
          .family = "matmul",
          .sizes = {{"m", of.m},
                    {"n", of.n},
                    {"k", of.k},
                    {"transpose_a", of.transpose_a},
                    {"transpose_b", of.transpose_b}},
          .dtype = dtype,
          .math = math,
          .bytes = bytes_of(dtype, of.m * of.k + of.k * of.n + of.m * of.n),
          .flops = 2.0 * static_cast<double>(of.m) * static_cast<double>(of.n) *
                   static_cast<double>(of.k),
          .make = [=](Drawn& drawn) {
            const Expr x = drawn.numbers(a, dtype), w = drawn.numbers(b, dtype);
            const bg::MatMulOptions options{.transpose_a = of.transpose_a,
                                            .transpose_b = of.transpose_b};
            return KernelCall{.results = {bg::matmul(x, w, options)}};
          }};
}

/// Those of GPT-2 124M with so many tokens: each layer's, its gradients to input and weight, and
/// the last layer; then a large square one.
std::vector<Product> products(bool is_tiny) {
  const std::int64_t tokens = is_tiny ? 24 : 16384, width = is_tiny ? 12 : 768;
  const std::int64_t vocabulary = is_tiny ? 37 : 50257, square = is_tiny ? 33 : 8192;
  return {{"qkv", tokens, 3 * width, width},
          {"projection", tokens, width, width},
          {"wide", tokens, 4 * width, width},
          {"narrow", tokens, width, 4 * width},
          {"logits", tokens / 2, vocabulary, width, false, true},
          {"wide_to_input", tokens, width, 4 * width, false, true},
          {"wide_to_weight", width, 4 * width, tokens, true, false},
          {"projection_to_weight", width, width, tokens, true, false},
          {"square", square, square, square}};
}

}  // namespace

std::string title_of(const KernelRow& row) {
  std::string title(bg::name(row.dtype));
  for (const auto& [name, size] : row.sizes) title += " " + name + " " + std::to_string(size);
  return row.name + ", " + title;
}

KernelRow copy_row(bool is_tiny) {
  add_copy_kernels();
  const std::int64_t n = is_tiny ? 1300 : std::int64_t{1} << 28;
  return {.name = "copy",
          .family = "copy",
          .sizes = {{"n", n}},
          .bytes = 2 * bytes_of(DType::f32, n),
          .make = [n](Drawn& drawn) {
            return KernelCall{.results = {bg::make(CopyAll{}, {drawn.numbers(Shape{n})})}};
          }};
}

std::vector<KernelRow> kernel_rows(bool is_tiny) {
  std::vector<KernelRow> rows{copy_row(is_tiny)};
  const std::int64_t n = is_tiny ? 1000 : std::int64_t{1} << 26;
  const Lines norm = is_tiny ? Lines{9, 48} : Lines{65536, 768};
  const Lines softmax = is_tiny ? Lines{7, 33} : Lines{65536, 1024};
  const Lines classes = is_tiny ? Lines{5, 301} : Lines{8192, 50257};
  const Heads heads = is_tiny ? Heads{2, 2, 19, 8} : Heads{16, 12, 1024, 64};
  const Table table = is_tiny ? Table{29, 12, 40} : Table{50257, 768, 65536};
  const Lines turned = is_tiny ? Lines{17, 40} : Lines{8192, 8192};

  for (const DType dtype : {DType::f32, DType::bf16}) {
    rows.push_back(map_row("scale", n, dtype, 1, [](const auto& x) { return x[0] * 2.0 + 1.0; }));
    rows.push_back(map_row("add", n, dtype, 2, [](const auto& x) { return x[0] + x[1]; }));
    rows.push_back(map_row("gelu", n, dtype, 1, [](const auto& x) { return bg::gelu(x[0]); }));
    for (const bool is_backward : {false, true}) {
      rows.push_back(layer_norm_row(norm, dtype, is_backward));
      rows.push_back(softmax_row(softmax, dtype, is_backward));
    }
    rows.push_back(cross_entropy_row(classes, dtype));
    for (const bool is_backward : {false, true})
      rows.push_back(attention_row(heads, dtype, is_backward));
  }
  rows.push_back({.name = "transpose",
                  .family = "transpose",
                  .sizes = turned.sizes(),
                  .bytes = 2 * bytes_of(DType::f32, turned.elements()),
                  .make = [turned](Drawn& drawn) {
                    return KernelCall{.results = {bg::transpose(drawn.numbers(turned.shape()))}};
                  }});
  rows.push_back(is_tiny ? adamw_row(6, 1, 11, 5) : adamw_row(768, 12, 50257, 1024));
  rows.push_back(gather_row(table));
  rows.push_back(scatter_add_row(table));
  rows.push_back(embedding_gradient_row(table));
  rows.push_back(sort_row("sort", is_tiny ? Lines{1, 2100} : Lines{1, std::int64_t{1} << 24}));
  rows.push_back(sort_row("sort_lines", is_tiny ? Lines{4, 60} : Lines{4096, 4096}));
  for (const Product& product : products(is_tiny)) {
    rows.push_back(product_row(product, DType::f32, bg::MathMode::exact, ""));
    rows.push_back(product_row(product, DType::f32, bg::MathMode::tf32, "tf32"));
    rows.push_back(product_row(product, DType::bf16, bg::MathMode::exact, "bf16"));
  }
  return rows;
}

}  // namespace bench
