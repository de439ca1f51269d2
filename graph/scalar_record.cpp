// Recording, simplifying and differentiating scalar programs.
#include <bit>
#include <cmath>
#include <utility>

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

namespace {

enum class Rule { floating, number, any, boolean };

Rule argument_rule(ScalarOp op) {
  switch (op) {
#define F Rule::floating
#define FI Rule::number
#define BG_UNARY(name, types, value, adjoint) \
  case ScalarOp::name: return types;
#define BG_BINARY(name, types, value, to_a, to_b) BG_UNARY(name, types, value, 0)
#define BG_PREDICATE(name, value) BG_UNARY(name, Rule::floating, value, 0)
#define BG_COMPARE(name, value) BG_UNARY(name, Rule::any, value, 0)
#define BG_LOGICAL(name, value) BG_UNARY(name, Rule::boolean, value, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
#undef F
#undef FI
    case ScalarOp::logical_not: return Rule::boolean;
    case ScalarOp::fma: return Rule::floating;
    default: return Rule::any;
  }
}

bool gives_bool(ScalarOp op) {
  switch (op) {
#define BG_UNARY(name, types, value, adjoint)
#define BG_BINARY(name, types, value, to_a, to_b)
#define BG_PREDICATE(name, value) \
  case ScalarOp::name: return true;
#define BG_COMPARE(name, value) BG_PREDICATE(name, value)
#define BG_LOGICAL(name, value) BG_PREDICATE(name, value)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
    default: return op == ScalarOp::logical_not;
  }
}

void check_argument(ScalarOp op, DType dtype) {
  switch (argument_rule(op)) {
    case Rule::floating:
      require(is_floating(dtype), name(op), " wants a floating dtype, got ", dtype,
              "; convert with astype");
      return;
    case Rule::number:
      require(dtype != DType::boolean, name(op), " wants numbers, got bool");
      return;
    case Rule::boolean:
      require(dtype == DType::boolean, name(op), " wants bool, got ", dtype);
      return;
    case Rule::any: return;
  }
}

std::uint64_t number_bits(double value, DType dtype) {
  if (is_floating(dtype)) {
    // Stored as the dtype sees it, so that equal constants are equal bits.
    return visit(dtype, [&](auto zero) {
      return std::bit_cast<std::uint64_t>(static_cast<double>(static_cast<decltype(zero)>(value)));
    });
  }
  if (dtype == DType::boolean) {
    require(value == 0 || value == 1, "a bool is 0 or 1, got ", value);
    return static_cast<std::uint64_t>(value);
  }
  const auto [low, high] = dtype == DType::i32  ? std::pair{-0x1p31, 0x1p31}
                           : dtype == DType::u8 ? std::pair{0.0, 0x1p8}
                                                : std::pair{-0x1p63, 0x1p63};
  require(std::trunc(value) == value && value >= low && value < high, "the number ", value,
          " does not fit ", dtype, "; convert the tensor with astype");
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

double fold_number(ScalarOp op, std::span<const Scalar> args, std::span<const double> values) {
  std::array<DType, 3> dtypes{DType::f64, DType::f64, DType::f64};
  std::array<std::uint64_t, 3> bits{};
  for (std::size_t i = 0; i < args.size(); ++i) bits[i] = std::bit_cast<std::uint64_t>(values[i]);
  const std::uint64_t result =
      evaluate({op, DType::f64, {}, 0}, std::span(dtypes).first(args.size()),
               std::span(bits).first(args.size()));
  return gives_bool(op) ? static_cast<double>(result) : std::bit_cast<double>(result);
}

}  // namespace

DType Scalar::dtype() const {
  require(recorder_ != nullptr, "a plain number has no dtype");
  return recorder_->instr(*this).dtype;
}

ScalarRecorder::ScalarRecorder(std::span<const DType> inputs)
    : inputs_(inputs.begin(), inputs.end()) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    code_.push_back({ScalarOp::input, inputs_[i], {-1, -1, -1}, i});
  }
}

Scalar ScalarRecorder::at(std::int32_t index) {
  Scalar value(0);
  value.recorder_ = this;
  value.index_ = index;
  return value;
}

Scalar ScalarRecorder::input(int index) { return at(index); }

Scalar ScalarRecorder::constant(double value, DType dtype) {
  return add({ScalarOp::constant, dtype, {-1, -1, -1}, number_bits(value, dtype)});
}

Scalar ScalarRecorder::constant_bits(std::uint64_t bits, DType dtype) {
  return add({ScalarOp::constant, dtype, {-1, -1, -1}, bits});
}

Scalar ScalarRecorder::add(const ScalarInstr& instr) {
  for (std::size_t i = code_.size(); i-- > 0;) {  // programs are short
    if (code_[i] == instr) return at(static_cast<std::int32_t>(i));
  }
  code_.push_back(instr);
  return at(static_cast<std::int32_t>(code_.size()) - 1);
}

