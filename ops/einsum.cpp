// Sums of products over named axes: einsum and tensordot, by way of matmul.
#include <algorithm>
#include <map>
#include <string>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

// A value whose axes have letters.
struct Named {
  Expr value;
  std::string axes;

  bool has(char letter) const { return axes.find(letter) != std::string::npos; }
  std::int64_t size(char letter) const {
    return value.shape()[static_cast<int>(axes.find(letter))];
  }
};

Expr ordered(const Named& x, std::string_view letters) {
  std::vector<int> axes;
  for (const char letter : letters) axes.push_back(static_cast<int>(x.axes.find(letter)));
  return permute_dims(x.value, axes);
}

// One axis for each group of letters, in this order.
Expr grouped(const Named& x, std::string_view batch, std::string_view rows,
             std::string_view columns) {
  std::vector<std::int64_t> sizes;
  const auto size_of_all = [&](std::string_view letters) {
    std::int64_t size = 1;
    for (const char letter : letters) size = checked_multiply(size, x.size(letter));
    return size;
  };
  for (const char letter : batch) sizes.push_back(x.size(letter));
  sizes.push_back(size_of_all(rows));
  sizes.push_back(size_of_all(columns));
  std::string all(batch);
  all.append(rows).append(columns);
  return reshape(ordered(x, all), Shape(sizes));
}

// x summed over the letters that are neither in `wanted` nor in `other`.
Named without_own(const Named& x, std::string_view wanted, std::string_view other) {
  Named rest{x.value, {}};
  Axes dropped;
  for (std::size_t a = 0; a < x.axes.size(); ++a) {
    const char letter = x.axes[a];
    const bool is_own = wanted.find(letter) == std::string_view::npos &&
                        other.find(letter) == std::string_view::npos;
    if (is_own) dropped.list.push_back(static_cast<int>(a));
    else rest.axes.push_back(letter);
  }
  if (!dropped.list.empty()) rest.value = sum(x.value, dropped);
  return rest;
}

// The axes of x with 1 for letters it does not have, in the order of `letters`.
Expr spread(const Named& x, std::string_view letters) {
  std::string own;
  std::vector<std::int64_t> sizes;
  for (const char letter : letters) {
    if (x.has(letter)) own.push_back(letter);
    sizes.push_back(x.has(letter) ? x.size(letter) : 1);
  }
  return reshape(ordered(x, own), Shape(sizes));
}

// The sum of products over all letters that are not in `wanted`.
Named contract(const Named& left, const Named& right, std::string_view wanted) {
  const Named a = without_own(left, wanted, right.axes);
  const Named b = without_own(right, wanted, left.axes);
  std::string batch, summed, rows, columns;
  for (const char letter : a.axes) {
    if (!b.has(letter)) rows.push_back(letter);
    else if (wanted.find(letter) == std::string_view::npos) summed.push_back(letter);
    else batch.push_back(letter);
  }
  for (const char letter : b.axes) {
    if (!a.has(letter)) columns.push_back(letter);
  }
  const std::string kept = batch + rows + columns;
  const bool is_elementwise = summed.empty() || (rows.empty() && columns.empty());
  if (is_elementwise) {
    const std::string all = kept + summed;
    const Expr x = spread(a, all), y = spread(b, all);
    const DType dtype = x.dtype() == y.dtype() ? working_dtype(x.dtype()) : x.dtype();
    const bool widens = dtype != x.dtype();  // bf16 and f16 are added up as f32
    const Named product{widens ? cast(x, dtype) * cast(y, dtype) : x * y, all};
    Named result = without_own(product, kept, {});
    if (widens) result.value = cast(result.value, x.dtype());
    return result;
  }
  std::vector<std::int64_t> sizes;
  for (const char letter : kept) sizes.push_back(a.has(letter) ? a.size(letter) : b.size(letter));
  const Expr product = matmul(grouped(a, batch, rows, summed), grouped(b, batch, summed, columns));
  return {reshape(product, Shape(sizes)), kept};
}

struct Subscripts {
  std::vector<std::string> operands;
  std::string result;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

Subscripts parse(std::string_view text) {
  Subscripts parsed{{""}, {}};
  bool has_result = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::string& current = has_result ? parsed.result : parsed.operands.back();
    if (c == ' ') continue;
    if (c == ',' && !has_result) {
      parsed.operands.emplace_back();
    } else if (c == '-' && !has_result && text.substr(i, 2) == "->") {
      has_result = true;
      ++i;
    } else {
      require(text.substr(i, 3) != "...", "'...' in ", quoted(text),
              " is not supported; name every axis");
      require(is_letter(c), quoted(text.substr(i, 1)), " at position ", i, " of ", quoted(text),
              " is neither a letter nor ',' nor '->'");
      require(current.find(c) == std::string::npos, "index ", quoted(text.substr(i, 1)),
              " is repeated in ", has_result ? "the result" : "one operand", " of ", quoted(text),
              has_result ? "" : "; diagonals are not supported");
      current.push_back(c);
    }
  }
  std::map<char, int> uses;
  for (const std::string& operand : parsed.operands) {
    for (const char letter : operand) ++uses[letter];
  }
  if (has_result) {
    for (const char letter : parsed.result) {
      require(uses.count(letter) > 0, "index ", quoted(std::string(1, letter)),
              " of the result of ", quoted(text), " is in no operand");
    }
  } else {
    for (const auto& [letter, count] : uses) {
      if (count == 1) parsed.result.push_back(letter);
    }
  }
  return parsed;
}

