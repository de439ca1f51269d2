#pragma once
// The system may put a thread that it wakes on the processor of the one that waits for its work,
// and leave it there for some milliseconds though others are idle. A detour keeps a thread off one
// processor until it runs again.

#include <pthread.h>
#include <sched.h>

#include <atomic>

namespace blockgrad {

/// The processor that the calling thread runs on; -1 where the system does not tell.
int this_processor();

/// One thread's detours. Safe to call from several threads.
class Detour {
 public:
  /// Keeps `thread` off `processor`, from now on, if it may run elsewhere; whether it does. Not
  /// again for the same processor before `end`.
  bool begin(pthread_t thread, int processor);
  /// The thread may run wherever it might before the first `begin`.
  void end(pthread_t thread);

 private:
  enum class State : int { none, changes, on };
  std::atomic<State> state_{State::none};
  int away_from_ = -1;
  cpu_set_t before_{};
};

}  // namespace blockgrad
