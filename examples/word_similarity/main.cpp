// Words as vectors: the cosine of the angle between two of them says how alike they are.

#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/command_line.h"
#include "support/number.h"
#include "support/table.h"

namespace {

using namespace blockgrad;

struct Words {
  std::vector<std::string> names;
  Tensor vectors;  // [words, numbers]
};

Words shipped_words() {
  return {{"cat", "dog", "pet"}, tensor({0.2, 0.4, 0.3, 0.1, 0.5, 0.2, 0.3, 0.4, 0.1}, {3, 3})};
}

/// A table whose first column holds the words and whose others hold their numbers.
Words read_words(const std::string& path) {
  const data::Table table = data::read_csv(path);
  const std::vector<std::string>& columns = table.names();
  require(columns.size() >= 2, path, ": expected a column of words and columns of numbers");
  const std::vector<std::string> numbers(columns.begin() + 1, columns.end());
  Words words{table.text(columns.front()), table.select(numbers, DType::f64)};
  constexpr std::int64_t most = 100;
  require(table.rows() <= most, path, ": expected at most ", most, " words, got ", table.rows());
  const std::int64_t size = words.vectors.shape()[1];
  for (std::int64_t word = 0; word < table.rows(); ++word) {
    bool is_zero = true;
    for (std::int64_t i = 0; i < size; ++i)
      is_zero = is_zero && words.vectors.at(word * size + i) == 0;
    require(!is_zero, path, ": the vector of '", words.names[static_cast<std::size_t>(word)],
            "' is zero, so it has no direction");
  }
  return words;
}

/// cos(u, v) = u . v / (|u| |v|) of every row with every row: [n, d] -> [n, n].
Expr cosine_similarity(const Expr& vectors) {
  const Expr lengths = sqrt(sum(square(vectors), -1, true));     // [n, 1]
  const Expr directions = vectors / lengths;                     // [n, d]
  return matmul(directions, directions, {.transpose_b = true});  // [n, n]
}

int run(int argc, char** argv) {
  std::string file;
  CLI::App app(
      "How alike are words? The cosine of the angle between their vectors, for each pair.\n"
      "Without options: cat = 0.2 0.4 0.3, dog = 0.1 0.5 0.2, pet = 0.3 0.4 0.1.",
      "word_similarity");
  app.add_option("--vectors", file, "other words: a table with a header, words in column 1")
      ->type_name("FILE.csv");
  if (const auto end = examples::parse(app, argc, argv)) return *end;
  const Words words = file.empty() ? shipped_words() : read_words(file);

  const Expr vectors = input("vectors", words.vectors.shape(), DType::f64);  // [n, d]
  const Tensor cosines = evaluate(cosine_similarity(vectors), {{vectors, words.vectors}});

  const std::size_t count = words.names.size();
  std::vector<std::string> heads{"word"};
  heads.insert(heads.end(), words.names.begin(), words.names.end());
  examples::Table table(heads);
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::string> cells{words.names[i]};
    for (std::size_t j = 0; j < count; ++j)
      cells.push_back(examples::decimals(cosines.at(static_cast<std::int64_t>(i * count + j)), 4));
    table.add(cells);
  }
  std::printf("1: same direction; 0: nothing in common; -1: opposite\n\n%s",
              table.to_string().c_str());
  for (std::size_t i = 0; i < count && count <= 10; ++i) {
    for (std::size_t j = i + 1; j < count; ++j) {
      std::printf("%s  %s-%s %.4f\n", i == 0 && j == 1 ? "\n" : "", words.names[i].c_str(),
                  words.names[j].c_str(), cosines.at(static_cast<std::int64_t>(i * count + j)));
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("word_similarity", [&] { return run(argc, argv); });
}
