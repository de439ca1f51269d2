#include "backends/cpu/attention_blocks.h"

#include <algorithm>
#include <type_traits>

namespace blockgrad {

Matrices::Matrices(const Layout& layout) : starts{layout.offset} {
  const int rank = layout.shape.rank();
  row = layout.strides[static_cast<std::size_t>(rank - 2)];
  for (int a = 0; a < rank - 2; ++a) {
    std::vector<std::int64_t> next;
    for (const std::int64_t start : starts) {
      for (std::int64_t i = 0; i < layout.shape[a]; ++i)
        next.push_back(start + i * layout.strides[static_cast<std::size_t>(a)]);
    }
    starts = std::move(next);
  }
}

BlockCut::BlockCut(std::int64_t count, std::int64_t largest) {
  if (count <= 0) return;
  const std::int64_t wanted = (count + largest - 1) / largest;
  size = ((count + wanted - 1) / wanted + 15) / 16 * 16;
  blocks = (count + size - 1) / size;
}

template <class T>
AttentionBlocks<T>::AttentionBlocks(const KernelRequest& request, std::size_t mask, bool causal,
                                    double scale, std::int64_t most_queries, std::int64_t most_keys)
    : q_(request.inputs[0].layout),
      k_(request.inputs[1].layout),
      v_(request.inputs[2].layout),
      causal_(causal),
      scale_(static_cast<T>(scale)),
      product_(request.isa) {
  const Shape& q = request.inputs[0].layout.shape;
  const Shape& v = request.inputs[2].layout.shape;
  queries_ = q[q.rank() - 2];
  depth_ = q[q.rank() - 1];
  keys_ = v[v.rank() - 2];
  value_depth_ = v[v.rank() - 1];
  query_cut_ = BlockCut(queries_, most_queries);
  key_cut_ = BlockCut(keys_, most_keys);
  // Rows that are not a power of two apart do not crowd into one set of the cache.
  packed_ld_ = product_.padded(key_cut_.size) + 16;
  if (request.inputs.size() > mask) {
    const Layout& layout = request.inputs[mask].layout;
    mask_input_ = mask;
    mask_is_bool_ = request.inputs[mask].dtype == DType::boolean;
    mask_ = Matrices(layout);
    mask_column_ =
        keys_ <= 1 ? 1 : layout.strides[static_cast<std::size_t>(layout.shape.rank() - 1)];
  }
  const AttentionTable& table = attention_table(request.isa);
  if constexpr (std::is_same_v<T, float>) rows_ = &table.f32;
  else rows_ = &table.f64;
  exp_ = tape_table(request.isa).find(ScalarOp::exp, dtype_of<T>(), dtype_of<T>());
}

template <class T>
std::int64_t AttentionBlocks<T>::width(std::int64_t query, std::int64_t rows,
                                       std::int64_t key) const {
  const std::int64_t whole = std::min(key_cut_.size, keys_ - key);
  return causal_ ? std::clamp<std::int64_t>(query + rows - key, 0, whole) : whole;
}

template <class T>
ScoreBlock<T> AttentionBlocks<T>::scores(const KernelCall& call, std::int64_t batch,
                                         std::int64_t query, std::int64_t rows, std::int64_t key,
                                         std::int64_t width, const T* keys, T* s) const {
  ScoreBlock<T> block;
  block.s = s;
  block.rows = rows;
  block.width = width;
  block.ld = ld_of(width);
  block.seen = causal_ ? query - key + 1 : width;
  block.scale = scale_;
  multiply_seen(block, rows_of(call, 0, q_, batch, query), q_.row, depth_, keys, s);
  if (mask_input_ == 0) return block;
  const std::int64_t first =
      mask_.starts[static_cast<std::size_t>(batch)] + query * mask_.row + key * mask_column_;
  block.mask_row = mask_.row;
  block.mask_column = mask_column_;
  const std::byte* mask = call.in[mask_input_];
  if (mask_is_bool_) block.allowed = reinterpret_cast<const unsigned char*>(mask) + first;
  else block.added = reinterpret_cast<const T*>(mask) + first;
  rows_->add_mask(block);
  return block;
}

template <class T>
void AttentionBlocks<T>::multiply_seen(const ScoreBlock<T>& block, const T* a, std::int64_t lda,
                                       std::int64_t depth, const T* b, T* to) const {
  for_bands(block, [&](std::int64_t r, std::int64_t count, std::int64_t end) {
    // Whole vectors: there are as many columns of b.
    const std::int64_t columns = std::min(block.width, ld_of(end));
    product_.run(count, columns, depth, {a + r * lda, lda}, b, packed_ld_, to + r * block.ld,
                 block.ld, false);
  });
}

template <class T>
void AttentionBlocks<T>::add_weighted(const ScoreBlock<T>& block, const T* w, const T* b,
                                      std::int64_t ldb, std::int64_t columns, T* sum,
                                      std::int64_t row, bool adds) const {
  for_bands(block, [&](std::int64_t r, std::int64_t count, std::int64_t end) {
    product_.run(count, columns, end, {w + r * block.ld, block.ld}, b, ldb, sum + r * row, row,
                 adds);
  });
}

template <class T>
std::string AttentionBlocks<T>::text() const {
  return join({"blocks of ", std::min(queries_, query_cut_.size), " queries and ",
               std::min(keys_, key_cut_.size), " keys",
               causal_ ? ", those not seen left out" : ""});
}

template class AttentionBlocks<float>;
template class AttentionBlocks<double>;

}  // namespace blockgrad
