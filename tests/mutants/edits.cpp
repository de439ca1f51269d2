#include "tests/mutants/edits.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <stdexcept>

namespace mutants {

namespace {

struct Pattern {
  const char* kind;
  const char* search;       // a regular expression
  const char* replacement;  // with $1 …
};

// An operand: a name with members, calls and subscripts, or a number.
#define BG_OPERAND R"([A-Za-z_][A-Za-z_0-9.:]*(?:\([^()]*\)|\[[^\[\]]*\])?|[0-9.]+)"
#define BG_ENDS R"()(?![A-Za-z0-9_.(\[]))"

const Pattern patterns[] = {
    {"sign", R"( - )", " + "},
    {"sign", R"( \+ )", " - "},
    {"sign", R"(([(,{ ])-([A-Za-z(]))", "$1$2"},
    {"sign", R"(^-([A-Za-z(]))", "$1"},
    {"sign", R"((return \{?)(b\.dy\(\)))", "$1-$2"},
    {"sign", R"(([ {(,])(d)([,)}]))", "$1-$2$3"},
    {"factor", R"( \* )", " / "},
    {"factor", R"( / )", " * "},
    {"factor", R"(b\.dy\(\))", "(b.dy() * 2.0)"},
    {"factor", R"(\bT\(([0-9.]+)\))", "T(1.25)"},
    {"factor", R"(\bScalar\(([0-9.]+)\))", "Scalar(0.75)"},
    {"factor", R"(([ (,])([0-9]\.[0-9]*[1-9][0-9]*)\b)", "$1(1.25 * $2)"},
    {"missing term", R"( \* ()" BG_OPERAND BG_ENDS, ""},
    {"missing term", R"( / ()" BG_OPERAND BG_ENDS, ""},
    {"missing term", R"( [-+] ()" BG_OPERAND BG_ENDS, ""},
    {"missing term", R"(([ (,{])()" BG_OPERAND R"() (?:\*|-) )", "$1"},
    {"axis", R"(, axis, true\))", ", {}, true)"},
    {"axis", R"(, axes, true\))", ", {}, true)"},
    {"axis", R"(, -1\))", ", 0)"},
    {"axis", R"(\baxis\b)", "(axis - 1)"},
    {"axis", R"(\btranspose\((b\.input\([01]\)|b\.dy\(\))\))", "$1"},
    {"axis", R"(\btrue\b)", "false"},
    {"axis", R"(\bfalse\b)", "true"},
    {"operand", R"(\bb\.input\(0\))", "b.input(1)"},
    {"operand", R"(\bb\.input\(1\))", "b.input(0)"},
    {"operand", R"(\bb\.input\(0\))", "b.y()"},
    {"operand", R"(\bb\.y\(\))", "b.input(0)"},
    {"operand", R"(\bb\.y\(\))", "b.dy()"},
    {"operand", R"(\b(make\([A-Za-z]+\{[^{}]*\}), \{()" BG_OPERAND R"(), ()" BG_OPERAND R"()\})",
     "$1, {$3, $2}"},
    {"operand", R"(\b(matmul|subtract|divide|pow)\(()" BG_OPERAND R"(), ()" BG_OPERAND R"()\))",
     "$1($3, $2)"},
    {"operand", R"(\bwhere\(()" BG_OPERAND R"(), ()" BG_OPERAND R"(), ()" BG_OPERAND R"()\))",
     "where($1, $3, $2)"},
    {"operand", R"(\bs\[0\])", "s[1]"},
    {"operand", R"(\bs\[1\])", "s[0]"},
    {"operand", R"(\bs\[2\])", "s[1]"},
    {"operand", R"(\bs\[3\])", "s[2]"},
    {"operand", R"(\b(log|exp|sin|cos|sigmoid|square|sqrt|tanh)\()", "abs("},
    {"condition", R"( > )", " <= "},
    {"condition", R"( < )", " >= "},
    {"condition", R"( == )", " != "},
    {"condition", R"( != )", " == "},
    {"condition", R"(\bequal\()", "not_equal("},
    {"condition", R"(\bgreater\()", "less("},
    {"condition", R"(\bless\()", "greater("},
    {"condition", R"(\blogical_or\()", "logical_and("},
    {"condition", R"(\blogical_and\()", "logical_or("},
};

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first);
}

// Lines that ask for nothing a gradient depends on, or that only save work.
bool is_left_alone(const std::string& line) {
  static const std::regex pattern(
      R"(^\s*(//|\}|#|static_assert|require\(|check_internal\(|throw|for \(|else|public:|private:|case |struct |class |using |template|BG_|default:)|std::vector<(Expr|int|std::int64_t)> [a-z]+(\(|;)|has_dy|Scalar d, Scalar|\.reserve\(|noexcept|static_cast<std::size_t>\(i\))");
  return trimmed(line).empty() || std::regex_search(line, pattern);
}

void add_edits(const std::string& line, std::size_t first, std::size_t last,
               std::vector<Edit>& edits) {
  for (const Pattern& pattern : patterns) {
    const std::regex search(pattern.search);
    const std::string part = line.substr(first, last - first);
    for (auto match = std::sregex_iterator(part.begin(), part.end(), search);
         match != std::sregex_iterator(); ++match) {
      const auto at = first + static_cast<std::size_t>(match->position());
      const std::string after = line.substr(0, at) + match->format(pattern.replacement) +
                                line.substr(at + static_cast<std::size_t>(match->length()));
      const bool is_known =
          std::any_of(edits.begin(), edits.end(), [&](const Edit& e) { return e.after == after; });
      if (after != line && !is_known) edits.push_back({"", 0, line, after, pattern.kind, ""});
    }
  }
}

