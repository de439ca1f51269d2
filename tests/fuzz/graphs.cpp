// fuzz_graphs --count N --seed S: random graphs against plain loops, on all processors. Ctrl-C ends
// it with the tally so far. Graph i has seed S + i.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/random_graph.h"

namespace {

using random_graph::Recipe;
using Clock = std::chrono::steady_clock;

constexpr int most_printed = 10;
constexpr int interrupted_exit_code = 130;  // 128 + SIGINT

// A handler gets no argument, so what it sets must be global.
constinit std::atomic<bool> stopped{false};

struct Tally {
  std::atomic<std::uint64_t> begun{0}, done{0}, nodes{0}, wrong{0};
  std::mutex printing;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  return whole < 60 ? std::to_string(whole) + " s"
                    : std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
}

void report(Tally& tally, std::uint64_t seed, const Recipe& recipe) {
  if (tally.wrong.fetch_add(1) >= most_printed) return;
  const Recipe small = random_graph::reduced(
      recipe, [](const Recipe& r) { return !random_graph::problem_of(r).empty(); });
  const std::lock_guard lock(tally.printing);
  std::printf("\nseed %llu: %s\n%s", static_cast<unsigned long long>(seed),
              random_graph::problem_of(small).c_str(), random_graph::to_string(small).c_str());
  std::fflush(stdout);
}

void work(Tally& tally, std::uint64_t count, std::uint64_t seed) {
  while (!stopped.load()) {
    const std::uint64_t i = tally.begun.fetch_add(1);
    if (i >= count) return;
    const Recipe recipe = random_graph::generate(seed + i);
    if (!random_graph::problem_of(recipe).empty()) report(tally, seed + i, recipe);
    tally.nodes.fetch_add(static_cast<std::uint64_t>(random_graph::size_of(recipe)));
    tally.done.fetch_add(1);
  }
}

void show_progress(Tally& tally, std::uint64_t count, Clock::time_point start) {
  const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
  const auto pause = std::chrono::milliseconds(is_terminal ? 200 : 100);
  Clock::time_point last = start;
  while (tally.done.load() < count && !stopped.load()) {
    std::this_thread::sleep_for(pause);
    const std::uint64_t done = tally.done.load();
    if (done == 0 || (!is_terminal && Clock::now() - last < std::chrono::seconds(10))) continue;
    last = Clock::now();
    const double left = seconds_since(start) * double(count - done) / double(done);
    const std::lock_guard lock(tally.printing);
    std::fprintf(stderr, "%s%llu of %llu graphs, %llu wrong, %s left%s", is_terminal ? "\r" : "",
                 static_cast<unsigned long long>(done), static_cast<unsigned long long>(count),
                 static_cast<unsigned long long>(tally.wrong.load()), duration(left).c_str(),
                 is_terminal ? "\033[K" : "\n");
  }
  if (is_terminal) std::fputs("\r\033[K", stderr);
}

[[noreturn]] void refuse(const std::string& text) {
  std::fprintf(stderr, "fuzz_graphs: %s\nusage: fuzz_graphs [--count N] [--seed S]\n",
               text.c_str());
  std::exit(2);
}

std::uint64_t number(std::string_view option, const char* text) {
  if (!text) refuse(std::string(option) + " wants a number");
  const std::string_view digits(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size())
    refuse(std::string(option) + " wants a number, got '" + text + "'");
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t count = 10000, seed = 1;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option(argv[i]);
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (option == "--count") count = number(option, value);
    else if (option == "--seed") seed = number(option, value);
    else refuse("no option '" + std::string(option) + "'");
  }
  struct sigaction action = {};
  action.sa_handler = [](int) { stopped.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // a second one ends it at once
  ::sigaction(SIGINT, &action, nullptr);

  const Clock::time_point start = Clock::now();
  Tally tally;
  std::vector<std::thread> workers;
  for (unsigned int t = std::max(1u, std::thread::hardware_concurrency()); t > 0; --t)
    workers.emplace_back([&] { work(tally, count, seed); });
  show_progress(tally, count, start);
  for (std::thread& worker : workers) worker.join();
  std::printf(
      "%llu random graphs of seed %llu, %llu nodes: %llu wrong, in %s\n",
      static_cast<unsigned long long>(tally.done.load()), static_cast<unsigned long long>(seed),
      static_cast<unsigned long long>(tally.nodes.load()),
      static_cast<unsigned long long>(tally.wrong.load()), duration(seconds_since(start)).c_str());
  if (tally.wrong.load() > 0) return 1;
  return stopped.load() ? interrupted_exit_code : 0;
}
