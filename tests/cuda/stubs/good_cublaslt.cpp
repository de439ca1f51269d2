// A cuBLASLt of a version that is taken, which multiplies on the CPU what its descriptors say, by
// the meaning that the library's documentation gives them: matrices in columns, op(A) op(B). Each
// sum is one chain of fused multiply-adds in ascending k. Its algorithms are numbered; time is what
// they say they take.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "blockgrad/graph/half.h"

namespace {

constexpr int success = 0, not_initialized = 1, invalid = 7, execution_failed = 13,
              not_supported = 15;

struct Handle {};
struct Matrix {
  std::int32_t type = 0, order = 0, batch = 1;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0, stride = 0;
};
struct Matmul {
  std::int32_t compute = 0, scale = 0, pointers = 0, a = 0, b = 0;
};
struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t reductions = 7, alignment[4] = {256, 256, 256, 256};
};
struct Algorithm {
  std::uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  std::size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

constexpr std::uint64_t seal = 0x6b6f2d6f67697261;

/// What an algorithm is like.
struct Kind {
  double seconds;
  std::size_t workspace;
  bool is_steady, is_right;
  int slices;  // of k
};
constexpr Kind kinds[] = {
    {100e-6, 0, true, true, 1},    // the first heuristic
    {60e-6, 4096, true, true, 1},  // faster, with workspace
    {80e-6, 0, true, true, 2},     // another order of sums
    {10e-6, 0, false, true, 1},    // bits of its own in every run
    {10e-6, 256, true, false, 1},  // a wrong result
    {59.9e-6, 0, true, true, 1},   // faster than another one by less than shows
};

double spent = 0;
int status_of_handles = success;
int runs = 0;
std::uint64_t refused_by_check = ~std::uint64_t{0}, refused_when_called = ~std::uint64_t{0};

double number(const void* memory, std::int32_t type, std::int64_t at) {
  using namespace blockgrad::detail;
  switch (type) {
    case 0: return static_cast<const float*>(memory)[at];
    case 1: return static_cast<const double*>(memory)[at];
    case 2: return from_f16(static_cast<const unsigned short*>(memory)[at]);
    default: return from_bf16(static_cast<const unsigned short*>(memory)[at]);
  }
}

void put(void* memory, std::int32_t type, std::int64_t at, double value) {
  using namespace blockgrad::detail;
  switch (type) {
    case 0: static_cast<float*>(memory)[at] = static_cast<float>(value); break;
    case 1: static_cast<double*>(memory)[at] = value; break;
    case 2: static_cast<unsigned short*>(memory)[at] = to_f16(static_cast<float>(value)); break;
    default: static_cast<unsigned short*>(memory)[at] = to_bf16(static_cast<float>(value));
  }
}

float as_tf32(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x0fff + (bits >> 13 & 1)) & ~std::uint32_t{0x1fff};
  std::memcpy(&x, &bits, 4);
  return x;
}

bool is_type(std::int32_t type) { return type == 0 || type == 1 || type == 2 || type == 14; }

/// Rows, columns and types fit together as for cublasLtMatmul.
bool fits(const Matmul& op, const Matrix& a, const Matrix& b, const Matrix& d) {
  const std::uint64_t m = op.a ? a.columns : a.rows, k = op.a ? a.rows : a.columns,
                      n = op.b ? b.rows : b.columns;
  const bool is_double = op.compute == 70;
  const bool is_f32 = op.compute == 68 || op.compute == 69 || op.compute == 77;
  return (op.b ? b.columns : b.rows) == k && d.rows == m && d.columns == n && a.type == b.type &&
         (a.type == d.type || d.type == 0) && is_type(a.type) && a.batch == d.batch &&
         b.batch == d.batch &&
         (is_double ? a.type == 1 && op.scale == 1
                    : is_f32 && a.type != 1 && d.type != 1 && op.scale == 0) &&
         (op.compute != 69 || a.type == 0) && (op.compute != 77 || a.type == 0) && a.order == 0 &&
         b.order == 0 && d.order == 0 && op.pointers == 0;
}

bool is_known(const Algorithm& algorithm) {
  return algorithm.data[7] == seal && algorithm.data[0] < std::size(kinds);
}

/// Element (row, column) of op(x), in its matrix of the batch.
std::int64_t place(const Matrix& x, bool is_transposed, std::int64_t row, std::int64_t column) {
  return is_transposed ? column + row * x.leading : row + column * x.leading;
}

