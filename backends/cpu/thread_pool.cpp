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

namespace blockgrad {

namespace {

constexpr int polls_between_looks = 64;
constexpr std::chrono::microseconds awake{40};  // how long a worker polls before it sleeps
constexpr int polls_before_yield = 2000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Polls for a while; whether `news` came.
template <class News>
bool came_soon(const News& news) {
  const auto end = std::chrono::steady_clock::now() + awake;
  do {
    for (int i = 0; i < polls_between_looks; ++i) {
      if (news()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

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
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;
  };

  static constexpr int share_bits = 8;
  static_assert(most_threads < 1 << share_bits);

  alignas(128) std::atomic<std::uint64_t> job{0};
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
  std::mutex growing;
  int processors = available_threads();
  State* parent = nullptr;  // of a forked child; its workers live in the other process

  // One program may have all processors; as many programs as processors have one each.
  bool is_crowded() const {
    const int running = users.load(std::memory_order_relaxed);
    return running > 1 && running >= processors;
  }

  void help(std::uint64_t word, int first) {
    const std::uint64_t number = word >> share_bits;
    const int shares = static_cast<int>(word & ((1u << share_bits) - 1));
    if (first >= shares) return;
    for (int k = 0; k < shares; ++k) {
      const int share = first + k < shares ? first + k : first + k - shares;
      std::atomic<std::uint64_t>& claim = claims[static_cast<std::size_t>(share)].job;
      std::uint64_t last = claim.load(std::memory_order_relaxed);
      if (last >= number || !claim.compare_exchange_strong(last, number, std::memory_order_acq_rel))
        continue;
      try {
        work(context, share);
      } catch (...) {
        if (!has_error.test_and_set()) error = std::current_exception();
      }
      done.fetch_add(1, std::memory_order_acq_rel);
    }
  }

  void serve(Worker& self, int thread, std::uint64_t seen) {
    const auto news = [&] {
      return job.load(std::memory_order_seq_cst) != seen || ends.load(std::memory_order_acquire);
    };
    while (true) {
      if (!came_soon(news)) {
        std::unique_lock lock(self.mutex);
        self.sleeps.store(true, std::memory_order_seq_cst);
        self.wake.wait(lock, news);
        self.sleeps.store(false, std::memory_order_relaxed);
      }
      if (ends.load(std::memory_order_acquire)) return;
      seen = job.load(std::memory_order_acquire);
      help(seen, thread);
    }
  }

  static void wake(Worker& worker) {
    if (!worker.sleeps.load(std::memory_order_seq_cst)) return;
    {
      const std::lock_guard lock(worker.mutex);
    }
    worker.wake.notify_one();
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
  s.job.store(word, std::memory_order_seq_cst);
  for (int t = 1; t < shares && t < threads; ++t)
    State::wake(*s.workers[static_cast<std::size_t>(t)]);
  s.help(word, 0);
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
