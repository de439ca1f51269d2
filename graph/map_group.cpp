#include "graph/map_group.h"

namespace blockgrad {

std::vector<TensorType> MapGroup::infer(Types in) const {
  const std::size_t inputs = fn.inputs().size();
  check_internal(!in.empty() && in.size() % inputs == 0, "a group of maps over ", inputs,
                 " inputs got ", in.size());
  std::vector<TensorType> all;
  for (std::size_t first = 0; first < in.size(); first += inputs) {
    const std::vector<TensorType> own = Map{fn}.infer(in.subspan(first, inputs));
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::vector<Expr> MapGroup::vjp(const Backward& b) const {
  return std::vector<Expr>(static_cast<std::size_t>(b.input_count()));
}

std::string MapGroup::print() const { return to_string(fn); }

Cost MapGroup::cost(Types in, Types out) const {
  const std::size_t inputs = fn.inputs().size(), results = fn.results().size();
  Cost all;
  for (std::size_t s = 0; s < sets(in.size()); ++s) {
    const Cost own =
        Map{fn}.cost(in.subspan(s * inputs, inputs), out.subspan(s * results, results));
    all.flops += own.flops;
    all.bytes += own.bytes;
  }
  return all;
}

const ScalarFn* formula_of(const Op& op) {
  if (const Map* map = op.as<Map>()) return &map->fn;
  if (const MapGroup* group = op.as<MapGroup>()) return &group->fn;
  return nullptr;
}

}  // namespace blockgrad