double sum(const Matmul& op, const void* a, const Matrix& of_a, const void* b, const Matrix& of_b,
           std::int64_t batch, std::int64_t row, std::int64_t column, std::int64_t first,
           std::int64_t last) {
  double total = 0;
  float total_f32 = 0;
  for (std::int64_t i = first; i < last; ++i) {
    const double x = number(a, of_a.type, batch * of_a.stride + place(of_a, op.a, row, i));
    const double y = number(b, of_b.type, batch * of_b.stride + place(of_b, op.b, i, column));
    if (op.compute == 70) {
      total = std::fma(x, y, total);
    } else {
      auto x_f32 = static_cast<float>(x), y_f32 = static_cast<float>(y);
      if (op.compute == 77) x_f32 = as_tf32(x_f32), y_f32 = as_tf32(y_f32);
      total_f32 = std::fma(x_f32, y_f32, total_f32);
    }
  }
  return op.compute == 70 ? total : total_f32;
}

template <class F>
int with_field(Matrix& x, int field, F&& f) {
  switch (field) {
    case 0: return f(x.type);
    case 1: return f(x.order);
    case 2: return f(x.rows);
    case 3: return f(x.columns);
    case 4: return f(x.leading);
    case 5: return f(x.batch);
    case 6: return f(x.stride);
    default: return invalid;
  }
}

template <class F>
int with_field(Matmul& x, int field, F&& f) {
  switch (field) {
    case 0: return f(x.compute);
    case 1: return f(x.scale);
    case 2: return f(x.pointers);
    case 3: return f(x.a);
    case 4: return f(x.b);
    default: return invalid;
  }
}

template <class T>
int set_field(T& x, int field, const void* value, std::size_t size) {
  return with_field(x, field, [&](auto& to) {
    if (size != sizeof to) return invalid;
    std::memcpy(&to, value, size);
    return success;
  });
}

template <class T>
int get_field(T& x, int field, void* value, std::size_t size, std::size_t* written) {
  return with_field(x, field, [&](auto& from) {
    *written = sizeof from;
    if (size < sizeof from) return invalid;
    std::memcpy(value, &from, sizeof from);
    return success;
  });
}

}  // namespace

