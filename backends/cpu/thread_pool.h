#pragma once
// The engine's own threads. One pool for all programs; a run that finds it busy works alone, with
// equal bits. Workers poll for a while, then sleep. Nothing here allocates after the pool is made.

#include <cstdint>

namespace blockgrad {

/// Threads that may be used: the smaller of the affinity mask and the cgroup's quota, at least 1.
int available_threads();

class ThreadPool {
 public:
  static constexpr int most_threads = 64;

  /// The process's pool, without workers at first.
  static ThreadPool& shared();

  /// Starts workers for this many threads, the caller counted; fewer where the system gives no
  /// more. Called when a program is compiled, so that running it neither starts threads nor
  /// allocates.
  void prepare(int threads);

  using Work = void (*)(void* context, int thread);
  /// Calls work(context, t) for every t < threads, t = 0 on the caller, and returns when all are
  /// done. False, without any call, if the pool is busy, has fewer workers, or was made by a
  /// parent process.
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
