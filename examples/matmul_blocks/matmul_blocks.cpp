// Matrix products from the first number to blocks in parallel, in plain C++ without the engine.
// Read it from top to bottom; run it to see every step.

#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

/// rows x columns numbers, row after row.
struct Matrix {
  std::size_t rows = 0, columns = 0;
  std::vector<double> numbers;

  Matrix(std::size_t r, std::size_t c) : rows(r), columns(c), numbers(r * c) {}
  Matrix(std::size_t r, std::size_t c, std::initializer_list<double> values)
      : rows(r), columns(c), numbers(values) {}

  double& at(std::size_t i, std::size_t j) { return numbers[i * columns + j]; }
  double at(std::size_t i, std::size_t j) const { return numbers[i * columns + j]; }
  bool operator==(const Matrix&) const = default;
};

void print(const char* name, const Matrix& matrix) {
  for (std::size_t i = 0; i < matrix.rows; ++i) {
    std::printf(i == 0 ? "  %6s = [" : "  %6s   [", i == 0 ? name : "");
    for (std::size_t j = 0; j < matrix.columns; ++j) std::printf(" %3g", matrix.at(i, j));
    std::printf(" ]\n");
  }
}

/// C[i][j] = sum over k of A[i][k] B[k][j]: row i of A meets column j of B.
/// Throws std::invalid_argument unless A has as many columns as B has rows.
Matrix multiply(const Matrix& a, const Matrix& b) {
  if (a.columns != b.rows) {
    throw std::invalid_argument("inner sizes differ: " + std::to_string(a.rows) + "x" +
                                std::to_string(a.columns) + " times " + std::to_string(b.rows) +
                                "x" + std::to_string(b.columns));
  }
  Matrix c(a.rows, b.columns);
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t j = 0; j < b.columns; ++j) {
      for (std::size_t k = 0; k < a.columns; ++k) c.at(i, j) += a.at(i, k) * b.at(k, j);
    }
  }
  return c;
}

Matrix add(const Matrix& a, const Matrix& b) {
  Matrix sum = a;
  for (std::size_t n = 0; n < sum.numbers.size(); ++n) sum.numbers[n] += b.numbers[n];
  return sum;
}

constexpr std::size_t block_size = 2;

/// Block (block_row, block_column) of a matrix, 2x2.
Matrix block(const Matrix& matrix, std::size_t block_row, std::size_t block_column) {
  Matrix part(block_size, block_size);
  for (std::size_t i = 0; i < block_size; ++i) {
    for (std::size_t j = 0; j < block_size; ++j) {
      part.at(i, j) = matrix.at(block_row * block_size + i, block_column * block_size + j);
    }
  }
  return part;
}

void put_block(Matrix& matrix, std::size_t block_row, std::size_t block_column,
               const Matrix& part) {
  for (std::size_t i = 0; i < block_size; ++i) {
    for (std::size_t j = 0; j < block_size; ++j) {
      matrix.at(block_row * block_size + i, block_column * block_size + j) = part.at(i, j);
    }
  }
}

/// Every block of C is the sum over k of A's block (i, k) times B's block (k, j). The blocks of C
/// do not need each other, so a thread of its own works on each, and writes where no other thread
/// writes: nothing must be locked.
Matrix multiply_blocks(const Matrix& a, const Matrix& b) {
  const std::size_t blocks = a.rows / block_size;
  Matrix c(a.rows, b.columns);
  std::vector<std::jthread> workers;
  for (std::size_t i = 0; i < blocks; ++i) {
    for (std::size_t j = 0; j < blocks; ++j) {
      workers.emplace_back([&, i, j] {
        Matrix sum(block_size, block_size);
        for (std::size_t k = 0; k < blocks; ++k) {
          sum = add(sum, multiply(block(a, i, k), block(b, k, j)));
        }
        put_block(c, i, j, sum);
      });
    }
  }
  workers.clear();  // waits for every thread: the blocks are joined
  return c;
}

void show_small_product() {
  std::printf("1. A product of two 2x2 matrices: row times column\n\n");
  const Matrix a(2, 2, {1, 2, 3, 4}), b(2, 2, {5, 6, 7, 8});
  print("A", a);
  print("B", b);
  const Matrix c = multiply(a, b);
  std::printf("\n");
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      std::printf("  C[%zu][%zu] = row %zu of A times column %zu of B = %g*%g + %g*%g = %g\n", i, j,
                  i, j, a.at(i, 0), b.at(0, j), a.at(i, 1), b.at(1, j), c.at(i, j));
    }
  }
  std::printf("\n");
  print("A B", c);
}

void show_wrong_sizes() {
  std::printf("\n2. The inner sizes must be equal: A's columns meet B's rows\n\n");
  try {
    multiply(Matrix(2, 3), Matrix(2, 2));
  } catch (const std::invalid_argument& error) {
    std::printf("  error: %s\n", error.what());
  }
}

/// True if the joined blocks equal the product that was not split.
bool show_blocks() {
  std::printf("\n3. Two 4x4 matrices, each split into four 2x2 blocks\n\n");
  const Matrix a(4, 4, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
  const Matrix b(4, 4, {1, 0, 2, 1, 0, 1, 1, 2, 2, 1, 0, 1, 1, 2, 1, 0});
  print("A", a);
  print("B", b);
  std::printf("\n  A = [ A11 A12 ]   B = [ B11 B12 ]   and blocks multiply like numbers:\n");
  std::printf("      [ A21 A22 ]       [ B21 B22 ]   C11 = A11 B11 + A12 B21\n\n");
  const Matrix a11 = block(a, 0, 0), a12 = block(a, 0, 1);
  const Matrix b11 = block(b, 0, 0), b21 = block(b, 1, 0);
  print("A11", a11);
  print("B11", b11);
  print("A11B11", multiply(a11, b11));
  std::printf("\n");
  print("A12", a12);
  print("B21", b21);
  print("A12B21", multiply(a12, b21));
  std::printf("\n");
  print("C11", add(multiply(a11, b11), multiply(a12, b21)));

  std::printf("\n4. All four blocks of C at once, a thread each, then joined\n\n");
  const Matrix joined = multiply_blocks(a, b), whole = multiply(a, b);
  print("joined", joined);
  print("whole", whole);
  const bool are_equal = joined == whole;
  std::printf("\n  The joined blocks %s the product that was not split.\n",
              are_equal ? "equal" : "DIFFER FROM");
  return are_equal;
}

}  // namespace

int main() {
  show_small_product();
  show_wrong_sizes();
  return show_blocks() ? 0 : 1;
}