void check_operands(std::string_view text, const Subscripts& parsed,
                    std::span<const Expr> operands) {
  require(parsed.operands.size() == operands.size(), quoted(text), " names ",
          parsed.operands.size(), " operands, got ", operands.size());
  std::map<char, std::pair<std::int64_t, std::size_t>> sizes;
  for (std::size_t n = 0; n < operands.size(); ++n) {
    require(static_cast<bool>(operands[n]), "operand ", n, " is an empty Expr");
    const Shape& shape = operands[n].shape();
    const std::string& axes = parsed.operands[n];
    require(is_floating(operands[n].dtype()), "operand ", n, " must have a floating dtype, got ",
            operands[n].dtype());
    require(operands[n].dtype() == operands[0].dtype(), "dtypes differ: ", operands[0].dtype(),
            " and ", operands[n].dtype(), "; convert one with astype");
    require(static_cast<int>(axes.size()) == shape.rank(), "operand ", n, " ", quoted(axes),
            " names ", axes.size(), " axes, its shape is ", shape);
    for (std::size_t a = 0; a < axes.size(); ++a) {
      const std::int64_t size = shape[static_cast<int>(a)];
      const auto [known, added] = sizes.emplace(axes[a], std::pair{size, n});
      require(known->second.first == size, "index ", quoted(std::string(1, axes[a])), " has size ",
              known->second.first, " in operand ", known->second.second, " and ", size,
              " in operand ", n);
    }
  }
}

std::string letters_from(char first, int count) {
  std::string letters;
  for (int i = 0; i < count; ++i) letters.push_back(static_cast<char>(first + i));
  return letters;
}

}  // namespace

Expr einsum(std::string_view subscripts, std::span<const Expr> operands, SourceLoc where) {
  return detail::in_context("einsum", where, [&] {
    const Subscripts parsed = parse(subscripts);
    check_operands(subscripts, parsed, operands);
    Named product{operands[0], parsed.operands[0]};
    for (std::size_t n = 1; n < operands.size(); ++n) {
      std::string wanted = parsed.result;
      for (std::size_t later = n + 1; later < operands.size(); ++later)
        wanted += parsed.operands[later];
      product = contract(product, {operands[n], parsed.operands[n]}, wanted);
    }
    return ordered(without_own(product, parsed.result, {}), parsed.result);
  });
}

Expr einsum(std::string_view subscripts, std::initializer_list<Expr> operands, SourceLoc where) {
  return einsum(subscripts, std::span(operands.begin(), operands.size()), where);
}

Expr tensordot(Arg a, Arg b, std::span<const int> a_axes, std::span<const int> b_axes) {
  const Expr x = as_expr(a, DType::f32), y = as_expr(b, DType::f32);
  return detail::in_context("tensordot", a.where(), [&] {
    require(a_axes.size() == b_axes.size(), "wants as many axes of a as of b, got ", a_axes.size(),
            " and ", b_axes.size());
    require(is_floating(x.dtype()) && x.dtype() == y.dtype(), "wants one floating dtype, got ",
            x.dtype(), " and ", y.dtype());
    Named left{x, letters_from('a', x.rank())};
    Named right{y, letters_from('A', y.rank())};
    std::string result = left.axes + right.axes;
    for (std::size_t i = 0; i < a_axes.size(); ++i) {
      const auto p = static_cast<std::size_t>(detail::axis_of(x.shape(), a_axes[i]));
      const auto q = static_cast<std::size_t>(detail::axis_of(y.shape(), b_axes[i]));
      const std::size_t in_result = result.find(left.axes[p]);
      const bool is_new = in_result != std::string::npos && right.axes[q] < 'a';
      require(is_new, "axis ", a_axes[i], " of a or ", b_axes[i], " of b is named twice");
      require(x.shape()[static_cast<int>(p)] == y.shape()[static_cast<int>(q)], "axis ", a_axes[i],
              " of ", x.shape(), " and axis ", b_axes[i], " of ", y.shape(), " differ in size");
      result.erase(in_result, 1);
      result.erase(result.find(right.axes[q]), 1);
      right.axes[q] = left.axes[p];
    }
    const Named product = contract(left, right, result);
    return ordered(product, result);
  });
}

Expr tensordot(Arg a, Arg b, std::initializer_list<int> a_axes, std::initializer_list<int> b_axes) {
  return tensordot(a, b, std::span(a_axes.begin(), a_axes.size()),
                   std::span(b_axes.begin(), b_axes.size()));
}

Expr tensordot(Arg a, Arg b, int axes) {
  const Expr x = as_expr(a, DType::f32), y = as_expr(b, DType::f32);
  const bool fits = axes >= 0 && axes <= std::min(x.rank(), y.rank());
  require(fits, to_string(current_origin(a.where()), "tensordot"), ": ", axes, " axes of ",
          x.shape(), " and ", y.shape());
  std::vector<int> of_a, of_b;
  for (int i = 0; i < axes; ++i) {
    of_a.push_back(x.rank() - axes + i);
    of_b.push_back(i);
  }
  return tensordot(a, b, std::span<const int>(of_a), std::span<const int>(of_b));
}

}  // namespace blockgrad
