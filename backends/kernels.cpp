#include "blockgrad/backends/kernels.h"

#include <new>

#include "backends/cpu/families.h"

namespace blockgrad {

namespace {

const TensorType& type_of(Types types, int i, std::string_view what) {
  require(i >= 0 && static_cast<std::size_t>(i) < types.size(), "its kernel asks for ", what, " ",
          i, " of ", static_cast<std::int64_t>(types.size()));
  return types[static_cast<std::size_t>(i)];
}

void require_dtype(Types types, int i, DType asked, std::string_view what) {
  const DType dtype = type_of(types, i, what).dtype;
  require(dtype == asked, "its kernel asks for ", what, " ", i, " as ", asked, ", but it is ",
          dtype);
}

using Function = void (*)(const Op&, const KernelArgs&);

// What a node knows at compile, kept for its steps.
struct Bound {
  Op op;
  std::vector<TensorType> inputs, outputs;
  std::string label;
  Function function;

  void run(const KernelCall& call) const {
    try {
      function(op, KernelArgs(inputs, outputs, call.in, call.out));
    } catch (const InternalError&) {
      throw;
    } catch (const DeviceError& error) {
      throw DeviceError(label + ": " + error.what());
    } catch (const std::bad_alloc& error) {
      throw DeviceError(label + ": " + error.what());
    } catch (const std::exception& error) {
      fail({label, ": ", error.what()});
    }
  }
};

Kernel bind(const KernelRequest& request, Function function) {
  Bound bound{request.node.op,
              {},
              request.node.types,
              to_string(request.node.origin, request.node.op->name()),
              function};
  for (const Operand& in : request.inputs) {
    require(in.layout.is_dense(), bound.label,
            ": its kernel reads dense inputs, so its accepts() may admit no other layout, got ",
            to_string(in.layout));
    bound.inputs.push_back({in.dtype, in.layout.shape});
  }
  for (const Operand& out : request.outputs) {
    require(out.layout.is_dense(), bound.label,
            ": its kernel writes dense results, so its makes() may admit no other layout, got ",
            to_string(out.layout));
  }
  const double flops = request.node.op->cost(bound.inputs, bound.outputs).flops;
  Kernel kernel;
  kernel.run = [bound = std::make_shared<const Bound>(std::move(bound))](
                   const KernelCall& call, std::int64_t, std::int64_t) { bound->run(call); };
  kernel.cost = 20 + flops;
  kernel.why = "own kernel, 1 part";
  return kernel;
}

}  // namespace

const TensorType& KernelArgs::input_type(int i) const { return type_of(inputs_, i, "input"); }
const TensorType& KernelArgs::output_type(int i) const { return type_of(outputs_, i, "output"); }

const std::byte* KernelArgs::input_bytes(int i, DType asked) const {
  require_dtype(inputs_, i, asked, "input");
  return in_[i];
}

std::byte* KernelArgs::output_bytes(int i, DType asked) const {
  require_dtype(outputs_, i, asked, "output");
  return out_[i];
}

void CpuKernels::add(std::type_index op, std::string_view name, std::type_index function,
                     Function kernel, SourceLoc where) const {
  table_.add(
      op, name,
      {[kernel](const KernelRequest& request) { return bind(request, kernel); }, function, where});
}

CpuKernels cpu_kernels() { return CpuKernels(cpu_kernel_table()); }

}  // namespace blockgrad
