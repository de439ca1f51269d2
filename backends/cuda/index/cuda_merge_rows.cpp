#include "backends/cuda/index/cuda_merge_rows.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/index/cuda_sort.h"
#include "backends/cuda/index/cuda_sorts.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/rows.h"

namespace blockgrad {

namespace {

constexpr std::int64_t most_narrow = 0xffffffff;  // rows, and positions, of a key of 4 bytes

/// Elements of a row of v, the last of whose axes they are.
std::int64_t width_of(const Shape& v, int leading) {
  std::int64_t width = 1;
  for (int a = leading; a < v.rank(); ++a) width *= v[a];
  return width;
}

/// Where the keys of n sorted entries begin: n + 1 numbers in scratch, and the count, result 2.
struct Starts {
  std::int64_t n, most;
  const CudaParameter& entries;
  std::int64_t at;
};

void mark_starts(CudaWork& kernel, ScratchBytes& scratch, const Starts& starts) {
  constexpr std::int64_t of_block = 256 * 8;  // entries; as in index.cuh
  const std::int64_t blocks = std::max<std::int64_t>(1, (starts.n + of_block - 1) / of_block);
  const std::int64_t heads = scratch.take(blocks * 4);
  const CudaParameter total = number_parameter("n", starts.n);
  CudaLaunch counted = index_launch(
      "count_heads", {total, starts.entries, scratch_parameter("unsigned", "heads", heads)},
      "index::count_heads(n, entries, heads);", blocks);
  counted.shared_bytes = 16;
  kernel.launches.push_back(std::move(counted));
  CudaLaunch marked = index_launch(
      "mark_starts",
      {total, number_parameter("most", starts.most), starts.entries,
       scratch_parameter("const unsigned", "heads", heads),
       scratch_parameter("long", "starts", starts.at), output_parameter("long", "count", 2)},
      "index::mark_starts(n, most, entries, heads, starts, count);", blocks);
  marked.shared_bytes = 257 * 8;
  kernel.launches.push_back(std::move(marked));
}

/// The same by a library, in one pass: blocks of mark_starts add up the heads of all before them.
void select_starts(CudaWork& kernel, ScratchBytes& scratch, const Starts& starts,
                   const CudaSorts::Entries& entries, const CudaTarget& target) {
  const CudaArg at{CudaArg::Kind::scratch, 0, starts.at}, count{CudaArg::Kind::output, 2, 0};
  const std::int64_t workspace = scratch.take(CudaSorts::start_bytes(entries.n));
  kernel.launches.push_back(target.libraries.sorts->find_starts(
      entries, starts.entries.arg, at, count, {CudaArg::Kind::scratch, 0, workspace}));
  CudaLaunch ended = index_launch("end_starts",
                                  {number_parameter("n", starts.n),
                                   number_parameter("most", starts.most),
                                   {"long* starts", at},
                                   {"long* count", count}},
                                  "index::end_starts(n, most, starts, count);", 1);
  ended.threads = 1;
  kernel.launches.push_back(std::move(ended));
}

}  // namespace

CudaWork scatter_add_kernel(const CudaRequest& request) {
  // Positions that the simple way compares; some microseconds.
  constexpr double most_pairs = 1 << 26;
  const Operand &x = request.inputs[0], &i = request.inputs[1], &y = request.outputs[0];
  const std::int64_t count = i.layout.shape.size(), height = y.layout.shape[0];
  const std::int64_t width = width_of(y.layout.shape, 1), all = y.layout.shape.size();
  const std::string type(cuda_type(y.dtype)), word(word_type(y.dtype));
  CudaWork kernel;
  kernel.why = join({count, " rows of ", width * static_cast<std::int64_t>(size_of(y.dtype)),
                     " bytes, in order"});
  kernel.launches.push_back(index_launch(
      "copy",
      {number_parameter("n", all), input_parameter(word, "x", 0), output_parameter(word, "y")},
      std::string("index::copy<") + (x.layout.is_dense() ? "false" : "true") + ">(n, x, y);",
      blocks_for(all, request.target.limits)));
  const std::int64_t n = checked_multiply(count, width);
  if (n == 0 || height == 0) return kernel;
  const CudaParameter total = number_parameter("count", count);
  const CudaParameter values = input_parameter(type, "v", 2), out = output_parameter(type, "y");
  const CudaParameter indices = input_parameter(cuda_type(i.dtype), "i", 1);
  const std::string form = "<" + std::to_string(width) + ">";
  const std::int64_t blocks = blocks_for(n, request.target.limits);
  if (static_cast<double>(n) * static_cast<double>(count) <= most_pairs) {
    kernel.launches.push_back(index_launch("add_few", {total, indices, values, out},
                                           "index::add_few" + form + "(count, i, v, y);", blocks));
    return kernel;
  }
  ScratchBytes scratch;
  CudaKeys keys{.values = input_parameter(cuda_type(i.dtype), "x", 1), .key = {}, .n = count};
  keys.is_wide = height > most_narrow || count >= most_narrow;
  const auto greatest = static_cast<std::uint64_t>(height - 1);
  keys.end_bit = std::max(1, static_cast<int>(std::bit_width(greatest)));
  keys.key = keys.is_wide ? "static_cast<index::u64>(x[i])" : "static_cast<index::u32>(x[i])";
  const std::int64_t sorted = add_sort(kernel, scratch, keys, request.target).at;
  const CudaParameter entries =
      scratch_parameter("const " + std::string(entry_type(keys)), "entries", sorted);
  kernel.launches.push_back(index_launch("add_sorted", {total, entries, values, out},
                                         "index::add_sorted" + form + "(count, entries, v, y);",
                                         blocks));
  kernel.scratch = scratch.size();
  return kernel;
}

CudaWork merge_rows_kernel(const CudaRequest& request) {
  const Operand &i = request.inputs[0], &v = request.inputs[1];
  const std::int64_t n = i.layout.shape.size(), most = request.outputs[0].layout.shape.size();
  const std::int64_t width = width_of(v.layout.shape, 1);
  const std::string index(cuda_type(i.dtype)), type(cuda_type(v.dtype));
  CudaWork kernel;
  kernel.why =
      join({n, " rows of ", width, " elements, sorted by number, into ", most, " at most"});
  ScratchBytes scratch;
  CudaKeys keys{.values = input_parameter(index, "x", 0), .key = "index::key_of(x[i])", .n = n};
  keys.is_wide = i.dtype == DType::i64 || n >= most_narrow;
  if (keys.is_wide && i.dtype == DType::i32) keys.key = "index::key_of(static_cast<long>(x[i]))";
  const SortedKeys sorted = add_sort(kernel, scratch, keys, request.target);
  const std::string entry(entry_type(keys));
  const CudaParameter entries = scratch_parameter("const " + entry, "entries", sorted.at);
  const std::int64_t starts = scratch.take((n + 1) * 8);
  const Starts found{n, most, entries, starts};
  if (sorted.by_library) select_starts(kernel, scratch, found, {n, keys.is_wide}, request.target);
  else mark_starts(kernel, scratch, found);
  const CudaParameter limit = number_parameter("most", most);
  if (most > 0) {
    const std::string sign = keys.is_wide ? "1ul << 63" : "1ul << 31";
    kernel.launches.push_back(
        index_launch("merge_sorted",
                     {limit,
                      entries,
                      scratch_parameter("const long", "starts", starts),
                      {"const long* count", {CudaArg::Kind::output, 2, 0}},
                      input_parameter(type, "v", 1),
                      output_parameter(index, "rows", 0),
                      output_parameter(type, "sums", 1)},
                     "index::merge_sorted<" + std::to_string(width) + ">(most, " + sign +
                         ", entries, starts, count, v, rows, sums);",
                     blocks_for(checked_multiply(most, std::max<std::int64_t>(1, width)),
                                request.target.limits)));
  }
  kernel.scratch = scratch.size();
  return kernel;
}

}  // namespace blockgrad
