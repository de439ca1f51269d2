#include "backends/cuda/products/product_trial.h"

#include <algorithm>
#include <cstring>

#include "blockgrad/graph/error.h"
#include "blockgrad/graph/half.h"

namespace blockgrad {

namespace {

using Kind = CudaArg::Kind;

std::int64_t field_of(const CudaFactor& factor, std::string_view name) {
  for (const CudaFactor::Field& field : factor.fields) {
    if (field.name == name) return field.value;
  }
  return 0;
}

/// From the beginning of its memory to its last element; strides are not negative (lt_problem).
std::int64_t bytes_of(const CudaFactor& factor, std::int64_t rows, std::int64_t columns,
                      std::int64_t batch, DType dtype) {
  const std::int64_t last = (rows - 1) * field_of(factor, "row") +
                            (columns - 1) * field_of(factor, "column") +
                            (batch - 1) * field_of(factor, "batch");
  return factor.memory.offset + (last + 1) * static_cast<std::int64_t>(size_of(dtype));
}

/// The next one of a sequence (splitmix64: Steele, Lea, Flood 2014), in [-1, 1).
double next_number(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

void put(DType dtype, std::byte* to, double value) {
  const auto store = [&](auto number) { std::memcpy(to, &number, sizeof number); };
  switch (dtype) {
    case DType::f64: return store(value);
    case DType::bf16: return store(detail::to_bf16(static_cast<float>(value)));
    case DType::f16: return store(detail::to_f16(static_cast<float>(value)));
    default: return store(static_cast<float>(value));
  }
}

}  // namespace

ProductTrial::ProductTrial(CudaRuntime& runtime, const CudaMatMul& of, std::int64_t rotated_bytes)
    : runtime_(runtime), dtype_(of.product.dtype) {
  const CudaProduct& p = of.product;
  const std::int64_t a = bytes_of(of.a, p.m, p.k, p.batch, p.dtype),
                     b = bytes_of(of.b, p.k, p.n, p.batch, p.dtype);
  bytes_of_c_ = bytes_of(of.c, p.m, p.n, p.batch, of.result);
  const std::int64_t one = a + b + bytes_of_c_;
  constexpr std::int64_t most_sets = 64;
  const std::int64_t fitting = std::max<std::int64_t>(runtime.free_bytes() / 2 / one, 1);
  const std::int64_t wanted = rotated_bytes / one + (rotated_bytes % one != 0);
  const std::int64_t count = std::clamp<std::int64_t>(wanted, 1, std::min(most_sets, fitting));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto seed = static_cast<std::uint64_t>(2 * i);
    sets_.push_back({drawn(a, seed), drawn(b, seed + 1), runtime_.allocate(bytes_of_c_)});
  }
}

std::shared_ptr<std::byte> ProductTrial::drawn(std::int64_t bytes, std::uint64_t seed) {
  // A prime number of elements is repeated, so rows differ.
  constexpr std::int64_t period = 1048573;
  const auto size = static_cast<std::int64_t>(size_of(dtype_));
  const std::int64_t part = std::min(bytes, period * size);
  std::vector<std::byte> numbers(static_cast<std::size_t>(part));
  std::uint64_t state = seed << 32;
  for (std::int64_t at = 0; at + size <= part; at += size)
    put(dtype_, numbers.data() + at, next_number(state));
  std::shared_ptr<std::byte> memory = runtime_.allocate(bytes);
  for (std::int64_t at = 0; at < bytes; at += part)
    runtime_.copy_in(memory.get() + at, numbers.data(), std::min(part, bytes - at));
  return memory;
}

CudaCall ProductTrial::call(const CudaLaunch& launch, const Set& set, std::byte* scratch,
                            Prepared& prepared) const {
  std::byte* table = nullptr;
  const auto address = [&](const CudaArg& arg) -> std::uint64_t {
    std::byte* memory = nullptr;
    switch (arg.kind) {
      case Kind::number: return static_cast<std::uint64_t>(arg.offset);
      case Kind::input: memory = arg.index == 0 ? set.a.get() : set.b.get(); break;
      case Kind::output: memory = set.c.get(); break;
      case Kind::scratch: memory = scratch; break;
      case Kind::table: memory = table; break;
      case Kind::state:
      case Kind::guard: fail_internal({"a product on trial is no update"});
    }
    return reinterpret_cast<std::uint64_t>(memory) + static_cast<std::uint64_t>(arg.offset);
  };
  if (!launch.table.empty()) {
    std::vector<std::uint64_t> entries;
    for (const CudaArg& arg : launch.table) entries.push_back(address(arg));
    const auto bytes = static_cast<std::int64_t>(entries.size() * sizeof(std::uint64_t));
    prepared.memory_.push_back(runtime_.allocate(bytes));
    table = prepared.memory_.back().get();
    runtime_.copy_in(table, reinterpret_cast<const std::byte*>(entries.data()), bytes);
  }
  CudaCall made;
  made.blocks = launch.blocks;
  made.threads = launch.threads;
  made.shared_bytes = launch.shared_bytes;
  made.library = launch.library;
  made.node = "a product on trial";
  for (const CudaArg& arg : launch.args) made.args.push_back(address(arg));
  return made;
}

ProductTrial::Prepared ProductTrial::prepare(const CudaWork& work) {
  Prepared prepared;
  prepared.memory_.push_back(runtime_.allocate(work.scratch));
  std::byte* scratch = prepared.memory_.front().get();
  std::vector<CudaText> texts;
  for (const CudaLaunch& launch : work.launches) {
    if (!launch.library) texts.push_back(launch.text);
  }
  const std::vector<CudaFunction> functions = runtime_.load(texts);
  for (const Set& set : sets_) {
    std::vector<CudaCall> calls;
    std::size_t next = 0;
    for (const CudaLaunch& launch : work.launches) {
      calls.push_back(call(launch, set, scratch, prepared));
      if (!launch.library) calls.back().function = functions[next++];
    }
    prepared.sets_.push_back(std::move(calls));
  }
  return prepared;
}

std::unique_ptr<CudaSequence> ProductTrial::record(const Prepared& prepared, int launches) {
  return runtime_.record([&] {
    for (std::size_t i = 0; i < static_cast<std::size_t>(launches); ++i) {
      for (const CudaCall& call : prepared.sets_[i % prepared.sets_.size()]) runtime_.launch(call);
    }
  });
}

double ProductTrial::seconds(CudaSequence& sequence, int launches, const TuneClock& now) {
  const double start = now();
  sequence.start();
  runtime_.wait();
  return (now() - start) / launches;
}

// f(where a part of C is, its bytes)
template <class F>
void ProductTrial::for_parts_of_c(F&& f) const {
  constexpr std::int64_t most = std::int64_t{32} << 20;
  std::byte* c = sets_.front().c.get();
  if (bytes_of_c_ <= 2 * most) {
    f(c, bytes_of_c_);
  } else {
    f(c, most);
    f(c + bytes_of_c_ - most, most);
  }
}

std::vector<std::byte> ProductTrial::result(const Prepared& prepared) {
  std::vector<std::byte> bytes, part;
  for_parts_of_c([&](std::byte* at, std::int64_t size) {
    part.assign(static_cast<std::size_t>(size), std::byte{0xff});
    runtime_.copy_in(at, part.data(), size);
  });
  for (const CudaCall& call : prepared.sets_.front()) runtime_.launch(call);
  for_parts_of_c([&](std::byte* at, std::int64_t size) {
    part.resize(static_cast<std::size_t>(size));
    runtime_.copy_out(part.data(), at, size);
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  return bytes;
}

}  // namespace blockgrad
