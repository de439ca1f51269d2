#include "digits_mlp/digits.h"

#include <filesystem>

#include "blockgrad/data/readers.h"
#include "support/drawn_digits.h"

namespace digits_mlp {

using namespace blockgrad;

namespace {

std::string find_file(const std::string& folder, const std::string& name) {
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::path(folder) / name;
  if (std::filesystem::exists(path, ignored)) return path.string();
  const std::string packed = path.string() + ".gz";
  require(std::filesystem::exists(packed, ignored), folder, ": there is neither ", name, " nor ",
          name, ".gz; MNIST is four such files");
  return packed;
}

data::Dataset read_part(const std::string& folder, const std::string& part) {
  const std::string image_file = find_file(folder, part + "-images-idx3-ubyte");
  const std::string label_file = find_file(folder, part + "-labels-idx1-ubyte");
  const Tensor images = data::read_idx(image_file), labels = data::read_idx(label_file);
  require(images.dtype() == DType::u8 && images.shape().rank() == 3, image_file,
          ": expected bytes with three axes, got ", to_string(images.type()));
  require(labels.dtype() == DType::u8 && labels.shape() == Shape{images.shape()[0]}, label_file,
          ": expected a byte for each of ", images.shape()[0], " images, got ",
          to_string(labels.type()));
  const auto values = labels.span<std::uint8_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    require(values[i] < 10, label_file, ": expected labels from 0 to 9, got ", int{values[i]},
            " at position ", i);
  }
  return {{"image", images}, {"label", labels.astype(DType::i32)}};
}

data::Dataset draw_part(std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  const examples::DrawnDigits drawn = examples::draw_digits(count, seed, stream);
  return {{"image", drawn.images}, {"label", drawn.labels.astype(DType::i32)}};
}

}  // namespace

Digits read_mnist(const std::string& folder) {
  std::error_code ignored;
  require(std::filesystem::is_directory(folder, ignored), folder, ": there is no such folder");
  Digits digits{folder, read_part(folder, "train"), read_part(folder, "t10k")};
  const Shape train = digits.training["image"].shape(), test = digits.test["image"].shape();
  require(train[1] == test[1] && train[2] == test[2], folder,
          ": images to train and to test differ in size: ", train, " and ", test);
  return digits;
}

Digits draw(std::uint64_t seed) {
  return {"drawn digits", draw_part(10000, seed, 1), draw_part(2000, seed, 2)};
}

}  // namespace digits_mlp