Scalar ScalarRecorder::cast(Scalar value, DType dtype) {
  if (value.is_number()) return constant(value.number_, dtype);
  if (value.dtype() == dtype) return value;
  const ScalarInstr& from = instr(value);
  if (from.op == ScalarOp::constant) {
    const std::array<DType, 1> dtypes{from.dtype};
    const std::array<std::uint64_t, 1> bits{from.bits};
    return add({ScalarOp::constant,
                dtype,
                {-1, -1, -1},
                evaluate({ScalarOp::cast, dtype, {}, 0}, dtypes, bits)});
  }
  return add({ScalarOp::cast, dtype, {value.index_, -1, -1}, 0});
}

Scalar ScalarRecorder::apply(ScalarOp op, std::span<const Scalar> args) {
  const std::size_t first = op == ScalarOp::where ? 1 : 0;
  DType dtype = DType::f32;
  bool known = false;
  for (std::size_t i = first; i < args.size(); ++i) {
    if (args[i].is_number()) continue;
    const DType own = working_dtype(args[i].dtype());
    require(!known || own == dtype, name(op), " wants one dtype, got ", dtype, " and ", own,
            "; convert one with astype");
    dtype = own;
    known = true;
  }
  if (!known) {  // only numbers: they take the dtype of the first floating input
    for (const DType own : inputs_) {
      if (is_floating(own)) {
        dtype = working_dtype(own);
        break;
      }
    }
  }
  check_argument(op, dtype);

  ScalarInstr instr{op, gives_bool(op) ? DType::boolean : dtype, {-1, -1, -1}, 0};
  std::array<DType, 3> dtypes{};
  std::array<std::uint64_t, 3> bits{};
  bool all_constant = true;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const bool condition = i < first;
    const Scalar arg = args[i].is_number()
                           ? constant(args[i].number_, condition ? DType::boolean : dtype)
                           : cast(args[i], working_dtype(args[i].dtype()));
    require(!condition || arg.dtype() == DType::boolean, "where wants a bool condition, got ",
            arg.dtype());
    instr.args[i] = arg.index_;
    dtypes[i] = arg.dtype();
    const ScalarInstr& source = this->instr(arg);
    all_constant = all_constant && source.op == ScalarOp::constant;
    bits[i] = source.bits;
  }
  if (all_constant) {
    const std::uint64_t value =
        evaluate(instr, std::span(dtypes).first(args.size()), std::span(bits).first(args.size()));
    return add({ScalarOp::constant, instr.dtype, {-1, -1, -1}, value});
  }
  const auto is = [&](int i, double number) {
    const ScalarInstr& source =
        code_[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(i)])];
    return source.op == ScalarOp::constant && is_floating(source.dtype) &&
           source.bits == std::bit_cast<std::uint64_t>(number);
  };
  if (op == ScalarOp::pow && is(1, 1.0)) return at(instr.args[0]);
  if (op == ScalarOp::pow && is(1, 2.0)) {
    const Scalar square[] = {at(instr.args[0]), at(instr.args[0])};
    return apply(ScalarOp::multiply, square);
  }
  if (op == ScalarOp::multiply && is(1, 1.0)) return at(instr.args[0]);
  if (op == ScalarOp::multiply && is(0, 1.0)) return at(instr.args[1]);
  if (op == ScalarOp::divide && is(1, 1.0)) return at(instr.args[0]);
  if (op == ScalarOp::subtract && is(1, 0.0)) return at(instr.args[0]);
  if (op == ScalarOp::add && is(1, -0.0)) return at(instr.args[0]);
  if (op == ScalarOp::add && is(0, -0.0)) return at(instr.args[1]);
  if (op == ScalarOp::greater && is(1, 0.0)) {
    const ScalarInstr& source = code_[static_cast<std::size_t>(instr.args[0])];
    if (source.op == ScalarOp::relu) instr.args[0] = source.args[0];
  }
  return add(instr);
}

Scalar ScalarRecorder::flat_index() {
  return add({ScalarOp::flat_index, DType::i64, {-1, -1, -1}, 0});
}

Scalar ScalarRecorder::uniform(Scalar index, Scalar counter, Scalar key, DType dtype,
                               bool is_high) {
  ScalarInstr instr{is_high ? ScalarOp::uniform_high : ScalarOp::uniform_low, dtype, {}, 0};
  for (std::size_t i = 0; Scalar arg : {index, counter, key}) {
    arg = cast(arg, DType::i64);
    instr.args[i++] = arg.index_;
  }
  return add(instr);
}

Scalar ScalarRecorder::again(const ScalarInstr& instr, std::span<const Scalar> args) {
  switch (instr.op) {
    case ScalarOp::cast: return cast(args[0], instr.dtype);
    case ScalarOp::flat_index: return flat_index();
    case ScalarOp::uniform_low:
    case ScalarOp::uniform_high:
      return uniform(args[0], args[1], args[2], instr.dtype, instr.op == ScalarOp::uniform_high);
    default: return apply(instr.op, args);
  }
}

