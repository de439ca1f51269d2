// Kernels one by one, each as calls within a whole program: time, bytes a second as a share of what
// a copy reaches in the same run, and FLOP a second. Sizes are those of a GPU; on the CPU tiny
// ones.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/kernel_times.h"
#include "support/circumstances.h"
#include "support/results.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<std::string> rows;
  std::string device = "cpu";
  std::string file;
  bool is_tiny = false, lists = false;
  bench::KernelTimesOptions times;
};

std::vector<bench::KernelRow> chosen(const Options& options, bool is_tiny) {
  const std::vector<bench::KernelRow> all = bench::kernel_rows(is_tiny);
  if (options.rows.empty()) return all;
  std::vector<bench::KernelRow> rows;
  for (const std::string& name : options.rows) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& row) { return row.name == name; });
    bg::require(found != all.end(), "no row '", name, "'; --list names them");
    rows.push_back(*found);
  }
  return rows;
}

nlohmann::json to_json(const bench::KernelRow& row) {
  return {{"name", row.name},           {"family", row.family},
          {"sizes", row.sizes},         {"dtype", std::string(bg::name(row.dtype))},
          {"math", bg::name(row.math)}, {"bytes", row.bytes},
          {"flops", row.flops}};
}

/// A row beside its tiny form, which must first give what the CPU gives. What a device refuses,
/// such as a mode of products that it does not have, is said.
nlohmann::json measured(const bench::KernelRow& row, const bench::KernelRow& tiny,
                        const bg::Device& device, const Options& options, double copied) {
  nlohmann::json result = to_json(row);
  try {
    bench::KernelRow exact = tiny;
    exact.math = bg::MathMode::exact;
    const double off = bench::off_by(bench::values_of(tiny, device, device),
                                     bench::values_of(exact, bg::cpu(), device));
    result["off"] = off;
    result["off_at_most"] = bench::off_at_most(tiny);
    bg::require(off <= bench::off_at_most(tiny), "differs by ", off, " from the CPU, at most ",
                bench::off_at_most(tiny), " is allowed");
    const bench::KernelTimes times = bench::times_of(row, device, options.times);
    result["seconds"] = times.seconds.median;
    result["low"] = times.seconds.low;
    result["high"] = times.seconds.high;
    result["calls"] = times.calls;
    result["steps"] = times.steps;
    result["repetitions"] = times.repetitions;
    result["kernel"] = times.kernels;
    const double rate = row.bytes / times.seconds.median;
    result["share_of_copy"] = copied > 0 ? rate / copied : 1;
    std::printf("%-32s %9.3f %s %10.1f GB/s %6.3f of the copy %9.2f TFLOP/s\n", row.name.c_str(),
                bench::in_unit(times.seconds.median), bench::unit_of(times.seconds.median),
                rate * 1e-9, result["share_of_copy"].get<double>(),
                row.flops / times.seconds.median * 1e-12);
  } catch (const bg::InternalError&) {
    throw;
  } catch (const bg::Error& error) {
    result["why"] = error.what();
    std::printf("%-32s %s\n", row.name.c_str(), error.what());
  }
  std::fflush(stdout);
  return result;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Kernels one by one, beside a copy"};
  app.add_option("--row", options.rows, "rows by name; all if not given");
  app.add_option("--device", options.device, "cpu or cuda")->capture_default_str();
  app.add_option("--repetitions", options.times.repetitions)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--milliseconds", options.times.milliseconds, "of a repetition, at least")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--json", options.file, "file for the results");
  app.add_flag("--tiny", options.is_tiny, "the same kernels with tiny sizes, as always on the CPU");
  app.add_flag("--list", options.lists, "print the rows and do nothing");
  CLI11_PARSE(app, argc, argv);
  options.is_tiny = options.is_tiny || options.device == "cpu";

  const std::vector<bench::KernelRow> rows = chosen(options, options.is_tiny);
  if (options.lists) {
    for (const bench::KernelRow& row : rows)
      std::printf("%-32s %s\n", row.name.c_str(), bench::title_of(row).c_str());
    return 0;
  }
  if (!options.file.empty()) bench::check_place(options.file);
  if (options.is_tiny) options.times.rotated_bytes = 0;
  const bg::Device device = bg::device(options.device);
  const std::vector<bench::KernelRow> tiny = chosen(options, true);
  std::printf("%s", bg::device_report().c_str());
  const bench::KernelRow copy = bench::copy_row(options.is_tiny);
  nlohmann::json result{{"device", device.name()}, {"tiny", options.is_tiny}};
  result["copy"] = measured(copy, bench::copy_row(true), device, options, 0);
  bg::require(!result["copy"].contains("why"), "the copy failed");
  const double copied = copy.bytes / result["copy"]["seconds"].get<double>();
  result["rows"] = nlohmann::json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].name == copy.name) result["rows"].push_back(result["copy"]);
    else result["rows"].push_back(measured(rows[i], tiny[i], device, options, copied));
  }
  result["at"] = bench::circumstances();
  if (!options.file.empty()) bench::leave(options.file, result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
