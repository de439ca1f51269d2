#pragma once
// The matrix product of the CPU: made once for a shape, then run without decisions, allocations or
// locks. A Gemm is immutable; any number of threads may run its parts at the same time.

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/isa.h"
#include "blockgrad/backends/block_plan.h"

#include <cstddef>
#include <cstdint>

namespace blockgrad {

enum class GemmType { f32, f64 };

/// C[i, j] = sum over p of A[i, p] * B[p, j]; C is dense, A and B are strided.
struct GemmShape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  GemmType type = GemmType::f32;
  // In elements. One of each pair is 1, unless an axis of that operand has at most one element.
  std::int64_t a_row = 0;
  std::int64_t a_col = 1;
  std::int64_t b_row = 0;
  std::int64_t b_col = 1;
  // Not 0: B lies in panels of so many columns, whole vectors: element p, j is number j % b_panel
  // of row p of panel j / b_panel. Its strides are b_panel and 1.
  std::int64_t b_panel = 0;

  bool operator==(const GemmShape&) const = default;
};

/// Every element of C is one chain of fused multiply-adds over ascending p that starts from +0, so
/// the bits are those of a plain std::fma loop for every instruction set, plan and split into
/// parts. C overlaps neither A nor B. k = 0 gives zeros.
class Gemm {
 public:
  /// Throws InternalError for negative sizes, for strides without a 1 and for an instruction set
  /// that this processor lacks.
  static Gemm make(const GemmShape& shape, Isa isa);

  const BlockPlan& plan() const { return plan_; }
  /// Pieces of C that may be made in any order and by any thread; cut by the shape and the
  /// instruction set only. 0 if C is empty.
  std::int64_t parts() const { return parts_; }
  /// Bytes of scratch, aligned to 64, that each running thread brings.
  std::size_t scratch() const { return scratch_; }

  /// Makes the parts first .. last-1. A thread that has several parts passes them in one call:
  /// what they share is packed once.
  void run(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
           std::byte* scratch) const noexcept;
  void run(const void* a, const void* b, void* c, std::int64_t part,
           std::byte* scratch) const noexcept {
    run(a, b, c, part, part + 1, scratch);
  }

  /// Whether `run_slice` may be called: operands and result are used where they lie.
  bool can_slice() const {
    return path_ == Path::blocks && !is_swapped_ && !packs_a_ && !packs_b_ && shape_.b_panel == 0;
  }
  /// Rows of C that a tile has.
  std::int64_t tile_rows() const { return main_.rows; }
  /// Terms first_p .. last_p-1 of the sums in rows first .. last-1 of C, on top of what C holds if
  /// first_p > 0. All slices of k in order give what `run` gives.
  void run_slice(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
                 std::int64_t first_p, std::int64_t last_p) const noexcept;

 private:
  /// Columns of C that one vector tile covers, and the tiles that walk down them.
  struct Strip {
    std::int64_t columns = 0;
    int vectors = 0;
    int rows = 0;
    int lanes = 0;  // of the last vector
  };
  /// dots: one row of C, each element from a row of B's transpose. rows: one row of C, the sum of
  /// many rows of B. tile: C is a single tile.
  enum class Path { blocks, tile, dots, rows };
  struct Range {
    std::int64_t begin, end;
  };

  static Gemm attempt(const GemmShape& shape, Isa isa, bool turns_c);
  template <class T>
  void choose(const detail::TileKernels<T>& table);
  template <class T>
  void choose_packing(const detail::TileKernels<T>& table);
  bool jumps(std::int64_t a_bytes, std::int64_t size) const;
  bool crowds(std::int64_t size) const;
  double tile_cycles(int rows, int vectors) const;
  double column_cycles(int rows, int vectors) const;
  template <class T>
  Strip choose_edge(const detail::TileKernels<T>& table, std::int64_t columns, double& cost) const;
  template <class T>
  void choose_strips(const detail::TileKernels<T>& table);
  template <class T>
  void choose_blocks(const detail::TileKernels<T>& table);
  void choose_parts();
  void choose_row_blocks();
  void describe(Isa isa);
  template <class T>
  struct Walk;
  template <class Do>
  void walk_row_blocks(std::int64_t first, std::int64_t last, const Do& walk) const;

  GemmShape shape_;          // the product that is computed
  bool is_swapped_ = false;  // computed as transpose(B) * transpose(A)
  bool turns_c_ = false;     // and the result, made in scratch, is transposed into C
  double cost_ = 0;          // cycles, roughly
  Path path_ = Path::blocks;
  detail::LayoutA layout_a_ = detail::LayoutA::rows;
  bool b_is_transposed_ = false;
  bool packs_a_ = false;
  bool turns_a_ = false;  // and transposes it
  bool packs_b_ = false;
  bool keeps_panels_ = false;  // several row blocks read what is packed of B
  bool fetches_ahead_ = false;
  bool packs_ahead_ = false;  // the next strip's panel is made during a strip
  bool parts_cut_rows_ = false;
  std::int64_t lda_ = 0;
  std::int64_t ldb_ = 0;
  std::int64_t packed_lda_ = 0;
  std::int64_t units_ = 0;       // whole tiles along the axis that the parts cut
  std::int64_t row_blocks_ = 1;  // each cut into as many parts along the other axis, side by side
  std::int64_t parts_ = 0;
  std::int64_t block_m_ = 0;
  std::int64_t block_n_ = 0;
  std::int64_t block_k_ = 0;
  Strip main_;  // the strips from the left
  Strip edge_;  // the last one if it is narrower, else no columns
  std::size_t scratch_ = 0;
  std::size_t scratch_b_ = 0;  // where the packed B begins
  std::size_t scratch_c_ = 0;  // and the result that is to be transposed
  const detail::GemmKernels* kernels_ = nullptr;
  BlockPlan plan_;
};

}  // namespace blockgrad
