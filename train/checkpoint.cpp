#include <algorithm>

#include "blockgrad/data/readers.h"
#include "blockgrad/graph/stored.h"
#include "blockgrad/train/fit.h"

namespace blockgrad::train {

namespace {

void require_storage(std::span<const Expr> leaves, std::string_view call) {
  for (const Expr& leaf : leaves) {
    require(leaf && stored(leaf), call,
            ": only parameters and states can be saved and loaded, got ",
            leaf ? describe(leaf) : "an empty Expr");
  }
}

}  // namespace

void save(const std::string& path, std::span<const Expr> leaves) {
  require_storage(leaves, "save");
  std::vector<data::NamedTensor> tensors;
  for (const Expr& leaf : leaves) tensors.push_back({leaf_name(leaf), leaf.value()});
  data::write_safetensors(path, tensors, {{"format", "blockgrad"}});
}

void load(const std::string& path, std::span<const Expr> leaves) {
  require_storage(leaves, "load");
  const data::TensorFile file = data::read_safetensors(path);
  std::string wrong;
  for (const Expr& leaf : leaves) {
    const std::string name = leaf_name(leaf);
    if (!file.contains(name)) {
      wrong += "\n  '" + name + "' is missing";
    } else if (!(file[name].type() == leaf.type())) {
      wrong += "\n  '" + name + "' is " + to_string(file[name].type()) + ", expected " +
               to_string(leaf.type());
    }
  }
  for (const data::NamedTensor& tensor : file.tensors) {
    const bool known = std::any_of(leaves.begin(), leaves.end(), [&](const Expr& leaf) {
      return leaf_name(leaf) == tensor.name;
    });
    if (!known) wrong += "\n  '" + tensor.name + "' is not asked for";
  }
  require(wrong.empty(), path, " does not fit; nothing was loaded:", wrong);
  std::vector<std::shared_ptr<Stored>> storages;
  std::vector<Tensor> values;
  for (const Expr& leaf : leaves) {
    storages.push_back(stored(leaf));
    values.push_back(file[leaf_name(leaf)]);
  }
  Stored::set_values(storages, values);
}

}  // namespace blockgrad::train
