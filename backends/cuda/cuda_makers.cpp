// Which ops have kernels for CUDA; all others run as their expand.
#include <map>
#include <typeindex>

#include "backends/cuda/attention/cuda_attention.h"
#include "backends/cuda/cuda_user_kernels.h"
#include "backends/cuda/cuda_work.h"
#include "backends/cuda/index/cuda_index.h"
#include "backends/cuda/index/cuda_merge_rows.h"
#include "backends/cuda/index/cuda_scan.h"
#include "backends/cuda/index/cuda_sort.h"
#include "backends/cuda/maps/cuda_maps.h"
#include "backends/cuda/maps/cuda_unview.h"
#include "backends/cuda/products/cuda_conv.h"
#include "backends/cuda/products/cuda_epilogue.h"
#include "backends/cuda/products/cuda_matmul.h"
#include "backends/cuda/rows/cuda_rows.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/put_rows.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/attention.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/order.h"
#include "blockgrad/ops/rows.h"
#include "graph/map_group.h"
#include "graph/product_map.h"
#include "graph/reduce_group.h"
#include "graph/row_program.h"

namespace blockgrad {

CudaMaker cuda_own_maker(std::type_index op) {
  static const std::map<std::type_index, CudaMaker> makers = {
      {typeid(Map), map_kernel},
      {typeid(MapGroup), map_group_kernel},
      {typeid(MatMul), matmul_kernel},
      {typeid(ProductMap), product_map_kernel},
      {typeid(Conv2d), conv2d_kernel},
      {typeid(Conv2dInput), conv2d_input_kernel},
      {typeid(Conv2dWeight), conv2d_weight_kernel},
      {typeid(Attention), attention_kernel},
      {typeid(AttentionGradient), attention_gradient_kernel},
      {typeid(Reduce), reduce_kernel},
      {typeid(ReduceGroup), reduce_group_kernel},
      {typeid(RowProgram), row_kernel},
      {typeid(CheckIndex), check_index_kernel},
      {typeid(CheckCount), check_count_kernel},
      {typeid(CheckDivisor), check_divisor_kernel},
      {typeid(Gather), gather_kernel},
      {typeid(ScatterAdd), scatter_add_kernel},
      {typeid(Put), put_kernel},
      {typeid(MergeRows), merge_rows_kernel},
      {typeid(PutRows), put_rows_kernel},
      {typeid(Sort), sort_kernel},
      {typeid(Scan), scan_kernel},
      {typeid(Unview), unview_kernel},
  };
  const auto found = makers.find(op);
  return found == makers.end() ? nullptr : found->second;
}

CudaMaker cuda_maker(const Op& op) {
  const CudaMaker own = cuda_own_maker(op.type());
  return own == nullptr ? cuda_user_maker(op) : own;
}

}  // namespace blockgrad
