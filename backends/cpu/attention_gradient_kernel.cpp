// The gradient of attention on the CPU: scores of a block of queries and keys are made again from
// the saved logarithms, and give the block's shares of dq, dk and dv. Each gradient is a chain over
// its blocks in ascending order. Where heads are few, dq and the pair dk, dv are parts of their
// own: scores are made twice, but all threads have work, with equal bits.
#include <algorithm>
#include <memory>

#include "backends/cpu/attention_blocks.h"
#include "backends/cpu/families.h"
#include "blockgrad/ops/attention.h"

namespace blockgrad {

namespace {

constexpr std::int64_t most_queries = 64, most_keys = 128;  // of a block
constexpr std::int64_t few_batches = 4;
constexpr std::int64_t groups_of_few = 8;

template <class T>
class Gradient : AttentionBlocks<T> {
 public:
  explicit Gradient(const KernelRequest& request)
      : AttentionBlocks<T>(request, 6, request.node.op.as<AttentionGradient>()->causal,
                           request.node.op.as<AttentionGradient>()->scale.value, most_queries,
                           most_keys),
        dy_(request.inputs[3].layout),
        dq_(request.outputs[0].layout),
        dk_(request.outputs[1].layout),
        dv_(request.outputs[2].layout) {
    is_split_ = this->batches() < few_batches && this->query_cut_.blocks >= groups_of_few &&
                this->key_cut_.blocks >= groups_of_few;
  }

  Kernel kernel(std::shared_ptr<const Gradient> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      for (std::int64_t part = first; part < last; ++part) self->run_part(call, part);
    };
    kernel.parts = this->batches() * (is_split_ ? 2 * groups_of_few : 1);
    kernel.scratch = static_cast<std::size_t>(place(nullptr).end);
    const double pairs = static_cast<double>(this->batches() * this->queries_ * this->keys_);
    kernel.cost =
        20 +
        pairs * (2.0 * static_cast<double>(3 * this->depth_ + 2 * this->value_depth_) / 60 + 1);
    kernel.why = join({this->text(), is_split_ ? ", dq apart from dk and dv" : "", ", ",
                       kernel.parts, kernel.parts == 1 ? " part" : " parts"});
    return kernel;
  }

 private:
  struct Scratch {
    T *keys, *values, *p, *ds;
    std::int64_t end;
  };
  Scratch place(std::byte* at) const {
    Scratch scratch{};
    const auto take = [&](std::int64_t elements) {
      T* const begin = at ? reinterpret_cast<T*>(at + scratch.end) : nullptr;
      scratch.end += this->bytes(elements);
      return begin;
    };
    const std::int64_t block = this->query_cut_.size * this->ld_of(this->key_cut_.size);
    scratch.keys = take(this->depth_ * this->packed_ld_);
    scratch.values = take(this->value_depth_ * this->packed_ld_);
    scratch.p = take(block);
    scratch.ds = take(block);
    return scratch;
  }

  // What a part makes: shares of dq for its blocks of queries, and dk and dv of its blocks of keys.
  struct Task {
    std::int64_t batch;
    BlockGroup queries, keys;
    bool makes_dq, makes_dkv;
  };

  void run_part(const KernelCall& call, std::int64_t part) const {
    const std::int64_t query_blocks = this->query_cut_.blocks, key_blocks = this->key_cut_.blocks;
    if (!is_split_) {
      run_task(call, {part, {query_blocks, 1, 0}, {key_blocks, 1, 0}, true, true});
      return;
    }
    const std::int64_t batch = part / (2 * groups_of_few), own = part % (2 * groups_of_few);
    // Alternating, so that any run of parts has as many of each.
    const std::int64_t group = own / 2;
    if (own % 2 == 0)
      run_task(call,
               {batch, {query_blocks, groups_of_few, group}, {key_blocks, 1, 0}, true, false});
    else
      run_task(call,
               {batch, {query_blocks, 1, 0}, {key_blocks, groups_of_few, group}, false, true});
  }

