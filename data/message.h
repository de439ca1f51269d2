#pragma once
// How text from files, and the system's reasons, appear in messages.

#include <string>
#include <string_view>

namespace blockgrad::data::detail {

/// Text of a file made fit for a message: control characters and broken UTF-8 as \xNN, at most
/// `limit` bytes.
std::string shown(std::string_view text, std::size_t limit = 60);

/// The same in single quotes.
std::string in_quotes(std::string_view text);

/// "'a', 'b', 'c' and 12 more".
template <class Items, class Name>
std::string list(const Items& items, Name name) {
  std::string text;
  std::size_t count = 0;
  for (const auto& item : items) {
    if (count++ == 20) return text + " and " + std::to_string(items.size() - 20) + " more";
    if (!text.empty()) text += ", ";
    text += in_quotes(name(item));
  }
  return text;
}

/// "No such file or directory" of an errno value.
std::string reason(int error);

}  // namespace blockgrad::data::detail
