#pragma once
// Convolutions on CUDA: products whose operands are looked up in the images, see matmul_image.cuh.
// Nothing here needs CUDA.
//
//                 m                n              k                  batch
//   Conv2d        out channels     places of y    channels, taps     images, groups
//   Conv2dInput   channels         places of x    out channels, taps images, groups
//   Conv2dWeight  out channels     channels, taps images, places     groups
//
// Where tiles would be filled badly by small planes, those of all images are one long plane. Of 1 x
// 1 taps, images are matrices as they lie. With a stride, Conv2dInput is a product for each residue
// of a place of x, of the taps that reach it. Orders of sums are those of products: k ascending.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

CudaWork conv2d_kernel(const CudaRequest& request);
CudaWork conv2d_input_kernel(const CudaRequest& request);
CudaWork conv2d_weight_kernel(const CudaRequest& request);

}  // namespace blockgrad
