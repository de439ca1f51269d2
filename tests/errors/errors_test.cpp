// Exact messages of wrong shapes and dtypes: the op, both shapes, and the user's own line.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <string>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

const Expr m23 = input("m23", {2, 3}), m45 = input("m45", {4, 5}), m43 = input("m43", {4, 3}),
           v4 = input("v4", {4}), one = input("one", {});
const Expr image = input("image", {2, 4, 5, 6}), line = input("line", {2, 4, 6}),
           kernel = input("kernel", {3, 4, 2, 3}), taps = input("taps", {3, 4, 3}),
           v3 = input("v3", {3}), state3 = state(zeros({3}), "state3"),
           state4 = state(zeros({4}), "state4");
Context context;
const Expr d23 = input("d23", {2, 3}, DType::f64), i2 = input("i2", {2}, DType::i32),
           b2 = input("b2", {2}, DType::boolean);

struct Row {
  int line;  // of the row below, the user's line in the message
  std::function<void()> mistake;
  const char* message;  // @ stands for "errors_test.cpp:<line>"
};

#define BG_ROW(mistake, message)                          \
  Row {                                                   \
    __LINE__, [] { static_cast<void>(mistake); }, message \
  }

// clang-format off
const Row rows[] = {
    BG_ROW(m23 + m45, "add (@): shapes do not broadcast: [2, 3] and [4, 5]"),
    BG_ROW(m23 * d23, "multiply (@): multiply wants one dtype, got f32 and f64; convert one with astype"),
    BG_ROW(exp(i2), "exp (@): exp wants a floating dtype, got i32; convert with astype"),
    BG_ROW(i2 + 0.5, "add (@): the number 0.5 does not fit i32; convert the tensor with astype"),
    BG_ROW(floor_divide(i2, 0.0), "floor_divide (@): the divisor of i32 must not be 0"),
    BG_ROW(remainder(i2, 0.0), "remainder (@): the divisor of i32 must not be 0"),
    BG_ROW(make(CheckDivisor{}, {m23}), "check_divisor (@): wants integers, got f32"),
    BG_ROW(b2 + b2, "add (@): add wants numbers, got bool"),
    BG_ROW(logical_and(m23, m23), "logical_and (@): logical_and wants bool, got f32"),
    BG_ROW(where(m23, m23, m23), "where (@): where wants a bool condition, got f32"),
    BG_ROW(where(m23 > 0.0, m23, m45), "where (@): shapes do not broadcast: [2, 3] and [4, 5]"),
    BG_ROW(maximum(m23, v4), "maximum (@): shapes do not broadcast: [2, 3] and [4]"),
    BG_ROW(fma(m23, m23, d23), "fma (@): fma wants one dtype, got f32 and f64; convert one with astype"),
    BG_ROW(add(m23, Expr()), "add (@): an operand is an empty Expr (@)"),
    BG_ROW(matmul(m23, m45), "matmul (@): inner sizes differ: [2, 3] x [4, 5]"),
    BG_ROW(matmul(m23, m43), "matmul (@): inner sizes differ: [2, 3] x [4, 3]; the second operand would fit with {.transpose_b = true}"),
    BG_ROW(matmul(m23, d23, {.transpose_b = true}), "matmul (@): dtypes differ: f32 and f64; convert one with astype"),
    BG_ROW(matmul(i2, i2), "matmul (@): wants a floating dtype, got i32"),
    BG_ROW(make(MatMul{DType::f16}, {m23, transpose(m23)}), "matmul (@): the product of f32 is f32, not f16"),
    BG_ROW(make(MatMul{DType::f16}, {astype(m23, DType::bf16), astype(transpose(m23), DType::bf16)}), "matmul (@): the product of bf16 is f32 or bf16, not f16"),
    BG_ROW(matmul(one, m23), "matmul (@): wants matrices, got [] x [2, 3]"),
    BG_ROW(matmul(broadcast_to(m23, {2, 2, 3}), broadcast_to(m43, {5, 3, 4, 3}), {.transpose_b = true}), "matmul (@): batch axes do not broadcast: [2, 2, 3] x [5, 3, 3, 4]"),
    BG_ROW(linear(m23, m45, v4), "matmul (@): inner sizes differ: [2, 3] x [4, 5]"),
    BG_ROW(linear(m43, transpose(m23), v4), "add (@): shapes do not broadcast: [4, 2] and [4]"),
    BG_ROW(sum(m23, 2), "sum (@): axis 2 is outside [-2, 2) for shape [2, 3]"),
    BG_ROW(max(m23, {0, -2}), "max (@): axis -2 is named twice for shape [2, 3]"),
    BG_ROW(mean(i2), "mean (@): wants a floating dtype, got i32; convert with astype"),
    BG_ROW(all(m23), "all (@): wants bool, got f32"),
    BG_ROW(argmax(b2, 0), "argmax (@): wants numbers, got bool"),
    BG_ROW(max(slice(m23, 1, 0, 0), 1), "max (@): no element to pick along an axis of size 0 of [2, 0]"),
    BG_ROW(logsumexp(m23, 5), "logsumexp (@): axis 5 is outside [-2, 2) for shape [2, 3]"),
    BG_ROW(logsumexp(i2, 0), "logsumexp (@): wants a floating dtype, got i32"),
    BG_ROW(softmax(m23, 2), "softmax (@): axis 2 is outside [-2, 2) for shape [2, 3]"),
    BG_ROW(softmax(i2), "softmax (@): wants a floating dtype, got i32"),
    BG_ROW(log_softmax(one), "log_softmax (@): axis -1 is outside [0, 0) for shape []"),
    BG_ROW(reshape(m23, Shape{4}), "reshape (@): cannot reshape [2, 3] to [4]: 6 elements against 4"),
    BG_ROW(reshape(m23, std::vector<std::int64_t>{4, -1}), "reshape (@): the size -1 cannot be worked out for 6 elements and 4"),
    BG_ROW(reshape(m23, std::vector<std::int64_t>{-1, -1}), "reshape (@): only one size may be -1"),
    BG_ROW(broadcast_to(m23, {2, 4}), "broadcast_to (@): cannot broadcast [2, 3] to [2, 4]"),
    BG_ROW(broadcast_to(m23, {3}), "broadcast_to (@): cannot broadcast [2, 3] to [3]"),
    BG_ROW(permute_dims(m23, std::vector{0}), "permute_dims (@): [2, 3] has 2 axes, got 1"),
    BG_ROW(permute_dims(m23, std::vector{0, 2}), "permute_dims (@): axis 2 is outside [-2, 2)"),
    BG_ROW(permute_dims(m23, std::vector{1, -1}), "permute_dims (@): axis -1 is named twice"),
    BG_ROW(transpose(v4), "transpose (@): wants at least two axes, got [4]"),
    BG_ROW(squeeze(m23, 0), "squeeze (@): axis 0 of [2, 3] is not of size 1"),
    BG_ROW(expand_dims(m23, 4), "expand_dims (@): axis 4 is outside [-3, 3)"),
    BG_ROW(expand_dims(m23, {0, -4}), "expand_dims (@): axis -4 is named twice"),
    BG_ROW(squeeze(m23, {-2}), "squeeze (@): axis -2 of [2, 3] is not of size 1"),
    BG_ROW(squeeze(one, 0), "squeeze (@): axis 0 is outside [0, 0)"),
    BG_ROW(flip(m23, {0, 0}), "flip (@): axis 0 is named twice"),
    BG_ROW(flip(m23, 2), "flip (@): axis 2 is outside [-2, 2)"),
    BG_ROW(slice(m23, 0, 0, 1, 0), "slice (@): the step must not be 0"),
    BG_ROW(slice(m23, {{}, {.step = 0}}), "slice (@): the step must not be 0"),
    BG_ROW(slice(v4, {{}, {}}), "slice (@): [4] has 1 axes, got 2 ranges"),
    BG_ROW(split(m23, 2, -1), "split (@): cannot cut axis -1 of [2, 3] into 2 equal parts"),
    BG_ROW(split(m23, 0, 0), "split (@): cannot cut axis 0 of [2, 3] into 0 equal parts"),
    BG_ROW(split(m23, {1, 3}, 1), "split (@): sizes add up to 4, axis 1 of [2, 3] has 3"),
    BG_ROW(split(m23, {4, -1}, 1), "split (@): a size must not be negative, got -1"),
    BG_ROW(split(m23, 1, 2), "split (@): axis 2 is outside [-2, 2)"),
    BG_ROW(stack({}, 0), "stack (@): wants at least one part"),
    BG_ROW(stack({m23, m45}, 0), "stack (@): parts must have one shape, got [2, 3] and [4, 5]"),
    BG_ROW(stack({m23, d23}, 0), "stack (@): parts differ in dtype: f32 and f64"),
    BG_ROW(stack({m23, m23}, 3), "stack (@): axis 3 is outside [-3, 3)"),
    BG_ROW(stack({m23, Expr()}, 0), "stack (@): an operand is an empty Expr (@)"),
    BG_ROW(concat({m23, Expr()}, 0), "concat (@): an operand is an empty Expr (@)"),
    BG_ROW(pad(m23, {1}, {1}), "pad (@): wants 2 numbers below and 2 above for [2, 3], got 1 and 1"),
    BG_ROW(pad(m23, {0, -1}, {0, 0}), "pad (@): padding must not be negative, got -1; use slice to take away"),
    BG_ROW(pad(i2, {1}, {0}, 0.5), "pad (@): the value 0.5 does not fit i32"),
    BG_ROW(pad(i2, {1}, {0}, 2147483648.0), "pad (@): the value 2147483648 does not fit i32"),
    BG_ROW(pad(b2, {1}, {0}, 2), "pad (@): the value 2 does not fit bool"),
    BG_ROW(pad(v4, {std::int64_t{1} << 62}, {std::int64_t{1} << 62}), "pad (@): size 4611686018427387908 + 4611686018427387904 does not fit 64 bits"),
    BG_ROW(broadcast_to(one, {std::int64_t{1} << 62}), "broadcast_to (@): size 4611686018427387904 x 4 does not fit 64 bits"),
    BG_ROW(tile(m23, {2, -1}), "tile (@): a number of repeats must not be negative, got -1"),
    BG_ROW(tile(m23, {std::int64_t{1} << 62}), "tile (@): size 3 x 4611686018427387904 does not fit 64 bits"),
    BG_ROW(repeat(m23, -1, 0), "repeat (@): the count must not be negative, got -1"),
    BG_ROW(repeat(m23, 2, 2), "repeat (@): axis 2 is outside [-2, 2)"),
    BG_ROW(windows(m23, {3}, {}, {2}), "windows (@): a window of 3 with dilation 2 is larger than axis 1 of [2, 3]"),
    BG_ROW(windows(m23, {3, 3}), "windows (@): a window of 3 with dilation 1 is larger than axis 0 of [2, 3]"),
    BG_ROW(windows(m23, {2, 2, 2}), "windows (@): wants 1 to 2 sizes for [2, 3], got 3"),
    BG_ROW(windows(m23, {0}), "windows (@): a size must be at least 1, got 0"),
    BG_ROW(windows(m23, {2}, {0}), "windows (@): a stride must be at least 1, got 0"),
    BG_ROW(windows(m23, {2}, {1, 1}), "windows (@): wants a stride for each of 1 sizes, got 2"),
    BG_ROW(windows(m23, {2}, {1}, {0}), "windows (@): a dilation must be at least 1, got 0"),
    BG_ROW(windows(reshape(m23, Shape{1, 1, 1, 1, 1, 2, 3}), {1, 1}), "windows (@): a shape has at most 8 axes, got 9"),
    BG_ROW(slice(m23, 2, 0, 1), "slice (@): axis 2 is outside [-2, 2)"),
    BG_ROW(concat(std::vector<Expr>{m23, m45}, 0), "concat (@): parts do not fit along axis 0: [2, 3] and [4, 5]"),
    BG_ROW(concat(std::vector<Expr>{m23, d23}, 0), "concat (@): parts differ in dtype: f32 and f64"),
    BG_ROW(concat(std::vector<Expr>{}, 0), "concat (@): wants at least one part"),
    BG_ROW(coordinate({2}, 3), "coordinate (@): axis 3 is outside [-1, 1)"),
    BG_ROW(take(m23, m23), "take (@): indices must be i32 or i64, got f32"),
    BG_ROW(take(one, i2), "take (@): wants rows, got a scalar"),
    BG_ROW(scatter_add(m23, i2, m45), "scatter_add (@): the added rows must have shape [2, 3], got [4, 5]"),
    BG_ROW(scatter_add(m23, i2, d23), "scatter_add (@): dtypes differ: f32 and f64"),
    BG_ROW(one_hot(m23, 3), "one_hot (@): indices must be i32 or i64, got f32"),
    BG_ROW(conv2d(m23, kernel), "conv2d (@): wants two operands of 4 axes, got [2, 3] and [3, 4, 2, 3]"),
    BG_ROW(conv2d(image, d23), "conv2d (@): dtypes differ: f32 and f64; convert one with astype"),
    BG_ROW(conv2d(i2, i2), "conv2d (@): wants a floating dtype, got i32"),
    BG_ROW(conv2d(slice(image, 3, 0, 2), kernel), "conv2d (@): the kernel covers 3 elements along axis 3 (1 x (3 - 1) + 1), the padded input has 2 (2 + 2 x 0)"),
    BG_ROW(conv2d(slice(image, 1, 0, 3), kernel), "conv2d (@): the weight must have 3 input channels per group, it is [3, 4, 2, 3] for x [2, 3, 5, 6]"),
    BG_ROW(conv2d(image, kernel, {.dilation = {1, 3}}), "conv2d (@): the kernel covers 7 elements along axis 3 (3 x (3 - 1) + 1), the padded input has 6 (6 + 2 x 0)"),
    BG_ROW(conv2d(image, kernel, {.stride = {1, 0}}), "conv2d (@): the stride must be at least 1, got 0"),
    BG_ROW(conv2d(image, kernel, {.padding = -1}), "conv2d (@): the padding must not be negative, got -1"),
    BG_ROW(conv2d(image, kernel, {.dilation = 0}), "conv2d (@): the dilation must be at least 1, got 0"),
    BG_ROW(conv2d(image, slice(kernel, 3, 0, 0)), "conv2d (@): the kernel has no element along axis 3"),
    BG_ROW(conv2d(image, kernel, {.groups = 2}), "conv2d (@): 2 groups must divide the 4 channels of x and the 3 of the result"),
    BG_ROW(conv2d(image, kernel, {.groups = 0}), "conv2d (@): groups must be at least 1, got 0"),
    BG_ROW(conv2d(image, kernel, {}, v4), "conv2d (@): the bias must be f32[3], got f32[4]"),
    BG_ROW(conv2d(image, kernel, {.padding = std::int64_t{1} << 62}), "conv2d (@): size 2 x 4611686018427387904 does not fit 64 bits"),
    BG_ROW(conv2d(Expr(), kernel), "conv2d (@): an operand is an empty Expr (@)"),
    BG_ROW(conv1d(line, taps, {.dilation = 3}), "conv1d (@): the kernel covers 7 elements along axis 2 (3 x (3 - 1) + 1), the padded input has 6 (6 + 2 x 0)"),
    BG_ROW(make(Reduce{ReduceKind::max, 1}, {astype(m23, DType::bf16)}), "max (@): compares bf16 as f32 only; use reduce()"),
    BG_ROW(conv1d(image, taps), "conv1d (@): wants two operands of 3 axes, got [2, 4, 5, 6] and [3, 4, 3]"),
    BG_ROW(conv1d(line, taps, {}, v4), "conv1d (@): the bias must be f32[3], got f32[4]"),
    BG_ROW(conv_transpose2d(image, kernel), "conv_transpose2d (@): the weight must have 4 input channels, it is [3, 4, 2, 3] for x [2, 4, 5, 6]"),
    BG_ROW(conv_transpose2d(image, image, {.groups = 3}), "conv_transpose2d (@): 3 groups must divide the 4 channels of x"),
    BG_ROW(conv_transpose2d(slice(image, 1, 0, 3), kernel, {.output_padding = 1}), "conv_transpose2d (@): the output padding must be 0 or more and below the stride 1 or the dilation 1, got 1"),
    BG_ROW(conv_transpose2d(slice(image, 1, 0, 3), kernel, {.padding = 3}), "conv_transpose2d (@): the output size (5 - 1) x 1 - 2 x 3 + 1 x (2 - 1) + 0 + 1 of axis 2 is below 1"),
    BG_ROW(conv_transpose2d(slice(image, {{}, {0, 3}, {0, 0}}), kernel), "conv_transpose2d (@): wants at least one element along axis 2, got [2, 3, 0, 6]"),
    BG_ROW(conv_transpose1d(slice(line, 1, 0, 3), taps, {.output_padding = -1}), "conv_transpose1d (@): the output padding must be 0 or more and below the stride 1 or the dilation 1, got -1"),
    BG_ROW(make(Conv2dInput{{}, 9}, {image, kernel}), "conv2d_input (@): the adjoint must have shape [2, 3, 8, 7], got [2, 4, 5, 6]"),
    BG_ROW(make(Conv2dWeight{{}, 2}, {image, image}), "conv2d_weight (@): the adjoint must have shape [2, 4, 4, 5], got [2, 4, 5, 6]"),
    BG_ROW(make(Conv2d{}, {astype(image, DType::bf16), astype(kernel, DType::bf16)}), "conv2d (@): the product of bf16 wants `result`, f32 or bf16; conv2d() sets it"),
    BG_ROW(make(Conv2dInput{{}, {6, 8}}, {astype(slice(image, 1, 0, 3), DType::f16), astype(kernel, DType::f16)}), "conv2d_input (@): the product of f16 wants `result`, f32 or f16; conv_transpose2d() sets it"),
    BG_ROW(make(Conv2dWeight{{}, 2}, {astype(image, DType::bf16), astype(image, DType::bf16)}), "conv2d_weight (@): the product of bf16 wants `result`, f32 or bf16; conv2d() sets it"),
    BG_ROW(make(MaxPool2d{2, 2, 0}, {astype(image, DType::bf16)}), "max_pool2d (@): pools bf16 as f32 only; use max_pool2d()"),
    BG_ROW(make(MaxPool2dInput{2, 2, 0}, {image, image}), "max_pool2d_input (@): the adjoint must be f32[2, 4, 2, 3], got f32[2, 4, 5, 6]"),
    BG_ROW(make(MaxPool2dPick{2, 2, 0}, {image, kernel}), "max_pool2d_pick (@): the values must be f32[2, 4, 5, 6], got f32[3, 4, 2, 3]"),
    BG_ROW(max_pool2d(image, 7), "max_pool2d (@): the window covers 7 elements along axis 2, the padded input has 5 (5 + 2 x 0)"),
    BG_ROW(max_pool2d(image, 2, {.padding = {0, 2}}), "max_pool2d (@): a window of padding only has no value: axis 3 of [2, 4, 5, 6] with a window of 2 and a padding of 2"),
    BG_ROW(max_pool2d(slice(image, 2, 0, 0), 2, {.padding = 1}), "max_pool2d (@): a window of padding only has no value: axis 2 of [2, 4, 0, 6] with a window of 2 and a padding of 1"),
    BG_ROW(max_pool2d(image, 0), "max_pool2d (@): the size must be at least 1, got 0"),
    BG_ROW(max_pool2d(image, 2, {.stride = 0}), "max_pool2d (@): the stride must be at least 1, got 0"),
    BG_ROW(max_pool2d(v4, 2), "max_pool2d (@): wants 2 to 6 axes, got [4]"),
    BG_ROW(max_pool1d(i2, 2), "max_pool1d (@): wants a floating dtype, got i32"),
    BG_ROW(max_pool1d(v4, 5), "max_pool1d (@): the window covers 5 elements along axis 0, the padded input has 4 (4 + 2 x 0)"),
    BG_ROW(avg_pool2d(image, 2, {.padding = -1}), "avg_pool2d (@): the padding must not be negative, got -1"),
    BG_ROW(avg_pool1d(one, 1), "avg_pool1d (@): wants 1 to 7 axes, got []"),
    BG_ROW(global_avg_pool(m23), "global_avg_pool (@): wants [N, C, ..], got [2, 3]"),
    BG_ROW(layer_norm(m23, v4, {}), "layer_norm (@): gain must be f32[3], got f32[4]"),
    BG_ROW(layer_norm(m23, v3, v4), "layer_norm (@): shift must be f32[3], got f32[4]"),
    BG_ROW(layer_norm(m23, {}, {}, -1, 0), "layer_norm (@): eps must be positive as f32, got 0"),
    BG_ROW(layer_norm(m23, {}, {}, -1, 1e-60), "layer_norm (@): eps must be positive as f32, got 1e-60"),
    BG_ROW(layer_norm(m23, {}, {}, Axes{}), "layer_norm (@): wants at least one axis"),
    BG_ROW(layer_norm(m23, {}, {}, 2), "layer_norm (@): axis 2 is outside [-2, 2)"),
    BG_ROW(layer_norm(i2, {}, {}), "layer_norm (@): wants a floating dtype, got i32"),
    BG_ROW(rms_norm(m23, {}, {}, {0, -2}), "rms_norm (@): axis -2 is named twice"),
    BG_ROW(rms_norm(d23, v3), "rms_norm (@): gain must be f64[3], got f32[3]"),
    BG_ROW(group_norm(line, 3, {}, {}), "group_norm (@): 3 groups must divide the 4 channels of [2, 4, 6]"),
    BG_ROW(group_norm(v4, 1, {}, {}), "group_norm (@): wants [N, C, ..], got [4]"),
    BG_ROW(group_norm(line, 2, v3, {}), "group_norm (@): gain must be f32[4], got f32[3]"),
    BG_ROW(batch_norm(line, {}, {}, v3, v4), "batch_norm (@): mean must be f32[4], got f32[3]"),
    BG_ROW(batch_norm(line, {}, {}, v4, {}), "batch_norm (@): wants a variance"),
    BG_ROW(batch_norm(line, {}, {}, BatchStats{v4, v4}, context), "batch_norm (@): the running statistics must be states"),
    BG_ROW(batch_norm(line, {}, {}, BatchStats{state3, state3}, context), "batch_norm (@): mean must be f32[4], got f32[3]"),
    BG_ROW(batch_norm(line, {}, {}, BatchStats{state4, state4}, context, {.momentum = 1.5}), "batch_norm (@): the momentum must lie in [0, 1], got 1.5"),
    BG_ROW(batch_norm(slice(m23, 0, 0, 1), {}, {}, BatchStats{state3, state3}, context), "batch_norm (@): training wants at least two values per channel, got [1, 3]"),
    BG_ROW(batch_norm_training(v4, {}, {}).y, "batch_norm (@): wants [N, C, ..], got [4]"),
    BG_ROW(batch_norm_training(slice(m23, 0, 0, 1), {}, {}).y, "batch_norm (@): training wants at least two values per channel, got [1, 3]"),
    BG_ROW(mse_loss(m23, v4), "mse_loss (@): shapes must be equal, got [2, 3] and [4]"),
    BG_ROW(mse_loss(m23, reshape(m23, {6})), "mse_loss (@): shapes must be equal, got [2, 3] and [6]; reshape one to the other's"),
    BG_ROW(mse_loss(m23, d23), "mse_loss (@): wants one dtype, got f32 and f64; convert one with astype"),
    BG_ROW(cross_entropy(m23, v4), "cross_entropy (@): labels must be i32 or i64, got f32"),
    BG_ROW(cross_entropy(m45, i2), "cross_entropy (@): logits [4, 5] want labels of shape [4], got [2]"),
    BG_ROW(accuracy(m45, i2), "accuracy (@): logits [4, 5] want labels of shape [4], got [2]"),
    BG_ROW(penalty(m23), "penalty (@): wants a floating scalar, got f32[2, 3]"),
};
// clang-format on

}  // namespace

