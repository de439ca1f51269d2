#include "backends/cuda/harness/thread_block.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <set>
#include <sstream>
#include <typeindex>
#include <vector>

#include "backends/cuda/harness/fiber.h"
#include "backends/cuda/harness/guarded.h"

// The static shared memory of plain kernels; absent where no kernel has any.
extern "C" {
// NOLINTBEGIN(readability-identifier-naming): the linker names the bounds of a section so.
[[gnu::weak]] extern unsigned char __start_bg_shared[];
[[gnu::weak]] extern unsigned char __stop_bg_shared[];
// NOLINTEND(readability-identifier-naming)
}

namespace blockgrad::harness {

namespace {

struct Random {
  std::uint64_t state;

  /// One of 0 .. n - 1 (SplitMix64, Steele, Lea and Flood 2014).
  std::size_t below(std::size_t n) {
    state += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::size_t>((z ^ (z >> 31)) % n);
  }
};

/// Unwinds the threads of a kernel that has failed.
struct Stop {};

enum class State { ready, waits, ended };

struct Thread {
  explicit Thread(Fiber& its_fiber) : fiber(its_fiber) {}

  Fiber& fiber;
  uint3 index{};
  State state = State::ended;
  Meeting meeting;
  std::deque<std::vector<AsyncCopy>> copies;  // groups in order of commit
  std::vector<AsyncCopy> uncommitted;
};

std::string text(const uint3& index) {
  std::ostringstream out;
  out << "(" << index.x << ", " << index.y << ", " << index.z << ")";
  return out.str();
}

std::string text(const Thread& thread) {
  std::ostringstream out;
  out << "thread " << text(thread.index);
  if (thread.state == State::ended) out << " has ended";
  else
    out << " waits in " << thread.meeting.name << " at " << thread.meeting.file << ":"
        << thread.meeting.line;
  return out.str();
}

bool is_same_place(const Meeting& a, const Meeting& b) {
  return a.line == b.line && a.mask == b.mask && std::strcmp(a.file, b.file) == 0 &&
         std::strcmp(a.name, b.name) == 0;
}

void do_copies(const std::vector<AsyncCopy>& copies) {
  for (const AsyncCopy& copy : copies) {
    std::memset(copy.to, 0, 16);
    std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  }
}

/// The block that runs: its threads, and the shared memory.
class ThreadBlock {
 public:
  ThreadBlock(const Launch& launch, const std::function<void()>& kernel, Fibers& fibers)
      : launch_(launch),
        kernel_(kernel),
        random_{launch.seed},
        shared_(launch.shared_bytes),
        threads_(std::size_t{launch.block.x} * launch.block.y * launch.block.z) {
    for (std::size_t i = 0; i < threads_.size(); ++i)
      threads_[i] = std::make_unique<Thread>(fibers.at(i));
  }

  void run(const uint3& index) {
    blockIdx = index;
    shared_.poison();
    std::fill(__start_bg_shared, __stop_bg_shared, static_cast<unsigned char>(0xff));
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      Thread& thread = *threads_[i];
      const auto at = static_cast<unsigned>(i);
      thread.index = {at % launch_.block.x, at / launch_.block.x % launch_.block.y,
                      at / launch_.block.x / launch_.block.y};
      thread.state = State::ready;
      thread.fiber.start(&ThreadBlock::run_thread, this);
      ready_.push_back(&thread);
    }
    while (!ready_.empty()) {
      run_ready();
      if (failure_) stop();
      release();
    }
    shared_.check("shared memory");
  }

  void meet(const Meeting& meeting) {
    if (stops_) throw Stop{};
    if (is_left_out(meeting)) return;
    current_->meeting = meeting;
    current_->state = State::waits;
    current_->fiber.leave();
    if (stops_) throw Stop{};
  }

  [[noreturn]] void fault(const std::string& what) const {
    throw KernelFault("block " + text(blockIdx) + ": " + what);
  }

  Thread& current() { return *current_; }
  Guarded<unsigned char>& shared() { return shared_; }