// The places of the commas between the arguments of a macro's call, and of its closing bracket.
std::vector<std::size_t> argument_ends(const std::string& row) {
  std::vector<std::size_t> ends;
  int depth = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (row[i] == '(') ++depth;
    if (row[i] == ',' && depth == 1) ends.push_back(i);
    if (row[i] == ')' && --depth == 0) {
      ends.push_back(i);
      break;
    }
  }
  return ends;
}

std::size_t indent_of(const std::string& line) { return line.find_first_not_of(' '); }

}  // namespace

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<Region> gradient_rules(const std::vector<std::string>& lines) {
  static const std::regex named(R"(std::string_view name = "([a-z0-9_.]+)\")");
  static const std::regex outside(R"(([A-Z][A-Za-z0-9]*)::vjp\(const Backward& b\) const)");
  static const std::regex inside(R"(\bvjp\(const Backward& b\) const)");
  std::vector<Region> regions;
  std::string op;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (std::regex_search(lines[i], match, named)) op = match[1];
    if (!std::regex_search(lines[i], match, inside)) continue;
    Region region{static_cast<int>(i) + 1, static_cast<int>(i) + 1, op};
    if (std::regex_search(lines[i], match, outside)) {
      // MatMul -> matmul, ScatterAdd -> scatter_add: what users call.
      region.op.clear();
      for (const char c : match[1].str()) {
        const bool is_upper = c >= 'A' && c <= 'Z';
        if (is_upper && !region.op.empty()) region.op += '_';
        region.op += static_cast<char>(is_upper ? c - 'A' + 'a' : c);
      }
    }
    const std::string closing = std::string(indent_of(lines[i]), ' ') + "}";
    const bool is_one_line = lines[i].ends_with("}");
    while (!is_one_line && region.last < static_cast<int>(lines.size()) &&
           lines[static_cast<std::size_t>(region.last) - 1] != closing)
      ++region.last;
    if (!is_one_line) ++region.first;
    regions.push_back(region);
  }
  return regions;
}

std::vector<Edit> edits_of_line(const std::string& line) {
  std::vector<Edit> edits;
  if (is_left_alone(line)) return edits;
  const std::size_t last = std::min(line.size(), line.find("  //"));
  std::size_t first = 0;
  if (const std::size_t body = line.find("const Backward& b) const { ");
      body != std::string::npos && line.ends_with("}"))
    first = body + 26;
  add_edits(line, first, last, edits);
  return edits;
}

std::vector<Edit> edits_of_row(const std::string& line) {
  std::vector<Edit> edits;
  const bool is_unary = line.starts_with("BG_UNARY("), is_binary = line.starts_with("BG_BINARY(");
  if (!is_unary && !is_binary) return edits;
  const std::vector<std::size_t> ends = argument_ends(line);
  for (std::size_t argument = 3; argument < ends.size(); ++argument) {
    const std::size_t first = ends[argument - 1] + 2, last = ends[argument];
    add_edits(line, first, last, edits);
    // A rule that is short has few places to break.
    const std::string rule = line.substr(first, last - first);
    if (rule == "T(0)") continue;
    for (const auto& [kind, after] :
         {std::pair{"sign", "-(" + rule + ")"}, std::pair{"factor", "T(2) * (" + rule + ")"},
          std::pair{"missing term", std::string("T(0)")}}) {
      edits.push_back({"", 0, line, line.substr(0, first) + after + line.substr(last), kind, ""});
    }
  }
  return edits;
}

std::vector<Edit> all_edits(const std::string& root) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const char* folder : {"graph", "ops"}) {
    for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(root) / folder)) {
      if (entry.path().extension() == ".cpp")
        files.push_back(std::string(folder) + "/" + entry.path().filename().string());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<Edit> edits;
  const auto add = [&](std::vector<Edit> found, const std::string& file, int line,
                       const std::string& op) {
    for (Edit& edit : found) {
      edit.file = file;
      edit.line = line;
      edit.op = op;
      edits.push_back(std::move(edit));
    }
  };
  const std::string table = "include/blockgrad/graph/scalar.def";
  const std::vector<std::string> rows = read_lines(root + "/" + table);
  std::string op;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].starts_with("BG_")) {
      const std::size_t open = rows[i].find('(') + 1;
      op = rows[i].substr(open, rows[i].find(',') - open);
      add(edits_of_row(rows[i]), table, static_cast<int>(i) + 1, op);
    } else {
      // The second half of a row that is too long for one line.
      add(edits_of_line(rows[i]), table, static_cast<int>(i) + 1, op);
    }
  }
  for (const std::string& file : files) {
    const std::vector<std::string> lines = read_lines(root + "/" + file);
    std::vector<Region> regions = gradient_rules(lines);
    // The whole file is a gradient rule.
    if (file == "graph/scalar_derivative.cpp") regions = {{1, static_cast<int>(lines.size()), ""}};
    for (const Region& region : regions) {
      for (int line = region.first; line <= region.last; ++line)
        add(edits_of_line(lines[static_cast<std::size_t>(line) - 1]), file, line, region.op);
    }
  }
  return edits;
}

std::vector<Edit> shuffled(std::vector<Edit> edits, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  for (std::size_t i = edits.size(); i > 1; --i)
    std::swap(edits[i - 1], edits[static_cast<std::size_t>(random() % i)]);
  return edits;
}

}  // namespace mutants
