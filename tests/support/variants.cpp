#include "tests/support/variants.h"

#include <algorithm>

#include "blockgrad/graph/grad.h"

namespace op_check {

using namespace blockgrad;

namespace {

// The passes of this build that can be left out, found by leaving them out.
std::vector<std::string> skippable_passes() {
  const Expr one = constant(ones({}));
  std::vector<std::string> names;
  const Program program = compile({one});
  for (const std::string& line : program.report().passes) {
    const std::string name = line.substr(0, line.find(':'));
    try {
      compile({one}, {}, cpu(), {.skip = {name}});
      names.push_back(name);
    } catch (const Error&) {
      continue;
    }
  }
  return names;
}

std::vector<Variant> all_variants() {
  const std::vector<std::string> passes = skippable_passes();
  std::vector<Variant> all;
  all.push_back({"no pass, portable, memory not reused", {}});
  all.back().options.skip = passes;
  all.back().options.isa = "portable";
  all.back().options.reuse_memory = false;
  all.back().options.threads = 1;
  for (const std::string& pass : passes) {
    all.push_back({pass + " left out", {}});
    all.back().options.skip = {pass};
  }
  all.push_back({"no pass", {}});
  all.back().options.skip = passes;
  all.push_back({"memory not reused", {}});
  all.back().options.reuse_memory = false;
  all.push_back({"portable", {}});
  all.back().options.isa = "portable";
  all.push_back({"3 threads", {}});
  all.back().options.threads = 3;
  return all;
}

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = all_variants();
  return all;
}

std::vector<Tensor> run(std::span<const Expr> outputs, const Feeds& feeds,
                        const CompileOptions& options) {
  const std::vector<const Node*> nodes = detail::in_order(outputs);
  Feeds read;
  for (const Feed& feed : feeds) {
    if (std::find(nodes.begin(), nodes.end(), feed.leaf.node()) != nodes.end())
      read.push_back(feed);
  }
  Program program =
      compile(std::vector<Output>(outputs.begin(), outputs.end()), {}, cpu(), options);
  const Results results = program.run(read);
  std::vector<Tensor> all;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    all.push_back(results.tensor(static_cast<int>(i)));
  return all;
}

}  // namespace op_check
