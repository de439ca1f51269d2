// Edges in a picture by one convolution: eight times each pixel minus its eight neighbours. Where
// all are equal nothing is left.

#include <cmath>
#include <cstdio>
#include <filesystem>

#include "blockgrad/blockgrad.h"
#include "blockgrad/data/files.h"
#include "support/command_line.h"
#include "support/pgm.h"

namespace {

using namespace blockgrad;
using examples::GreyImage;

/// Adds up to 0: an even area leaves nothing.
Tensor edge_kernel() {
  return tensor({-1.F, -1.F, -1.F,  //
                 -1.F, 8.F, -1.F,   //
                 -1.F, -1.F, -1.F},
                {3, 3});
}

/// y[i, j] = sum over p, q of kernel[p, q] x[i + p - 1, j + q - 1], x read as 0 outside.
/// image: f32 [height, width] -> the same.
Expr edges(const Expr& image) {
  const Tensor kernel = edge_kernel().reshape({1, 1, 3, 3});
  const std::int64_t height = image.shape()[0], width = image.shape()[1];
  const Expr x = reshape(image, Shape{1, 1, height, width});   // [1, 1, H, W]
  const Expr y = conv2d(x, constant(kernel), {.padding = 1});  // [1, 1, H, W]
  return reshape(y, image.shape());                            // [H, W]
}

Tensor detect(const Tensor& image) {
  const Expr x = input("image", image.shape());
  return evaluate(edges(x), {{x, image}});
}

void print(const char* title, const Tensor& image) {
  std::printf("%s\n", title);
  for (std::int64_t row = 0; row < image.shape()[0]; ++row) {
    for (std::int64_t column = 0; column < image.shape()[1]; ++column)
      std::printf(" %3g", image.at(row * image.shape()[1] + column));
    std::printf("\n");
  }
}

void show_square() {
  const Tensor square = tensor({0.F, 0.F, 0.F, 0.F, 0.F,  //
                                0.F, 1.F, 1.F, 1.F, 0.F,  //
                                0.F, 1.F, 1.F, 1.F, 0.F,  //
                                0.F, 1.F, 1.F, 1.F, 0.F,  //
                                0.F, 0.F, 0.F, 0.F, 0.F},
                               {5, 5});
  print("An image with a square of ones:", square);
  print("\nThe kernel:", edge_kernel());
  print("\nConvolved, zeros around the image:", detect(square));
  std::printf(
      "\n0 inside the square: a pixel like its neighbours. 3 at the middle of an edge, 5 at a "
      "corner:\nthe more neighbours differ, the more is left.\n");
}

/// The size of each edge, bright where it is strong; what exceeds white is white.
void detect_in_file(const std::string& path, const std::string& output) {
  const GreyImage image = examples::read_pgm(path);
  const std::vector<float> pixels(image.pixels.begin(), image.pixels.end());
  const Tensor found = detect(tensor(std::span<const float>(pixels), {image.height, image.width}));
  GreyImage drawn = image;
  const auto values = found.span<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float size = std::fmin(std::fabs(values[i]), static_cast<float>(image.white));
    drawn.pixels[i] = static_cast<std::uint16_t>(size);
  }
  data::write_text_file(output, examples::pgm_text(drawn));
  std::printf("%s: %d x %d pixels, white is %d\n  wrote %s\n", path.c_str(), image.width,
              image.height, image.white, output.c_str());
}

int run(int argc, char** argv) {
  std::string image, output;
  CLI::App app(
      "Finds edges by a convolution with the kernel 8 in the middle and -1 around it.\n"
      "Without options: an image of 5 x 5 pixels, with all numbers.",
      "edge_detection");
  CLI::Option* const chosen =
      app.add_option("--image", image, "a grey image, P2 or P5")->type_name("FILE.pgm");
  app.add_option("--output", output, "where its edges go (default: FILE_edges.pgm beside it)")
      ->check(CLI::Validator(examples::check_output_file, ""))
      ->needs(chosen)
      ->type_name("FILE.pgm");
  if (const auto end = examples::parse(app, argc, argv)) return *end;
  if (image.empty()) {
    show_square();
    return 0;
  }
  if (output.empty()) {
    const std::filesystem::path path(image);
    output = (path.parent_path() / path.stem()).string() + "_edges.pgm";
  }
  std::error_code ignored;
  require(!std::filesystem::equivalent(image, output, ignored), "the image ", image,
          " would be overwritten");
  detect_in_file(image, output);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("edge_detection", [&] { return run(argc, argv); });
}
