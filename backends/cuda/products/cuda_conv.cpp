#include "backends/cuda/products/cuda_conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "backends/cuda/products/cuda_cost.h"
#include "backends/cuda/products/cuda_product.h"
#include "blockgrad/graph/error.h"
#include "blockgrad/ops/conv.h"

namespace blockgrad {

namespace {

using Kind = CudaArg::Kind;

/// A convolution along one axis: element i of y meets i stride + p dilation - padding of x.
struct Axis {
  std::int64_t x, w, y, stride, padding, dilation;
};

struct Sizes {
  std::int64_t images, groups;
  std::int64_t in, out;  // channels of a group
  Axis rows, columns;

  Sizes(const Conv2dOptions& o, const Shape& x, const Shape& w, const Shape& y)
      : images(x[0]),
        groups(o.groups),
        in(w[1]),
        out(w[0] / o.groups),
        rows{x[2], w[2], y[2], o.stride.rows, o.padding.rows, o.dilation.rows},
        columns{x[3], w[3], y[3], o.stride.columns, o.padding.columns, o.dilation.columns} {
    for (const Axis& axis : {rows, columns}) {
      require(axis.x + 2 * axis.padding <= std::numeric_limits<std::int32_t>::max(),
              "CUDA convolves images of less than 2^31 rows and columns, got ", x, " padded by ",
              axis.padding);
    }
  }

  std::int64_t taps() const { return rows.w * columns.w; }
  /// Whether place i of y meets place i of x alone, so that planes are matrices as they lie.
  bool is_pointwise() const {
    return taps() == 1 && rows.stride == 1 && columns.stride == 1 && rows.padding == 0 &&
           columns.padding == 0;
  }
  std::int64_t x_plane() const { return rows.x * columns.x; }
  std::int64_t y_plane() const { return rows.y * columns.y; }
};

/// What one more in a digit adds.
struct Steps {
  std::int64_t rows = 1, columns = 1;  // bases
  std::int64_t plane = 0, row = 0, column = 0;
};

/// An operand in images; see gpu::Image.
struct ImageOf {
  CudaSide side;
  std::int32_t input;
  std::int64_t groups, image_stride, group_stride;
  std::int64_t rows, columns, row, column;
  Steps w, k;
  gpu::Reads reads;

  CudaFactor factor() const {
    return {.type = side == CudaSide::a ? "ImageRows" : "ImageColumns",
            .memory = {Kind::input, input},
            .fields = {{"groups", groups},
                       {"image_stride", image_stride},
                       {"group_stride", group_stride},
                       {"rows", rows},
                       {"columns", columns},
                       {"row", row},
                       {"column", column},
                       {"w_rows", w.rows},
                       {"w_columns", w.columns},
                       {"w_plane", w.plane},
                       {"w_row", w.row},
                       {"w_column", w.column},
                       {"k_rows", k.rows},
                       {"k_columns", k.columns},
                       {"k_plane", k.plane},
                       {"k_row", k.row},
                       {"k_column", k.column}},
            .reads = reads};
  }
};

CudaArg output() { return {Kind::output, 0}; }

CudaProduct product_of(const CudaRequest& request, std::int64_t m, std::int64_t n, std::int64_t k,
                       std::int64_t batch) {
  const DType dtype = request.inputs[0].dtype;
  return {m, n, k, batch, dtype, cuda_math(request, dtype), request.outputs[0].dtype};
}

CudaFactor matrix_of_c(const CudaRequest& request, const Shape& shape) {
  return cuda_matrix(CudaSide::c, output(), request.outputs[0].dtype, Layout::dense(shape));
}

/// An operand whose planes are matrices, [images, groups, channels, places].
CudaFactor planes(const CudaRequest& request, int input, const Sizes& s, std::int64_t channels) {
  const auto index = static_cast<std::int32_t>(input);
  return cuda_matrix(CudaSide::b, {Kind::input, index},
                     request.inputs[static_cast<std::size_t>(input)].dtype,
                     Layout::dense({s.images, s.groups, channels, s.x_plane()}));
}

/// Whether to lay the planes of all images one behind the other along n: small ones fill a tile
/// together. Where they lie is then a division for each element of C, so it must be worth it.
bool is_better(const CudaRequest& request, CudaProduct folded, CudaProduct apart) {
  folded.is_gathered = apart.is_gathered = true;
  const CudaLimits& limits = request.target.limits;
  const CudaTile tile = choose_cuda_tile(apart, limits);
  return tile.config.kernel != CudaKernel::elements &&
         cuda_clocks(choose_cuda_tile(folded, limits), limits) < 0.8 * cuda_clocks(tile, limits);
}

/// The elements first, first + stride, ... of x along an axis, and the taps that reach them:
/// `tap`, tap + tap_step, ..., the t-th one from element place + t place_step of y and on.
struct Residue {
  std::int64_t first, elements, taps = 0, tap = 0, tap_step = 1, place = 0, place_step = 0;

