#include "backends/cpu/thread_pool.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "backends/cpu/cpu_limits.h"
#include "backends/cpu/detour.h"
#include "backends/cpu/relax.h"

namespace blockgrad {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int polls_between_looks = 64;
constexpr std::chrono::microseconds awake{40};           // how long a worker polls before it sleeps
constexpr std::chrono::microseconds awake_in_run{1000};  // the same while a program runs
constexpr int polls_before_yield = 2000;
constexpr int patience = 4;  // jobs that the caller does for a worker that should be awake

// Signals of the process are for its own threads.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

// A job is one word: its number and how many shares it has. A share is taken by writing that number
// where the share's last job stands; whoever succeeds knows that the job still waits for this
// share, so its other fields hold.
struct ThreadPool::State {
  struct alignas(128) Claim {
    std::atomic<std::uint64_t> job{0};
  };
  struct alignas(128) Worker {
    std::atomic<bool> sleeps{false};
    int slept_on = -1;  // the processor; while it sleeps
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;
    Detour detour;
    std::uint64_t missing_since = 0;  // the last job that it looked at, when it was missed last
    int missed = 0;                   // jobs since then
    alignas(128) std::atomic<std::uint64_t> seen{0};  // the last job that it looked at
  };

  static constexpr int share_bits = 8;
  static_assert(most_threads < 1 << share_bits);

  alignas(128) std::atomic<std::uint64_t> job{0};
  std::atomic<int> callers_processor{-1};  // when the job began
  alignas(128) std::atomic<int> done{0};
  alignas(128) std::atomic<int> users{0};
  alignas(128) std::atomic_flag busy = ATOMIC_FLAG_INIT;
  Work work = nullptr;
  void* context = nullptr;
  std::exception_ptr error;
  std::atomic_flag has_error = ATOMIC_FLAG_INIT;
  std::array<Claim, most_threads> claims;
  std::array<std::unique_ptr<Worker>, most_threads> workers;  // worker t begins with share t
  std::atomic<int> threads{1};                                // with the caller
  std::atomic<bool> ends{false};
  std::atomic<std::uint64_t> detours{0};
  std::mutex growing;
  int processors = available_threads();
  State* parent = nullptr;  // of a forked child; its workers live in the other process

  // One program may have all processors; as many programs as processors have one each.
  bool is_crowded() const {
    const int running = users.load(std::memory_order_relaxed);
    return running > 1 && running >= processors;
  }

  // A worker more than that would poll on a processor that another one needs.
  bool has_own_processor(int thread) const { return thread < processors; }
  bool is_running() const { return users.load(std::memory_order_relaxed) > 0 && !is_crowded(); }

  // How many shares were left for it.
  int help(std::uint64_t word, int first) {
    const std::uint64_t number = word >> share_bits;
    const int shares = static_cast<int>(word & ((1u << share_bits) - 1));
    if (first >= shares) return 0;
    int taken = 0;
    for (int k = 0; k < shares; ++k) {
      const int share = first + k < shares ? first + k : first + k - shares;
      std::atomic<std::uint64_t>& claim = claims[static_cast<std::size_t>(share)].job;
      std::uint64_t last = claim.load(std::memory_order_relaxed);
      if (last >= number || !claim.compare_exchange_strong(last, number, std::memory_order_acq_rel))
        continue;
      ++taken;
      try {
        work(context, share);
      } catch (...) {
        if (!has_error.test_and_set()) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_acq_rel);
    }
    return taken;
  }

  void keep_off(Worker& worker, pthread_t thread, int processor) {
    if (worker.detour.begin(thread, processor)) detours.fetch_add(1, std::memory_order_relaxed);
  }

  // Where the caller is, a worker only takes its time.
  void step_aside(Worker& self, int thread) {
    self.detour.end(pthread_self());
    const int callers = callers_processor.load(std::memory_order_relaxed);
    if (callers < 0 || !has_own_processor(thread) || this_processor() != callers) return;
    keep_off(self, pthread_self(), callers);
    self.detour.end(pthread_self());
  }

  // Polls for a while; whether `news` came. In a run that is long, and gives way to others.
  template <class News>
  bool came_soon(Worker& self, int thread, const News& news) {
    const auto start = Clock::now();
    const auto first = start + awake, last = start + awake_in_run;
    while (true) {
      for (int i = 0; i < polls_between_looks; ++i) {
        if (news()) return true;
        relax();
      }
      if (is_running()) step_aside(self, thread);
      if (Clock::now() < first) continue;
      do {
        if (!has_own_processor(thread) || !is_running()) return false;
        if (news()) return true;
        std::this_thread::yield();
      } while (Clock::now() < last);
      return false;
    }
  }

