#pragma once
// What the functions of backends/cuda/products/tensor_cores.cuh do, on the harness. A copy is done
// when its thread waits for it, so a missing wait shows. Products are exact and summed in f64, then
// rounded once, and so are powers; the device's order and rounding are its own. Includes no header
// that kernels do, as those may follow as text.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "backends/cuda/harness/thread_block.h"

namespace blockgrad::gpu {

inline void copy_async(void* shared, const void* global, int bytes) {
  using namespace harness;
  if (!is_shared(shared, 16)) fault("cp.async to what is not shared memory");
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 ||
      reinterpret_cast<std::uintptr_t>(global) % 16)
    fault("cp.async of 16 bytes with an address that is no multiple of 16");
  if (bytes < 0 || bytes > 16) fault("cp.async of a size outside 0 to 16");
  queue_copy({shared, global, bytes});
}

inline void commit_copies() { harness::commit_copies(); }

template <int left>
void wait_copies() {
  harness::wait_copies(left);
}

inline float power_of_two(float x) { return static_cast<float>(std::exp2(double{x})); }

namespace model {

/// The operand of a lane in ldmatrix.
struct Rows {
  const void* row;
  unsigned* x;
};

inline std::uint16_t element(const Rows& rows, int column) {
  std::uint16_t bits;
  std::memcpy(&bits, static_cast<const unsigned char*>(rows.row) + 2 * column, 2);
  return bits;
}

template <bool is_transposed>
void load(void* const* slots) {
  const auto lane = [&](int i) -> const Rows& { return *static_cast<const Rows*>(slots[i]); };
  for (int i = 0; i < 32; ++i)
    if (!harness::is_shared(lane(i).row, 16) || reinterpret_cast<std::uintptr_t>(lane(i).row) % 16)
      harness::fault("ldmatrix of a row that is not 16 aligned bytes of shared memory");
  for (int to = 0; to < 32; ++to)
    for (int matrix = 0; matrix < 4; ++matrix) {
      const int r = to / 4, c = to % 4 * 2;
      const auto at = [&](int row, int column) -> unsigned {
        return is_transposed ? element(lane(8 * matrix + column), row)
                             : element(lane(8 * matrix + row), column);
      };
      lane(to).x[matrix] = at(r, c) | at(r, c + 1) << 16;
    }
}

/// The operands of a lane in mma.
struct Fragments {
  float* c;
  const unsigned* a;
  unsigned b[2];
};

/// Element i of those of type In in a word, as the tensor core reads it.
template <class In>
float element(unsigned word, int i) {
  if constexpr (sizeof(In) == 2) {
    In half;
    half.bits = static_cast<unsigned short>(word >> (16 * i));
    return static_cast<float>(half);
  } else {
    return std::bit_cast<float>(word & 0xffffe000u);  // the 19 upper bits
  }
}

/// C += A B; a(lane, row, k) reads A, b(lane, k, column) reads B.
template <int depth, class A, class B>
void multiply_add(void* const* slots, const A& a, const B& b) {
  const auto of = [&](int lane) -> const Fragments& {
    return *static_cast<const Fragments*>(slots[lane]);
  };
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = of(lane).c[i];
      for (int k = 0; k < depth; ++k)
        sum += static_cast<double>(a(of, row, k)) * static_cast<double>(b(of, k, column));
      of(lane).c[i] = static_cast<float>(sum);
    }
}

}  // namespace model

inline void load_matrices(unsigned (&x)[4], const void* row, int line = __builtin_LINE(),
                          const char* file = __builtin_FILE()) {
  model::Rows slot{row, x};
  harness::meet({.name = "ldmatrix",
                 .file = file,
                 .line = line,
                 .mask = ~0u,
                 .slot = &slot,
                 .complete = &model::load<false>});
}

inline void load_transposed(unsigned (&x)[4], const void* row, int line = __builtin_LINE(),
                            const char* file = __builtin_FILE()) {
  model::Rows slot{row, x};
  harness::meet({.name = "ldmatrix.trans",
                 .file = file,
                 .line = line,
                 .mask = ~0u,
                 .slot = &slot,
                 .complete = &model::load<true>});
}

template <class In>
void multiply_add(In, float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                  int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  model::Fragments slot{c, a, {b0, b1}};
  const auto complete = [](void* const* slots) {
    constexpr int word = 4 / static_cast<int>(sizeof(In)), half = 4 * word;  // elements; of k
    model::multiply_add<2 * half>(
        slots,
        [](const auto& of, int row, int k) {
          return model::element<In>(of(row % 8 * 4 + k % half / word).a[row / 8 + k / half * 2],
                                    k % word);
        },
        [](const auto& of, int k, int column) {
          return model::element<In>(of(column * 4 + k % half / word).b[k / half], k % word);
        });
  };
  harness::meet({.name = "mma",
                 .file = file,
                 .line = line,
                 .mask = ~0u,
                 .slot = &slot,
                 .complete = complete});
}

inline unsigned to_tf32(unsigned f32_bits) {
  const bool is_finite = (f32_bits & 0x7f800000u) != 0x7f800000u;
  return (is_finite ? f32_bits + 0x1000u : f32_bits) & 0xffffe000u;
}

}  // namespace blockgrad::gpu
