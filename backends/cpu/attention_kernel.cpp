// Attention on the CPU: blocks of queries pass over blocks of keys with a running maximum and a
// running sum per query (Milakov and Gimelshein 2018; Dao et al. 2022), so that scores are never
// stored. One block of keys, as for short sequences, is a plain softmax. Sums over keys are chains
// in ascending order within a block, blocks follow in order, whoever does a part.
#include "blockgrad/ops/attention.h"

#include <algorithm>
#include <memory>

#include "backends/cpu/attention_blocks.h"
#include "backends/cpu/families.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace {

template <class T>
class Forward : AttentionBlocks<T> {
 public:
  explicit Forward(const KernelRequest& request)
      : AttentionBlocks<T>(request, 3, request.node.op.as<Attention>()->causal,
                           request.node.op.as<Attention>()->scale.value, most_queries(request),
                           most_keys(request)),
        y_(request.outputs[0].layout) {
    log_ = tape_table(request.isa).find(ScalarOp::log, dtype_of<T>(), dtype_of<T>());
    // Sixteen parts are enough for all threads; with as many heads no keys are packed twice.
    const std::int64_t batches = std::max<std::int64_t>(1, this->batches());
    groups_ = std::clamp<std::int64_t>((16 + batches - 1) / batches, 1,
                                       std::max<std::int64_t>(1, this->query_cut_.blocks));
  }

  Kernel kernel(std::shared_ptr<const Forward> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      for (std::int64_t part = first; part < last; ++part)
        self->run_group(call, part / self->groups_, part % self->groups_);
    };
    kernel.parts = this->batches() * groups_;
    kernel.scratch = static_cast<std::size_t>(place(nullptr).end);
    const double pairs = static_cast<double>(this->batches() * this->queries_ * this->keys_);
    kernel.cost =
        20 + pairs * (2.0 * static_cast<double>(this->depth_ + this->value_depth_) / 60 + 1);
    kernel.why = join({this->text(), ", ", kernel.parts, kernel.parts == 1 ? " part" : " parts"});
    return kernel;
  }

 private:
  static std::int64_t most_queries(const KernelRequest& request) {
    const Shape& v = request.inputs[2].layout.shape;
    return v[v.rank() - 2] <= 512 ? 64 : 128;
  }
  static std::int64_t most_keys(const KernelRequest& request) {
    const Shape& v = request.inputs[2].layout.shape;
    return v[v.rank() - 2] <= 512 ? 512 : 256;
  }

  struct Scratch {
    T *keys, *s, *highest, *before, *total, *sums;
    std::int64_t end;
  };
  Scratch place(std::byte* at) const {
    Scratch scratch{};
    const auto take = [&](std::int64_t elements) {
      T* const begin = at ? reinterpret_cast<T*>(at + scratch.end) : nullptr;
      scratch.end += this->bytes(elements);
      return begin;
    };
    const std::int64_t rows = this->query_cut_.size;
    scratch.keys = take(this->depth_ * this->packed_ld_);
    scratch.s = take(rows * this->ld_of(this->key_cut_.size));
    scratch.highest = take(rows);
    scratch.before = take(rows);
    scratch.total = take(rows);
    scratch.sums = take(rows);
    return scratch;
  }

  void run_group(const KernelCall& call, std::int64_t batch, std::int64_t group) const {
    const Scratch scratch = place(call.scratch);
    const BlockGroup blocks(this->query_cut_.blocks, groups_, group);
    std::int64_t packed = -1;
    for (std::int64_t b = 0; b < blocks.count(); ++b) {
      if (blocks.block(b) < this->query_cut_.blocks)
        run_block(call, scratch, batch, blocks.block(b) * this->query_cut_.size, packed);
    }
  }

  void run_block(const KernelCall& call, const Scratch& scratch, std::int64_t batch,
                 std::int64_t query, std::int64_t& packed) const {
    const std::int64_t rows = std::min(this->query_cut_.size, this->queries_ - query);
    const std::int64_t first = batch * this->queries_ + query, columns = this->value_depth_;
    T* const y = this->rows_of(call.out[0], y_, batch, query);
    std::fill_n(scratch.highest, rows, -std::numeric_limits<T>::infinity());
    std::fill_n(scratch.total, rows, T{0});
    if (this->keys_ == 0) this->clear(y, y_.row, rows, columns);
    for (std::int64_t key = 0; key < this->keys_; key += this->key_cut_.size) {
      const std::int64_t width = this->width(query, rows, key);
      if (width == 0) break;
      if (packed != key) {
        const std::int64_t height = std::min(this->key_cut_.size, this->keys_ - key);
        this->transpose(this->rows_of(call, 1, this->k_, batch, key), this->k_.row, height,
                        this->depth_, scratch.keys);
        packed = key;
      }
      std::copy_n(scratch.highest, rows, scratch.before);
      const ScoreBlock<T> block =
          this->scores(call, batch, query, rows, key, width, scratch.keys, scratch.s);
      this->rows_->maxima(block, scratch.highest);
      if (key > 0) shrink(scratch, rows, y);
      this->rows_->powers(block, scratch.highest, scratch.sums);
      for (std::int64_t r = 0; r < rows; ++r) scratch.total[r] += scratch.sums[r];
      this->add_weighted(block, scratch.s, this->rows_of(call, 2, this->v_, batch, key),
                         this->v_.row, columns, y, y_.row, key > 0);
    }
    finish(scratch, rows, y, reinterpret_cast<T*>(call.out[1]) + first);
  }

  // What was summed up under lower maxima, on the scale of the new ones.
  void shrink(const Scratch& scratch, std::int64_t rows, T* y) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      const T now = scratch.highest[r];
      scratch.before[r] -= now == -std::numeric_limits<T>::infinity() ? T{0} : now;
    }
    this->exp_in_place(scratch.before, rows);
    for (std::int64_t r = 0; r < rows; ++r) scratch.total[r] *= scratch.before[r];
    this->rows_->rescale(y, rows, this->value_depth_, y_.row, scratch.before);
  }

  void finish(const Scratch& scratch, std::int64_t rows, T* y, T* lse) const {
    const T* const total = scratch.total;
    for (std::int64_t r = 0; r < rows; ++r) scratch.sums[r] = total[r] == 0 ? T{0} : 1 / total[r];
    this->rows_->rescale(y, rows, this->value_depth_, y_.row, scratch.sums);
    log_(lse, total, total, total, rows);
    for (std::int64_t r = 0; r < rows; ++r)
      lse[r] = total[r] == 0 ? T{0} : scratch.highest[r] + lse[r];
  }

  Matrices y_;
  std::int64_t groups_ = 1;
  TapeFn log_;
};

template <class T>
Kernel forward_kernel(const KernelRequest& request) {
  const auto forward = std::make_shared<const Forward<T>>(request);
  return forward->kernel(forward);
}

}  // namespace

void add_attention_kernels(KernelTable& table) {
  table.add<Attention>([](const KernelRequest& request) {
    return request.inputs[0].dtype == DType::f32 ? forward_kernel<float>(request)
                                                 : forward_kernel<double>(request);
  });
  add_attention_gradient_kernel(table);
}

}  // namespace blockgrad
