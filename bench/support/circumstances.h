#pragma once
// What was measured when and where.

#include <nlohmann/json.hpp>

namespace bench {

/// Commit and date of now, the processor's name and this process' processors.
nlohmann::json circumstances();

}  // namespace bench
