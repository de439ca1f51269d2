// Unview on the CPU. Parts that do not overlap are copied, by several threads unless they leave
// gaps and cross the result's first axis: by indices of that axis where there are many. Others are
// put one after the other: a place hit for the first time is stored, later hits add.
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "backends/cpu/families.h"
#include "backends/cpu/part_overlap.h"
#include "backends/cpu/walk.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

struct Placement {
  std::vector<Layout> layouts;
  std::int64_t size = 0;
  double fill = 0;

  // `hit` marks places that hold a part's value already.
  std::int64_t marks() const { return (size + 63) / 64 * 64; }

  template <class T>
  void run(const KernelCall& call) const {
    put<T>(call, reinterpret_cast<T*>(call.out[0]));
  }

  // bf16 and f16 are added as f32 and rounded once.
  template <class T>
  void run_wide(const KernelCall& call) const {
    auto* sums = reinterpret_cast<float*>(call.scratch + marks());
    put<T>(call, sums);
    T* out = reinterpret_cast<T*>(call.out[0]);
    for (std::int64_t i = 0; i < size; ++i) out[i] = T(sums[i]);
  }

  template <class T, class Sum>
  void put(const KernelCall& call, Sum* out) const {
    auto* hit = reinterpret_cast<std::uint8_t*>(call.scratch);
    std::fill_n(out, size, start<Sum>());
    std::memset(hit, 0, static_cast<std::size_t>(size));
    for (std::size_t p = 0; p < layouts.size(); ++p)
      place(out, hit, reinterpret_cast<const T*>(call.in[p]), layouts[p]);
  }

  // A negative fill of an integer comes here as unsigned.
  template <class T>
  T start() const {
    if constexpr (std::is_same_v<T, bool>) return fill != 0;
    else if constexpr (std::is_floating_point_v<T>) return static_cast<T>(fill);
    else return static_cast<T>(static_cast<std::int64_t>(fill));
  }

  template <class Sum, class T>
  static void place(Sum* out, std::uint8_t* hit, const T* part, const Layout& layout) {
    const int rank = layout.shape.rank();
    std::array<std::int64_t, max_rank> at{};
    std::int64_t where = layout.offset;
    for (std::int64_t i = 0; i < layout.shape.size(); ++i) {
      const auto value = static_cast<Sum>(part[i]);
      out[where] = hit[where] ? static_cast<Sum>(out[where] + value) : value;
      hit[where] = 1;
      for (int a = rank - 1; a >= 0; --a) {
        const auto axis = static_cast<std::size_t>(a);
        where += layout.strides[axis];
        if (++at[axis] < layout.shape[a]) break;
        where -= layout.shape[a] * layout.strides[axis];
        at[axis] = 0;
      }
    }
  }
};

// The rows of a part, which are its elements of one index along its first axis: row r lies in slab
// first + r * step.
struct SlabRows {
  std::int64_t first = 0, step = 1, count = 0, length = 0;

  /// How many of them lie in front of slab s.
  std::int64_t before(std::int64_t s) const {
    return s <= first ? 0 : std::min(count, (s - first + step - 1) / step);
  }
};

// Nothing if a row is not in one slab.
std::optional<SlabRows> rows_in_slabs(const Layout& layout, std::int64_t slab) {
  const Shape& shape = layout.shape;
  if (shape.rank() == 0 || shape.size() == 0) return std::nullopt;
  std::int64_t least = layout.offset % slab, most = least;
  for (int a = 1; a < shape.rank(); ++a) {
    const std::int64_t reach = (shape[a] - 1) * layout.strides[static_cast<std::size_t>(a)];
    (reach < 0 ? least : most) += reach;
  }
  const std::int64_t stride = shape[0] > 1 ? layout.strides[0] : slab;
  if (least < 0 || most >= slab || stride <= 0 || stride % slab != 0) return std::nullopt;
  return SlabRows{layout.offset / slab, stride / slab, shape[0], shape.size() / shape[0]};
}

// Parts that do not overlap.
struct Copies {
  static constexpr std::int64_t part_elements = 65536;

  std::vector<std::size_t> inputs;  // those that were not made in their places
  std::vector<Walk> walks;
  std::vector<std::int64_t> starts{0};  // of each part, counted through all of them; then the end
  std::int64_t size = 0;
  bool is_covered = false;
  std::uint64_t fill = 0;  // its bits
  // A slab has one index along the result's first axis, or is all of it.
  std::int64_t slabs = 1;
  std::vector<SlabRows> rows;  // of each input

  std::int64_t elements() const { return starts.back(); }
  // So that who has made rows of all parts copies them, where they are enough for many threads.
  bool cuts_slabs() const { return !is_covered || slabs >= 8; }
  std::int64_t parts() const {
    const std::int64_t wanted = (is_covered ? elements() : size) / part_elements;
    return std::max<std::int64_t>(1, cuts_slabs() ? std::min(wanted, slabs) : wanted);
  }

  void cut_in_slabs(const Unview& op) {
    slabs = op.shape.rank() > 0 && size > 0 ? op.shape[0] : 1;
    for (const std::size_t p : inputs) {
      const auto found = rows_in_slabs(op.layouts[p], size / slabs);
      if (!found) break;
      rows.push_back(*found);
    }
    if (rows.size() == inputs.size()) return;
    slabs = 1;
    rows.clear();
    for (const std::size_t p : inputs) rows.push_back({0, 1, 1, op.layouts[p].shape.size()});
  }