extern "C" {

std::size_t cublasLtGetVersion() { return 130100; }

int cublasLtCreate(Handle** handle) {
  if (status_of_handles != success) return status_of_handles;
  *handle = new Handle;
  return success;
}
int cublasLtDestroy(Handle* handle) {
  delete handle;
  return success;
}

int cublasLtMatrixLayoutCreate(Matrix** made, std::int32_t type, std::uint64_t rows,
                               std::uint64_t columns, std::int64_t leading) {
  *made = new Matrix{.type = type, .rows = rows, .columns = columns, .leading = leading};
  return success;
}
int cublasLtMatrixLayoutDestroy(Matrix* matrix) {
  delete matrix;
  return success;
}
int cublasLtMatrixLayoutSetAttribute(Matrix* x, int field, const void* value, std::size_t size) {
  return set_field(*x, field, value, size);
}
int cublasLtMatrixLayoutGetAttribute(Matrix* x, int field, void* value, std::size_t size,
                                     std::size_t* written) {
  return get_field(*x, field, value, size, written);
}

int cublasLtMatmulDescCreate(Matmul** made, std::int32_t compute, std::int32_t scale) {
  *made = new Matmul{.compute = compute, .scale = scale};
  return success;
}
int cublasLtMatmulDescDestroy(Matmul* matmul) {
  delete matmul;
  return success;
}
int cublasLtMatmulDescSetAttribute(Matmul* x, int field, const void* value, std::size_t size) {
  return set_field(*x, field, value, size);
}
int cublasLtMatmulDescGetAttribute(Matmul* x, int field, void* value, std::size_t size,
                                   std::size_t* written) {
  return get_field(*x, field, value, size, written);
}

int cublasLtMatmulPreferenceCreate(Preference** made) {
  *made = new Preference;
  return success;
}
int cublasLtMatmulPreferenceDestroy(Preference* preference) {
  delete preference;
  return success;
}
int cublasLtMatmulPreferenceSetAttribute(Preference* x, int field, const void* value,
                                         std::size_t size) {
  const auto copy = [&](auto& to) {
    if (size != sizeof to) return invalid;
    std::memcpy(&to, value, size);
    return success;
  };
  if (field == 1) return copy(x->workspace);
  if (field == 3) return copy(x->reductions);
  if (field >= 5 && field <= 8) return copy(x->alignment[field - 5]);
  return invalid;
}

int cublasLtMatmulAlgoCheck(Handle*, Matmul* op, Matrix* a, Matrix* b, Matrix*, Matrix* d,
                            const Algorithm* algorithm, Heuristic* result) {
  if (!is_known(*algorithm)) return invalid;
  if (algorithm->data[0] == refused_by_check) return not_supported;
  if (!fits(*op, *a, *b, *d)) return not_supported;
  *result = {*algorithm, kinds[algorithm->data[0]].workspace, success, 1, {}};
  return success;
}

// data[1] is the reduction scheme.
int cublasLtMatmulAlgoConfigGetAttribute(const Algorithm* algorithm, int field, void* value,
                                         std::size_t size, std::size_t* written) {
  const auto scheme = static_cast<std::uint32_t>(algorithm->data[1]);
  *written = sizeof scheme;
  if (!is_known(*algorithm) || field != 3 || size != sizeof scheme) return invalid;
  std::memcpy(value, &scheme, sizeof scheme);
  return success;
}

int cublasLtMatmulAlgoGetHeuristic(Handle* handle, Matmul* op, Matrix* a, Matrix* b, Matrix* c,
                                   Matrix* d, Preference* preference, int asked, Heuristic* found,
                                   int* count) {
  *count = 0;
  // Of a result that may be added to in the order in which slices are done there is one more.
  if (preference->reductions & 1) return invalid;
  for (std::uint64_t id = 0; id < std::size(kinds) && *count < asked; ++id) {
    if (kinds[id].workspace > preference->workspace) continue;
    const Algorithm algorithm{{id, 0, 0, 0, 0, 0, 0, seal}};
    const int status = cublasLtMatmulAlgoCheck(handle, op, a, b, c, d, &algorithm, found + *count);
    if (status != success && id != refused_by_check) return status;
    found[*count].algorithm = algorithm;
    ++*count;
  }
  return success;
}

int cublasLtMatmul(Handle* handle, Matmul* op, const void* alpha, const void* a, Matrix* of_a,
                   const void* b, Matrix* of_b, const void* beta, const void*, Matrix*, void* d,
                   Matrix* of_d, const Algorithm* algorithm, void* workspace, std::size_t bytes,
                   void*) {
  if (handle == nullptr) return not_initialized;
  if (!is_known(*algorithm) || !fits(*op, *of_a, *of_b, *of_d)) return invalid;
  const bool is_double = op->scale == 1;
  if ((is_double ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha)) != 1 ||
      (is_double ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta)) != 0)
    return not_supported;
  const Kind& kind = kinds[algorithm->data[0]];
  if (algorithm->data[0] == refused_when_called) return execution_failed;
  if (bytes < kind.workspace) return invalid;
  if (kind.workspace > 0) std::memset(workspace, 0xab, kind.workspace);
  spent += kind.seconds;
  ++runs;
  const auto m = static_cast<std::int64_t>(of_d->rows),
             n = static_cast<std::int64_t>(of_d->columns),
             k = static_cast<std::int64_t>(op->a ? of_a->rows : of_a->columns);
  for (std::int64_t batch = 0; batch < of_d->batch; ++batch) {
    for (std::int64_t column = 0; column < n; ++column) {
      for (std::int64_t row = 0; row < m; ++row) {
        double value = 0;
        const std::int64_t slice = (k + kind.slices - 1) / kind.slices;
        for (std::int64_t first = 0; first < k; first += slice) {
          const double part =
              sum(*op, a, *of_a, b, *of_b, batch, row, column, first, std::min(k, first + slice));
          value = is_double ? value + part : static_cast<float>(value) + static_cast<float>(part);
        }
        if (!kind.is_right) value += 1;
        if (!kind.is_steady) value *= 1 + 1e-6 * (runs % 7);
        put(d, of_d->type, batch * of_d->stride + row + column * of_d->leading, value);
      }
    }
  }
  return success;
}

/// For tests: the time that all products so far say they took, how often the library was asked for
/// one, what every later handle gets, and algorithms that are proposed and then refused.
double fake_cublaslt_seconds() { return spent; }
int fake_cublaslt_runs() { return runs; }
void fake_cublaslt_refuse_handles(int status) { status_of_handles = status; }
void fake_cublaslt_refuse_algorithms(std::uint64_t by_check, std::uint64_t when_called) {
  refused_by_check = by_check;
  refused_when_called = when_called;
}

}  // extern "C"
