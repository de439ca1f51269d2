// Which ops have kernels for CUDA; all others run as their expand.
#include <map>
#include <typeindex>

#include "backends/cuda/cuda_maps.h"
#include "backends/cuda/cuda_matmul.h"
#include "backends/cuda/cuda_rows.h"
#include "backends/cuda/cuda_work.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/linalg.h"
#include "graph/map_group.h"
#include "graph/reduce_group.h"
#include "graph/row_program.h"

namespace blockgrad {

CudaMaker cuda_maker(const Op& op) {
  static const std::map<std::type_index, CudaMaker> makers = {
      {typeid(Map), map_kernel},
      {typeid(MapGroup), map_group_kernel},
      {typeid(MatMul), matmul_kernel},
      {typeid(Reduce), reduce_kernel},
      {typeid(ReduceGroup), reduce_group_kernel},
      {typeid(RowProgram), row_kernel},
  };
  const auto found = makers.find(op.type());
  return found == makers.end() ? nullptr : found->second;
}

}  // namespace blockgrad
