#pragma once
// Errors, the user's source line, and the stack of scopes. Every message of the engine says what
// was expected, what came, and where in the user's program. Scopes are per thread; everything else
// is a value.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace blockgrad {

class Shape;
enum class DType : std::uint8_t;

/// The user's mistake: shapes, dtypes, files, settings.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A broken invariant of the engine itself; its text asks for a report.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Memory, driver or a missing library of a device.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// The DeviceError that asking for fewer bytes would mend.
class OutOfMemory : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// A place in the user's program. `here()` as a default argument names the caller's line.
struct SourceLoc {
  const char* file = "";
  int line = 0;

  static constexpr SourceLoc here(const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) noexcept {
    return {file, line};
  }
  bool operator==(const SourceLoc&) const = default;
};

/// "file.cpp:41", without folders.
std::string to_string(SourceLoc where);

/// One piece of a message: text, number, shape or dtype.
class Text {
 public:
  Text(const char* text) : text_(text) {}
  Text(std::string_view text) : text_(text) {}
  Text(const std::string& text) : text_(text) {}
  Text(int value) : Text(static_cast<long long>(value)) {}
  Text(long value) : Text(static_cast<long long>(value)) {}
  Text(long long value);
  Text(unsigned long value);
  Text(double value);
  Text(const Shape& shape);
  Text(DType dtype);

  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

std::string join(std::initializer_list<Text> pieces);

/// Throws Error with the joined pieces.
[[noreturn]] void fail(std::initializer_list<Text> pieces);

/// Throws InternalError with the joined pieces and the request to report it.
[[noreturn]] void fail_internal(std::initializer_list<Text> pieces);

/// Throws Error with the joined pieces unless `ok`. The pieces are made only on failure.
template <class... Pieces>
void require(bool ok, const Pieces&... pieces) {
  if (!ok) [[unlikely]] {
    fail({Text(pieces)...});
  }
}

/// Throws InternalError with the joined pieces unless `ok`.
template <class... Pieces>
void check_internal(bool ok, const Pieces&... pieces) {
  if (!ok) [[unlikely]] {
    fail_internal({Text(pieces)...});
  }
}

/// Where a node comes from: the user's line, the names of the open scopes, and, for nodes made by a
/// gradient or by `expand`, the op they belong to.
struct Origin {
  SourceLoc where;
  std::shared_ptr<const std::string> scope;  // null: outside of every scope
  std::string_view role;                     // "", "gradient of" or inside_role; a literal
  std::string_view of;                       // name of the op the role refers to; static storage
};

/// The roles of nodes that an op's `expand` or its gradient made.
inline constexpr std::string_view inside_role = "inside", gradient_role = "gradient of";

/// "block3.attention.softmax (model.cpp:41)", "gradient of matmul (train.cpp:41)", and for the exp
/// that a softmax expands to "softmax.exp (model.cpp:41)".
std::string to_string(const Origin& origin, std::string_view op);

/// Names what is built while it lives: nodes inside take the joined names and the outermost line.
/// Example: `Scope s("attention");`
class Scope {
 public:
  explicit Scope(std::string_view name, SourceLoc where = SourceLoc::here());
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  friend class OriginScope;
  friend Origin current_origin(SourceLoc where);
  std::shared_ptr<const std::string> name_;
  SourceLoc where_;
  Scope* outer_;
};

/// Nodes built while it lives carry this origin instead of their own line; used by gradients and
/// passes.
class OriginScope {
 public:
  explicit OriginScope(const Origin& origin);
  ~OriginScope();
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

 private:
  friend Origin current_origin(SourceLoc where);
  const Origin& origin_;
  OriginScope* outer_;
};

/// The origin of a node made at `where` in this thread, now.
Origin current_origin(SourceLoc where);

}  // namespace blockgrad
