// Seeded shuffles: Fisher-Yates with unbiased random indices.
// Source of the index without division: Lemire, "Fast Random Integer Generation in an Interval",
// TOMACS 29, 2019.
#include <limits>
#include <numeric>
#include <utility>

#include "blockgrad/data/dataset.h"
#include "blockgrad/graph/philox.h"

namespace blockgrad::data {

namespace {

// 32 random bits at a time. The counter is (block, epoch), the top word marked, so that shuffles
// share no block with the random numbers of a graph that uses the same seed.
class ShuffleBits {
 public:
  ShuffleBits(std::uint64_t seed, std::uint64_t epoch) : seed_(seed), epoch_(epoch) {}

  std::uint32_t next() {
    const auto word = static_cast<std::uint32_t>(count_ % 4);
    if (word == 0) {
      constexpr std::uint32_t mark = 0x53485546;  // "SHUF"
      const std::uint64_t block = count_ / 4;
      block_ = philox({{low(block), high(block), low(epoch_), high(epoch_) ^ mark}}, low(seed_),
                      high(seed_));
    }
    ++count_;
    return block_.word[word];
  }

 private:
  static std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

  std::uint64_t seed_;
  std::uint64_t epoch_;
  std::uint64_t count_ = 0;
  PhiloxBlock block_{};
};

// Equally likely in [0, n): the 2^32 mod n products that would make some results likelier are drawn
// again.
std::uint32_t below(std::uint32_t n, ShuffleBits& bits) {
  for (;;) {
    const std::uint64_t product = std::uint64_t{bits.next()} * n;
    const auto rest = static_cast<std::uint32_t>(product);
    if (rest >= n || rest >= (0U - n) % n) return static_cast<std::uint32_t>(product >> 32);
  }
}

}  // namespace

void fill_permutation(std::span<std::int32_t> order, std::uint64_t seed, std::uint64_t epoch) {
  require(order.size() <= std::size_t{std::numeric_limits<std::int32_t>::max()},
          "a permutation of ", order.size(), " numbers does not fit i32");
  std::iota(order.begin(), order.end(), 0);
  ShuffleBits bits(seed, epoch);
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[below(static_cast<std::uint32_t>(left), bits)]);
  }
}

Tensor permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  require(n >= 0 && n <= std::numeric_limits<std::int32_t>::max(), "a permutation of ", n,
          " numbers does not fit i32");
  const TensorType type{DType::i32, {n}};
  auto data = allocate_bytes(bytes_of(type));
  fill_permutation({reinterpret_cast<std::int32_t*>(data.get()), static_cast<std::size_t>(n)}, seed,
                   epoch);
  return adopt(type, std::move(data));
}

}  // namespace blockgrad::data
