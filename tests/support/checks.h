#pragma once
// What tests ask again and again: the message of an error, a part of a text, equal bits.

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/error.h"
#include "blockgrad/graph/tensor.h"

namespace test_support {

/// The message of the Error that a call throws, or "no error".
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const blockgrad::Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// Equal dtypes, shapes and bits: NaN equals NaN of the same bits, 0 differs from -0.
inline bool same_bits(const blockgrad::Tensor& a, const blockgrad::Tensor& b) {
  return a.type() == b.type() &&
         (a.size() == 0 ||
          std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0);
}

inline bool same_bits(const std::vector<blockgrad::Tensor>& a,
                      const std::vector<blockgrad::Tensor>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}

}  // namespace test_support
