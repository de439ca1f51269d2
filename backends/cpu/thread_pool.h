#pragma once
// The engine's own threads. One pool for all programs; a run that finds it busy works alone, with
// equal bits. Nothing waits for a worker that has not begun: who comes first takes the next share.
// Workers poll for some microseconds, or a millisecond while a program runs, then sleep; one that
// the system wakes where the caller runs goes elsewhere. Running allocates nothing.

#include <cstdint>

namespace blockgrad {

class ThreadPool {
 public:
  static constexpr int most_threads = 64;

  /// The process's pool, without workers at first. A forked child gets a fresh one.
  static ThreadPool& shared();

  /// Starts workers for this many threads, the caller counted; fewer where the system gives no
  /// more. Free where they run already.
  void prepare(int threads);
  int workers() const;

  /// A program that may call `run`, while it runs. Where there are as many of them as processors,
  /// each works alone.
  class User {
   public:
    User();
    ~User();
    User(const User&) = delete;
    User& operator=(const User&) = delete;

   private:
    void* state_;
  };

  using Work = void (*)(void* context, int share);
  /// Calls work(context, s) once for every s < shares, on the caller and on workers that are free,
  /// and returns when all are done; rethrows what a call threw. The caller takes the shares that
  /// are left in ascending order, so one may wait for an earlier one that does not throw. False,
  /// without any call, if the pool is busy, has no workers, or has as many users as there are
  /// processors.
  bool run(Work work, void* context, int shares);
  /// How often `run` shared work.
  std::uint64_t runs() const;
  /// How often a worker was kept off the processor of the caller.
  std::uint64_t detours() const;

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

 private:
  ThreadPool();
  ~ThreadPool();
  static void start_afresh();
  struct State;
  State* state_;
};

}  // namespace blockgrad
