#pragma once
// What a benchmark leaves: a file of its numbers.

#include <nlohmann/json.hpp>

#include <string>

namespace bench {

/// build/bench, of which `./run performance` writes the page. Tiny models and a part of what was to
/// be measured are no results: they are left in folders of their own within it.
std::string results_folder(bool is_tiny, bool is_whole);

/// Makes the folders of a file. Throws blockgrad::Error if it could not be written there: before
/// measuring, for afterwards is too late.
void check_place(const std::string& path);

/// Writes it as JSON, with the circumstances as "at" unless it has them.
void leave(const std::string& path, nlohmann::json result);

}  // namespace bench
