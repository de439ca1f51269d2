#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "blockgrad/graph/scalar.h"
#include "graph/scalar_random.h"

namespace blockgrad {

namespace {

enum class Types { F, FI };

template <class T>
constexpr bool allows(Types types) {
  if (std::is_same_v<T, bool>) return false;
  return types == Types::FI || std::is_floating_point_v<T>;
}

[[maybe_unused]] constexpr Types F = Types::F;
[[maybe_unused]] constexpr Types FI = Types::FI;

template <class T>
T from_bits(std::uint64_t bits) {
  if constexpr (is_floating(dtype_of<T>())) return static_cast<T>(std::bit_cast<double>(bits));
  else return static_cast<T>(static_cast<std::int64_t>(bits));
}

template <class T>
std::uint64_t to_bits(T value) {
  if constexpr (is_floating(dtype_of<T>()))
    return std::bit_cast<std::uint64_t>(static_cast<double>(value));
  else return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

template <class T>
std::uint64_t evaluate_as(ScalarOp op, const T& a, const T& b) {
  switch (op) {
#define BG_UNARY(name, types, value, adjoint)                 \
  case ScalarOp::name:                                        \
    if constexpr (allows<T>(types)) return to_bits<T>(value); \
    break;
#define BG_BINARY(name, types, value, to_a, to_b) BG_UNARY(name, types, value, to_a)
#define BG_PREDICATE(name, value)                                           \
  case ScalarOp::name:                                                      \
    if constexpr (std::is_floating_point_v<T>) return to_bits<bool>(value); \
    break;
#define BG_COMPARE(name, value) \
  case ScalarOp::name: return to_bits<bool>(value);
#define BG_LOGICAL(name, value)                                                            \
  case ScalarOp::name:                                                                     \
    if constexpr (std::is_same_v<T, bool>) return to_bits<bool>(static_cast<bool>(value)); \
    break;
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
    default: break;
  }
  fail_internal({"scalar function ", name(op), " evaluated on ", dtype_of<T>()});
}

}  // namespace

std::string_view name(ScalarOp op) {
  switch (op) {
    case ScalarOp::input: return "input";
    case ScalarOp::constant: return "constant";
#define BG_UNARY(name, types, value, adjoint) \
  case ScalarOp::name: return #name;
#define BG_BINARY(name, types, value, to_a, to_b) BG_UNARY(name, types, value, to_a)
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_COMPARE(name, value) BG_UNARY(name, F, value, 0)
#define BG_LOGICAL(name, value) BG_UNARY(name, F, value, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
    case ScalarOp::logical_not: return "logical_not";
    case ScalarOp::where: return "where";
    case ScalarOp::fma: return "fma";
    case ScalarOp::flat_index: return "flat_index";
    case ScalarOp::uniform_low: return "uniform_low";
    case ScalarOp::uniform_high: return "uniform_high";
    case ScalarOp::cast: return "cast";
  }
  return "?";
}

int arity(ScalarOp op) {
  switch (op) {
    case ScalarOp::input:
    case ScalarOp::constant:
    case ScalarOp::flat_index: return 0;
#define BG_UNARY(name, types, value, adjoint) \
  case ScalarOp::name: return 1;
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_BINARY(name, types, value, to_a, to_b) \
  case ScalarOp::name: return 2;
#define BG_COMPARE(name, value) BG_BINARY(name, F, value, 0, 0)
#define BG_LOGICAL(name, value) BG_BINARY(name, F, value, 0, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
    case ScalarOp::logical_not:
    case ScalarOp::cast: return 1;
    case ScalarOp::where:
    case ScalarOp::fma:
    case ScalarOp::uniform_low:
    case ScalarOp::uniform_high: return 3;
  }
  return 0;
}

std::uint64_t evaluate(const ScalarInstr& instr, std::span<const DType> arg_dtypes,
                       std::span<const std::uint64_t> args) {
  switch (instr.op) {
    case ScalarOp::input:
    case ScalarOp::flat_index: fail_internal({name(instr.op), " has no value of its own"});
    case ScalarOp::uniform_low:
    case ScalarOp::uniform_high: {
      const bool low = instr.op == ScalarOp::uniform_low;
      const auto i = from_bits<std::int64_t>(args[0]), c = from_bits<std::int64_t>(args[1]),
                 k = from_bits<std::int64_t>(args[2]);
      if (instr.dtype == DType::f32)
        return to_bits(low ? math::uniform_low<float>(i, c, k)
                           : math::uniform_high<float>(i, c, k));
      return to_bits(low ? math::uniform_low<double>(i, c, k)
                         : math::uniform_high<double>(i, c, k));
    }
    case ScalarOp::constant:
      return visit(instr.dtype,
                   [&](auto zero) { return to_bits(from_bits<decltype(zero)>(instr.bits)); });
    case ScalarOp::logical_not: return to_bits<bool>(!from_bits<bool>(args[0]));
    case ScalarOp::where: return from_bits<bool>(args[0]) ? args[1] : args[2];
    case ScalarOp::fma:
      if (instr.dtype == DType::f32) {
        return to_bits(math::fma(from_bits<float>(args[0]), from_bits<float>(args[1]),
                                 from_bits<float>(args[2])));
      }
      return to_bits(math::fma(from_bits<double>(args[0]), from_bits<double>(args[1]),
                               from_bits<double>(args[2])));
    case ScalarOp::cast:
      return visit(instr.dtype, [&](auto to) {
        return visit(arg_dtypes[0], [&](auto from) {
          return to_bits(math::cast<decltype(to)>(from_bits<decltype(from)>(args[0])));
        });
      });
    default:
      return visit(arg_dtypes[0], [&](auto zero) -> std::uint64_t {
        using T = decltype(zero);
        if constexpr (is_half(dtype_of<T>()))
          fail_internal({"scalar function ", name(instr.op), " evaluated on ", dtype_of<T>()});
        else
          return evaluate_as<T>(instr.op, from_bits<T>(args[0]),
                                from_bits<T>(args.size() > 1 ? args[1] : args[0]));
      });
  }
}

ScalarFn::ScalarFn(std::vector<DType> inputs, std::vector<ScalarInstr> code,
                   std::vector<std::int32_t> results) {
  auto data = std::make_shared<Data>();
  data->inputs = std::move(inputs);
  data->code = std::move(code);
  data->results = std::move(results);
  std::uint64_t h = 1469598103934665603u;  // FNV-1a
  const auto mix = [&h](std::uint64_t v) { h = (h ^ v) * 1099511628211u; };
  for (const DType dtype : data->inputs) mix(static_cast<std::uint64_t>(dtype));
  for (const ScalarInstr& i : data->code) {
    mix(static_cast<std::uint64_t>(i.op) << 8 | static_cast<std::uint64_t>(i.dtype));
    for (const std::int32_t arg : i.args) mix(static_cast<std::uint64_t>(arg));
    mix(i.bits ^ i.bits >> 32);
  }
  for (const std::int32_t r : data->results) mix(static_cast<std::uint64_t>(r));
  data->hash = h;
  data_ = std::move(data);
}

DType ScalarFn::result_dtype(int result) const {
  return data_->code[static_cast<std::size_t>(data_->results[static_cast<std::size_t>(result)])]
      .dtype;
}

bool ScalarFn::operator==(const ScalarFn& other) const {
  if (data_ == other.data_) return true;
  return data_ && other.data_ && data_->hash == other.data_->hash &&
         data_->inputs == other.data_->inputs && data_->code == other.data_->code &&
         data_->results == other.data_->results;
}

bool is_function(const ScalarFn& fn, ScalarOp op) {
  const auto code = fn.code();
  if (fn.inputs().size() != 1 || fn.results().size() != 1) return false;
  if (!is_half(fn.inputs()[0])) return code.size() == 2 && code[1].op == op;
  return code.size() == 4 && code[1].op == ScalarOp::cast && code[2].op == op &&
         code[3].op == ScalarOp::cast && code[3].dtype == fn.inputs()[0];
}

std::string to_string(const ScalarFn& fn) {
  std::string text;
  for (std::size_t i = 0; i < fn.code().size(); ++i) {
    const ScalarInstr& instr = fn.code()[i];
    text += fmt::format("%{} = {}", i, name(instr.op));
    if (instr.op == ScalarOp::input) text += fmt::format(" {}", instr.bits);
    if (instr.op == ScalarOp::constant) {
      text += is_floating(instr.dtype) ? fmt::format(" {}", std::bit_cast<double>(instr.bits))
                                       : fmt::format(" {}", static_cast<std::int64_t>(instr.bits));
    }
    for (int a = 0; a < arity(instr.op); ++a)
      text += fmt::format(" %{}", instr.args[static_cast<std::size_t>(a)]);
    text += fmt::format(" : {}\n", name(instr.dtype));
  }
  text += "give";
  for (const std::int32_t r : fn.results()) text += fmt::format(" %{}", r);
  return text + "\n";
}

}  // namespace blockgrad
