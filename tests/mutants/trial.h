#pragma once
// Trial: one edit compiled, linked with the tests of the ops, and run. The tree is only read; what
// is made lies in a folder of its own.

#include <set>
#include <string>

#include "tests/mutants/edits.h"

namespace mutants {

enum class Verdict { caught, survived, does_not_compile, interrupted };

/// How the build makes the tests of the ops.
class Build {
 public:
  /// `folder` is a configured build in which test_ops is up to date. Throws std::runtime_error if
  /// its commands cannot be read.
  Build(std::string root, std::string folder);

  /// Compiles and links `edit` in `work`, then runs the rows it concerns, and all if they pass.
  Verdict attempt(const Edit& edit, const std::string& work) const;

 private:
  std::string compile_command(const std::string& source) const;
  bool has_rows(const std::string& op) const;

  std::string root_, folder_, link_, link_folder_;
  std::set<std::string> cases_;
};

}  // namespace mutants