  Residue(const Axis& axis, std::int64_t at)
      : first(at), elements((axis.x - at + axis.stride - 1) / axis.stride) {
    tap_step = axis.stride / std::gcd(axis.stride, axis.dilation);
    place_step = -(axis.dilation * tap_step / axis.stride);
    for (std::int64_t p = axis.w; p-- > 0;) {
      const std::int64_t reached = at + axis.padding - p * axis.dilation;
      if (reached % axis.stride != 0) continue;
      ++taps;
      tap = p;
      place = reached / axis.stride;
    }
  }
};

std::vector<Residue> residues(const Axis& axis) {
  std::vector<Residue> all;
  for (std::int64_t at = 0; at < std::min(axis.stride, axis.x); ++at) all.emplace_back(axis, at);
  return all;
}

/// Returns whether operands are looked up in images.
bool add_residue(CudaWork& work, const CudaRequest& request, const Sizes& s, const Residue& down,
                 const Residue& across) {
  const std::int64_t places = down.elements * across.elements, k = s.out * down.taps * across.taps;
  const bool is_dense = s.rows.stride == 1 && s.columns.stride == 1;
  const CudaProduct apart = product_of(request, s.in, places, k, s.images * s.groups);
  const CudaProduct folded = product_of(request, s.in, s.images * places, k, s.groups);
  const bool is_folded = is_dense && s.images > 1 && is_better(request, folded, apart);
  if (s.is_pointwise() && !is_folded) {
    Layout turned = Layout::dense({s.images, s.groups, s.in, s.out});
    turned.strides[0] = 0;
    turned.strides[2] = 1;
    turned.strides[3] = s.in;
    add_product(work, request, apart,
                cuda_matrix(CudaSide::a, {Kind::input, 1}, request.inputs[1].dtype, turned),
                planes(request, 0, s, s.out),
                matrix_of_c(request, {s.images, s.groups, s.in, s.x_plane()}));
    return false;
  }
  const std::int64_t tap_rows = std::max<std::int64_t>(down.taps, 1),
                     tap_columns = std::max<std::int64_t>(across.taps, 1);
  const ImageOf w{.side = CudaSide::a,
                  .input = 1,
                  .groups = s.groups,
                  .image_stride = 0,
                  .group_stride = s.out * s.in * s.taps(),
                  .rows = s.rows.w,
                  .columns = s.columns.w,
                  .row = down.tap,
                  .column = across.tap,
                  .w = {.plane = s.taps()},
                  .k = {tap_rows, tap_columns, s.in * s.taps(), down.tap_step, across.tap_step},
                  .reads = gpu::Reads::along_k};
  const std::int64_t y_image = s.groups * s.out * s.y_plane();
  const ImageOf dy{.side = CudaSide::b,
                   .input = 0,
                   .groups = s.groups,
                   .image_stride = is_folded ? 0 : y_image,
                   .group_stride = s.out * s.y_plane(),
                   .rows = s.rows.y,
                   .columns = s.columns.y,
                   .row = down.place,
                   .column = across.place,
                   .w = {down.elements, across.elements, is_folded ? y_image : 0, 1, 1},
                   .k = {tap_rows, tap_columns, s.y_plane(), down.place_step, across.place_step},
                   .reads = gpu::Reads::one_by_one};
  const std::int64_t x_group = s.in * s.x_plane();
  CudaFactor dx = matrix_of_c(request, {s.images * s.groups, s.in, s.x_plane()});
  if (is_folded || !is_dense) {
    const std::int64_t first = down.first * s.columns.x + across.first;
    dx = {.type = "Lattice",
          .memory = output(),
          .fields = {{"row_stride", s.x_plane()},
                     {"batch_stride", x_group},
                     {"columns", is_folded ? s.x_plane() : across.elements},
                     {"line", is_folded ? s.groups * x_group : s.rows.stride * s.columns.x},
                     {"step", s.columns.stride}}};
    dx.memory.offset = first * static_cast<std::int64_t>(size_of(request.outputs[0].dtype));
  }
  add_product(work, request, is_folded ? folded : apart, w.factor(), dy.factor(), dx);
  return true;
}

}  // namespace

CudaWork conv2d_kernel(const CudaRequest& request) {
  const Sizes s(request.node.op.as<Conv2d>()->options, request.inputs[0].layout.shape,
                request.inputs[1].layout.shape, request.outputs[0].layout.shape);
  const std::int64_t k = s.in * s.taps(), x_group = s.in * s.x_plane();
  const CudaProduct apart = product_of(request, s.out, s.y_plane(), k, s.images * s.groups);
  const CudaProduct folded = product_of(request, s.out, s.images * s.y_plane(), k, s.groups);
  const bool is_folded = s.images > 1 && is_better(request, folded, apart);
  const auto weights = [&](std::int64_t images) {
    Layout layout = Layout::dense({images, s.groups, s.out, k});
    if (images > 0) layout.strides[0] = 0;
    return cuda_matrix(CudaSide::a, {Kind::input, 1}, request.inputs[1].dtype, layout);
  };
  CudaWork work;
  if (s.is_pointwise() && !is_folded) {
    add_product(work, request, apart, weights(s.images), planes(request, 0, s, s.in),
                matrix_of_c(request, {s.images, s.groups, s.out, s.y_plane()}));
    return work;
  }
  // Batch b is group b % groups of image b / groups; folded, the image is a digit of w.
  const ImageOf x{.side = CudaSide::b,
                  .input = 0,
                  .groups = 1,
                  .image_stride = x_group,
                  .group_stride = 0,
                  .rows = s.rows.x,
                  .columns = s.columns.x,
                  .row = -s.rows.padding,
                  .column = -s.columns.padding,
                  .w = {s.rows.y, s.columns.y, is_folded ? s.groups * x_group : 0, s.rows.stride,
                        s.columns.stride},
                  .k = {s.rows.w, s.columns.w, s.x_plane(), s.rows.dilation, s.columns.dilation},
                  .reads = gpu::Reads::one_by_one};
  if (is_folded) {
    const CudaFactor y{.type = "Lattice",
                       .memory = output(),
                       .fields = {{"row_stride", s.y_plane()},
                                  {"batch_stride", s.out * s.y_plane()},
                                  {"columns", s.y_plane()},
                                  {"line", s.groups * s.out * s.y_plane()},
                                  {"step", 1}}};
    add_product(work, request, folded, weights(1), x.factor(), y);
  } else {
    add_product(work, request, apart, weights(s.images), x.factor(),
                matrix_of_c(request, {s.images, s.groups, s.out, s.y_plane()}));
  }
  work.why = "implicit " + work.why;
  return work;
}

CudaWork conv2d_input_kernel(const CudaRequest& request) {
  const Sizes s(request.node.op.as<Conv2dInput>()->options, request.outputs[0].layout.shape,
                request.inputs[1].layout.shape, request.inputs[0].layout.shape);
  CudaWork work;
  int products = 0;
  bool is_implicit = false;
  for (const Residue& down : residues(s.rows)) {
    for (const Residue& across : residues(s.columns)) {
      is_implicit = add_residue(work, request, s, down, across);
      ++products;
    }
  }
  if (products != 1) work.why = fmt::format("{} implicit products, first {}", products, work.why);
  else if (is_implicit) work.why = "implicit " + work.why;
  return work;
}

CudaWork conv2d_weight_kernel(const CudaRequest& request) {
  const Sizes s(request.node.op.as<Conv2dWeight>()->options, request.inputs[0].layout.shape,
                request.outputs[0].layout.shape, request.inputs[1].layout.shape);
  const std::int64_t y_image = s.groups * s.out * s.y_plane(),
                     x_image = s.groups * s.in * s.x_plane();
  const ImageOf dy{.side = CudaSide::a,
                   .input = 1,
                   .groups = s.groups,
                   .image_stride = 0,
                   .group_stride = s.out * s.y_plane(),
                   .rows = s.rows.y,
                   .columns = s.columns.y,
                   .row = 0,
                   .column = 0,
                   .w = {.plane = s.y_plane()},
                   .k = {s.rows.y, s.columns.y, y_image, 1, 1},
                   .reads = gpu::Reads::along_k};
  const ImageOf x{.side = CudaSide::b,
                  .input = 0,
                  .groups = s.groups,
                  .image_stride = 0,
                  .group_stride = s.in * s.x_plane(),
                  .rows = s.rows.x,
                  .columns = s.columns.x,
                  .row = -s.rows.padding,
                  .column = -s.columns.padding,
                  .w = {s.rows.w, s.columns.w, s.x_plane(), s.rows.dilation, s.columns.dilation},
                  .k = {s.rows.y, s.columns.y, x_image, s.rows.stride, s.columns.stride},
                  .reads = gpu::Reads::along_k};
  CudaWork work;
  add_product(work, request,
              product_of(request, s.out, s.in * s.taps(), s.images * s.y_plane(), s.groups),
              dy.factor(), x.factor(), matrix_of_c(request, {s.groups, s.out, s.in * s.taps()}));
  work.why = "implicit " + work.why;
  return work;
}

}  // namespace blockgrad
