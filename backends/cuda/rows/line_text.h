#pragma once
// The text of a kernel that walks the passes of a LineWork. Nothing here needs CUDA.

#include <string>

#include "backends/cuda/rows/line_work.h"

namespace blockgrad {

/// How the threads of a block share its lines.
struct LineForm {
  int columns = 1;       // lines side by side
  int rows = 256;        // threads of each
  bool is_wide = false;  // neighbouring threads have neighbouring lines, not elements of one
  int turns = 4;         // elements that a thread takes at a time, `rows` apart,
  int vector = 1;        // each of so many side by side
  bool keeps = false;    // a line is taken at once, and what passes share stays in registers

  int threads() const { return columns * rows; }
  std::int64_t tile() const { return std::int64_t{rows} * turns * vector; }
};

/// What one launch does of the work.
struct LineTask {
  int first = 0, last = 0;   // passes
  bool is_split = false;     // a block has a slice of its lines: Reduces are left in parts
  bool writes_lines = true;  // at the end, the results with a value per line
};

/// KERNEL(lines, slices, slice, inputs ..., results ..., a pointer to the parts of each Reduce).
/// Without a split the numbers behind `lines` are not looked at and there are no parts. Reduces of
/// passes before task.first are joined from their parts.
std::string line_text(const LineWork& work, const LineForm& form, const LineTask& task);

}  // namespace blockgrad
