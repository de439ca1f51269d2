#pragma once
// What a thread does between two looks at what another one is about to write.

#include <thread>

namespace blockgrad {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace blockgrad
