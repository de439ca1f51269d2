// Every elementwise kernel of every instruction set against the reference interpreter, bit for bit.
#include "backends/cpu/tape.h"

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/tape_program.h"
#include "blockgrad/graph/map.h"

using namespace blockgrad;

namespace {

constexpr DType dtypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                            DType::i32, DType::i64, DType::u8,   DType::boolean};
constexpr std::int64_t most = 1025;
constexpr std::byte untouched{0xa5};

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (is_supported(isa)) list.push_back(isa);
    else
      BOOST_TEST_MESSAGE(isa_name(isa) << " skipped: this processor or build has no such kernels");
  }
  return list;
}

template <class T>
std::vector<T> numbers(int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::vector<T> list;
  if constexpr (std::is_floating_point_v<T>) {
    using Limits = std::numeric_limits<T>;
    list = {T(0),
            T(-0.0),
            T(1),
            T(-1),
            T(0.5),
            T(2.5),
            T(-2.5),
            T(100),
            T(-100),
            T(1e5),
            Limits::denorm_min(),
            Limits::min(),
            Limits::max(),
            -Limits::max(),
            Limits::infinity(),
            -Limits::infinity(),
            Limits::quiet_NaN(),
            T(3e9),
            T(-3e9),
            T(1e19),
            T(255.5),
            T(1e30)};
    std::uniform_real_distribution<T> small(-3, 3), large(-120, 120);
    while (list.size() < most) list.push_back(random() % 4 == 0 ? large(random) : small(random));
  } else if constexpr (is_half(dtype_of<T>())) {
    for (const float value : numbers<float>(seed)) list.emplace_back(value);
    return list;
  } else if constexpr (std::is_same_v<T, bool>) {
    while (list.size() < most) list.push_back(random() % 2 == 0);
  } else {
    list = {T(0), T(1), T(-1), std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
    while (list.size() < most)
      list.push_back(static_cast<T>(random() % 7 == 0 ? random() * 40503u : random() % 5));
  }
  if (seed % 3 != 0) std::shuffle(list.begin(), list.end(), random);
  return list;
}

/// Numbers as an array in memory and as the interpreter's bits.
struct Column {
  std::vector<std::byte> bytes;
  std::vector<std::uint64_t> bits;
};

template <class T>
std::uint64_t bits_of(T value) {
  if constexpr (is_floating(dtype_of<T>()))
    return std::bit_cast<std::uint64_t>(static_cast<double>(value));
  else return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

Column column(DType dtype, int seed) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    Column result;
    for (const T value : numbers<T>(seed)) {
      const auto* p = reinterpret_cast<const std::byte*>(&value);
      result.bytes.insert(result.bytes.end(), p, p + sizeof(T));
      result.bits.push_back(bits_of(value));
    }
    return result;
  });
}

std::uint64_t element(const std::byte* at, DType dtype, std::int64_t i) {
  return visit(dtype, [&](auto zero) {
    std::memcpy(&zero, at + i * static_cast<std::int64_t>(sizeof zero), sizeof zero);
    return bits_of(zero);
  });
}

bool same(std::uint64_t a, std::uint64_t b, DType dtype) {
  if (a == b) return true;
  return is_floating(dtype) && std::isnan(std::bit_cast<double>(a)) &&
         std::isnan(std::bit_cast<double>(b));
}

struct Case {
  ScalarOp op;
  DType arg, result;
};

DType dtype_of_argument(const Case& c, int k) {
  if (c.op == ScalarOp::where) return k == 0 ? DType::boolean : c.result;
  return c.arg;
}

