#include "blockgrad/graph/expr.h"

#include <bit>
#include <new>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/op.h"

namespace blockgrad {

namespace detail {

namespace {
// Nodes whose last handle went away in this thread. They are freed in a loop, so that a chain of a
// million nodes needs no stack, and linked through themselves, so that freeing allocates nothing.
constinit thread_local const Node* dead = nullptr;
constinit thread_local bool draining = false;
}  // namespace

void retain(const Node* node) noexcept {
  __atomic_fetch_add(&node->references_, 1, __ATOMIC_RELAXED);
}

void release(const Node* node) noexcept {
  if (__atomic_sub_fetch(&node->references_, 1, __ATOMIC_ACQ_REL) != 0) return;
  node->next_dead_ = dead;
  dead = node;
  if (draining) return;
  draining = true;
  while (const Node* next = dead) {
    dead = next->next_dead_;
    delete next;
  }
  draining = false;
}

Cost default_cost(Types in, Types out) {
  Cost cost;
  for (const TensorType& t : in) cost.bytes += static_cast<double>(bytes_of(t));
  for (const TensorType& t : out) {
    cost.bytes += static_cast<double>(bytes_of(t));
    cost.flops += static_cast<double>(t.shape.size());
  }
  return cost;
}

}  // namespace detail

Node::Node(Op o, std::vector<Expr> in, std::vector<TensorType> out, Origin from)
    : op(std::move(o)), inputs(std::move(in)), results(std::move(out)), origin(std::move(from)) {}

Node::~Node() = default;

bool Number::operator==(const Number& other) const {
  return std::bit_cast<std::uint64_t>(value) == std::bit_cast<std::uint64_t>(other.value);
}

const Op& Expr::op() const {
  require(node_ != nullptr, "an empty Expr has no op");
  return node_->op;
}

const TensorType& Expr::type() const {
  require(node_ != nullptr, "an empty Expr has no type");
  return node_->results[static_cast<std::size_t>(result_)];
}

Tensor Expr::value() const {
  require(node_ != nullptr, "an empty Expr has no value");
  if (const auto* leaf = op().as<Constant>()) return leaf->tensor;
  const auto storage = stored(*this);
  require(storage != nullptr, describe(*this),
          ": only parameters, states and constants have a value outside of a run");
  return storage->value();
}

void Expr::set_value(const Tensor& value) const {
  const auto storage = node_ ? stored(*this) : nullptr;
  require(storage != nullptr, node_ ? describe(*this) : "an empty Expr",
          ": only parameters and states can be written");
  require(value.type() == type(), describe(*this), " holds ", to_string(type()), ", got ",
          to_string(value.type()));
  storage->set_value(value);
}

const Expr& Backward::input(int i) const { return node_.inputs[static_cast<std::size_t>(i)]; }
int Backward::input_count() const { return static_cast<int>(node_.inputs.size()); }
Expr Backward::y(int result) const { return {&node_, result}; }

Expr Backward::dy(int result) const {
  const Expr& adjoint = adjoints_[static_cast<std::size_t>(result)];
  if (adjoint) return adjoint;
  const TensorType& type = node_.results[static_cast<std::size_t>(result)];
  return constant(zeros(type.shape, type.dtype));
}

std::string describe(const Expr& expr) {
  if (!expr) return "an empty Expr";
  const std::string leaf = leaf_name(expr);
  const std::string op(expr.op()->name());
  return to_string(expr.node()->origin, leaf.empty() ? op : op + " '" + leaf + "'");
}

std::vector<Expr> make_all(Op op, std::vector<Expr> inputs, SourceLoc where) {
  std::vector<TensorType> types;
  types.reserve(inputs.size());
  Origin origin = current_origin(where);
  const auto context = [&] { return to_string(origin, op->name()); };
  for (const Expr& input : inputs) {
    if (!input) fail({context(), ": input ", types.size(), " is an empty Expr"});
    types.push_back(input.type());
  }
  std::vector<TensorType> results;
  try {
    results = op->infer(types);
    require(!results.empty(), "its infer gives no result");
    for (const TensorType& type : results) bytes_of(type);  // throws where they cannot be counted
  } catch (const InternalError&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // by a user's rule, of any kind
    throw Error(context() + ": " + error.what());
  }
  const int count = static_cast<int>(results.size());
  const Expr first(
      new Node(std::move(op), std::move(inputs), std::move(results), std::move(origin)), 0);
  std::vector<Expr> all;
  all.reserve(static_cast<std::size_t>(count));
  for (int r = 0; r < count; ++r) all.emplace_back(first.node(), r);
  return all;
}

Expr make(Op op, std::vector<Expr> inputs, SourceLoc where) {
  return std::move(make_all(std::move(op), std::move(inputs), where).front());
}

}  // namespace blockgrad
