#pragma once
// What this thread's arithmetic does with subnormal numbers, which are not 0 but below the least
// normal one. By default it is IEEE's, for which many processors leave the fast path: a product of
// such numbers can take a hundred times as long.

namespace blockgrad {

/// While one lives, subnormal operands count as 0 and subnormal results become 0 if it `flushes`,
/// and are kept if not, whatever the thread was set to: on x86-64 and aarch64; elsewhere it does
/// nothing.
class SubnormalMode {
 public:
  explicit SubnormalMode(bool flushes);
  ~SubnormalMode();
  SubnormalMode(const SubnormalMode&) = delete;
  SubnormalMode& operator=(const SubnormalMode&) = delete;

 private:
  unsigned long before_;  // of what it sets
  bool changes_;
};

/// Whether arithmetic met a subnormal operand since it was made. Only x86-64 tells.
class SubnormalWatch {
 public:
  SubnormalWatch();
  ~SubnormalWatch();
  SubnormalWatch(const SubnormalWatch&) = delete;
  SubnormalWatch& operator=(const SubnormalWatch&) = delete;
  bool met() const;

 private:
  unsigned before_ = 0;
};

}  // namespace blockgrad
