#pragma once
// The main of a benchmark, and arguments that are numbers.

#include <string>
#include <vector>

namespace bench {

/// What `run` returns; of an exception its text on standard error, and 1.
int run_main(int (*run)(int, char**), int argc, char** argv);

/// Arguments that are numbers above 0, those of `usual` where they end before. "bench_rows
/// [THREADS]" is the `usage`: printed at --help, which ends the process, and told by the
/// std::invalid_argument of anything else.
std::vector<int> numbers_of(int argc, char** argv, const std::string& usage,
                            std::vector<int> usual = {});

}  // namespace bench
