#include "backends/cuda/maps/cuda_unview.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "backends/cpu/part_overlap.h"
#include "backends/cpu/walk.h"
#include "backends/cuda/index/index_text.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/graph/tensor.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

/// Parts of one shape and strides: number `inputs` of the node, each from an offset on.
struct Group {
  std::vector<int> inputs;
  Layout layout;  // of the first one
};

/// Those of the parts that hold anything; only neighbours are joined where their order counts.
std::vector<Group> groups_of(const Unview& op, bool is_ordered) {
  std::vector<Group> groups;
  for (std::size_t p = 0; p < op.layouts.size(); ++p) {
    const Layout& layout = op.layouts[p];
    if (layout.shape.size() == 0) continue;
    const auto fits = [&](const Group& group) {
      return group.layout.shape == layout.shape && group.layout.strides == layout.strides;
    };
    const auto first = is_ordered && !groups.empty() ? groups.end() - 1 : groups.begin();
    const auto found = std::find_if(first, groups.end(), fits);
    if (found == groups.end()) groups.push_back({{static_cast<int>(p)}, layout});
    else found->inputs.push_back(static_cast<int>(p));
  }
  return groups;
}

// A part as words of up to 16 bytes.
struct Words {
  Walk walk;
  std::int64_t elements = 1;  // of a word

  Words(const Layout& layout, std::span<const std::int64_t> offsets, std::size_t element)
      : walk(layout) {
    if (walk.rank > 0 && walk.step() != 1) return;
    const auto last = at(std::max(walk.rank, 1) - 1);
    std::int64_t words = 16 / static_cast<std::int64_t>(element);
    const auto narrow = [&](std::int64_t multiple) {
      while (multiple % words != 0) words /= 2;
    };
    narrow(walk.rank == 0 ? 1 : walk.sizes[last]);
    for (std::size_t a = 0; a < last; ++a) narrow(walk.strides[a]);
    for (const std::int64_t offset : offsets) narrow(offset);
    if (walk.rank > 0) walk.sizes[last] /= words;
    for (std::size_t a = 0; a < last; ++a) walk.strides[a] /= words;
    elements = words;
  }
};

std::string_view type_of_bytes(std::int64_t bytes) {
  switch (bytes) {
    case 1: return "unsigned char";
    case 2: return "unsigned short";
    case 4: return "unsigned";
    case 8: return "long";
    default: return "index::Word";
  }
}

void add_fill(CudaWork& work, const CudaRequest& request) {
  const Operand& y = request.outputs[0];
  const Unview& op = *request.node.op.as<Unview>();
  const Tensor fill = full({}, op.fill.value, y.dtype);
  std::int64_t bits = 0;
  std::memcpy(&bits, fill.bytes(), size_of(y.dtype));
  const std::int64_t n = op.shape.size();
  work.launches.push_back(
      index_launch("fill",
                   {number_parameter("n", n), number_parameter("bits", bits),
                    output_parameter(word_type(y.dtype), "y")},
                   fmt::format("index::each(n, [&](long i) {{ y[i] = static_cast<{}>(bits); }});",
                               word_type(y.dtype)),
                   blocks_for(n, request.target.limits)));
}

// Element i of a part goes to offset + the sum of its coordinates times their strides.
void add_copies(CudaWork& work, const CudaRequest& request, const Group& group) {
  const Unview& op = *request.node.op.as<Unview>();
  const std::size_t element = size_of(request.outputs[0].dtype);
  std::vector<std::int64_t> offsets;
  for (const int p : group.inputs) offsets.push_back(op.layouts[at(p)].offset);
  const Words words(group.layout, offsets, element);
  const auto bytes = words.elements * static_cast<std::int64_t>(element);
  const std::string type(type_of_bytes(bytes));
  const Walk& walk = words.walk;
  std::string place = "offset", coordinates;
  for (int a = walk.rank - 1; a >= 0; --a) {
    coordinates += a == 0 ? "    const long c0 = rest;\n"
                          : fmt::format("    const long c{0} = rest % {1};\n    rest /= {1};\n", a,
                                        walk.sizes[at(a)]);
    place += fmt::format(" + c{} * {}", a, walk.strides[at(a)]);
  }
  const std::int64_t each = group.layout.shape.size() / words.elements;
  const std::int64_t n = each * static_cast<std::int64_t>(group.inputs.size());
  CudaLaunch launch =
      index_launch("put_parts",
                   {number_parameter("n", n),
                    number_parameter("each", each),
                    {"const long* table", {CudaArg::Kind::table, 0, 0}},
                    output_parameter(type, "y")},
                   fmt::format("index::each(n, [&](long i) {{\n"
                               "    const long* const part = table + i / each * 2;\n"
                               "    const long offset = part[1];\n"
                               "    long rest = i % each;\n"
                               "    const {} value = reinterpret_cast<const {}*>(part[0])[rest];\n"
                               "{}    y[{}] = value;\n"
                               "  }});",
                               type, type, coordinates, place),
                   blocks_for(n, request.target.limits));
  for (std::size_t p = 0; p < group.inputs.size(); ++p) {
    launch.table.push_back({CudaArg::Kind::input, group.inputs[p], 0});
    launch.table.push_back({CudaArg::Kind::number, 0, offsets[p] / words.elements});
  }
  work.launches.push_back(std::move(launch));
}