  template <class T>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    if (!cuts_slabs()) return copy<T>(call, first, last);
    // Part by part, so that what was filled is still in the cache when something is put there.
    for (std::int64_t p = first; p < last; ++p)
      copy_slabs<T>(call, slabs * p / parts(), slabs * (p + 1) / parts());
  }

  template <class T>
  void copy_slabs(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    T* out = reinterpret_cast<T*>(call.out[0]);
    if (!is_covered)
      std::fill(out + first * (size / slabs), out + last * (size / slabs), static_cast<T>(fill));
    for (std::size_t p = 0; p < inputs.size(); ++p) {
      const std::int64_t begin = rows[p].before(first) * rows[p].length;
      const std::int64_t end = rows[p].before(last) * rows[p].length;
      const T* in = reinterpret_cast<const T*>(call.in[inputs[p]]);
      if (begin < end) walks[p].store(in + begin, out, begin, end - begin);
    }
  }

  template <class T>
  void copy(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    T* out = reinterpret_cast<T*>(call.out[0]);
    std::int64_t begin = elements() * first / parts();
    const std::int64_t end = elements() * last / parts();
    auto p = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), begin) -
                                      starts.begin() - 1);
    for (; begin < end; ++p) {
      const std::int64_t stop = std::min(end, starts[p + 1]);
      const T* in = reinterpret_cast<const T*>(call.in[inputs[p]]) + (begin - starts[p]);
      walks[p].store(in, out, begin - starts[p], stop - begin);
      begin = stop;
    }
  }
};

// The parts as copies, or null if two elements share a place, or may share one and are too many for
// a look: a plan for a batch that fits no memory costs no memory.
std::shared_ptr<const Copies> as_copies(const KernelRequest& request) {
  const Unview& op = *request.node.op.as<Unview>();
  if (!are_apart(op)) return nullptr;
  const DType dtype = request.outputs[0].dtype;
  auto copies = std::make_shared<Copies>();
  copies->size = op.shape.size();
  std::int64_t elements = 0;
  for (const Layout& layout : op.layouts) elements = checked_add(elements, layout.shape.size());
  for (std::size_t p = 0; p < op.layouts.size(); ++p) {
    if (is_made_there(request.inputs[p], request.outputs[0], op.layouts[p])) continue;
    copies->inputs.push_back(p);
    copies->walks.emplace_back(op.layouts[p]);
    copies->starts.push_back(copies->elements() + op.layouts[p].shape.size());
  }
  copies->is_covered = elements == copies->size;
  if (!copies->is_covered) {
    const Tensor fill = full({}, op.fill.value, dtype);
    std::memcpy(&copies->fill, fill.bytes(), size_of(dtype));
  }
  copies->cut_in_slabs(op);
  return copies;
}

Kernel copy_kernel(const std::shared_ptr<const Copies>& copies, const Unview& op,
                   std::size_t element) {
  Kernel kernel;
  kernel.parts = copies->parts();
  kernel.cost = 20 + static_cast<double>(copies->inputs.size()) * 4 +
                static_cast<double>(copies->elements() * static_cast<std::int64_t>(element)) / 8 +
                (copies->is_covered ? 0 : static_cast<double>(copies->size) / 8);
  const std::size_t there = op.layouts.size() - copies->inputs.size();
  kernel.why = join({op.layouts.size(), " parts into ", op.shape,
                     copies->inputs.empty() ? ", made in place" : ", copied"});
  if (there > 0 && !copies->inputs.empty()) kernel.why += join({", ", there, " made in place"});
  kernel.run = [copies, element](const KernelCall& call, std::int64_t first, std::int64_t last) {
    switch (element) {
      case 1: return copies->run<std::uint8_t>(call, first, last);
      case 2: return copies->run<std::uint16_t>(call, first, last);
      case 4: return copies->run<std::uint32_t>(call, first, last);
      default: return copies->run<std::uint64_t>(call, first, last);
    }
  };
  return kernel;
}

}  // namespace

void add_unview_kernels(KernelTable& table) {
  table.add<Unview>([](const KernelRequest& request) {
    const Unview& op = *request.node.op.as<Unview>();
    const DType dtype = request.outputs[0].dtype;
    if (const auto copies = as_copies(request)) return copy_kernel(copies, op, size_of(dtype));
    auto placement =
        std::make_shared<const Placement>(Placement{op.layouts, op.shape.size(), op.fill.value});
    Kernel kernel;
    const std::int64_t sums = is_half(dtype) ? op.shape.size() * std::int64_t{4} : 0;
    kernel.scratch = static_cast<std::size_t>(placement->marks() + sums);
    kernel.cost = 20 + 2.0 * static_cast<double>(op.shape.size());
    kernel.why = join({op.layouts.size(), " parts into ", op.shape});
    kernel.run = [placement, dtype](const KernelCall& call, std::int64_t, std::int64_t) {
      switch (dtype) {
        case DType::f32: return placement->run<float>(call);
        case DType::f64: return placement->run<double>(call);
        case DType::bf16: return placement->run_wide<bf16>(call);
        case DType::f16: return placement->run_wide<f16>(call);
        case DType::i32: return placement->run<std::uint32_t>(call);
        case DType::i64: return placement->run<std::uint64_t>(call);
        case DType::boolean: return placement->run<bool>(call);  // whose sum is whether any is true
        default: return placement->run<std::uint8_t>(call);
      }
    };
    return kernel;
  });
}

}  // namespace blockgrad