BOOST_AUTO_TEST_SUITE(errors)

BOOST_AUTO_TEST_CASE(wrong_shapes_and_dtypes_are_told_in_full) {
  for (const Row& row : rows) {
    std::string expected;
    for (const char* c = row.message; *c; ++c)
      expected += *c == '@' ? "errors_test.cpp:" + std::to_string(row.line) : std::string(1, *c);
    std::string text = "no error";
    try {
      row.mistake();
    } catch (const Error& error) {
      text = error.what();
    }
    BOOST_TEST(text == expected);
  }
}

BOOST_AUTO_TEST_CASE(a_scope_stands_in_front_of_the_op_with_its_own_line) {
  std::string text;
  const int line = __LINE__ + 2;
  try {
    const Scope scope("block3");
    static_cast<void>(matmul(m23, m45));
  } catch (const Error& error) {
    text = error.what();
  }
  BOOST_TEST(text == "block3.matmul (errors_test.cpp:" + std::to_string(line) +
                         "): inner sizes differ: [2, 3] x [4, 5]");
}

BOOST_AUTO_TEST_CASE(operators_name_the_line_of_their_expression) {
  std::string text;
  const int line = __LINE__ + 2;
  try {
    static_cast<void>(1.0 - m23 / v4);
  } catch (const Error& error) {
    text = error.what();
  }
  BOOST_TEST(text == "divide (errors_test.cpp:" + std::to_string(line) +
                         "): shapes do not broadcast: [2, 3] and [4]");
}

BOOST_AUTO_TEST_SUITE_END()
