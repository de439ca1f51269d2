#pragma once
// What was measured when and where.

#include <nlohmann/json.hpp>

namespace bench {

/// The commit that was built, the date of now, the processor's name and this process' processors.
nlohmann::json circumstances();

}  // namespace bench
