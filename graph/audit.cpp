#include "blockgrad/graph/audit.h"

#include <algorithm>

namespace blockgrad {

bool Audit::has_errors() const {
  return std::any_of(entries.begin(), entries.end(),
                     [](const AuditEntry& entry) { return entry.is_error(); });
}

bool Audit::ok() const {
  return std::none_of(entries.begin(), entries.end(), [](const AuditEntry& entry) {
    return entry.is_error() || entry.kind == AuditEntry::Kind::flat;
  });
}

std::string to_string(const Audit& audit) {
  if (audit.entries.empty()) return "every wanted value gets a gradient\n";
  std::string text;
  for (const AuditEntry& entry : audit.entries) text += entry.text + "\n";
  return text;
}

}  // namespace blockgrad
