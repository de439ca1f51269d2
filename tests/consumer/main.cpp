// A user's program that sees only what is installed.
#include <blockgrad/graph/error.h>
#include <blockgrad/graph/tensor.h>
#include <blockgrad/version.h>

#include <cstdio>

int main() {
  try {
    blockgrad::require(false, "found blockgrad ", blockgrad::version);
  } catch (const blockgrad::Error& error) {
    std::puts(error.what());
    return 0;
  }
  return 1;
}