  void serve(Worker& self, int thread, std::uint64_t seen) {
    const auto news = [&] {
      return job.load(std::memory_order_seq_cst) != seen || ends.load(std::memory_order_acquire);
    };
    while (true) {
      if (!came_soon(self, thread, news)) {
        std::unique_lock lock(self.mutex);
        self.slept_on = this_processor();
        self.sleeps.store(true, std::memory_order_seq_cst);
        self.wake.wait(lock, news);
        self.sleeps.store(false, std::memory_order_relaxed);
      }
      if (ends.load(std::memory_order_acquire)) return;
      seen = job.load(std::memory_order_acquire);
      self.seen.store(seen, std::memory_order_relaxed);
      step_aside(self, thread);
      help(seen, thread);
    }
  }

  void wake(Worker& worker, int thread, int callers) {
    if (!worker.sleeps.load(std::memory_order_seq_cst)) return;
    {
      const std::lock_guard lock(worker.mutex);
      if (worker.slept_on == callers && has_own_processor(thread))
        keep_off(worker, worker.thread.native_handle(), callers);
    }
    worker.wake.notify_one();
  }

  // Workers whose shares the caller had time to do wait for a processor, maybe for this one.
  void send_away(std::uint64_t word, int count, int callers) {
    for (int t = 1; t < count && has_own_processor(t); ++t) {
      Worker& worker = *workers[static_cast<std::size_t>(t)];
      const std::uint64_t seen = worker.seen.load(std::memory_order_relaxed);
      if (seen == word) continue;
      if (seen != worker.missing_since) worker.missed = 0;
      worker.missing_since = seen;
      if (++worker.missed == patience) keep_off(worker, worker.thread.native_handle(), callers);
    }
  }

  void start(int count) {
    const std::lock_guard lock(growing);
    const BlockedSignals blocked;
    for (int t = threads.load(); t < count; ++t) {
      auto& worker = workers[static_cast<std::size_t>(t)];
      worker = std::make_unique<Worker>();
      worker->thread =
          std::thread([this, &self = *worker, t, now = job.load()] { serve(self, t, now); });
      threads.store(t + 1, std::memory_order_release);
    }
  }

  void stop() {
    ends.store(true, std::memory_order_release);
    for (int t = 1; t < threads.load(); ++t) {
      Worker& worker = *workers[static_cast<std::size_t>(t)];
      {
        const std::lock_guard lock(worker.mutex);
      }
      worker.wake.notify_one();
      worker.thread.join();
    }
  }
};

ThreadPool::ThreadPool() : state_(new State) { pthread_atfork(nullptr, nullptr, start_afresh); }

ThreadPool::~ThreadPool() {
  if (state_->parent) return;  // kept by nobody else, and its parent's threads are not here
  state_->stop();
  delete state_;
}

void ThreadPool::start_afresh() {
  auto* fresh = new State;
  fresh->parent = shared().state_;
  shared().state_ = fresh;
}

ThreadPool& ThreadPool::shared() {
  static ThreadPool pool;
  return pool;
}

ThreadPool::User::User() : state_(shared().state_) {
  static_cast<State*>(state_)->users.fetch_add(1, std::memory_order_relaxed);
}
ThreadPool::User::~User() {
  static_cast<State*>(state_)->users.fetch_sub(1, std::memory_order_relaxed);
}

int ThreadPool::workers() const { return state_->threads.load(std::memory_order_acquire) - 1; }

std::uint64_t ThreadPool::runs() const {
  return state_->job.load(std::memory_order_relaxed) >> State::share_bits;
}

std::uint64_t ThreadPool::detours() const {
  return state_->detours.load(std::memory_order_relaxed);
}

void ThreadPool::prepare(int threads) {
  const int wanted = threads < most_threads ? threads : most_threads;
  if (workers() + 1 >= wanted) return;
  try {
    state_->start(wanted);
  } catch (const std::system_error&) {  // no more threads to be had: what there is does the work
  }
}

bool ThreadPool::run(Work work, void* context, int shares) {
  State& s = *state_;
  const int threads = s.threads.load(std::memory_order_acquire);
  if (threads == 1 || s.is_crowded()) return false;
  if (s.busy.test_and_set(std::memory_order_acquire)) return false;
  s.work = work;
  s.context = context;
  s.done.store(0, std::memory_order_relaxed);
  const std::uint64_t number = (s.job.load(std::memory_order_relaxed) >> State::share_bits) + 1;
  const std::uint64_t word = number << State::share_bits | static_cast<std::uint64_t>(shares);
  const int here = this_processor();
  s.callers_processor.store(here, std::memory_order_relaxed);
  s.job.store(word, std::memory_order_seq_cst);
  const int awaited = shares < threads ? shares : threads;
  for (int t = 1; t < awaited; ++t) s.wake(*s.workers[static_cast<std::size_t>(t)], t, here);
  if (s.help(word, 0) > 1) s.send_away(word, awaited, here);
  for (int i = 0; s.done.load(std::memory_order_acquire) < shares; ++i) {
    if (i < polls_before_yield) relax();
    else std::this_thread::yield();  // more threads than processors
  }
  std::exception_ptr error;
  if (s.has_error.test()) {
    error = std::exchange(s.error, nullptr);
    s.has_error.clear();
  }
  s.busy.clear(std::memory_order_release);
  if (error) std::rethrow_exception(error);
  return true;
}

}  // namespace blockgrad
