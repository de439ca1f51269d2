#include "blockgrad/graph/error.h"

#include <fmt/format.h>

#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/shape.h"

namespace blockgrad {

namespace {
constinit thread_local Scope* innermost_scope = nullptr;
constinit thread_local OriginScope* innermost_origin = nullptr;
}  // namespace

std::string to_string(SourceLoc where) {
  if (where.line == 0) return "unknown line";
  const std::string_view file = where.file;
  const auto slash = file.rfind('/');
  return fmt::format("{}:{}", slash == std::string_view::npos ? file : file.substr(slash + 1),
                     where.line);
}

Text::Text(long long value) : text_(fmt::format("{}", value)) {}
Text::Text(unsigned long value) : text_(fmt::format("{}", value)) {}
Text::Text(double value) : text_(fmt::format("{}", value)) {}
Text::Text(const Shape& shape) : text_(to_string(shape)) {}
Text::Text(DType dtype) : text_(name(dtype)) {}

std::string join(std::initializer_list<Text> pieces) {
  std::string text;
  for (const Text& piece : pieces) text += piece.str();
  return text;
}

void fail(std::initializer_list<Text> pieces) { throw Error(join(pieces)); }

void fail_internal(std::initializer_list<Text> pieces) {
  throw InternalError("blockgrad internal error, please report it: " + join(pieces));
}

std::string to_string(const Origin& origin, std::string_view op) {
  std::string text;
  if (origin.role == inside_role) {
    if (origin.scope) text = *origin.scope + ".";
    return text + fmt::format("{}.{} ({})", origin.of, op, to_string(origin.where));
  }
  if (!origin.role.empty()) text += fmt::format("{} {}", origin.role, origin.of);
  else if (origin.scope) text += fmt::format("{}.{}", *origin.scope, op);
  else text += op;
  if (!origin.role.empty() && origin.scope) text += fmt::format(" in {}", *origin.scope);
  return text + fmt::format(" ({})", to_string(origin.where));
}

Scope::Scope(std::string_view name, SourceLoc where)
    : name_(std::make_shared<const std::string>(
          innermost_scope ? fmt::format("{}.{}", *innermost_scope->name_, name)
                          : std::string(name))),
      where_(innermost_scope ? innermost_scope->where_ : where),
      outer_(innermost_scope) {
  innermost_scope = this;
}

Scope::~Scope() { innermost_scope = outer_; }

OriginScope::OriginScope(const Origin& origin) : origin_(origin), outer_(innermost_origin) {
  innermost_origin = this;
}

OriginScope::~OriginScope() { innermost_origin = outer_; }

Origin current_origin(SourceLoc where) {
  if (innermost_origin) return innermost_origin->origin_;
  if (!innermost_scope) return {where, nullptr, {}, {}};
  return {innermost_scope->where_, innermost_scope->name_, {}, {}};
}

}  // namespace blockgrad