std::vector<Scalar> ScalarRecorder::inlined(const ScalarFn& fn, std::span<const Scalar> args) {
  std::vector<Scalar> values;
  values.reserve(fn.code().size());
  for (const ScalarInstr& instr : fn.code()) {
    if (instr.op == ScalarOp::input) {
      values.push_back(args[static_cast<std::size_t>(instr.bits)]);
      continue;
    }
    if (instr.op == ScalarOp::constant) {
      values.push_back(add(instr));
      continue;
    }
    std::array<Scalar, 3> operands{0, 0, 0};
    const auto count = static_cast<std::size_t>(arity(instr.op));
    for (std::size_t a = 0; a < count; ++a)
      operands[a] = values[static_cast<std::size_t>(instr.args[a])];
    values.push_back(again(instr, std::span(operands).first(count)));
  }
  std::vector<Scalar> results;
  for (const std::int32_t r : fn.results()) results.push_back(values[static_cast<std::size_t>(r)]);
  return results;
}

ScalarFn ScalarRecorder::finish(std::span<const Scalar> results) const {
  std::vector<char> used(code_.size(), 0);
  for (const Scalar& r : results) used[static_cast<std::size_t>(r.index_)] = 1;
  for (std::size_t i = code_.size(); i-- > 0;) {
    if (!used[i]) continue;
    for (int a = 0; a < arity(code_[i].op); ++a)
      used[static_cast<std::size_t>(code_[i].args[static_cast<std::size_t>(a)])] = 1;
  }
  std::vector<std::int32_t> moved(code_.size(), -1);
  std::vector<ScalarInstr> code;
  for (std::size_t i = 0; i < code_.size(); ++i) {
    if (!used[i]) continue;
    ScalarInstr instr = code_[i];
    for (int a = 0; a < arity(instr.op); ++a) {
      std::int32_t& arg = instr.args[static_cast<std::size_t>(a)];
      arg = moved[static_cast<std::size_t>(arg)];
    }
    moved[i] = static_cast<std::int32_t>(code.size());
    code.push_back(instr);
  }
  require(code.size() <= ScalarFn::max_size, "an elementwise formula has at most ",
          ScalarFn::max_size, " instructions, this one has ", code.size());
  std::vector<std::int32_t> outputs;
  for (const Scalar& r : results) outputs.push_back(moved[static_cast<std::size_t>(r.index_)]);
  return {inputs_, std::move(code), std::move(outputs)};
}

Scalar ScalarRecorder::record(ScalarOp op, std::initializer_list<Scalar> list) {
  const std::span args(list.begin(), list.size());
  ScalarRecorder* recorder = nullptr;
  for (const Scalar& arg : args) {
    if (!arg.recorder_) continue;
    require(!recorder || recorder == arg.recorder_, "a formula used a Scalar of another formula");
    recorder = arg.recorder_;
  }
  if (recorder) return recorder->apply(op, args);
  std::array<double, 3> values{};
  for (std::size_t i = 0; i < args.size(); ++i) values[i] = args[i].number_;
  if (op == ScalarOp::where) return Scalar(values[0] != 0 ? values[1] : values[2]);
  return Scalar(fold_number(op, args, values));
}

#define BG_UNARY(name, types, value, adjoint) \
  Scalar name(Scalar a) { return ScalarRecorder::record(ScalarOp::name, {a}); }
#define BG_BINARY(name, types, value, to_a, to_b) \
  Scalar name(Scalar a, Scalar b) { return ScalarRecorder::record(ScalarOp::name, {a, b}); }
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_COMPARE(name, value) BG_BINARY(name, F, value, 0, 0)
#define BG_LOGICAL(name, value) BG_BINARY(name, F, value, 0, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL

Scalar logical_not(Scalar a) { return ScalarRecorder::record(ScalarOp::logical_not, {a}); }
Scalar where(Scalar c, Scalar a, Scalar b) {
  return ScalarRecorder::record(ScalarOp::where, {c, a, b});
}
Scalar fma(Scalar a, Scalar b, Scalar c) {
  return ScalarRecorder::record(ScalarOp::fma, {a, b, c});
}
Scalar astype(Scalar a, DType dtype) { return ScalarRecorder::record_cast(a, dtype); }

ScalarRecorder& ScalarRecorder::of(Scalar value) {
  require(value.recorder_ != nullptr, "a plain number belongs to no formula");
  return *value.recorder_;
}

Scalar ScalarRecorder::record_cast(Scalar value, DType dtype) {
  return value.recorder_ ? value.recorder_->cast(value, dtype) : value;
}

}  // namespace blockgrad
