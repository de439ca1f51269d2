// ReduceGroup on CUDA: all sets whose elements lie densely in two launches, however many there are.
// A block reduces a piece of a set; then a block joins the pieces of each set.
#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/maps/emit.h"
#include "backends/cuda/rows/cuda_rows.h"
#include "backends/cuda/rows/line_joins.h"
#include "backends/cuda/rows/line_launches.h"
#include "graph/reduce_group.h"

namespace blockgrad {

namespace {

constexpr int threads = 256, turns = 4, tiles_of_piece = 4;

class GroupKernel {
 public:
  explicit GroupKernel(const CudaRequest& request)
      : request_(request),
        group_(*request.node.op.as<ReduceGroup>()),
        inputs_(group_.fn.inputs().size()),
        way_(group_.kind, group_.fn.result_dtype(0)) {
    std::int64_t widest = 1;
    for (const DType dtype : group_.fn.inputs())
      widest = std::max<std::int64_t>(widest, size_of(dtype));
    vector_ = 16 / widest;
    piece_ = tiles_of_piece * tile();
  }

  CudaWork work() {
    CudaWork made;
    std::int64_t dense = 0;
    using Kind = CudaArg::Kind;
    for (std::size_t s = 0; s < group_.shapes.size(); ++s) {
      const auto in = request_.inputs.subspan(s * inputs_, inputs_);
      if (!std::all_of(in.begin(), in.end(),
                       [](const Operand& operand) { return operand.layout.is_dense(); })) {
        add_alone(made, s);
        continue;
      }
      ++dense;
      const std::int64_t count = in[0].layout.shape.size();
      const std::int64_t pieces = (count + piece_ - 1) / piece_;
      elements_.push_back({Kind::number, 0, pieces_});
      elements_.push_back({Kind::number, 0, count});
      for (std::size_t k = 0; k < inputs_; ++k)
        elements_.push_back({Kind::input, static_cast<std::int32_t>(s * inputs_ + k), 0});
      results_.push_back({Kind::number, 0, pieces_});
      results_.push_back({Kind::number, 0, pieces});
      results_.push_back({Kind::output, static_cast<std::int32_t>(s), 0});
      pieces_ += pieces;
    }
    if (dense > 0) add_dense(made, dense);
    made.why = join({dense, " values in ", pieces_, " pieces, ",
                     static_cast<std::int64_t>(group_.shapes.size()) - dense, " alone"});
    return made;
  }

 private:
  std::int64_t tile() const { return std::int64_t{threads} * turns * vector_; }

  void add_alone(CudaWork& made, std::size_t s) const {
    const auto in = request_.inputs.subspan(s * inputs_, inputs_);
    RowProgram program;
    RowStep map;
    map.fn = group_.fn;
    for (std::size_t k = 0; k < inputs_; ++k)
      map.inputs.push_back({-1, static_cast<std::int32_t>(k)});
    program.steps = {map, reduction_of(group_.kind, {0, 0})};
    program.results = {{{1, 0}, group_.shapes[s]}};
    const CudaLines line(in[0].layout.shape.size());
    add_lines(made, {line, program, in, request_.outputs.subspan(s, 1)}, in, s * inputs_, s);
  }

  void add_dense(CudaWork& made, std::int64_t sets) {
    using Kind = CudaArg::Kind;
    const CudaArg parts{Kind::scratch, 0, made.scratch};
    made.scratch += (pieces_ * way_.bytes + 255) / 256 * 256;
    CudaLaunch pieces, ends;
    pieces.text = {pieces_text(), {line_joins_text()}, "pieces"};
    pieces.blocks = pieces_;
    pieces.threads = threads;
    pieces.args = {{Kind::number, 0, sets}, {Kind::table}, parts};
    pieces.table = std::move(elements_);
    ends.text = {ends_text(), {line_joins_text()}, "piece_ends"};
    ends.blocks = sets;
    ends.threads = threads;
    ends.args = {{Kind::table}, parts};
    ends.table = std::move(results_);
    made.launches.push_back(std::move(pieces));
    made.launches.push_back(std::move(ends));
  }

  std::string across_text() const {
    return fmt::format(
        "  __shared__ {} shared[{}];\n"
        "  lines::leave_warp(r, shared);\n"
        "  __syncthreads();\n"
        "  r = lines::across<{}, 1>(shared);\n",
        way_.type, threads / 32, threads / 32);
  }

