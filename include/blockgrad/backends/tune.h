#pragma once
// Which kernel or library algorithm is the fastest for each product of a program on this device: an
// explicit call that measures, and a table that programs compiled later follow. Compiling and
// running never measure anything.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "blockgrad/backends/program.h"

namespace blockgrad {

struct TuneOptions {
  // The file of the table, which is read, added to and replaced as a whole after every product;
  // several calls may add to one at the same time.
  // Empty: that of BLOCKGRAD_CUDA_PRODUCTS, else products.jsonl in the user's cache folder, which
  // is the one that programs follow in later processes.
  std::string table = {};
  int algorithms = 32;                                   // that the library is asked for
  double milliseconds = 5;                               // least length of a repetition
  double warm_milliseconds = 2000;                       // of work before the first, for the clocks
  std::int64_t rotated_bytes = std::int64_t{128} << 20;  // operands in turns, more than caches hold
  bool again = false;  // measures those too that the table has for the library's version
  std::function<void(std::string_view)> progress = {};  // gets a line for each product
  const StopToken* stop = nullptr;                      // ends it; what was measured is kept
};

struct TuneReport {
  std::string table;     // the file
  int products = 0;      // different ones of the program that a table can hold
  int measured = 0;      // now
  int known = 0;         // before
  bool stopped = false;  // before the last one
};

/// Measures the matrix products of what compile would make of these arguments. For each different
/// one (shape, layout, alignment, dtypes, arithmetic) our own cuts and the library's algorithms
/// compete: launches in a row started as one graph, operands of random numbers in turns, the median
/// of 5 repetitions alternating with the best so far, which is beaten by 2 % or stays. What wins
/// has given equal bits 20 times and agrees with our own kernel. The same table gives the same
/// bits. Products that update storage in place and convolutions are not in the table.
///
/// Throws Error on a device without such a table (the CPU), if the table cannot be read or
/// written, and as compile; DeviceError if the device fails.
TuneReport tune_products(std::span<const Output> outputs, const Updates& updates,
                         const Device& device, const TuneOptions& tune = {},
                         const CompileOptions& options = {});
inline TuneReport tune_products(std::initializer_list<Output> outputs, const Updates& updates,
                                const Device& device, const TuneOptions& tune = {},
                                const CompileOptions& options = {}) {
  return tune_products(std::span(outputs.begin(), outputs.size()), updates, device, tune, options);
}

}  // namespace blockgrad