  void run_task(const KernelCall& call, const Task& task) const {
    const Scratch scratch = place(call.scratch);
    T* const dq = this->rows_of(call.out[0], dq_, task.batch, 0);
    T* const dk = this->rows_of(call.out[1], dk_, task.batch, 0);
    T* const dv = this->rows_of(call.out[2], dv_, task.batch, 0);
    if (this->keys_ == 0) this->clear(dq, dq_.row, this->queries_, this->depth_);
    for (std::int64_t j = 0; j < task.keys.count(); ++j) {
      const std::int64_t key = task.keys.block(j) * this->key_cut_.size;
      if (key >= this->keys_) continue;
      const std::int64_t height = std::min(this->key_cut_.size, this->keys_ - key);
      this->transpose(this->rows_of(call, 1, this->k_, task.batch, key), this->k_.row, height,
                      this->depth_, scratch.keys);
      this->transpose(this->rows_of(call, 2, this->v_, task.batch, key), this->v_.row, height,
                      this->value_depth_, scratch.values);
      std::int64_t seen = 0;  // keys of the block that an earlier query saw
      for (std::int64_t i = 0; i < task.queries.count(); ++i) {
        const std::int64_t query = task.queries.block(i) * this->query_cut_.size;
        if (query >= this->queries_) continue;
        const std::int64_t rows = std::min(this->query_cut_.size, this->queries_ - query);
        const std::int64_t width = this->width(query, rows, key);
        if (width == 0) continue;
        const ScoreBlock<T> block = make_slopes(call, scratch, task.batch, query, rows, key, width);
        const T* const q = this->rows_of(call, 0, this->q_, task.batch, query);
        const T* const dy = this->rows_of(call, 3, dy_, task.batch, query);
        if (task.makes_dkv) {
          add_transposed(block, scratch.p, seen, dy, dy_.row, this->value_depth_,
                         dv + key * dv_.row, dv_.row);
          add_transposed(block, scratch.ds, seen, q, this->q_.row, this->depth_, dk + key * dk_.row,
                         dk_.row);
        }
        if (task.makes_dq) {
          this->add_weighted(block, scratch.ds, this->rows_of(call, 1, this->k_, task.batch, key),
                             this->k_.row, this->depth_, dq + query * dq_.row, dq_.row, key > 0);
        }
        seen = std::max(seen, width);
      }
      if (task.makes_dkv) {
        this->clear(dk + (key + seen) * dk_.row, dk_.row, height - seen, this->depth_);
        this->clear(dv + (key + seen) * dv_.row, dv_.row, height - seen, this->value_depth_);
      }
    }
  }

  // p = exp(s - lse), ds = p (dy v^T - delta) scale.
  ScoreBlock<T> make_slopes(const KernelCall& call, const Scratch& scratch, std::int64_t batch,
                            std::int64_t query, std::int64_t rows, std::int64_t key,
                            std::int64_t width) const {
    const std::int64_t first = batch * this->queries_ + query;
    const T* const lse = reinterpret_cast<const T*>(call.in[4]) + first;
    const T* const delta = reinterpret_cast<const T*>(call.in[5]) + first;
    const ScoreBlock<T> block =
        this->scores(call, batch, query, rows, key, width, scratch.keys, scratch.p);
    this->rows_->powers(block, lse, nullptr);
    this->multiply_seen(block, this->rows_of(call, 3, dy_, batch, query), dy_.row,
                        this->value_depth_, scratch.values, scratch.ds);
    this->rows_->slopes(block, scratch.ds, delta, this->scale_);
    return block;
  }

  // sum[j] += the rows of b weighted by column j of the block; the columns from `started` on are
  // the first ones of theirs. Rows that see none of some columns are left out, those of sum are
  // `ld` apart.
  void add_transposed(const ScoreBlock<T>& block, const T* w, std::int64_t started, const T* b,
                      std::int64_t ldb, std::int64_t columns, T* sum, std::int64_t ld) const {
    const bool is_whole = block.seen >= block.width;
    for (std::int64_t from = 0, to = 0; from < block.width; from = to) {
      to = is_whole ? block.width : std::min(block.width, from + this->band_rows);
      if (from < started) to = std::min(to, started);
      const std::int64_t row = std::clamp<std::int64_t>(from - block.seen + 1, 0, block.rows);
      this->product_.run(to - from, columns, block.rows - row,
                         {w + row * block.ld + from, block.ld, detail::LayoutA::columns},
                         b + row * ldb, ldb, sum + from * ld, ld, from < started);
    }
  }

  Matrices dy_, dq_, dk_, dv_;
  bool is_split_ = false;
};

template <class T>
Kernel gradient_kernel(const KernelRequest& request) {
  const auto gradient = std::make_shared<const Gradient<T>>(request);
  return gradient->kernel(gradient);
}

}  // namespace

void add_attention_gradient_kernel(KernelTable& table) {
  table.add<AttentionGradient>([](const KernelRequest& request) {
    return request.inputs[0].dtype == DType::f32 ? gradient_kernel<float>(request)
                                                 : gradient_kernel<double>(request);
  });
}

}  // namespace blockgrad
