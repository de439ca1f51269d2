// Vectors of words by the words around them (Mikolov et al. 2013): the vector of a word against
// those of one neighbour and some words that are none.
#include <algorithm>
#include <span>

#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

namespace {

std::int64_t distinct(const bg::Tensor& numbers) {
  const std::span<const std::int32_t> all = numbers.span<std::int32_t>();
  std::vector<std::int32_t> sorted(all.begin(), all.end());
  std::sort(sorted.begin(), sorted.end());
  return std::unique(sorted.begin(), sorted.end()) - sorted.begin();
}

}  // namespace

Model skip_gram(const SkipGramSizes& sizes) {
  const std::int64_t candidates = 1 + sizes.negatives;
  Model model{.family = "skip_gram", .recipe = Recipe::adagrad, .learning_rate = 0.05};
  const bg::Initial initial = bg::uniform_initial(-0.1, 0.1);
  const bg::Shape table{sizes.vocabulary, sizes.width};
  const bg::Expr words = add_parameter(model, table, initial, "words");
  const bg::Expr contexts = add_parameter(model, table, initial, "contexts");
  const bg::Expr center = add_labels(model, {sizes.batch}, sizes.vocabulary, "x");
  const bg::Expr others =
      add_labels(model, {sizes.batch, candidates}, sizes.vocabulary - 1, "others");

  std::vector<float> is_neighbour(static_cast<std::size_t>(sizes.batch * candidates));
  for (std::size_t i = 0; i < is_neighbour.size(); i += static_cast<std::size_t>(candidates)) {
    is_neighbour[i] = 1;
  }
  const bg::Expr t = bg::input("t", {sizes.batch, candidates});
  model.batch.push_back(
      {t, bg::tensor(std::span<const float>(is_neighbour), {sizes.batch, candidates})});

  const bg::Expr u = bg::expand_dims(bg::embedding(words, center), 1);  // [B, 1, width]
  const bg::Expr v = bg::embedding(contexts, others);                   // [B, 1 + negatives, width]
  model.loss = bg::binary_cross_entropy_with_logits(bg::vecdot(u, v), t);
  const std::int64_t rows = distinct(model.batch[0].value) + distinct(model.batch[1].value);
  model.work.bytes = update_bytes(model.recipe, rows * sizes.width);
  model.work.flops = 3 * product_flops(sizes.batch, candidates, sizes.width);
  return model;
}

}  // namespace bench
