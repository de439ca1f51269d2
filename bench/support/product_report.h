#pragma once
// What to say of measured products, each a row as bench_matmul leaves it.

#include <nlohmann/json.hpp>

#include <string>

namespace bench {

/// A line of the table, on standard output.
void print_product(const nlohmann::json& row);

/// A line for each type, peer and number of threads: geometric mean and least of the ratios. What
/// others disturbed is in no mean, nor 5x1x2, whose call costs more than its work.
std::string means_text(const nlohmann::json& rows);

}  // namespace bench