  // The table has a row for each set: its first piece, its number of elements, where they lie.
  std::string pieces_text() const {
    std::string text = fmt::format(
        "\nnamespace blockgrad {{\n"
        "extern \"C\" __global__ void __launch_bounds__({0}) "
        "KERNEL(long sets, const long* table, {1}* parts) {{\n"
        "  const long piece = blockIdx.x, lane = threadIdx.x;\n"
        "  long set = 0;\n"
        "  for (long beyond = sets; beyond - set > 1;) {{\n"
        "    const long middle = (set + beyond) / 2;\n"
        "    if (table[middle * {2}] <= piece) set = middle;\n"
        "    else beyond = middle;\n"
        "  }}\n"
        "  const long* const entry = table + set * {2};\n"
        "  const long begin = (piece - entry[0]) * {3}, count = entry[1];\n"
        "  const long end = begin + {3} < count ? begin + {3} : count;\n",
        threads, way_.type, inputs_ + 2, piece_);
    std::vector<std::string> inputs;
    for (std::size_t k = 0; k < inputs_; ++k) {
      text += fmt::format("  const {0}* const x{1} = reinterpret_cast<const {0}*>(entry[{2}]);\n",
                          cuda_type(group_.fn.inputs()[k]), k, k + 2);
      inputs.push_back(fmt::format("p{}[turn].at[v]", k));
    }
    text += fmt::format("  {} r = {};\n  for (long base = begin; base < end; base += {}) {{\n",
                        way_.type, way_.none, tile());
    for (std::size_t k = 0; k < inputs_; ++k)
      text += fmt::format("    {} p{}[{}];\n", pack(k), k, turns);
    text += turn_text();
    text += fmt::format("      if (i + {} <= end) {{\n", vector_);
    for (std::size_t k = 0; k < inputs_; ++k)
      text += fmt::format("        p{0}[turn] = *reinterpret_cast<const {1}*>(x{0} + i);\n", k,
                          pack(k));
    text += "      } else {\n";
    text += fmt::format("        for (int v = 0; v < {}; ++v) {{\n", vector_);
    for (std::size_t k = 0; k < inputs_; ++k)
      text += fmt::format("          if (i + v < end) p{0}[turn].at[v] = x{0}[i + v];\n", k);
    text += "        }\n      }\n    }\n" + turn_text();
    text += fmt::format(
        "#pragma unroll\n      for (int v = 0; v < {}; ++v) {{\n"
        "        if (i + v >= end) continue;\n",
        vector_);
    text += cuda_body(group_.fn, inputs, "s", "(i + v)", "        ");
    text += fmt::format("        r = lines::join(r, {}{{static_cast<{}>(s{})}});\n", way_.type,
                        way_.number, group_.fn.results()[0]);
    text += "      }\n    }\n  }\n" + across_text();
    return text + "  if (lane == 0) parts[piece] = r;\n}\n}  // namespace blockgrad\n";
  }

  std::string pack(std::size_t k) const {
    return fmt::format("Pack<{}, {}>", cuda_type(group_.fn.inputs()[k]), vector_);
  }

  std::string turn_text() const {
    return fmt::format(
        "#pragma unroll\n    for (int turn = 0; turn < {}; ++turn) {{\n"
        "      const long i = base + (turn * {} + lane) * {};\n",
        turns, threads, vector_);
  }

  // The table has a row for each set: its first piece, how many there are, where the result lies.
  std::string ends_text() const {
    const std::string_view made = cuda_type(request_.outputs[0].dtype);
    return fmt::format(
               "\nnamespace blockgrad {{\n"
               "extern \"C\" __global__ void __launch_bounds__({0}) "
               "KERNEL(const long* table, const {1}* parts) {{\n"
               "  const long* const entry = table + blockIdx.x * 3l;\n"
               "  const long count = entry[1];\n"
               "  {1} r = {2};\n"
               "  for (long i = threadIdx.x; i < count; i += {0})\n"
               "    r = lines::join(r, parts[entry[0] + i]);\n",
               threads, way_.type, way_.none) +
           across_text() +
           fmt::format(
               "  if (threadIdx.x == 0) *reinterpret_cast<{0}*>(entry[2]) = "
               "static_cast<{0}>(r.value);\n"
               "}}\n}}  // namespace blockgrad\n",
               made);
  }

  const CudaRequest& request_;
  const ReduceGroup& group_;
  const std::size_t inputs_;  // of a set
  const LineGathering way_;
  std::int64_t vector_ = 1, piece_ = 1, pieces_ = 0;
  std::vector<CudaArg> elements_, results_;  // the tables
};

}  // namespace

CudaWork reduce_group_kernel(const CudaRequest& request) { return GroupKernel(request).work(); }

}  // namespace blockgrad
