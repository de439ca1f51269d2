#pragma once
// What a benchmark leaves: a file of its numbers.

#include <nlohmann/json.hpp>

#include <string>

namespace bench {

/// Makes the folders of a file. Throws blockgrad::Error if it could not be written there: before
/// measuring, for afterwards is too late.
void check_place(const std::string& path);

/// Writes it as JSON, with the circumstances as "at" unless it has them.
void leave(const std::string& path, nlohmann::json result);

}  // namespace bench
