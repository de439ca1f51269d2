#include "tests/cuda/run_nodes.h"

#include <map>
#include <memory>

#include "blockgrad/graph/error.h"
#include "tests/support/on_cuda.h"

namespace test_support {

using namespace blockgrad;

namespace {

using Memory = std::shared_ptr<std::byte>;

Operand operand(DType dtype, const Layout& layout) { return {Place::arena, 0, dtype, layout}; }

/// The device memory of a node.
struct Memories {
  std::vector<Memory> inputs;
  Memory output, scratch;

  std::uint64_t address(const CudaArg& arg) const {
    const auto of = [&](const Memory& memory) {
      return reinterpret_cast<std::uint64_t>(memory.get()) + static_cast<std::uint64_t>(arg.offset);
    };
    switch (arg.kind) {
      case CudaArg::Kind::input: return of(inputs.at(static_cast<std::size_t>(arg.index)));
      case CudaArg::Kind::output: return of(output);
      case CudaArg::Kind::scratch: return of(scratch);
      case CudaArg::Kind::number: return static_cast<std::uint64_t>(arg.offset);
      default: fail_internal({"a node alone has no such argument"});
    }
  }
};

void launch(CudaRuntime& runtime, const CudaLaunch& of, CudaFunction function,
            const Memories& memories) {
  CudaCall call{.function = function,
                .blocks = of.blocks,
                .threads = of.threads,
                .shared_bytes = of.shared_bytes,
                .args = {},
                .library = of.library,
                .node = "a node"};
  std::vector<std::uint64_t> entries;
  for (const CudaArg& arg : of.table) entries.push_back(memories.address(arg));
  const auto bytes = static_cast<std::int64_t>(8 * entries.size());
  const Memory table = runtime.allocate(bytes);
  runtime.copy_in(table.get(), reinterpret_cast<const std::byte*>(entries.data()), bytes);
  for (const CudaArg& arg : of.args)
    call.args.push_back(arg.kind == CudaArg::Kind::table
                            ? reinterpret_cast<std::uint64_t>(table.get() + arg.offset)
                            : memories.address(arg));
  runtime.launch(call);
}

}  // namespace

double NodeInput::at(std::initializer_list<std::int64_t> index) const {
  std::int64_t place = layout.offset;
  std::size_t axis = 0;
  for (const std::int64_t i : index) place += i * layout.strides[axis++];
  return memory.at(place);
}

NodeInput dense(const Tensor& memory) { return {memory, Layout::dense(memory.shape())}; }

CudaWork work_of(const NodeCase& of) {
  std::vector<Operand> inputs;
  for (const NodeInput& input : of.inputs)
    inputs.push_back(operand(input.memory.dtype(), input.layout));
  const Operand output = operand(of.result.dtype, Layout::dense(of.result.shape));
  return of.maker({of.node, inputs, {&output, 1}, false, of.target});
}

std::vector<NodeRun> run_nodes(const std::vector<NodeCase>& cases) {
  const std::shared_ptr<CudaRuntime> runtime = cuda_test_runtime(7);
  std::vector<CudaWork> works;
  std::vector<CudaText> texts;
  for (const NodeCase& of : cases) {
    works.push_back(work_of(of));
    for (const CudaLaunch& launch : works.back().launches)
      if (!launch.library) texts.push_back(launch.text);
  }
  const std::vector<CudaFunction> functions = runtime->load(texts);
  auto function = functions.begin();
  std::vector<NodeRun> runs;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Memories memories;
    for (const NodeInput& input : cases[i].inputs) {
      const std::int64_t bytes = bytes_of(input.memory.type());
      memories.inputs.push_back(runtime->allocate(bytes));
      runtime->copy_in(memories.inputs.back().get(), input.memory.bytes(), bytes);
    }
    const TensorType& type = cases[i].result;
    memories.output = runtime->allocate(bytes_of(type));
    memories.scratch = runtime->allocate(works[i].scratch);
    for (const CudaLaunch& of : works[i].launches)
      launch(*runtime, of, of.library ? nullptr : *function++, memories);
    auto bytes = allocate_bytes(bytes_of(type));
    runtime->copy_out(bytes.get(), memories.output.get(), bytes_of(type));
    runs.push_back({adopt(type, std::move(bytes)), works[i].why});
  }
  return runs;
}

}  // namespace test_support