 private:
  bool is_left_out(const Meeting& meeting) {
    if (launch_.without_barrier < 0 || meeting.mask != 0) return false;
    const auto known = std::find_if(barriers_.begin(), barriers_.end(), [&](const Meeting& other) {
      return is_same_place(meeting, other);
    });
    const auto at = known - barriers_.begin();
    if (known == barriers_.end()) barriers_.push_back(meeting);
    return at == launch_.without_barrier;
  }

  static void run_thread(void* self) { static_cast<ThreadBlock*>(self)->run_current(); }

  void run_current() {
    Thread& thread = *current_;
    try {
      if (!stops_) kernel_();
      for (const auto& group : thread.copies) do_copies(group);
      do_copies(thread.uncommitted);
    } catch (const Stop&) {
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
    }
    thread.copies.clear();
    thread.uncommitted.clear();
    thread.state = State::ended;
  }

  void resume(Thread& thread) {
    current_ = &thread;
    threadIdx = thread.index;
    thread.fiber.resume();
  }

  /// Every ready thread goes on to where it waits next, in a drawn order.
  void run_ready() {
    while (!ready_.empty() && !failure_) {
      const std::size_t i = random_.below(ready_.size());
      Thread& thread = *ready_[i];
      ready_[i] = ready_.back();
      ready_.pop_back();
      resume(thread);
    }
  }

  /// Lets the threads of one complete meeting go on: one of a warp, drawn from all of them, else
  /// that of the block. None are left when all have ended.
  void release() {
    std::vector<std::size_t> complete;
    const Thread* first = nullptr;
    for (std::size_t warp = 0; warp < threads_.size(); warp += 32)
      for (std::size_t i = warp; i < std::min(warp + 32, threads_.size()); ++i) {
        const Thread& thread = *threads_[i];
        if (thread.state != State::waits) continue;
        first = first ? first : &thread;
        if (thread.meeting.mask == 0) continue;
        const auto lane = static_cast<unsigned>(i - warp);
        const bool is_lowest = (thread.meeting.mask & ((1u << lane) - 1)) == 0;
        if (is_lowest && is_complete(warp, thread.meeting)) complete.push_back(i);
      }
    if (!complete.empty()) return release_warp(complete[random_.below(complete.size())]);
    if (!first) return;
    for (const auto& thread : threads_)
      if (thread->state == State::ended || thread->meeting.mask != 0 ||
          !is_same_place(thread->meeting, first->meeting))
        missed(*first);
    for (const auto& thread : threads_) let_go(*thread);
  }

  bool is_complete(std::size_t warp, const Meeting& meeting) const {
    for (std::size_t lane = 0; lane < 32; ++lane) {
      if ((meeting.mask >> lane & 1u) == 0) continue;
      if (warp + lane >= threads_.size()) return false;
      const Thread& other = *threads_[warp + lane];
      if (other.state != State::waits || !is_same_place(other.meeting, meeting)) return false;
    }
    return true;
  }

  void release_warp(std::size_t i) {
    const std::size_t warp = i / 32 * 32;
    const Meeting meeting = threads_[i]->meeting;
    void* slots[32] = {};
    for (std::size_t lane = 0; lane < 32; ++lane) {
      if ((meeting.mask >> lane & 1u) == 0) continue;
      slots[lane] = threads_[warp + lane]->meeting.slot;
      let_go(*threads_[warp + lane]);
    }
    current_ = threads_[i].get();
    try {
      if (meeting.complete) meeting.complete(slots);
    } catch (...) {
      failure_ = std::current_exception();
      stop();
    }
  }

  void let_go(Thread& thread) {
    thread.state = State::ready;
    ready_.push_back(&thread);
  }

  /// `first` waits for what cannot come: says for whom.
  [[noreturn]] void missed(const Thread& first) {
    const Thread* other = nullptr;
    for (const auto& thread : threads_)
      if (thread.get() != &first && !other &&
          (thread->state == State::ended || !is_same_place(thread->meeting, first.meeting)))
        other = thread.get();
    failure_ = std::make_exception_ptr(KernelFault(
        "block " + text(blockIdx) + ": a barrier is not reached by all: " + text(first) + ", " +
        (other ? text(*other) : "a lane of its mask does not exist")));
    stop();
  }