std::vector<Case> cases() {
  std::vector<Case> list;
#define BG_UNARY(name, types, value, derivative) \
  for (const DType d : dtypes) list.push_back({ScalarOp::name, d, d});
#define BG_BINARY(name, types, value, by_a, by_b) BG_UNARY(name, types, value, 0)
#define BG_PREDICATE(name, value) \
  for (const DType d : dtypes) list.push_back({ScalarOp::name, d, DType::boolean});
#define BG_COMPARE(name, value) BG_PREDICATE(name, value)
#define BG_LOGICAL(name, value) BG_PREDICATE(name, value)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  list.push_back({ScalarOp::logical_not, DType::boolean, DType::boolean});
  for (const DType d : dtypes) list.push_back({ScalarOp::where, d, d});
  for (const DType d : {DType::f32, DType::f64}) list.push_back({ScalarOp::fma, d, d});
  for (const ScalarOp op : {ScalarOp::uniform_low, ScalarOp::uniform_high}) {
    for (const DType d : {DType::f32, DType::f64}) list.push_back({op, DType::i64, d});
  }
  for (const DType to : dtypes) {
    for (const DType from : dtypes) list.push_back({ScalarOp::cast, from, to});
  }
  return list;
}

/// True if the interpreter knows this case.
bool in_language(const Case& c) {
  try {
    const std::uint64_t zeros[3] = {};
    const DType args[3] = {dtype_of_argument(c, 0), dtype_of_argument(c, 1),
                           dtype_of_argument(c, 2)};
    evaluate({.op = c.op, .dtype = c.result}, args, zeros);
    return true;
  } catch (const InternalError&) {
    return false;
  }
}

std::string text(const Case& c) {
  return std::string(name(c.op)) + " " + std::string(name(c.arg)) + " -> " +
         std::string(name(c.result));
}

/// Positions where out differs from what is expected, or where bytes behind n were written.
std::int64_t wrong(const std::vector<std::byte>& out, const Case& c,
                   const std::vector<std::uint64_t>& expected, std::int64_t n, bool padded) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    count +=
        !same(element(out.data(), c.result, i), expected[static_cast<std::size_t>(i)], c.result);
  }
  if (padded) {
    for (std::size_t i = static_cast<std::size_t>(n) * size_of(c.result); i < out.size(); ++i)
      count += out[i] != untouched;
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tape)

BOOST_AUTO_TEST_CASE(there_is_a_kernel_exactly_for_what_the_language_has) {
  for (const Isa isa : isas()) {
    for (const Case& c : cases()) {
      BOOST_TEST((tape_table(isa).find(c.op, c.arg, c.result) != nullptr) == in_language(c),
                 text(c));
    }
    BOOST_TEST(tape_table(isa).find(ScalarOp::input, DType::f32, DType::f32) == nullptr);
  }
}

BOOST_AUTO_TEST_CASE(kernels_give_the_interpreters_bits_for_every_length_and_in_place) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 0; n <= 40; ++n) lengths.push_back(n);
  lengths.insert(lengths.end(), {most - 2, most - 1, most});
  const std::vector<Isa> list = isas();
  int kernels = 0;
  for (const Case& c : cases()) {
    if (!in_language(c)) continue;
    Column columns[3];
    for (int k = 0; k < 3; ++k) columns[k] = column(dtype_of_argument(c, k), 3 + k);
    std::vector<std::uint64_t> expected;
    for (std::size_t i = 0; i < most; ++i) {
      const DType args[] = {dtype_of_argument(c, 0), dtype_of_argument(c, 1),
                            dtype_of_argument(c, 2)};
      const std::uint64_t values[] = {columns[0].bits[i], columns[1].bits[i], columns[2].bits[i]};
      expected.push_back(evaluate({.op = c.op, .dtype = c.result}, args, values));
    }
    for (const Isa isa : list) {
      const TapeFn kernel = tape_table(isa).find(c.op, c.arg, c.result);
      BOOST_REQUIRE(kernel != nullptr);
      ++kernels;
      for (const std::int64_t n : lengths) {
        std::vector<std::byte> out((static_cast<std::size_t>(n) + 70) * size_of(c.result),
                                   untouched);
        kernel(out.data(), columns[0].bytes.data(), columns[1].bytes.data(),
               columns[2].bytes.data(), n);
        BOOST_TEST(wrong(out, c, expected, n, true) == 0,
                   text(c) << " on " << isa_name(isa) << ", n = " << n);
        for (int k = 0; k < arity(c.op); ++k) {
          if (size_of(dtype_of_argument(c, k)) != size_of(c.result)) continue;
          std::vector<std::byte> shared = columns[k].bytes;
          const std::byte* args[] = {columns[0].bytes.data(), columns[1].bytes.data(),
                                     columns[2].bytes.data()};
          args[k] = shared.data();
          kernel(shared.data(), args[0], args[1], args[2], n);
          BOOST_TEST(wrong(shared, c, expected, n, false) == 0,
                     text(c) << " over operand " << k << " on " << isa_name(isa) << ", n = " << n);
        }
      }
    }
  }
  BOOST_TEST_MESSAGE(kernels << " kernels on " << list.size() << " instruction sets");
}

