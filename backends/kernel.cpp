#include "backends/kernel.h"

#include <mutex>

namespace blockgrad {

void KernelTable::add(std::type_index op, std::string_view name, Entry entry) {
  const std::unique_lock lock(mutex_);
  const auto [known, added] = entries_.try_emplace(op, std::move(entry));
  if (added || known->second.function == entry.function) return;
  const SourceLoc first = known->second.where;
  const std::string context = join({name, " (", to_string(entry.where), ")"});
  require(first.line > 0, context, ": the CPU's own kernel for this op cannot be replaced");
  fail({context, ": this op has another kernel already, added at ", to_string(first)});
}

const KernelTable::Maker* KernelTable::find(const Op& op) const {
  const std::shared_lock lock(mutex_);
  const auto found = entries_.find(op.type());
  return found == entries_.end() ? nullptr : &found->second.maker;
}

}  // namespace blockgrad
