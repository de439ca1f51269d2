#include "graph/reduce_group.h"

#include "blockgrad/graph/map.h"
#include "graph/row_program.h"

namespace blockgrad {

std::vector<TensorType> ReduceGroup::infer(Types in) const {
  const std::size_t inputs = fn.inputs().size();
  check_internal(inputs > 0 && in.size() == inputs * shapes.size(), "a group of ", shapes.size(),
                 " reductions over ", inputs, " inputs got ", in.size());
  std::vector<TensorType> types;
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    const TensorType elements = Map{fn}.infer(in.subspan(s * inputs, inputs))[0];
    types.push_back({reduced_dtype(kind, elements.dtype), shapes[s]});
  }
  return types;
}

std::vector<Expr> ReduceGroup::vjp(const Backward&) const {
  fail_internal({"a group of reductions is made after the gradient"});
}

std::string ReduceGroup::print() const {
  return join({blockgrad::name(kind), " of ", static_cast<std::int64_t>(shapes.size()),
               " values of ", to_string(fn)});
}

Cost ReduceGroup::cost(Types in, Types out) const {
  Cost all = detail::default_cost(in, out);
  all.flops = 0;
  const std::size_t inputs = fn.inputs().size();
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    const Types own = in.subspan(s * inputs, inputs);
    all.flops +=
        Map{fn}.cost(own, out.subspan(s, 1)).flops + static_cast<double>(own[0].shape.size());
  }
  return all;
}

}  // namespace blockgrad