// The axes of a part by the coordinate of the whole that they move. Where each axis of the part
// steps along one axis of the whole and stays in it, those are the whole's axes; else there is one
// coordinate, the place itself.
struct Coordinates {
  std::vector<int> of_axis;                  // of the part
  std::vector<std::int64_t> steps;           // of the part's axes, in steps of the coordinate
  std::vector<std::int64_t> strides, sizes;  // of the coordinates in the whole

  Coordinates(std::span<const Layout> parts, const Shape& whole) {
    const Layout dense = Layout::dense(whole);
    for (int a = 0; a < whole.rank(); ++a) {
      if (whole[a] == 1) continue;
      strides.push_back(dense.strides[at(a)]);
      sizes.push_back(whole[a]);
    }
    if (std::all_of(parts.begin(), parts.end(), [&](const Layout& part) { return follow(part); }))
      return;
    const Layout& part = parts[0];
    strides = {1};
    sizes = {whole.size()};
    of_axis.assign(at(part.shape.rank()), 0);
    steps.assign(part.strides.begin(), part.strides.begin() + part.shape.rank());
  }

  std::vector<std::int64_t> starts(const Layout& part) const {
    std::vector<std::int64_t> starts;
    std::int64_t rest = part.offset;
    for (std::size_t c = 0; c < strides.size(); ++c) {
      starts.push_back(rest / strides[c]);
      rest %= strides[c];
    }
    return starts;
  }

 private:
  bool follow(const Layout& part) {
    std::vector<std::int64_t> least = starts(part), greatest = least;
    of_axis.clear();
    steps.clear();
    for (int a = 0; a < part.shape.rank(); ++a) {
      const std::int64_t stride = part.strides[at(a)], count = part.shape[a];
      std::size_t c = 0;
      while (c < strides.size() && strides[c] > std::abs(stride)) ++c;
      if (c == strides.size()) {
        if (stride != 0 && count > 1) return false;
        if (strides.empty()) return false;
        c = 0;  // the axis moves nothing
      }
      if (count > 1 && stride % strides[c] != 0) return false;
      const std::int64_t step = count > 1 ? stride / strides[c] : 0;
      of_axis.push_back(static_cast<int>(c));
      steps.push_back(step);
      (step < 0 ? least : greatest)[c] += step * (count - 1);
    }
    for (std::size_t c = 0; c < sizes.size(); ++c) {
      if (least[c] < 0 || greatest[c] >= sizes[c]) return false;
    }
    return true;
  }
};

// The text that adds to `sum` the elements of a group of parts that lie at place p, whose
// coordinates are p0, p1, ...: from the outermost axis to the innermost, those numbers along it
// with which the axes behind it can still reach the coordinate.
std::string sums_text(const Group& group, const Coordinates& where, std::string_view type,
                      std::string_view sum, std::string_view both) {
  const Layout& layout = group.layout;
  const int rank = layout.shape.rank();
  const std::size_t coordinates = where.strides.size();
  std::string text = fmt::format(
      "    for (long k = 0; k < parts; ++k) {{\n"
      "      const long* const part = table + first + k * {0};\n"
      "      const {1}* const x = reinterpret_cast<const {1}*>(part[0]);\n",
      coordinates + 1, type);
  for (std::size_t c = 0; c < coordinates; ++c)
    text += fmt::format("      const long r{0} = p{0} - part[{1}];\n", c, c + 1);
  std::string indent = "      ", place = "0";
  std::vector<std::string> rest(coordinates);
  for (std::size_t c = 0; c < coordinates; ++c) rest[c] = fmt::format("r{}", c);
  std::string still;
  for (std::size_t c = 0; c < coordinates; ++c) {
    const bool moves = std::find(where.of_axis.begin(), where.of_axis.end(), static_cast<int>(c)) !=
                       where.of_axis.end();
    if (!moves) still += fmt::format("{}r{} == 0", still.empty() ? "" : " && ", c);
  }
  int closing = 0;
  const Layout dense = Layout::dense(layout.shape);
  if (!still.empty()) {
    text += fmt::format("{}if ({}) {{\n", indent, still);
    indent += "  ";
    ++closing;
  }
  for (int a = 0; a < rank; ++a) {
    const auto c = at(where.of_axis[at(a)]);
    const std::int64_t step = where.steps[at(a)];
    std::int64_t low = 0, high = 0;  // what the axes behind it add
    for (int b = a + 1; b < rank; ++b) {
      if (at(where.of_axis[at(b)]) != c) continue;
      const std::int64_t reach = where.steps[at(b)] * (layout.shape[b] - 1);
      (reach < 0 ? low : high) += reach;
    }
    const std::string size = a == 0 ? "size" : std::to_string(layout.shape[a]);
    text += fmt::format(
        "{0}const index::Steps s{1}({2}, {3}, {4}, {5}, {6});\n"
        "{0}for (long i{1} = s{1}.first; i{1} <= s{1}.last; ++i{1}) {{\n",
        indent, a, rest[c], step, low, high, size);
    indent += "  ";
    ++closing;
    text += fmt::format("{0}const long q{1} = {2} - i{1} * {3};\n", indent, a, rest[c], step);
    rest[c] = fmt::format("q{}", a);
    place += fmt::format(" + i{} * {}", a, dense.strides[at(a)]);
  }
  text += fmt::format(
      "{0}const {1} value = static_cast<{1}>(x[{2}]);\n"
      "{0}sum = is_hit ? {3} : value;\n"
      "{0}is_hit = true;\n",
      indent, sum, place, both);
  for (; closing > 0; --closing) {
    indent.resize(indent.size() - 2);
    text += indent + "}\n";
  }
  return text + "    }\n";
}

