#include "backends/cpu/thread_pool.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

namespace blockgrad {

namespace {

constexpr int most_threads = ThreadPool::most_threads;
constexpr int polls_before_sleep = 20000;

int affinity_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// cgroup v2: "max 100000" or "200000 100000"; absent elsewhere.
int quota_threads() {
  std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!file) return most_threads;
  long long quota = 0, period = 0;
  const int read = std::fscanf(file, "%lld %lld", &quota, &period);
  std::fclose(file);
  if (read != 2 || period <= 0) return most_threads;
  return static_cast<int>(std::max<long long>(1, (quota + period - 1) / period));
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

int available_threads() {
  return std::clamp(std::min(affinity_threads(), quota_threads()), 1, most_threads);
}

struct ThreadPool::State {
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  std::vector<std::thread> workers;
  pid_t process = 0;  // a forked child has no workers

  alignas(128) std::atomic<std::uint64_t> epoch{0};
  alignas(128) std::atomic<int> left{0};  // workers still at it
  Work work = nullptr;
  void* context = nullptr;
  int threads = 0;
  std::atomic<bool> ends{false};
  std::atomic<int> sleeping{0};
  std::mutex mutex;
  std::condition_variable wake;

  void wait_for_news(std::uint64_t seen) {
    const auto news = [&] {
      return epoch.load(std::memory_order_seq_cst) != seen || ends.load(std::memory_order_acquire);
    };
    for (int i = 0; i < polls_before_sleep; ++i) {
      if (news()) return;
      relax();
    }
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1);
    wake.wait(lock, news);
    sleeping.fetch_sub(1);
  }

  void start(int count) {
    process = getpid();
    while (static_cast<int>(workers.size()) < count) {
      const int thread = static_cast<int>(workers.size()) + 1;
      workers.emplace_back([this, thread, now = epoch.load()] { serve(thread, now); });
    }
  }

  void serve(int thread, std::uint64_t seen) {
    while (true) {
      wait_for_news(seen);
      if (ends.load(std::memory_order_acquire)) return;
      seen = epoch.load(std::memory_order_acquire);
      if (thread < threads) work(context, thread);
      left.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
};

ThreadPool::ThreadPool() : state_(new State) {}

ThreadPool::~ThreadPool() {
  if (state_->process != 0 && state_->process != getpid()) {
    for (std::thread& worker : state_->workers) worker.detach();  // they live in the parent
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->ends.store(true, std::memory_order_release);
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
  delete state_;
}

ThreadPool& ThreadPool::shared() {
  static ThreadPool pool;
  return pool;
}

void ThreadPool::prepare(int threads) {
  State& s = *state_;
  while (s.busy.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  const bool is_mine = s.process == 0 || s.process == getpid();
  try {
    if (is_mine) s.start(std::min(threads, most_threads) - 1);
  } catch (...) {  // no more threads to be had: programs that want them run alone
  }
  s.busy.clear(std::memory_order_release);
}

bool ThreadPool::run(Work work, void* context, int threads) {
  State& s = *state_;
  if (s.busy.test_and_set(std::memory_order_acquire)) return false;
  if (s.process != getpid() || static_cast<int>(s.workers.size()) < threads - 1) {
    s.busy.clear(std::memory_order_release);
    return false;
  }
  s.work = work;
  s.context = context;
  s.threads = threads;
  s.left.store(static_cast<int>(s.workers.size()), std::memory_order_relaxed);
  s.epoch.fetch_add(1, std::memory_order_seq_cst);
  if (s.sleeping.load(std::memory_order_seq_cst) > 0) {
    {
      const std::lock_guard lock(s.mutex);
    }
    s.wake.notify_all();
  }
  work(context, 0);
  for (int i = 0; s.left.load(std::memory_order_acquire) > 0; ++i) {
    if (i < polls_before_sleep) relax();
    else std::this_thread::yield();  // more threads than cores
  }
  s.busy.clear(std::memory_order_release);
  return true;
}

}  // namespace blockgrad
