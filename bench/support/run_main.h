#pragma once
// The main of a benchmark.

namespace bench {

/// What `run` returns; of an exception its text on standard error, and 1.
int run_main(int (*run)(int, char**), int argc, char** argv);

}  // namespace bench
