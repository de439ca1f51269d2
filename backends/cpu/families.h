#pragma once
// The CPU's kernels by family. Called by name, not by static registrars, which a static library
// would drop.

#include <optional>

#include "backends/kernel.h"

namespace blockgrad {

void add_attention_kernels(KernelTable& table);
void add_attention_gradient_kernel(KernelTable& table);  // called by the one above
void add_map_kernels(KernelTable& table);
void add_map_group_kernels(KernelTable& table);
void add_reduce_group_kernels(KernelTable& table);
void add_reduce_kernels(KernelTable& table);
void add_matmul_kernels(KernelTable& table);
void add_conv_kernels(KernelTable& table);
void add_conv_weight_kernels(KernelTable& table);
void add_index_kernels(KernelTable& table);
void add_order_kernels(KernelTable& table);
void add_panel_kernels(KernelTable& table);
void add_pool_kernels(KernelTable& table);
void add_product_map_kernels(KernelTable& table);
void add_row_kernels(KernelTable& table);
void add_row_program_kernels(KernelTable& table);
void add_row_update_kernels(KernelTable& table);
void add_unview_kernels(KernelTable& table);

/// What runs a Map on the elements of convolutions and pools as they are made.
Kernel part_map_kernel(const KernelRequest& request);
/// The shape of what it takes: of f32 or f64, all of one type.
std::optional<Shape> part_map_space(const Op& op, Types in, Types out);
/// The parts of a convolution or its gradient to the input; 0 unless they make whole images, large
/// enough for that.
std::int64_t image_parts(const Op& op, Types in, Types out);

/// All of them, and those that users added.
KernelTable& cpu_kernel_table();

}  // namespace blockgrad
