#pragma once
// The elementwise language: ScalarFn is a small straight-line program over the elements at one
// position of its inputs; Scalar records one by running ordinary C++ formulas. Both are values.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/dtype.h"

namespace blockgrad {

enum class ScalarOp : std::uint8_t {
  input,     // element of input `index`
  constant,  // `bits`: a double for floating dtypes, an int64 for integers and bool
#define BG_UNARY(name, types, value, adjoint) name,
#define BG_BINARY(name, types, value, to_a, to_b) name,
#define BG_PREDICATE(name, value) name,
#define BG_COMPARE(name, value) name,
#define BG_LOGICAL(name, value) name,
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  logical_not,  // bool -> bool
  where,        // bool, T, T -> T
  fma,          // T, T, T -> T, a * b + c rounded once
  flat_index,   // -> i64, the row-major number of the element
  uniform_low,  // i64 index, i64 counter, i64 key -> `dtype` in [0, 1), see graph/scalar_random.h
  uniform_high,
  cast,  // to `dtype`, from the dtype of argument 0
};

std::string_view name(ScalarOp op);
/// Number of arguments: 0 for input and constant.
int arity(ScalarOp op);

/// One instruction; `args` are numbers of earlier instructions.
struct ScalarInstr {
  ScalarOp op = ScalarOp::constant;
  DType dtype = DType::f32;  // of the result
  std::array<std::int32_t, 3> args{-1, -1, -1};
  std::uint64_t bits = 0;  // constant's value, or the input's number
  bool operator==(const ScalarInstr&) const = default;
};

/// A program: instructions in order, and which of them are results. Immutable and shared.
class ScalarFn {
 public:
  /// At most this many instructions.
  static constexpr int max_size = 4096;

  ScalarFn() = default;
  ScalarFn(std::vector<DType> inputs, std::vector<ScalarInstr> code,
           std::vector<std::int32_t> results);

  std::span<const DType> inputs() const { return data_->inputs; }
  std::span<const ScalarInstr> code() const { return data_->code; }
  std::span<const std::int32_t> results() const { return data_->results; }
  DType result_dtype(int result) const;
  bool operator==(const ScalarFn& other) const;
  std::size_t hash() const { return data_ ? data_->hash : 0; }

 private:
  struct Data {
    std::vector<DType> inputs;
    std::vector<ScalarInstr> code;
    std::vector<std::int32_t> results;
    std::size_t hash = 0;
  };
  std::shared_ptr<const Data> data_;
};

/// Whether `fn` is this function of its one input; bf16 and f16 are computed as f32, between casts.
bool is_function(const ScalarFn& fn, ScalarOp op);

/// One line per instruction: "%2 = exp %0 : f32".
std::string to_string(const ScalarFn& fn);

class ScalarRecorder;

/// A value in a formula being recorded. Numbers take the dtype of what they meet; arithmetic
/// between two dtypes, or a fraction with an integer, throws Error.
class Scalar {
 public:
  Scalar(double number) : number_(number) {}
  Scalar(int number) : number_(number) {}

  bool is_number() const { return recorder_ == nullptr; }
  DType dtype() const;

 private:
  friend class ScalarRecorder;
  ScalarRecorder* recorder_ = nullptr;
  std::int32_t index_ = -1;
  double number_ = 0;
};

/// Collects instructions; equal ones are shared, constants folded, and x * 1, x - 0, x / 1 and
/// pow(x, 1) dropped, pow(x, 2) made a product (no value, signed zero, NaN or infinity changes).
class ScalarRecorder {
 public:
  explicit ScalarRecorder(std::span<const DType> inputs);

  Scalar input(int index);
  Scalar constant(double value, DType dtype);
  Scalar constant_bits(std::uint64_t bits, DType dtype);
  Scalar apply(ScalarOp op, std::span<const Scalar> args);
  Scalar cast(Scalar value, DType dtype);
  Scalar flat_index();
  /// One of the two uniform numbers in [0, 1) of an element; index, counter and key are i64.
  Scalar uniform(Scalar index, Scalar counter, Scalar key, DType dtype, bool is_high);
  /// The instruction again with other arguments.
  Scalar again(const ScalarInstr& instr, std::span<const Scalar> args);
  /// The results of `fn` with its inputs replaced by `args`.
  std::vector<Scalar> inlined(const ScalarFn& fn, std::span<const Scalar> args);
  int size() const { return static_cast<int>(code_.size()); }

  /// The program of these results, without unused instructions.
  ScalarFn finish(std::span<const Scalar> results) const;

  /// The instruction behind a recorded value.
  const ScalarInstr& instr(Scalar value) const {
    return code_[static_cast<std::size_t>(value.index_)];
  }
  std::int32_t index(Scalar value) const { return value.index_; }
  /// Whether the value was recorded here.
  bool owns(Scalar value) const { return value.recorder_ == this; }
  Scalar at(std::int32_t index);

  /// Records on whichever recorder the arguments belong to; plain numbers are computed in f64.
  static Scalar record(ScalarOp op, std::initializer_list<Scalar> args);
  static Scalar record_cast(Scalar value, DType dtype);
  /// The recorder of a value that is not a plain number. Throws Error for one that is.
  static ScalarRecorder& of(Scalar value);

 private:
  Scalar add(const ScalarInstr& instr);

  std::vector<DType> inputs_;
  std::vector<ScalarInstr> code_;
};

#define BG_UNARY(name, types, value, adjoint) Scalar name(Scalar a);
#define BG_BINARY(name, types, value, to_a, to_b) Scalar name(Scalar a, Scalar b);
#define BG_PREDICATE(name, value) Scalar name(Scalar a);
#define BG_COMPARE(name, value) Scalar name(Scalar a, Scalar b);
#define BG_LOGICAL(name, value) Scalar name(Scalar a, Scalar b);
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
Scalar logical_not(Scalar a);
/// a where c, else b; as a formula's only branch (`?:` would need a number).
Scalar where(Scalar c, Scalar a, Scalar b);
/// a * b + c with one rounding.
Scalar fma(Scalar a, Scalar b, Scalar c);
Scalar astype(Scalar a, DType dtype);

inline Scalar operator-(Scalar a) { return negative(a); }
inline Scalar operator+(Scalar a, Scalar b) { return add(a, b); }
inline Scalar operator-(Scalar a, Scalar b) { return subtract(a, b); }
inline Scalar operator*(Scalar a, Scalar b) { return multiply(a, b); }
inline Scalar operator/(Scalar a, Scalar b) { return divide(a, b); }
inline Scalar operator<(Scalar a, Scalar b) { return less(a, b); }
inline Scalar operator<=(Scalar a, Scalar b) { return less_equal(a, b); }
inline Scalar operator>(Scalar a, Scalar b) { return greater(a, b); }
inline Scalar operator>=(Scalar a, Scalar b) { return greater_equal(a, b); }
Scalar operator==(Scalar, Scalar) = delete;  // write equal(a, b)

/// Derivatives: a program over the inputs of `fn`, then its results y, then one adjoint dy per
/// result; it gives the adjoints of the inputs named in `wants`, in that order. A branch of `where`
/// that is not taken adds exactly 0, even where its slope is infinite or NaN. Non-floating inputs
/// must not be wanted.
ScalarFn derivative(const ScalarFn& fn, std::span<const int> wants);

/// One instruction's value on host numbers in the arithmetic of its dtype; used to fold constants
/// and by the reference interpreter. `args` and the result are bits as in ScalarInstr::bits.
std::uint64_t evaluate(const ScalarInstr& instr, std::span<const DType> arg_dtypes,
                       std::span<const std::uint64_t> args);

}  // namespace blockgrad
