#pragma once
// What one instruction set offers to the matrix product: its tile kernels and its two ways of
// packing. The tables are constants; one translation unit per instruction set defines one of them.

#include <cstdint>

namespace blockgrad {
enum class Isa;
}

namespace blockgrad::detail {

/// What a tile does beside its sums. It brings near a tile of C of its own size. A tile that
/// fetches brings near `rows` pieces of `ahead_bytes`, `step` elements apart, four steps of k for
/// each. A tile that packs copies `rows` rows as wide as itself, 1 to k of them, to `panel`, evenly
/// spread over k: processors foresee their addresses better than hints do.
template <class T>
struct Ahead {
  const T* c = nullptr;  // null: none
  const T* at = nullptr;
  std::int64_t step = 0;
  std::int64_t rows = 0;
  T* panel = nullptr;
};

inline constexpr std::int64_t ahead_bytes = 256;

/// C[r, j] = fma chain over p = 0 .. k-1 of A[r, p] * B[p, j], started from C if `load`, else from
/// zero, for a fixed number of rows and of vectors of columns. B[p, j] is b[p * ldb + j] and C[r,
/// j] is c[r * ldc + j]. The last vector has `lanes` columns: nothing behind them is read or
/// written.
template <class T>
using TileKernel = void (*)(std::int64_t k, const T* a, std::int64_t lda, const T* b,
                            std::int64_t ldb, T* c, std::int64_t ldc, int lanes, bool load,
                            const Ahead<T>& ahead);

/// Copies rows x columns elements. Unless it says otherwise, each row of the destination has room
/// for whole vectors and gets zeros behind its last element. Row r of the source (column r when
/// transposing) becomes row r of the destination: to[r * ld_to + c] = from[r * ld_from + c], or
/// from[c * ld_from + r].
template <class T>
using BlockCopy = void (*)(std::int64_t rows, std::int64_t columns, const T* from,
                           std::int64_t ld_from, T* to, std::int64_t ld_to);

/// Copies rows x columns elements to panels of `width` columns, one row behind the other: element
/// r, c to to[c / width * panel + r * width + c % width]. What lies behind the last row of a panel
/// may be overwritten, as far as one vector reaches.
template <class T>
using PanelSplit = void (*)(std::int64_t rows, std::int64_t columns, const T* from,
                            std::int64_t ld_from, T* to, int width, std::int64_t panel);

/// y[r] = fma chain over p = 0 .. k-1 of a[r * lda + p] * x[p * x_step], started from zero.
template <class T>
using RowDots = void (*)(std::int64_t rows, std::int64_t k, const T* a, std::int64_t lda,
                         const T* x, std::int64_t x_step, T* y);

/// y[j] = fma chain over p = 0 .. k-1 of x[p * x_step] * b[p * ldb + j], started from zero: b is
/// read in the order of memory.
template <class T>
using SumRows = void (*)(std::int64_t n, std::int64_t k, const T* x, std::int64_t x_step,
                         const T* b, std::int64_t ldb, T* y);

/// How A lies in memory: A[r, p] is a[r * lda + p], or a[r + p * lda].
enum class LayoutA { rows, columns };

template <class T>
struct TileKernels {
  static constexpr int max_rows = 12;
  static constexpr int max_vectors = 8;

  int lanes = 0;         // elements of one vector
  int accumulators = 0;  // vectors that a tile may keep in registers
  int dot_rows = 0;      // rows that row_dots() works on at a time
  /// [layout of A][last vector is cut][vectors - 1][rows - 1]; null where there is no such tile.
  TileKernel<T> tile[2][2][max_vectors][max_rows] = {};
  /// [layout of A][vectors - 1][rows - 1]: whole tiles that heed their Ahead; all others ignore it.
  TileKernel<T> fetching_tile[2][max_vectors][max_rows] = {};
  TileKernel<T> packing_tile[2][max_vectors][max_rows] = {};
  BlockCopy<T> copy = nullptr;
  BlockCopy<T> transpose = nullptr;
  BlockCopy<T> transpose_exactly = nullptr;  // writes nothing behind the last element of a row
  PanelSplit<T> split_panels = nullptr;
  RowDots<T> row_dots = nullptr;
  SumRows<T> sum_rows = nullptr;
  /// As many independent fma chains of n steps as there are accumulators, and their sum: what a
  /// core can do at most.
  T (*fma_chains)(std::int64_t n) = nullptr;

  /// One that looks ahead if asked and if there is one.
  TileKernel<T> find(LayoutA layout, bool cut, int vectors, int rows, bool fetches = false) const {
    const auto looks = fetching_tile[layout == LayoutA::columns][vectors - 1][rows - 1];
    if (fetches && !cut && looks) return looks;
    return tile[layout == LayoutA::columns][cut][vectors - 1][rows - 1];
  }
  /// Null if there is none.
  TileKernel<T> find_packing(LayoutA layout, int vectors, int rows) const {
    return packing_tile[layout == LayoutA::columns][vectors - 1][rows - 1];
  }
};

struct GemmKernels {
  TileKernels<float> f32;
  TileKernels<double> f64;
};

extern const GemmKernels gemm_portable;
#if defined(__x86_64__)
extern const GemmKernels gemm_avx2;
extern const GemmKernels gemm_avx512;
#elif defined(__aarch64__)
extern const GemmKernels gemm_neon;
#endif

/// The table of an instruction set that this build has.
const GemmKernels& gemm_kernels(Isa isa);

}  // namespace blockgrad::detail
