#pragma once
// Numbers and tables as text to read.

#include <string>
#include <vector>

namespace blockgrad {

/// Four significant digits and a unit of thousands: "635 kB", "12.85 M", "0.731".
std::string with_unit(double value, const std::string& unit);

/// Rows of cells with columns lined up, the first row being the heads. Columns named in `right` are
/// set to the right; the last one is not filled up.
std::string table_text(const std::vector<std::vector<std::string>>& rows,
                       const std::vector<std::size_t>& right);

/// The same text with lines of at most `width` characters where they can be cut: behind a comma or
/// a semicolon and before a bar, outside of square brackets. What follows is indented by four more.
std::string folded(const std::string& text, std::size_t width = 100);

}  // namespace blockgrad