// A thread a place.
void add_sums(CudaWork& work, const CudaRequest& request) {
  const Unview& op = *request.node.op.as<Unview>();
  const DType dtype = request.outputs[0].dtype;
  const std::string type(dtype == DType::boolean ? "unsigned char" : cuda_type(dtype));
  const std::string sum = is_half(dtype) ? "float" : type;
  // The sum of bools is whether any of them is true.
  const std::string_view both =
      dtype == DType::boolean ? "static_cast<unsigned char>(sum | value)" : "math::add(sum, value)";
  const Tensor fill = full({}, op.fill.value, is_half(dtype) ? DType::f32 : dtype);
  std::int64_t bits = 0;
  std::memcpy(&bits, fill.bytes(), size_of(fill.dtype()));
  const std::int64_t n = op.shape.size();
  std::vector<CudaParameter> parameters = {number_parameter("n", n),
                                           number_parameter("fill", bits),
                                           {"const long* table", {CudaArg::Kind::table, 0, 0}},
                                           output_parameter(type, "y")};
  std::string body = "index::each(n, [&](long p) {\n";
  body += sum == "float"    ? "    float sum = math::from_bits(static_cast<math::u32>(fill));\n"
          : sum == "double" ? "    double sum = math::from_bits(static_cast<math::u64>(fill));\n"
                            : fmt::format("    {0} sum = static_cast<{0}>(fill);\n", sum);
  body += "    bool is_hit = false;\n";
  const std::vector<Group> groups = groups_of(op, true);
  // How many parts a group has, where the table has them, and the outermost size; then the parts.
  std::vector<CudaArg> table(3 * groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::vector<Layout> parts;
    for (const int p : groups[g].inputs) parts.push_back(op.layouts[at(p)]);
    const Coordinates where(parts, op.shape);
    const std::size_t first = table.size();
    for (std::size_t k = 0; k < parts.size(); ++k) {
      table.push_back({CudaArg::Kind::input, groups[g].inputs[k], 0});
      for (const std::int64_t start : where.starts(parts[k]))
        table.push_back({CudaArg::Kind::number, 0, start});
    }
    table[3 * g].offset = static_cast<std::int64_t>(parts.size());
    table[3 * g + 1].offset = static_cast<std::int64_t>(first);
    body += fmt::format("    {{\n    const long parts = table[{}], first = table[{}];\n", 3 * g,
                        3 * g + 1);
    if (groups[g].layout.shape.rank() > 0) {
      table[3 * g + 2].offset = groups[g].layout.shape[0];
      body += fmt::format("    const long size = table[{}];\n", 3 * g + 2);
    }
    body += "    long rest = p;\n";
    for (std::size_t c = where.strides.size(); c-- > 0;) {
      body += c == 0 ? "    const long p0 = rest;\n"
                     : fmt::format("    const long p{0} = rest % {1};\n    rest /= {1};\n", c,
                                   where.sizes[c]);
    }
    body += sums_text(groups[g], where, type, sum, both) + "    }\n";
  }
  body += fmt::format("    y[p] = static_cast<{}>(sum);\n  }});", type);
  CudaLaunch launch =
      index_launch("add_parts", std::move(parameters), body, blocks_for(n, request.target.limits));
  launch.table = std::move(table);
  work.launches.push_back(std::move(launch));
}

}  // namespace

CudaWork unview_kernel(const CudaRequest& request) {
  const Unview& op = *request.node.op.as<Unview>();
  CudaWork work;
  if (!are_apart(op)) {
    add_sums(work, request);
    work.why = join({op.layouts.size(), " parts into ", op.shape, ", added up by place"});
    return work;
  }
  std::int64_t elements = 0;
  std::size_t there = 0;
  for (const Layout& layout : op.layouts) elements += layout.shape.size();
  if (elements < op.shape.size()) add_fill(work, request);
  for (Group& group : groups_of(op, false)) {
    const std::size_t all = group.inputs.size();
    std::erase_if(group.inputs, [&](int part) {
      return is_made_there(request.inputs[at(part)], request.outputs[0], op.layouts[at(part)]);
    });
    there += all - group.inputs.size();
    if (!group.inputs.empty()) add_copies(work, request, group);
  }
  work.why = join({op.layouts.size(), " parts into ", op.shape, ", copied"});
  if (there > 0) work.why += join({", ", there, " made in place"});
  return work;
}

}  // namespace blockgrad