  /// Ends every thread, then throws what went wrong.
  [[noreturn]] void stop() {
    stops_ = true;
    for (const auto& thread : threads_)
      if (thread->state != State::ended) resume(*thread);
    std::rethrow_exception(failure_);
  }

  const Launch& launch_;
  const std::function<void()>& kernel_;
  Random random_;
  Guarded<unsigned char> shared_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Thread*> ready_;
  std::vector<Meeting> barriers_;  // in order of first arrival, where one is left out
  Thread* current_ = nullptr;
  std::exception_ptr failure_;
  bool stops_ = false;
};

ThreadBlock* running = nullptr;
Counts counted;
std::set<std::type_index> kernels;

void require(bool condition, const char* what) {
  if (!condition) throw KernelFault(what);
}

void check(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  require(block.x > 0 && block.y > 0 && block.z > 0 && block.z <= 64 &&
              std::size_t{block.x} * block.y * block.z <= 1024,
          "a block has 1 to 1024 threads, at most 64 along z");
  require(grid.x > 0 && grid.y > 0 && grid.z > 0, "a grid has at least one block");
  require(grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
          "a grid has at most 2^31 - 1 x 65535 x 65535 blocks");
  require(launch.shared_bytes <= 227 * 1024, "a block has at most 227 KiB of shared memory");
}

}  // namespace

void launch(const Launch& launch, const std::function<void()>& kernel) {
  check(launch);
  require(!running, "a kernel runs already");
  gridDim = launch.grid;
  blockDim = launch.block;
  static Fibers own_fibers;
  ThreadBlock block(launch, kernel, launch.fibers ? *launch.fibers : own_fibers);
  struct Running {
    explicit Running(ThreadBlock* block) { running = block; }
    ~Running() { running = nullptr; }
  } const scope(&block);
  const std::size_t blocks = std::size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::vector<std::size_t> order(blocks);
  for (std::size_t i = 0; i < blocks; ++i) order[i] = i;
  Random random{~launch.seed};
  for (std::size_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (const std::size_t i : order)
    block.run({static_cast<unsigned>(i % launch.grid.x),
               static_cast<unsigned>(i / launch.grid.x % launch.grid.y),
               static_cast<unsigned>(i / launch.grid.x / launch.grid.y)});
  kernels.insert(kernel.target_type());
  counted.kernels = static_cast<std::int64_t>(kernels.size());
  counted.launches += 1;
  counted.blocks += static_cast<std::int64_t>(blocks);
  counted.threads +=
      static_cast<std::int64_t>(blocks * launch.block.x * launch.block.y * launch.block.z);
}

Counts counts() { return counted; }

void meet(const Meeting& meeting) { running->meet(meeting); }

void fault(const std::string& what) {
  running->fault(text(running->current().index) + ": " + what);
}

void* shared_memory(std::size_t bytes) {
  if (bytes > running->shared().size())
    fault("the kernel needs " + std::to_string(bytes) + " bytes of shared memory, launched with " +
          std::to_string(running->shared().size()));
  return running->shared().data();
}

bool is_shared(const void* address, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto inside = [&](const unsigned char* begin, const unsigned char* end) {
    return at >= reinterpret_cast<std::uintptr_t>(begin) &&
           at + bytes <= reinterpret_cast<std::uintptr_t>(end);
  };
  const Guarded<unsigned char>& shared = running->shared();
  return inside(shared.data(), shared.data() + shared.size()) ||
         inside(__start_bg_shared, __stop_bg_shared);
}

void queue_copy(const AsyncCopy& copy) { running->current().uncommitted.push_back(copy); }

void commit_copies() {
  Thread& thread = running->current();
  thread.copies.push_back(std::move(thread.uncommitted));
  thread.uncommitted.clear();
}

void wait_copies(int groups_left) {
  Thread& thread = running->current();
  while (thread.copies.size() > static_cast<std::size_t>(groups_left)) {
    do_copies(thread.copies.front());
    thread.copies.pop_front();
  }
}

}  // namespace blockgrad::harness
