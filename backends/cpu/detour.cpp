#include "backends/cpu/detour.h"

namespace blockgrad {

int this_processor() { return sched_getcpu(); }

bool Detour::begin(pthread_t thread, int processor) {
  if (processor < 0 || processor >= CPU_SETSIZE) return false;
  State found = state_.load(std::memory_order_relaxed);
  if (found == State::changes ||
      !state_.compare_exchange_strong(found, State::changes, std::memory_order_acquire))
    return false;
  bool is_moved = false;
  if (found == State::none || away_from_ != processor) {
    const bool is_known =
        found == State::on || pthread_getaffinity_np(thread, sizeof before_, &before_) == 0;
    cpu_set_t others = before_;
    CPU_CLR(static_cast<std::size_t>(processor), &others);
    is_moved = is_known && CPU_COUNT(&others) > 0 &&
               pthread_setaffinity_np(thread, sizeof others, &others) == 0;
    if (is_moved) away_from_ = processor;
  }
  state_.store(is_moved ? State::on : found, std::memory_order_release);
  return is_moved;
}

void Detour::end(pthread_t thread) {
  State found = State::on;
  if (!state_.compare_exchange_strong(found, State::changes, std::memory_order_acquire)) return;
  pthread_setaffinity_np(thread, sizeof before_, &before_);
  state_.store(State::none, std::memory_order_release);
}

}  // namespace blockgrad
