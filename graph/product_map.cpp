#include "graph/product_map.h"

#include "blockgrad/graph/view.h"

namespace blockgrad {

std::vector<TensorType> ProductMap::infer(Types in) const {
  check_internal(
      in.size() + 1 == operands + fn.inputs().size() && shapes.size() == fn.results().size(),
      "a product with a formula of ", fn.inputs().size(), " values got ", in.size(), " inputs for ",
      shapes.size(), " results");
  const TensorType raw = product->infer(in.first(operands))[0];
  check_internal(raw.dtype == fn.inputs()[0], "a formula of ", fn.inputs()[0],
                 " is behind a product of ", raw.dtype);
  for (std::size_t i = operands; i < in.size(); ++i) {
    const bool fits =
        in[i].dtype == fn.inputs()[i - operands + 1] && in[i].shape.size() == raw.shape.size();
    check_internal(fits, "a formula behind ", to_string(raw), " got ", to_string(in[i]));
  }
  std::vector<TensorType> types;
  for (std::size_t r = 0; r < shapes.size(); ++r) {
    check_internal(shapes[r].size() == raw.shape.size(), "a product of ", raw.shape,
                   " gives a result of ", shapes[r]);
    types.push_back({fn.result_dtype(static_cast<int>(r)), shapes[r]});
  }
  return types;
}

std::vector<Expr> ProductMap::vjp(const Backward&) const {
  fail_internal({"a product with a formula is made after the gradient"});
}

std::vector<Expr> ProductMap::expand(std::span<const Expr> in) const {
  std::vector<Expr> args{reshape(make(product, {in[0], in[1]}), shapes[0])};
  for (const Expr& extra : in.subspan(operands)) args.push_back(reshape(extra, shapes[0]));
  std::vector<Expr> results = make_all(Map{fn}, std::move(args));
  for (std::size_t r = 0; r < results.size(); ++r) results[r] = reshape(results[r], shapes[r]);
  return results;
}

std::string ProductMap::print() const {
  return std::string(product->name()) + ", then " + to_string(fn);
}

Cost ProductMap::cost(Types in, Types out) const {
  const std::vector<TensorType> raw = product->infer(in.first(operands));
  Cost cost = detail::default_cost(in, out);
  cost.flops = product->cost(in.first(operands), raw).flops;
  for (const ScalarInstr& instr : fn.code())
    cost.flops += arity(instr.op) > 0 ? static_cast<double>(raw[0].shape.size()) : 0;
  return cost;
}

}  // namespace blockgrad