BOOST_AUTO_TEST_CASE(functions_give_the_interpreters_bits_where_no_argument_is_at_an_edge) {
  struct Range {
    ScalarOp op;
    double low, high;  // around the largest arguments of the short form
  };
  const Range ranges[] = {
      {ScalarOp::exp, -86.01, 86.01},        {ScalarOp::exp, -700.1, 700.1},
      {ScalarOp::expm1, -86.01, 86.01},      {ScalarOp::expm1, -700.1, 700.1},
      {ScalarOp::sigmoid, -86.01, 86.01},    {ScalarOp::sigmoid, -700.1, 700.1},
      {ScalarOp::softplus, -86.01, 86.01},   {ScalarOp::softplus, -700.1, 700.1},
      {ScalarOp::tanh, -43.01, 43.01},       {ScalarOp::normal_cdf, -12.01, 12.01},
      {ScalarOp::gelu_value, -12.01, 12.01}, {ScalarOp::gelu_slope, -12.01, 12.01},
      {ScalarOp::gelu_value, -15.5, 15.5},   {ScalarOp::gelu_slope, -15.5, 15.5},
      {ScalarOp::log, 1e-40, 3e38},          {ScalarOp::log, 1e-3, 2},
      {ScalarOp::log1p, -1.0001, 1},         {ScalarOp::log1p, 1, 1e38}};
  std::mt19937 random(7);
  for (const Range& range : ranges) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (int turn = 0; turn < 20; ++turn) {
        // A few arguments each time, so that most arrays have none beyond the edge.
        std::uniform_real_distribution<double> draw(range.low, range.high);
        constexpr std::int64_t n = 40;
        std::vector<double> values(n, (range.low + 3 * range.high) / 4);
        for (int i = 0; i < 10; ++i) values[random() % n] = draw(random) / (i % 2 == 0 ? 1 : 1e3);
        std::vector<float> narrow(values.begin(), values.end());
        for (const Isa isa : isas()) {
          std::vector<std::byte> out(n * sizeof(double));
          const void* in = dtype == DType::f32 ? static_cast<const void*>(narrow.data())
                                               : static_cast<const void*>(values.data());
          tape_table(isa).find(range.op, dtype, dtype)(out.data(), in, nullptr, nullptr, n);
          for (std::int64_t i = 0; i < n; ++i) {
            const std::uint64_t x = element(static_cast<const std::byte*>(in), dtype, i);
            const std::uint64_t y =
                evaluate({.op = range.op, .dtype = dtype}, std::span(&dtype, 1), std::span(&x, 1));
            BOOST_TEST(same(element(out.data(), dtype, i), y, dtype),
                       name(range.op) << ' ' << name(dtype) << " of " << std::bit_cast<double>(x)
                                      << " on " << isa_name(isa));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(functions_that_fetch_and_gelu_with_its_slope_give_the_same_bits) {
  constexpr std::int64_t lengths[] = {0, 1, 17, 63, 64, 100, 192, 500};
  std::vector<std::byte> other(4096);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const auto agree = [&](const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
      for (std::int64_t i = 0; i < most; ++i) {
        if (!same(element(a.data(), dtype, i), element(b.data(), dtype, i), dtype)) return false;
      }
      return true;
    };
    for (const int seed : {3, -1}) {  // -1: no argument is far out
      Column x = column(dtype, 3);
      for (std::size_t i = 0; seed < 0 && i < most; ++i) {
        const double small = std::sin(static_cast<double>(i));
        const auto narrow = static_cast<float>(small);
        if (dtype == DType::f32) std::memcpy(x.bytes.data() + 4 * i, &narrow, 4);
        else std::memcpy(x.bytes.data() + 8 * i, &small, 8);
      }
      for (const Isa isa : isas()) {
        const TapeTable& table = tape_table(isa);
        const auto fetch = [&] {
          TapeFetch some;
          some.reads = 1, some.streams = 2;
          for (int s = 0; s < 2; ++s) some.at[s] = other.data(), some.bytes[s] = 100 + 60 * s;
          return some;
        };
        for (const std::int64_t n : lengths) {
          const auto made_by = [&](TapeFn kernel) {
            std::vector<std::byte> out(most * 8, untouched);
            kernel(out.data(), x.bytes.data(), nullptr, nullptr, n);
            return out;
          };
          for (int op = 0; op < TapeTable::ops; ++op) {
            const auto name = static_cast<ScalarOp>(op);
            const TapeFunction function = table.find_function(name, dtype);
            if (!function) continue;
            std::vector<std::byte> out(most * 8, untouched);
            TapeFetch some = fetch();
            function(out.data(), nullptr, x.bytes.data(), n, some);
            BOOST_TEST(agree(out, made_by(table.find(name, dtype, dtype))), blockgrad::name(name));
            BOOST_TEST(some.at[1] - other.data() == 160 * (n / TapeFetch::block));
          }
          if (dtype != DType::f32) continue;
          std::vector<std::byte> value(most * 8, untouched), slope = value;
          TapeFetch some = fetch();
          table.find_gelu_pair()(value.data(), slope.data(), x.bytes.data(), n, some);
          BOOST_TEST(agree(value, made_by(table.find(ScalarOp::gelu_value, dtype, dtype))));
          BOOST_TEST(agree(slope, made_by(table.find(ScalarOp::gelu_slope, dtype, dtype))));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(one_huge_argument_of_sin_leaves_the_others_as_they_are) {
  for (const Isa isa : isas()) {
    const TapeFn kernel = tape_table(isa).find(ScalarOp::sin, DType::f32, DType::f32);
    std::vector<float> x(33, 0.75f), y(33), z(33);
    kernel(y.data(), x.data(), nullptr, nullptr, 33);
    x[20] = 1e30f;
    kernel(z.data(), x.data(), nullptr, nullptr, 33);
    BOOST_TEST(z[20] == static_cast<float>(std::sin(static_cast<double>(1e30f))));
    z[20] = y[20];
    BOOST_TEST((y == z));
  }
}

BOOST_AUTO_TEST_CASE(a_map_of_more_values_than_a_step_holds_is_refused) {
  const auto tape_of = [](std::size_t results) {
    ScalarInstr x;
    x.op = ScalarOp::input;
    const ScalarFn fn({DType::f32}, {x}, std::vector<std::int32_t>(results, 0));
    Operand operand;
    operand.dtype = DType::f32;
    operand.layout = Layout::dense({4});
    const GraphNode map{Map{fn}, {}, {{DType::f32, {4}}}, {}};
    const std::vector<Operand> outputs(results, operand);
    return make_tape({map, {&operand, 1}, outputs, Isa::portable});
  };
  BOOST_TEST(tape_of(100).registers.size() <= TapeProgram::most_registers);
  BOOST_CHECK_THROW(tape_of(TapeProgram::most_registers), InternalError);
}

BOOST_AUTO_TEST_SUITE_END()
