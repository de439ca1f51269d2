// ReduceGroup on the CPU: each set is cut into pieces of whole blocks, a block goes through the
// formula and is reduced while it is in the cache, and one thread joins what the pieces gave. Sums
// are those of the Reduce kernel, see tape.h: a piece is a subtree of its tree over blocks.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/block_tree.h"
#include "backends/cpu/families.h"
#include "backends/cpu/tape_program.h"
#include "blockgrad/graph/map.h"
#include "graph/reduce_group.h"

namespace blockgrad {

namespace {

constexpr std::int64_t piece_elements = 16 * block_elements;  // a power of two blocks
constexpr std::int64_t value_bytes = BlockTree::most_bytes;

struct Piece {
  std::size_t set;
  std::int64_t begin, end;
};

class ReduceSets {
 public:
  explicit ReduceSets(const KernelRequest& request)
      : group_(*request.node.op.as<ReduceGroup>()),
        inputs_(group_.fn.inputs().size()),
        in_(group_.fn.result_dtype(0)),
        out_(request.outputs[0].dtype) {
    const TapeTable& table = tape_table(request.isa);
    reduce_ = table.find_rows(group_.kind, in_);
    join_ = table.find_rows(group_.kind, out_);
    magnitude_ = table.find_magnitude(out_);
    check_internal(reduce_ && join_, "no kernel for ", name(group_.kind), " of ", in_);
    for (std::size_t s = 0; s < group_.shapes.size(); ++s) {
      const auto operands = request.inputs.subspan(s * inputs_, inputs_);
      const Shape& shape = operands[0].layout.shape;
      const Operand made{Place::arena, -1, in_, Layout::dense(shape)};
      const GraphNode map{Map{group_.fn}, {}, {{in_, shape}}, {}};
      tapes_.push_back(make_tape({map, operands, {&made, 1}, request.isa}));
      // Without a formula the elements are reduced where they lie.
      const bool is_plain =
          group_.fn.code().size() == 1 && Walk(operands[0].layout).is_contiguous();
      plain_.push_back(is_plain ? operands[0].layout.offset : -1);
      scratch_ = std::max(scratch_, tapes_.back().scratch());
      elements_ += tapes_.back().elements;
    }
    scratch_ = (scratch_ + 63) / 64 * 64;
    cut();
  }

  Kernel kernel(const std::shared_ptr<const ReduceSets>& self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      self->run(call, first, last);
    };
    kernel.finish = [self](const KernelCall& call) { self->finish(call); };
    kernel.parts = static_cast<std::int64_t>(parts_.size()) - 1;
    kernel.scratch = scratch_ + block_elements * size_of(in_);
    kernel.shared = pieces_.size() * value_bytes;
    kernel.cost =
        20 + 0.1 * static_cast<double>(elements_) * static_cast<double>(1 + tapes_[0].code.size());
    kernel.can_watch = true;
    kernel.why = join({elements_, " elements of ", static_cast<std::int64_t>(tapes_.size()),
                       " values in ", static_cast<std::int64_t>(pieces_.size()), " pieces"});
    return kernel;
  }

 private:
  void cut() {
    std::int64_t left = piece_elements;
    for (std::size_t s = 0; s < tapes_.size(); ++s) {
      for (std::int64_t begin = 0; begin < tapes_[s].elements; begin += piece_elements) {
        const std::int64_t end = std::min(tapes_[s].elements, begin + piece_elements);
        pieces_.push_back({s, begin, end});
        left -= end - begin;
        if (left > 0) continue;
        parts_.push_back(pieces_.size());
        left = piece_elements;
      }
    }
    if (parts_.back() < pieces_.size()) parts_.push_back(pieces_.size());
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    const std::size_t end = parts_[static_cast<std::size_t>(last)];
    for (std::size_t p = parts_[static_cast<std::size_t>(first)]; p < end; ++p)
      reduce_piece(call, pieces_[p], call.shared + p * value_bytes);
  }

  void reduce_piece(const KernelCall& call, const Piece& piece, std::byte* out) const {
    KernelCall own = call;
    own.in += piece.set * inputs_;
    const std::int64_t size = static_cast<std::int64_t>(size_of(in_));
    if (const std::int64_t offset = plain_[piece.set]; offset >= 0) {
      reduce_(out, nullptr, own.in[0] + (offset + piece.begin) * size, piece.end - piece.begin, 1,
              0);
      return;
    }
    BlockTree tree(join_, size_of(out_));
    std::byte* const block = call.scratch + scratch_;
    for (std::int64_t begin = piece.begin; begin < piece.end; begin += block_elements) {
      const std::int64_t end = std::min(piece.end, begin + block_elements);
      std::byte* const place = block - begin * size;  // so that element `begin` is its first
      own.out = &place;
      tapes_[piece.set].run_elements(own, begin, end);
      alignas(value_bytes) std::byte value[value_bytes];
      reduce_(value, nullptr, block, end - begin, 1, 0);
      tree.add(value);
    }
    tree.end(out);
  }

  void finish(const KernelCall& call) const {
    for (std::size_t p = 0; p < pieces_.size();) {
      const std::size_t set = pieces_[p].set;
      BlockTree tree(join_, size_of(out_));
      for (; p < pieces_.size() && pieces_[p].set == set; ++p)
        tree.add(call.shared + p * value_bytes);
      tree.end(call.out[set]);
      const bool looks = call.watch != Watch::nothing && magnitude_;
      if (looks && std::isinf(magnitude_(call.out[set], 1)))
        call.not_finite->store(true, std::memory_order_relaxed);
    }
  }

  const ReduceGroup group_;
  const std::size_t inputs_;  // of a set
  const DType in_, out_;      // of elements and results
  ReduceFn reduce_ = nullptr, join_ = nullptr;
  MagnitudeFn magnitude_ = nullptr;
  std::vector<TapeProgram> tapes_;
  std::vector<std::int64_t> plain_;    // first element of sets that need no formula, else -1
  std::vector<Piece> pieces_;          // of each set, one behind the other
  std::vector<std::size_t> parts_{0};  // where the pieces of each part begin, and end
  std::size_t scratch_ = 0;            // of the formulas
  std::int64_t elements_ = 0;
};

}  // namespace

void add_reduce_group_kernels(KernelTable& table) {
  table.add<ReduceGroup>([](const KernelRequest& request) {
    const auto sets = std::make_shared<const ReduceSets>(request);
    return sets->kernel(sets);
  });
}

}  // namespace blockgrad
