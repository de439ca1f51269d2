#pragma once
// Nodes on the harness, or the GPU, without a program around them: for operands in any layout, of
// dtypes that passes make, and for what compile's options allow.

#include <string>
#include <vector>

#include "backends/cuda/cuda_work.h"
#include "blockgrad/graph/tensor.h"

namespace test_support {

/// A value as a node reads it: `memory` is dense, the layout says where in it the elements lie.
struct NodeInput {
  blockgrad::Tensor memory;
  blockgrad::Layout layout;

  double at(std::initializer_list<std::int64_t> index) const;
};
/// All of it as it lies.
NodeInput dense(const blockgrad::Tensor& memory);

struct NodeCase {
  blockgrad::GraphNode node;
  blockgrad::CudaMaker maker;
  std::vector<NodeInput> inputs;
  blockgrad::TensorType result;
  blockgrad::CudaTarget target = {};
};

blockgrad::CudaWork work_of(const NodeCase& of);

struct NodeRun {
  blockgrad::Tensor result;
  std::string why;
};

/// Makes, loads (all kernels at once) and runs every case. Memory that no kernel writes is NaN.
std::vector<NodeRun> run_nodes(const std::vector<NodeCase>& cases);

}  // namespace test_support
