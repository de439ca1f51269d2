#pragma once
// One-line edits that break gradient rules: what the tests of the ops must notice.

#include <cstdint>
#include <string>
#include <vector>

namespace mutants {

struct Edit {
  std::string file;  // from the project's root
  int line = 0;      // from 1
  std::string before, after;
  std::string kind;  // sign, factor, missing term, axis, operand, condition
  std::string op;    // what the rule belongs to: rows of this name go first
};

/// A piece of a file whose lines are gradient rules.
struct Region {
  int first = 0, last = 0;  // lines, from 1
  std::string op;
};

/// The bodies of `vjp` in a source, with the name of their op.
std::vector<Region> gradient_rules(const std::vector<std::string>& lines);

/// All edits of a line of C++ that leave a line of C++, each kind at each place once.
std::vector<Edit> edits_of_line(const std::string& line);
/// Of a row of scalar.def: of what it sends back alone.
std::vector<Edit> edits_of_row(const std::string& line);

/// All edits of the project's gradient rules below `root`, in the order of files and lines.
std::vector<Edit> all_edits(const std::string& root);
/// The same ones in an order that `seed` fixes, on every machine.
std::vector<Edit> shuffled(std::vector<Edit> edits, std::uint64_t seed);

std::vector<std::string> read_lines(const std::string& path);

}  // namespace mutants
