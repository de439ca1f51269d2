#include "backends/cuda/cuda_executable.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/cuda_commit.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/graph/leaf.h"
#include "graph/step_cost.h"

namespace blockgrad {

namespace {

// Of a step, with the commits and its end.
std::int64_t launches_of(const Plan& plan, std::span<const CudaWork> works) {
  std::int64_t launches = 1 + (plan.commits.empty() ? 0 : 1);
  for (const CudaWork& work : works) {
    launches += std::ranges::count_if(work.launches,
                                      [](const CudaLaunch& launch) { return launch.blocks > 0; });
    if (!work.thing.empty()) ++launches;
  }
  return launches;
}

CudaFeeds feeds_of(const Graph& graph, const Plan& plan, const CompileOptions& options,
                   std::span<const CudaWork> works) {
  std::vector<std::int64_t> bytes;
  for (const std::int32_t node : plan.feeds)
    bytes.push_back(bytes_of(graph.nodes[static_cast<std::size_t>(node)].types[0]));
  const bool is_once = options.check_numerics || options.memory_limit > 0;
  return cuda_feeds(bytes, is_once ? 0 : steps_together(launches_of(plan, works)));
}

std::int64_t aligned(std::int64_t bytes) {
  constexpr std::int64_t alignment = 256;
  return checked_add(bytes, alignment - 1) / alignment * alignment;
}

std::int64_t table_bytes(std::span<const CudaArg> table) {
  return static_cast<std::int64_t>(table.size() * sizeof(std::uint64_t));
}

// A table with addresses of feeds is there for every set.
std::int64_t bytes_of_tables(std::int64_t bytes, bool is_fed, const CudaFeeds& feeds) {
  return is_fed ? feeds.sets() * aligned(bytes) : aligned(bytes);
}

std::int64_t most_scratch(std::span<const CudaWork> works) {
  std::int64_t most = 0;
  for (const CudaWork& work : works) most = std::max(most, work.scratch);
  return most;
}

}  // namespace

CudaTarget cuda_target(const CudaRuntime& runtime, const CompileOptions& options) {
  return {.limits = runtime.limits(),
          .math = options.math == MathMode::tf32 ? CudaMath::tf32 : CudaMath::exact,
          .libraries = runtime.libraries()};
}

std::int64_t cuda_own_bytes(const Graph& graph, const Plan& plan, const CompileOptions& options,
                            std::span<const CudaWork> works) {
  std::int64_t others = 0;
  const auto add = [&](std::int64_t bytes) { others = checked_add(others, aligned(bytes)); };
  const CudaFeeds feeds = feeds_of(graph, plan, options, works);
  const auto type = [&](std::int32_t node) -> const TensorType& {
    return graph.nodes[static_cast<std::size_t>(node)].types[0];
  };
  for (std::size_t w = 0; w < works.size(); ++w) {
    const PlanStep& step =
        w < plan.steps.size() ? plan.steps[w] : plan.updates[w - plan.steps.size()];
    for (const CudaLaunch& launch : works[w].launches)
      add(bytes_of_tables(table_bytes(launch.table), is_fed(launch.table, plan, step), feeds));
  }
  const auto is_feed = [](const Operand& operand) { return operand.place == Place::feed; };
  const bool commits_feeds =
      std::ranges::any_of(plan.guards, is_feed) ||
      std::ranges::any_of(plan.commits, [&](const Commit& c) { return is_feed(c.source); });
  add(bytes_of_tables(static_cast<std::int64_t>(5 * plan.commits.size() * sizeof(std::uint64_t)),
                      commits_feeds, feeds));
  add(sizeof(CudaState));
  add(feeds.sets() * feeds.set_bytes);
  for (const std::int32_t node : plan.constants) add(bytes_of(type(node)));
  if (options.check_numerics) {
    std::size_t results = 0;
    for (const PlanStep& step : plan.steps) results += step.outputs.size();
    for (const PlanStep& step : plan.updates) results += step.outputs.size();
    add(static_cast<std::int64_t>(results * sizeof(std::int64_t)));
    for (std::size_t s = 0; s < plan.storages.size(); ++s) {
      if (plan.is_updated[s]) add(bytes_of(type(plan.storages[s])));
    }
  }
  return checked_add(most_scratch(works), others);
}

CudaExecutable::CudaExecutable(const Graph& graph, const Plan& plan, const CompileOptions& options,
                               std::shared_ptr<CudaRuntime> runtime)
    : graph_(graph), plan_(plan), runtime_(std::move(runtime)) {
  std::vector<CudaWork> works = cuda_works(graph, plan, cuda_target(*runtime_, options));
  own_bytes_ = cuda_own_bytes(graph, plan, options, works);
  arena_ = runtime_->allocate(plan.arena_bytes);
  scratch_ = runtime_->allocate(most_scratch(works));
  state_ = runtime_->allocate(sizeof(CudaState));
  launches_ = launches_of(plan, works);
  layout_ = feeds_of(graph, plan, options, works);
  feeds_ = runtime_->allocate(layout_.sets() * layout_.set_bytes);
  parts_.reserve(static_cast<std::size_t>(layout_.group) * plan.feeds.size());
  for (const std::int32_t node : plan.constants) {
    const Tensor& value = leaf<Constant>(node).tensor;
    constants_.push_back(runtime_->allocate(bytes_of(value.type())));
    runtime_->copy_in(constants_.back().get(), value.bytes(), bytes_of(value.type()));
  }
  for (const std::int32_t node : plan.storages) {
    const auto& storage = leaf<StoredLeaf>(node).storage;
    auto copy = std::dynamic_pointer_cast<DeviceCopy>(storage->mirror());
    if (!copy || !copy->is_on(runtime_.get())) {
      copy = std::make_shared<DeviceCopy>(runtime_, storage->type());
      const auto first = std::dynamic_pointer_cast<DeviceCopy>(storage->mirror_or(copy));
      if (first && first->is_on(runtime_.get())) copy = first;
    }
    storages_.push_back(storage);
    copies_.push_back(std::move(copy));
  }
  auto work = works.begin();
  std::vector<CudaAccesses> accesses;
  for (const auto* phase : {&plan.steps, &plan.updates}) {
    for (const PlanStep& step : *phase) {
      accesses.push_back(cuda_accesses(plan, step, *work));
      items_.push_back(node_item(step, std::move(*work++)));
    }
  }
  accesses.push_back(add_commits());
  items_.push_back(end_item());
  if (options.branches && !options.check_numerics) find_order(std::move(accesses));
  if (options.check_numerics) prepare_watch();
  load_kernels();
  record({});
  for (auto* marks : {&fed_, &read_})
    for (auto& mark : *marks) mark = runtime_->mark();
  for (auto& mark : done_) mark = runtime_->mark();
  for (auto& mark : read_) mark->set(CudaLine::work);  // the memory is set
  outputs_.resize(plan.outputs.size());
}

CudaExecutable::~CudaExecutable() = default;

CudaExecutable::Item CudaExecutable::node_item(const PlanStep& step, CudaWork work) {
  Item item{step.node,
            graph_.describe(step.node),
            std::move(work.why),
            std::move(work.thing),
            std::move(work.rule),
            cost_of(graph_, step),
            {},
            std::move(work.declaration)};
  for (const CudaLaunch& launch : work.launches) {
    if (launch.blocks > 0) item.launches.push_back(launch_of(launch, step));
  }
  if (!item.thing.empty()) {
    may_fail_ = true;
    item.launches.push_back(launch_of(settling(step), step));
  }
  return item;
}

// A row of the report for each new value; the first one has the launch of all.
CudaAccesses CudaExecutable::add_commits() {
  PlanStep all;
  std::vector<std::int32_t> guards;
  const std::size_t first = items_.size();
  for (const Commit& commit : plan_.commits) {
    const std::int32_t node = plan_.storages[static_cast<std::size_t>(commit.storage)];
    Item item{
        node, graph_.describe(node), "its new value, copied with all others at the end", {}, {}, {},
        {}};
    const TensorType type{commit.source.dtype, commit.source.layout.shape};
    item.cost.bytes = 2 * static_cast<double>(bytes_of(type));
    items_.push_back(std::move(item));
    all.inputs.push_back(commit.source);
    all.outputs.push_back(commit.source);
    all.outputs.back().place = Place::stored;
    all.outputs.back().at = commit.storage;
  }
  for (const Commit& commit : plan_.commits) {
    if (commit.guard < 0) {
      guards.push_back(-1);
      continue;
    }
    guards.push_back(static_cast<std::int32_t>(all.inputs.size()));
    all.inputs.push_back(plan_.guards[static_cast<std::size_t>(commit.guard)]);
  }
  const CudaLaunch launch = cuda_commit(all.outputs, guards);
  if (launch.blocks > 0) items_[first].launches.push_back(launch_of(launch, all));
  return cuda_accesses(plan_, all, {.launches = {launch}});
}

// Nodes side by side pay where a chain of fewer launches is left, of which those that fill the
// device count one after the other.
void CudaExecutable::find_order(std::vector<CudaAccesses> accesses) {
  std::vector<std::int64_t> launches;
  std::int64_t all = 0, large = 0;
  const std::int64_t processors = runtime_->limits().processors;
  accesses.resize(items_.size());
  for (const Item& item : items_) {
    if (item.launches.empty()) accesses[launches.size()].clear();  // it touches nothing
    launches.push_back(static_cast<std::int64_t>(item.launches.size()));
    all += launches.back();
    large += std::ranges::count_if(
        item.launches, [&](const Launch& launch) { return launch.call.blocks >= processors; });
  }
  CudaOrder order = cuda_order(accesses);
  std::vector<char> is_waited_for(order.size(), 0);
  for (const auto& after : order) {
    for (const std::int32_t before : after) is_waited_for[static_cast<std::size_t>(before)] = 1;
  }
  for (std::size_t i = 0; i + 1 < items_.size(); ++i) {
    if (!is_waited_for[i] && launches[i] > 0) order.back().push_back(static_cast<std::int32_t>(i));
  }
  const std::int64_t chain = longest_chain(order, launches);
  if (10 * std::max(chain, large) > 9 * all) return;
  order_ = std::move(order);
  longest_chain_ = chain;
}

// The step's number goes up.
CudaExecutable::Item CudaExecutable::end_item() {
  CudaLaunch launch;
  launch.threads = 1;
  launch.text = {
      "\nextern \"C\" __global__ void KERNEL(long* state) { state[0] += 1; }\n", {}, "end_of_step"};
  launch.args = {{CudaArg::Kind::state}};
  Item item{-1, "the end of the step", {}, {}, {}, {}, {}};
  item.launches.push_back(launch_of(launch, {}));
  return item;
}

// What a check found becomes the run's failure, if it is the first.
CudaLaunch CudaExecutable::settling(const PlanStep& step) const {
  CudaLaunch launch;
  launch.threads = 1;
  const DType dtype = step.inputs[0].dtype;
  const std::string_view bits =
      is_floating(dtype) ? "math::bits(static_cast<double>(x[state[5]]))" : "x[state[5]]";
  launch.text.name = "settle";
  launch.text.text = fmt::format(
      "\nnamespace blockgrad {{\n"
      "extern \"C\" __global__ void KERNEL(long* state, long node, const {}* x) {{\n"
      "  if (state[5] == -1) return;\n"
      "  if (state[1] < 0) {{\n"
      "    state[1] = state[0];\n"
      "    state[2] = node;\n"
      "    state[3] = state[5];\n"
      "    state[4] = static_cast<long>({});\n"
      "  }}\n"
      "  state[5] = -1;\n"
      "}}\n}}  // namespace blockgrad\n",
      cuda_type(dtype), bits);
  using Kind = CudaArg::Kind;
  launch.args = {
      {Kind::state},
      {Kind::number, 0, step.node},
      {Kind::input, 0, step.inputs[0].layout.offset * static_cast<std::int64_t>(size_of(dtype))}};
  return launch;
}

CudaExecutable::Launch CudaExecutable::launch_of(const CudaLaunch& launch, const PlanStep& step) {
  Launch it;
  CudaCall& made = it.call;
  made.blocks = launch.blocks;
  made.threads = launch.threads;
  made.shared_bytes = launch.shared_bytes;
  made.library = launch.library;
  const std::uint64_t table = launch.table.empty() ? 0 : table_of(launch, step);
  for (const CudaArg& arg : launch.args) {
    const bool is_table = arg.kind == CudaArg::Kind::table;
    made.args.push_back(is_table ? table + static_cast<std::uint64_t>(arg.offset)
                                 : address(arg, step));
    std::int64_t stride = 0;
    if (is_fed(arg, plan_, step)) stride = layout_.set_bytes;
    if (is_table && is_fed(launch.table, plan_, step)) stride = aligned(table_bytes(launch.table));
    it.strides.push_back(static_cast<std::uint64_t>(stride));
  }
  if (!launch.library) texts_.push_back(launch.text);
  return it;
}

std::uint64_t CudaExecutable::table_of(const CudaLaunch& launch, const PlanStep& step) {
  const bool varies = is_fed(launch.table, plan_, step);
  const std::int64_t bytes = table_bytes(launch.table);
  tables_.push_back(runtime_->allocate(bytes_of_tables(bytes, varies, layout_)));
  std::byte* const first = tables_.back().get();
  for (std::int64_t set = 0; set < (varies ? layout_.sets() : 1); ++set) {
    std::vector<std::uint64_t> entries;
    for (const CudaArg& arg : launch.table) {
      const std::int64_t further = is_fed(arg, plan_, step) ? set * layout_.set_bytes : 0;
      entries.push_back(address(arg, step) + static_cast<std::uint64_t>(further));
    }
    runtime_->copy_in(first + set * aligned(bytes),
                      reinterpret_cast<const std::byte*>(entries.data()), bytes);
  }
  return reinterpret_cast<std::uint64_t>(first);
}

std::uint64_t CudaExecutable::address(const CudaArg& arg, const PlanStep& step) const {
  const auto of = [&](const std::byte* memory) {
    return reinterpret_cast<std::uint64_t>(memory) + static_cast<std::uint64_t>(arg.offset);
  };
  const auto index = static_cast<std::size_t>(arg.index);
  switch (arg.kind) {
    case CudaArg::Kind::input: return of(place(step.inputs[index]));
    case CudaArg::Kind::output: return of(place(step.outputs[index]));
    case CudaArg::Kind::scratch: return of(scratch_.get());
    case CudaArg::Kind::number: return static_cast<std::uint64_t>(arg.offset);
    case CudaArg::Kind::state: return of(state_.get());
    case CudaArg::Kind::guard:
      return step.guard < 0 ? 0 : of(place(plan_.guards[static_cast<std::size_t>(step.guard)]));
    case CudaArg::Kind::table: break;
  }
  fail_internal({"a table has no address in itself"});
}

std::byte* CudaExecutable::place(const Operand& operand) const {
  const auto at = static_cast<std::size_t>(operand.at);
  switch (operand.place) {
    case Place::arena: return arena_.get() + operand.at;
    case Place::stored: return copies_[at]->memory();
    case Place::constant: return constants_[at].get();
    case Place::feed: return feeds_.get() + layout_.at[at];
  }
  return nullptr;
}

// Throws Error for the first text of a user that does not compile, if there is one.
void CudaExecutable::name_refused_text() const {
  std::size_t next = 0;
  for (const Item& item : items_) {
    for (const Launch& launch : item.launches) {
      if (launch.call.library) continue;
      const CudaText& text = texts_[next++];
      if (item.declaration.empty()) continue;
      try {
        runtime_->load({&text, 1});
      } catch (const CudaTextError& error) {
        fail({item.label, ": its CUDA kernel does not compile as `", item.declaration,
              "`: ", error.what()});
      } catch (const DeviceError& error) {
        fail({item.label, ": its CUDA kernel cannot be loaded as `", item.declaration,
              "`: ", error.what()});
      }
    }
  }
}

// Watches are made after all items.
void CudaExecutable::load_kernels() {
  std::vector<CudaFunction> functions;
  try {
    functions = runtime_->load(texts_);
  } catch (const DeviceError&) {
    name_refused_text();
    throw;
  }
  std::size_t next = 0;
  for (Item& item : items_) {
    for (Launch& launch : item.launches) {
      if (!launch.call.library) launch.call.function = functions[next++];
      launch.call.node = item.label;
    }
  }
  for (Watch& watch : watches_) watch.call.function = functions[next++];
  texts_.clear();
}

}  // namespace blockgrad
