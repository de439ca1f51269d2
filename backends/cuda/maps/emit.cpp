#include "backends/cuda/maps/emit.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

namespace blockgrad {

namespace detail {
extern const std::string_view scalar_text;
}

std::string_view cuda_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float";
    case DType::f64: return "double";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "int";
    case DType::i64: return "long";
    case DType::u8: return "unsigned char";
    case DType::boolean: return "bool";
  }
  return "?";
}

namespace {

std::string constant_text(const ScalarInstr& instr) {
  if (instr.dtype == DType::f32) {
    const float value = static_cast<float>(std::bit_cast<double>(instr.bits));
    if (!std::isfinite(value))
      return fmt::format("math::from_bits({:#x}u)", std::bit_cast<std::uint32_t>(value));
    return fmt::format("{:a}f", static_cast<double>(value));
  }
  if (instr.dtype == DType::f64) {
    const double value = std::bit_cast<double>(instr.bits);
    if (!std::isfinite(value)) return fmt::format("math::from_bits({:#x}ul)", instr.bits);
    return fmt::format("{:a}", value);
  }
  if (is_half(instr.dtype)) {
    const auto value = static_cast<float>(std::bit_cast<double>(instr.bits));
    return fmt::format("static_cast<{}>(math::from_bits({:#x}u))", cuda_type(instr.dtype),
                       std::bit_cast<std::uint32_t>(value));
  }
  return fmt::format("static_cast<{}>({:#x}ul)", cuda_type(instr.dtype), instr.bits);
}

std::string value_text(const ScalarInstr& instr, std::span<const std::string> inputs,
                       std::string_view prefix, std::string_view position) {
  const auto arg = [&](std::size_t k) { return fmt::format("{}{}", prefix, instr.args[k]); };
  switch (instr.op) {
    case ScalarOp::input: return inputs[instr.bits];
    case ScalarOp::constant: return constant_text(instr);
    case ScalarOp::logical_not: return "!" + arg(0);
    case ScalarOp::where: return fmt::format("math::where({}, {}, {})", arg(0), arg(1), arg(2));
    case ScalarOp::fma: return fmt::format("math::fma({}, {}, {})", arg(0), arg(1), arg(2));
    case ScalarOp::flat_index: return std::string(position);
    case ScalarOp::uniform_low:
    case ScalarOp::uniform_high:
      return fmt::format("math::{}<{}>({}, {}, {})", name(instr.op), cuda_type(instr.dtype), arg(0),
                         arg(1), arg(2));
    case ScalarOp::cast: return fmt::format("math::cast<{}>({})", cuda_type(instr.dtype), arg(0));
    default: break;
  }
  if (arity(instr.op) == 1) return fmt::format("row::{}({})", name(instr.op), arg(0));
  return fmt::format("row::{}({}, {})", name(instr.op), arg(0), arg(1));
}

}  // namespace

std::string cuda_body(const ScalarFn& fn, std::span<const std::string> inputs,
                      std::string_view prefix, std::string_view position, std::string_view indent) {
  std::string text;
  for (std::size_t v = 0; v < fn.code().size(); ++v) {
    const ScalarInstr& instr = fn.code()[v];
    text +=
        fmt::format("{0}const {1} {2}{3} = static_cast<{1}>({4});\n", indent,
                    cuda_type(instr.dtype), prefix, v, value_text(instr, inputs, prefix, position));
  }
  return text;
}

std::string cuda_named(std::string text, std::string_view name) {
  constexpr std::string_view open = "KERNEL";
  for (std::size_t at = 0; (at = text.find(open, at)) != std::string::npos; at += name.size())
    text.replace(at, open.size(), name);
  return text;
}

std::string cuda_prelude() {
  std::string text(detail::scalar_text);
  text += "\nnamespace blockgrad::row {\n";
#define BG_UNARY(name, types, value, derivative) \
  text += "template <class T>\nBG_SCALAR auto " #name "(T a) {\n  return " #value ";\n}\n";
#define BG_BINARY(name, types, value, by_a, by_b) \
  text += "template <class T>\nBG_SCALAR auto " #name "(T a, T b) {\n  return " #value ";\n}\n";
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_COMPARE(name, value) BG_BINARY(name, F, value, 0, 0)
#define BG_LOGICAL(name, value) BG_BINARY(name, F, value, 0, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  return text +
         "}  // namespace blockgrad::row\n\nnamespace blockgrad {\n"
         "template <class T, int n>\nstruct alignas(sizeof(T) * n) Pack {\n  T at[n];\n};\n"
         "}  // namespace blockgrad\n";
}

}  // namespace blockgrad
