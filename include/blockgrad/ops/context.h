#pragma once
// Context: what building a model needs besides tensors. Whether it trains, random streams, and the
// updates that layers make themselves (running statistics). One per graph; not shared between
// threads.

#include <cstdint>
#include <string>

#include "blockgrad/graph/updates.h"

namespace blockgrad {

/// Numbers that differ from stream to stream and from step to step; equal stream and step give
/// equal numbers, to be computed again rather than kept.
struct Stream {
  std::uint64_t seed = 0;
  std::int64_t number = 0;  // in [0, 2^32)
  Expr step;                // i64 scalar in [0, 2^32)
};

struct ContextOptions {
  bool is_training = true;
  std::uint64_t seed = 0;
  Expr step =
      {};  // i64 scalar that counts steps; empty: a state of the context, which its updates advance
  std::string name = "context";  // of that state
};

class Context {
 public:
  explicit Context(ContextOptions options = {}, SourceLoc where = SourceLoc::here());
  Context(const Context&) = delete;  // two would hand out the same streams
  Context& operator=(const Context&) = delete;

  bool is_training() const { return options_.is_training; }
  /// The next stream: handed out in order, so that building a graph again gives the same ones.
  Stream stream();
  /// What layers change at the end of a training step: compile it together with the optimizer's
  /// updates.
  Updates& updates() { return updates_; }
  const Updates& updates() const { return updates_; }

 private:
  ContextOptions options_;
  SourceLoc where_;
  std::int64_t next_ = 0;
  Updates updates_;
};

}  // namespace blockgrad
