// mutants ROOT BUILD [--count N] [--seed S] [--least PERCENT]: breaks gradient rules one line at a
// time and tells how many breaks the tests of the ops notice. Ctrl-C ends it with the tally so far.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/mutants/edits.h"
#include "tests/mutants/trial.h"

namespace {

using namespace mutants;
using Clock = std::chrono::steady_clock;

constexpr int interrupted_exit_code = 130;  // 128 + SIGINT

// A handler gets no argument, so what it sets must be global.
constinit std::atomic<bool> stopped{false};

struct Options {
  std::string root, build;
  std::uint64_t count = 100, seed = 1, least = 95;
};

[[noreturn]] void refuse(const std::string& text) {
  std::fprintf(stderr, "mutants: %s\nusage: mutants [--count N] [--seed S] [--least PERCENT]\n",
               text.c_str());
  std::exit(2);
}

Options options_of(int argc, char** argv) {
  Options options;
  if (argc < 3) refuse("wants the project's folder and a build's");
  options.root = argv[1];
  options.build = argv[2];
  for (int i = 3; i < argc; i += 2) {
    const std::string_view name(argv[i]), text(i + 1 < argc ? argv[i + 1] : "");
    std::uint64_t* value = name == "--count"   ? &options.count
                           : name == "--seed"  ? &options.seed
                           : name == "--least" ? &options.least
                                               : nullptr;
    if (!value) refuse("no option '" + std::string(name) + "'");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size())
      refuse(std::string(name) + " wants a number");
  }
  return options;
}

// Verdicts in the order of the edits, so that the same seed judges the same ones on any machine.
class Run {
 public:
  Run(const Build& build, std::vector<Edit> edits, const Options& options)
      : build_(build),
        edits_(std::move(edits)),
        options_(options),
        verdicts_(edits_.size(), Verdict::interrupted) {}

  void work(unsigned int worker) {
    const std::string folder = options_.build + "/mutants/" + std::to_string(worker);
    while (!stopped.load() && made_.load() < options_.count) {
      const std::size_t i = next_.fetch_add(1);
      if (i >= edits_.size()) return;
      const Verdict verdict = attempt(edits_[i], folder);
      if (stopped.load() || verdict == Verdict::interrupted) return;
      verdicts_[i] = verdict;
      if (verdict == Verdict::does_not_compile) continue;
      made_.fetch_add(1);
      if (verdict == Verdict::survived) survivors_.fetch_add(1);
      show_progress();
    }
  }

  // The exit code.
  int report() const {
    std::uint64_t made = 0, caught = 0;
    std::string text;
    for (std::size_t i = 0; i < edits_.size() && made < options_.count; ++i) {
      if (verdicts_[i] != Verdict::caught && verdicts_[i] != Verdict::survived) continue;
      ++made;
      if (verdicts_[i] == Verdict::caught) {
        ++caught;
        continue;
      }
      const Edit& e = edits_[i];
      text += "survived: " + e.file + ":" + std::to_string(e.line) + " (" + e.kind + ")\n  - " +
              e.before + "\n  + " + e.after + "\n";
    }
    std::printf(
        "%s%llu of %llu broken gradient rules were caught (seed %llu, %zu edits known), %llu s\n",
        text.c_str(), static_cast<unsigned long long>(caught),
        static_cast<unsigned long long>(made), static_cast<unsigned long long>(options_.seed),
        edits_.size(), static_cast<unsigned long long>(seconds()));
    if (stopped.load()) return interrupted_exit_code;
    if (made < std::min<std::uint64_t>(options_.count, 1)) return 1;
    return 100 * caught >= options_.least * made ? 0 : 1;
  }

 private:
  // What cannot be tried ends the run: its tally would say nothing.
  Verdict attempt(const Edit& edit, const std::string& folder) {
    try {
      return build_.attempt(edit, folder);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "mutants: %s\n", error.what());
      stopped.store(true);
      return Verdict::interrupted;
    }
  }

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  void show_progress() {
    const std::lock_guard lock(printing_);
    const auto made = std::min<std::uint64_t>(made_.load(), options_.count);
    const auto left =
        static_cast<int>(seconds() * double(options_.count - made) / double(made) + 0.5);
    const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
    std::fprintf(stderr, "%s%llu of %llu mutants, %llu survived, %d min %d s left%s",
                 is_terminal ? "\r" : "", static_cast<unsigned long long>(made),
                 static_cast<unsigned long long>(options_.count),
                 static_cast<unsigned long long>(survivors_.load()), left / 60, left % 60,
                 is_terminal ? "\033[K" : "\n");
    if (is_terminal && made == options_.count) std::fputs("\n", stderr);
  }

  const Build& build_;
  const std::vector<Edit> edits_;
  const Options options_;
  std::vector<Verdict> verdicts_;  // interrupted: not judged
  std::atomic<std::size_t> next_{0};
  std::atomic<std::uint64_t> made_{0}, survivors_{0};
  std::mutex printing_;
  const Clock::time_point start_ = Clock::now();
};

int run(const Options& options) {
  const Build build(options.root, options.build);
  const std::vector<Edit> edits = shuffled(all_edits(options.root), options.seed);
  if (edits.empty()) throw std::runtime_error("no gradient rule found below " + options.root);
  Edit nothing = edits[0];
  nothing.after = nothing.before;
  if (build.attempt(nothing, options.build + "/mutants/0") != Verdict::survived)
    throw std::runtime_error("the tests of the ops fail as they are; nothing can be learnt");
  Run run(build, edits, options);
  std::vector<std::thread> workers;
  const unsigned int most = std::max(1u, std::thread::hardware_concurrency());
  for (unsigned int worker = 0; worker < most; ++worker)
    workers.emplace_back([&run, worker] { run.work(worker); });
  for (std::thread& worker : workers) worker.join();
  return run.report();
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = options_of(argc, argv);
  struct sigaction action = {};
  action.sa_handler = [](int) { stopped.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // a second one ends it at once
  ::sigaction(SIGINT, &action, nullptr);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mutants: %s\n", error.what());
    return 1;
  }
}
