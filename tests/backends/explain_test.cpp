// What a program tells about itself: memory, copies, fusing, kernels and their times.
#include <boost/test/unit_test.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "backends/text_table.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The lines from the one that starts so to the next that is not indented.
std::vector<std::string> section(const std::string& text, std::string_view start) {
  std::vector<std::string> found;
  for (const std::string& line : lines_of(text)) {
    if (found.empty() ? line.starts_with(start) : line.starts_with(" ")) found.push_back(line);
    else if (!found.empty()) break;
  }
  return found;
}

struct Mlp {
  int line = 0;
  Expr x = input("x", {64, 784}), t = input("t", {64}, DType::i32);
  Expr w1 = parameter(full({784, 128}, 0.01), "w1"), b1 = parameter(zeros({128}), "b1");
  Expr w2 = parameter(full({128, 10}, 0.01), "w2"), b2 = parameter(zeros({10}), "b2");
  Optimizer optimizer{Sgd{.learning_rate = 0.1}};
  Program step;

  explicit Mlp(const CompileOptions& options = {.threads = 1}) : step(make(options)) {}
  Program make(const CompileOptions& options) {
    line = __LINE__ + 1;
    const Scope scope("net");
    const Expr hidden = relu(linear(x, w1, b1));
    const Loss loss = cross_entropy(linear(hidden, w2, b2), t);
    return compile({loss}, minimize(optimizer, loss), cpu(), options);
  }
  Feeds feeds() const { return {{x, full({64, 784}, 0.5)}, {t, zeros({64}, DType::i32)}}; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(explain)

BOOST_AUTO_TEST_CASE(numbers_take_the_unit_that_suits_them) {
  BOOST_TEST(with_unit(0, "B") == "0 B");
  BOOST_TEST(with_unit(999, "B") == "999 B");
  BOOST_TEST(with_unit(1000, "B") == "1.00 kB");
  BOOST_TEST(with_unit(12345, "B") == "12.3 kB");
  BOOST_TEST(with_unit(401408, "B") == "401 kB");
  BOOST_TEST(with_unit(999600, "B") == "1.00 MB");
  BOOST_TEST(with_unit(12845056, "") == "12.8 M");
  BOOST_TEST(with_unit(0.5, "") == "0.50");
}

BOOST_AUTO_TEST_CASE(tables_have_columns) {
  BOOST_TEST(
      table_text({{"#", "op", "size"}, {"1", "matmul", "5"}, {"12", "add", "100"}}, {0, 2}) ==
      "   #  op      size\n"
      "  --  ------  ----\n"
      "   1  matmul     5\n"
      "  12  add      100\n");
}

BOOST_AUTO_TEST_CASE(long_lines_are_folded_where_they_can_be_cut) {
  BOOST_TEST(folded("a, b\n\n  c | d\n", 20) == "a, b\n\n  c | d\n");
  BOOST_TEST(folded("  one, two; three | four\nend", 12) ==
             "  one, two;\n      three\n      | four\nend");
  BOOST_TEST(folded("much too long, a", 5) == "much too long,\n    a");
  BOOST_TEST(folded("f32[1, 2, 3, 4], g", 12) == "f32[1, 2, 3, 4],\n    g");
  BOOST_TEST(folded("no place to cut it here", 5) == "no place to cut it here");
  BOOST_TEST(folded(std::string(30, ' ') + "\n", 5) == std::string(30, ' ') + "\n");
  BOOST_TEST(folded("").empty());
}

BOOST_AUTO_TEST_CASE(no_line_is_wider_than_140_columns) {
  Mlp mlp;
  mlp.step.profile(mlp.feeds(), 1);
  for (const std::string& line : lines_of(mlp.step.explain())) BOOST_TEST(line.size() <= 140, line);
}

BOOST_AUTO_TEST_CASE(the_memory_of_a_step_is_laid_open) {
  const Mlp mlp;
  const std::vector<std::string> memory = section(mlp.step.explain(), "Memory: ");
  const auto has_line = [&](const std::string& text) {
    return std::any_of(memory.begin(), memory.end(),
                       [&](const std::string& line) { return contains(line, text); });
  };
  const Report& report = mlp.step.report();
  BOOST_TEST(memory[0] ==
             "Memory: " + with_unit(static_cast<double>(report.peak_bytes), "B") + " at the peak");
  BOOST_TEST(has_line("407 kB  parameters and states"));
  // The gradient of w1 is by far the largest value, and everything waits for the guard.
  BOOST_TEST(has_line("The arena holds most, "));
  BOOST_TEST(has_line("401 kB  f32[784, 128]  gradient of matmul (explain_test.cpp:" +
                      std::to_string(mlp.line) + " net)"));
  BOOST_TEST(memory.size() <= 12);
}

BOOST_AUTO_TEST_CASE(the_kernels_are_a_table_with_block_plans_and_totals) {
  const Mlp mlp;
  const std::vector<std::string> table = section(mlp.step.explain(), "Kernels in order of running");
  const std::vector<std::string> all = lines_of(mlp.step.explain());
  const auto way = std::find_if(all.begin(), all.end(), [](const std::string& line) {
    return line.starts_with("      matmul");
  });
  BOOST_REQUIRE(way != all.end());
  BOOST_TEST(contains(*way, ": m,n,k 64x128x784 | cache "), *way);
  const std::string& first = way[-1];
  BOOST_TEST(first.starts_with("   0  12.8 M  "), first);
  BOOST_TEST(contains(first, "explain_test.cpp:" + std::to_string(mlp.line) + " net"), first);
  BOOST_TEST(contains(first, "f32[64, 128]"), first);
  for (std::int64_t k = 0; k < mlp.step.report().kernels; ++k) {
    const auto begins = [&](const std::string& line) {
      std::istringstream words(line);
      std::string number;
      return line.find_first_not_of(' ') < 5 && words >> number && number == std::to_string(k);
    };
    BOOST_TEST(std::count_if(table.begin(), table.end(), begins) == 1, "kernel " << k);
  }
  BOOST_TEST(all.back().ends_with("  all"), all.back());
  BOOST_TEST(contains(all.back(), with_unit(mlp.step.report().flops, "")));
}

BOOST_AUTO_TEST_CASE(what_was_fused_is_told_by_kernel_and_what_was_not_by_reason) {
  const Expr x = input("x", {8, 4}), b = input("b", {4});
  const Expr y = exp(sin(x) * 2.0);
  const Program program = compile({sum(y) + sum(square(tanh(b) + x))});
  const std::string text = program.explain();
  const std::vector<std::string> fused = section(text, "Fused: ");
  BOOST_TEST(contains(fused[1], "sin, multiply, exp"), text);
  const std::vector<std::string> apart = section(text, "Not fused");
  BOOST_TEST(apart.size() == 2, text);
  BOOST_TEST(contains(apart[1],
                      "1 pair because it is read in another layout or shape: add with "
                      "tanh (explain_test.cpp:"),
             text);
  const Program plain = compile({sum(y)}, {}, cpu(), {.skip = {"fuse_maps"}});
  BOOST_TEST(contains(plain.explain(), "Fused: nothing"));
}

BOOST_AUTO_TEST_CASE(copies_name_their_bytes_their_line_and_their_reader) {
  const Expr x = input("x", {6, 4});
  const int line = __LINE__ + 1;
  const Expr y = reshape(transpose(x), {2, 12});
  const Program program = compile({sum(matmul(y, input("w", {12, 3})))});
  const std::vector<std::string> copies = section(program.explain(), "Copies: ");
  BOOST_TEST(copies[0] == "Copies: 1, 96 B, for readers that want another layout");
  BOOST_TEST(contains(copies[1], "96 B  f32[4, 6]"));
  BOOST_TEST(contains(copies[1], "(explain_test.cpp:" + std::to_string(line) + ")"));
  const Expr kept = state(zeros({4, 6}), "kept");
  Updates updates;
  updates.set(kept, transpose(x));
  BOOST_TEST(contains(compile({sum(kept)}, updates).explain(), "96 B  f32[4, 6]  of transpose"));
  BOOST_TEST(contains(compile({x * 2.0}).explain(), "Copies: none"));
}

BOOST_AUTO_TEST_CASE(a_profile_has_times_and_leaves_everything_as_it_was) {
  Mlp mlp;
  const double before = mlp.b2.value().at(5);
  const Report& report = mlp.step.profile(mlp.feeds(), 5);
  BOOST_TEST(mlp.b2.value().at(5) == before);
  BOOST_TEST(report.profiled_runs == 5);
  double all = 0;
  for (const NodeReport& node : report.nodes) {
    BOOST_TEST(node.seconds > 0);
    all += node.seconds;
  }
  BOOST_TEST(all < 1);
  const std::string text = mlp.step.explain();
  const std::vector<std::string> table =
      section(text, "Kernels, the longest first: medians of 5 runs");
  const auto heads = std::find_if(table.begin(), table.end(), [](const std::string& line) {
    return contains(line, "  share  of roof    FLOP ");
  });
  BOOST_REQUIRE(heads != table.end());
  // 12.8 million of fused multiply-adds are the most of it.
  BOOST_TEST(contains(heads[3], "matmul"), text);
  BOOST_TEST(contains(table.back(), "100 %"), text);
  mlp.step.run(mlp.feeds());
  BOOST_TEST(mlp.b2.value().at(5) != before);
}

BOOST_AUTO_TEST_CASE(a_profile_checks_its_feeds_and_its_number_of_runs) {
  Mlp mlp;
  BOOST_CHECK_THROW(mlp.step.profile({}, 3), Error);
  BOOST_CHECK_THROW(mlp.step.profile(mlp.feeds(), 0), Error);
  Feeds bad = mlp.feeds();
  bad[1].value = full({64}, 10, DType::i32);
  const double before = mlp.b2.value().at(0);
  BOOST_CHECK_THROW(mlp.step.profile(bad, 3), Error);  // a label out of range
  BOOST_TEST(mlp.b2.value().at(0) == before);
  BOOST_TEST(mlp.step.run(mlp.feeds()).steps() == 1);
}

BOOST_AUTO_TEST_CASE(a_program_that_was_moved_from_says_so) {
  const Expr x = input("x", {});
  Program first = compile({x * 2.0});
  Program second = std::move(first);
  BOOST_TEST(second.run({{x, full({}, 3)}}).number(0) == 6);
  const auto refuses = [](auto call) {
    try {
      call();
    } catch (const Error& error) {
      return contains(error.what(), "this Program was moved from");
    }
    return false;
  };
  BOOST_TEST(refuses([&] { first.run({{x, full({}, 3)}}); }));
  BOOST_TEST(refuses([&] { first.run_many(2); }));
  BOOST_TEST(refuses([&] { first.report(); }));
  BOOST_TEST(refuses([&] { first.explain(); }));
  BOOST_TEST(refuses([&] { first.to_text(); }));
  BOOST_TEST(refuses([&] { first.to_dot(); }));
  BOOST_TEST(refuses([&] { first.profile(); }));
  Results results = second.run({{x, full({}, 3)}});
  const Results moved = std::move(results);
  BOOST_TEST(moved.number(0) == 6);
  BOOST_CHECK_THROW(results.number(0), Error);
  BOOST_CHECK_THROW(results.tensor(0), Error);
}

BOOST_AUTO_TEST_SUITE_END()
