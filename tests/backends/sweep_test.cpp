// Sweeps of every instruction set against the reference interpreter, bit for bit: with operands
// that go on and that stay, over their operands, and two or three instructions in one against each
// alone.
#include "backends/cpu/sweep.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace blockgrad;

namespace {

constexpr std::int64_t most = 200;
constexpr std::byte untouched{0xa5};
using Bits = std::uint64_t;

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (is_supported(isa)) list.push_back(isa);
  }
  return list;
}

/// A value's bits as the interpreter has them: a double, or an integer.
Bits bits_at(const std::byte* at, DType dtype, std::int64_t i) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    std::memcpy(&zero, at + i * static_cast<std::int64_t>(sizeof zero), sizeof zero);
    if constexpr (is_floating(dtype_of<T>())) return std::bit_cast<Bits>(static_cast<double>(zero));
    else return static_cast<Bits>(static_cast<std::int64_t>(zero));
  });
}

template <class T>
void fill(std::vector<std::byte>& bytes, std::mt19937& random) {
  using Limits = std::numeric_limits<T>;
  const T special[] = {T(0),
                       T(-0.0),
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::quiet_NaN(),
                       Limits::max(),
                       Limits::denorm_min(),
                       T(1)};
  std::uniform_real_distribution<T> number(-3, 3);
  bytes.resize(static_cast<std::size_t>(most) * sizeof(T));
  for (std::size_t i = 0; i < most; ++i) {
    const T value = random() % 5 == 0 ? special[random() % 8] : number(random);
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
}

std::vector<std::byte> numbers(DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes;
  if (dtype == DType::f32) fill<float>(bytes, random);
  else if (dtype == DType::f64) fill<double>(bytes, random);
  else
    for (std::int64_t i = 0; i < most; ++i) bytes.push_back(std::byte(random() % 2));
  return bytes;
}

struct Case {
  std::string name;
  std::vector<DType> args;
  DType result;
  std::function<SweepFn(const SweepTable&)> find;
  std::function<Bits(const Bits*)> value;
};

Bits apply(ScalarOp op, DType arg, DType result, std::initializer_list<Bits> values) {
  std::vector<Bits> list(values);
  list.resize(3);
  DType dtypes[3] = {arg, arg, arg};
  if (op == ScalarOp::where) dtypes[0] = DType::boolean;
  return evaluate({.op = op, .dtype = result}, dtypes, list);
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const DType d : {DType::f32, DType::f64}) {
    const std::string type = " " + std::string(name(d));
    const auto single = [&](ScalarOp op, DType result) {
      list.push_back({std::string(name(op)) + type,
                      {d, d},
                      result,
                      [=](const SweepTable& t) { return t.find(op, d); },
                      [=](const Bits* x) { return apply(op, d, result, {x[0], x[1]}); }});
    };
    for (const ScalarOp op : {ScalarOp::add, ScalarOp::subtract, ScalarOp::multiply,
                              ScalarOp::divide, ScalarOp::maximum, ScalarOp::minimum})
      single(op, d);
    for (const ScalarOp op : {ScalarOp::equal, ScalarOp::not_equal, ScalarOp::less,
                              ScalarOp::less_equal, ScalarOp::greater, ScalarOp::greater_equal})
      single(op, DType::boolean);
    list.push_back(
        {"where" + type,
         {DType::boolean, d, d},
         d,
         [=](const SweepTable& t) { return t.find(ScalarOp::where, d); },
         [=](const Bits* x) { return apply(ScalarOp::where, d, d, {x[0], x[1], x[2]}); }});
    list.push_back({"fma" + type,
                    {d, d, d},
                    d,
                    [=](const SweepTable& t) { return t.find(ScalarOp::fma, d); },
                    [=](const Bits* x) { return apply(ScalarOp::fma, d, d, {x[0], x[1], x[2]}); }});
    const auto flush = [=](Bits x) { return apply(ScalarOp::flush_subnormal, d, d, {x}); };
    list.push_back({"flush_subnormal" + type,
                    {d},
                    d,
                    [=](const SweepTable& t) { return t.find(ScalarOp::flush_subnormal, d); },
                    [=](const Bits* x) { return flush(x[0]); }});
    list.push_back(
        {"fma then flush_subnormal" + type,
         {d, d, d},
         d,
         [=](const SweepTable& t) { return t.find_flushed(t.find(ScalarOp::fma, d)); },
         [=](const Bits* x) { return flush(apply(ScalarOp::fma, d, d, {x[0], x[1], x[2]})); }});
    list.push_back(
        {"multiply then add then flush_subnormal" + type,
         {d, d, d},
         d,
         [=](const SweepTable& t) {
           return t.find_flushed(t.find_pair(ScalarOp::multiply, ScalarOp::add, false, d));
         },
         [=](const Bits* x) {
           return flush(
               apply(ScalarOp::add, d, d, {apply(ScalarOp::multiply, d, d, {x[0], x[1]}), x[2]}));
         }});
    list.push_back(
        {"products then add then flush_subnormal" + type,
         {d, d, d, d},
         d,
         [=](const SweepTable& t) { return t.find_flushed(t.find_products(ScalarOp::add, d)); },
         [=](const Bits* x) {
           return flush(apply(ScalarOp::add, d, d,
                              {apply(ScalarOp::multiply, d, d, {x[0], x[1]}),
                               apply(ScalarOp::multiply, d, d, {x[2], x[3]})}));
         }});
    for (const ScalarOp f : {ScalarOp::add, ScalarOp::subtract, ScalarOp::multiply}) {
      for (const ScalarOp g : {ScalarOp::add, ScalarOp::subtract, ScalarOp::multiply}) {
        for (const bool is_right : {false, true}) {
          list.push_back({std::string(name(f)) + " then " + std::string(name(g)) +
                              (is_right ? " on the right" : "") + type,
                          {d, d, d},
                          d,
                          [=](const SweepTable& t) { return t.find_pair(f, g, is_right, d); },
                          [=](const Bits* x) {
                            const Bits y = apply(f, d, d, {x[0], x[1]});
                            return is_right ? apply(g, d, d, {x[2], y}) : apply(g, d, d, {y, x[2]});
                          }});
        }
      }
    }
    for (const ScalarOp g : {ScalarOp::add, ScalarOp::subtract}) {
      list.push_back({"products then " + std::string(name(g)) + type,
                      {d, d, d, d},
                      d,
                      [=](const SweepTable& t) { return t.find_products(g, d); },
                      [=](const Bits* x) {
                        return apply(g, d, d,
                                     {apply(ScalarOp::multiply, d, d, {x[0], x[1]}),
                                      apply(ScalarOp::multiply, d, d, {x[2], x[3]})});
                      }});
    }
    for (const ScalarOp f :
         {ScalarOp::less, ScalarOp::less_equal, ScalarOp::greater, ScalarOp::greater_equal}) {
      list.push_back({std::string(name(f)) + " then where" + type,
                      {d, d, d, d},
                      d,
                      [=](const SweepTable& t) { return t.find_select(f, d); },
                      [=](const Bits* x) {
                        return apply(ScalarOp::where, d, d,
                                     {apply(f, d, DType::boolean, {x[0], x[1]}), x[2], x[3]});
                      }});
    }
  }
  for (const DType d : {DType::boolean, DType::f32, DType::f64}) {
    list.push_back(
        {"copy " + std::string(name(d)),
         {d},
         d,
         [=](const SweepTable& t) { return t.find_copy(static_cast<std::int32_t>(size_of(d))); },
         [](const Bits* x) { return x[0]; }});
  }
  return list;
}

