#include "support/stop_signal.h"

#include <atomic>
#include <csignal>

namespace examples {

namespace {

// A handler gets no argument, so what it asks must be global.
constinit std::atomic<blockgrad::StopToken*> asked{nullptr};

void ask(int) {
  if (blockgrad::StopToken* const stop = asked.load()) stop->request_stop();
}

}  // namespace

StopOnInterrupt::StopOnInterrupt(blockgrad::StopToken& stop) {
  asked.store(&stop);
  struct sigaction action = {};
  action.sa_handler = ask;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  ::sigaction(SIGINT, &action, nullptr);
}

StopOnInterrupt::~StopOnInterrupt() {
  std::signal(SIGINT, SIG_DFL);
  asked.store(nullptr);
}

}  // namespace examples
