#include "blockgrad/ops/context.h"

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

Context::Context(ContextOptions options, SourceLoc where)
    : options_(std::move(options)), where_(where) {
  if (!options_.step) return;
  require(options_.step.type() == TensorType{DType::i64, {}}, "a Context (", to_string(where),
          ") wants its step as an i64 scalar, got ", to_string(options_.step.type()));
}

Stream Context::stream() {
  if (!options_.step) {
    const Origin origin{where_, {}, {}, {}};
    const OriginScope scope(origin);
    options_.step = state(zeros({}, DType::i64), options_.name + ".step", where_);
    updates_.set(options_.step, options_.step + 1.0);
  }
  return {options_.seed, next_++, options_.step};
}

}  // namespace blockgrad