bool same(Bits a, Bits b, DType dtype) {
  return a == b || (is_floating(dtype) && std::isnan(std::bit_cast<double>(a)) &&
                    std::isnan(std::bit_cast<double>(b)));
}

/// Positions where `out` is not what the interpreter says, or was written beyond n.
std::int64_t wrong(const Case& c, const std::vector<std::vector<std::byte>>& args, unsigned staying,
                   const std::byte* out, std::int64_t n, std::size_t bytes) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    Bits values[4] = {};
    for (std::size_t a = 0; a < args.size(); ++a)
      values[a] = bits_at(args[a].data(), c.args[a], staying >> a & 1 ? 0 : i);
    count += !same(bits_at(out, c.result, i), c.value(values), c.result);
  }
  for (std::size_t i = static_cast<std::size_t>(n) * size_of(c.result); i < bytes; ++i)
    count += out[i] != untouched;
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sweep)

BOOST_AUTO_TEST_CASE(sweeps_give_the_interpreters_bits) {
  const std::vector<Isa> list = isas();
  for (const Case& c : cases()) {
    std::vector<std::vector<std::byte>> args;
    for (std::size_t a = 0; a < c.args.size(); ++a)
      args.push_back(numbers(c.args[a], static_cast<unsigned>(3 + a)));
    // A number is a block of equal elements: of the first one.
    std::vector<std::vector<std::byte>> numbers_alone;
    for (std::size_t a = 0; a < args.size(); ++a) {
      const std::size_t bytes = size_of(c.args[a]);
      numbers_alone.emplace_back(bytes * sweep_block);
      for (std::size_t i = 0; i < static_cast<std::size_t>(sweep_block); ++i)
        std::memcpy(numbers_alone[a].data() + i * bytes, args[a].data(), bytes);
    }
    for (const Isa isa : list) {
      const SweepFn kernel = c.find(sweep_table(isa));
      BOOST_REQUIRE_MESSAGE(kernel != nullptr, c.name);
      for (const std::int64_t n : {0, 1, 7, 16, 63, 64, 65, 131, 200}) {
        for (unsigned staying = 0; staying < 1u << args.size(); ++staying) {
          std::vector<std::byte> out(static_cast<std::size_t>(n + 40) * size_of(c.result),
                                     untouched);
          SweepOperands operands;
          std::byte* at[5] = {out.data()};
          for (std::size_t a = 0; a < args.size(); ++a) {
            at[a + 1] = (staying >> a & 1 ? numbers_alone[a] : args[a]).data();
            operands.in[a] = static_cast<std::int32_t>(a) + 1;
            operands.step[a] = staying >> a & 1 ? 0 : sweep_block;
          }
          kernel(at, operands, n);
          BOOST_TEST(wrong(c, args, staying, out.data(), n, out.size()) == 0,
                     c.name << " on " << isa_name(isa) << ", n = " << n << ", staying " << staying);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_sweep_may_write_over_an_operand_that_goes_on) {
  for (const Case& c : cases()) {
    std::vector<std::vector<std::byte>> args;
    for (std::size_t a = 0; a < c.args.size(); ++a)
      args.push_back(numbers(c.args[a], static_cast<unsigned>(9 + a)));
    for (const Isa isa : isas()) {
      for (std::size_t over = 0; over < args.size(); ++over) {
        if (size_of(c.args[over]) != size_of(c.result)) continue;
        std::vector<std::byte> out = args[over];
        SweepOperands operands;
        std::byte* at[5] = {out.data()};
        for (std::size_t a = 0; a < args.size(); ++a) {
          at[a + 1] = a == over ? out.data() : args[a].data();
          operands.in[a] = static_cast<std::int32_t>(a) + 1;
          operands.step[a] = sweep_block;
        }
        c.find(sweep_table(isa))(at, operands, most);
        BOOST_TEST(wrong(c, args, 0, out.data(), most, 0) == 0,
                   c.name << " over operand " << over << " on " << isa_name(isa));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(values_per_line_are_spread_to_the_elements_of_their_lines_and_no_further) {
  for (const Isa isa : isas()) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      const SpreadFn spread = sweep_table(isa).find_spread(static_cast<std::int32_t>(bytes));
      for (const std::size_t outers : {0U, 1U, 2U, 5U}) {
        for (const std::size_t n : {0U, 1U, 2U, 7U, 16U, 17U, 64U, 65U, 130U}) {
          for (const std::size_t columns : {1U, 2U, 3U, 16U, 19U}) {
            std::vector<std::byte> in(outers * columns * bytes);
            for (std::size_t i = 0; i < in.size(); ++i) in[i] = std::byte(i * 37 + i / 251);
            std::vector<std::byte> out(outers * n * columns * bytes + 130, untouched);
            std::vector<std::byte> expected;
            for (std::size_t o = 0; o < outers; ++o) {
              const auto row = in.begin() + static_cast<std::ptrdiff_t>(o * columns * bytes);
              for (std::size_t k = 0; k < n; ++k)
                expected.insert(expected.end(), row, row + static_cast<long>(columns * bytes));
            }
            expected.resize(out.size(), untouched);
            spread(out.data(), in.data(), static_cast<std::int64_t>(outers),
                   static_cast<std::int64_t>(n), static_cast<std::int64_t>(columns));
            BOOST_TEST((out == expected), isa_name(isa) << ", " << bytes << " bytes, " << outers
                                                        << " x " << n << " x " << columns);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_spread_over_lines_of_one_element_may_stay_where_it_is) {
  for (const Isa isa : isas()) {
    std::vector<std::byte> values = numbers(DType::f32, 5);
    const std::vector<std::byte> before = values;
    sweep_table(isa).find_spread(4)(values.data(), values.data(), most, 1, 1);
    BOOST_TEST((values == before), isa_name(isa));
  }
}

BOOST_AUTO_TEST_CASE(what_has_no_sweep_has_none) {
  const SweepTable& table = sweep_table(Isa::portable);
  BOOST_TEST(table.find(ScalarOp::exp, DType::f32) == nullptr);
  BOOST_TEST(table.find(ScalarOp::add, DType::i32) == nullptr);
  BOOST_TEST(table.find_pair(ScalarOp::divide, ScalarOp::add, false, DType::f32) == nullptr);
  BOOST_TEST(table.find_pair(ScalarOp::add, ScalarOp::add, false, DType::i64) == nullptr);
  BOOST_TEST(table.find_products(ScalarOp::multiply, DType::f32) == nullptr);
  BOOST_TEST(table.find_select(ScalarOp::equal, DType::f32) == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
