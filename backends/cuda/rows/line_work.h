#pragma once
// What a RowProgram computes, by passes over the elements of its lines: pass p ends
// with Reduces whose inputs need those of the passes before it. Nothing here needs CUDA.

#include <vector>

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/rows/cuda_lines.h"
#include "graph/plan.h"

namespace blockgrad {

struct LineWork {
  struct Input {
    DType dtype = DType::f32;
    bool by_line = false;  // a value per line, or one that is the same all along it
    CudaPlace place;
  };
  struct Step {
    RowStep step;
    int pass = 0;  // of a Reduce: its own; else the first one in which its inputs are known
    std::vector<DType> dtypes;
  };
  struct Result {
    RowValue value;
    DType dtype = DType::f32;
    bool by_line = false;
    int pass = 0;  // that stores it
    bool is_over_input = false;
  };
  /// What a pass computes of elements, in order.
  struct Pass {
    std::vector<int> loads, steps, reduces, results;
    std::vector<RowValue> kept;  // read, having been made by an earlier pass

    bool is_empty() const { return reduces.empty() && results.empty(); }
  };

  CudaLines lines;
  std::vector<Input> inputs;
  std::vector<Step> steps;
  std::vector<Result> results;
  int last = 0;  // pass; all Reduces and results are known behind it

  LineWork(CudaLines space, const RowProgram& program, std::span<const Operand> in,
           std::span<const Operand> out);

  DType dtype(RowValue v) const;
  bool by_line(RowValue v) const;
  bool has_reduces(int pass) const;
  bool needs_numbers() const;  // of elements

  /// All passes. `keeps`: elements that a pass has loaded or made stay for later ones; else every
  /// pass begins with the inputs.
  std::vector<Pass> passes(bool keeps) const;
  /// Registers that the elements of passes(true) take at once, for each one.
  int registers() const;
  /// Of what a thread gathers for all Reduces.
  std::int64_t gathered_bytes() const;
  /// Elements that every operand has side by side, from any multiple of so many on: a power of two,
  /// of at most 16 bytes.
  std::int64_t run() const;
  /// Where a dense value's elements lie.
  CudaPlace dense() const;

 private:
  void find_passes();
  void find_results(const RowProgram& program, std::span<const Operand> in,
                    std::span<const Operand> out);
};

}  // namespace blockgrad
