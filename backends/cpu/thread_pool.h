#pragma once
// The engine's own threads. One pool for all programs; a run that finds it busy works alone, with
// equal bits. Workers poll for a while, then sleep. Nothing here allocates after the pool is made.

#include <cstdint>

namespace blockgrad {

/// Threads that may be used: the smaller of the affinity mask and the cgroup's quota, at least 1.
int available_threads();

class ThreadPool {
 public:
  /// The process's pool; its workers start with the first parallel piece of work.
  static ThreadPool& shared();

  using Work = void (*)(void* context, int thread);
  /// Calls work(context, t) for every t < threads, t = 0 on the caller, and returns when all are
  /// done. False, without any call, if the pool is busy or has fewer threads.
  bool run(Work work, void* context, int threads);

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

 private:
  ThreadPool();
  ~ThreadPool();
  struct State;
  State* state_;
};

}  // namespace blockgrad
