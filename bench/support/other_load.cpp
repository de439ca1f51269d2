#include "support/other_load.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

namespace bench {

namespace {

// Seconds of all processors: user, nice, system, and those of interrupts and of the host; not idle.
double busy_seconds(double tick) {
  std::ifstream file("/proc/stat");
  std::string name;
  double ticks = 0, value = 0;
  file >> name;
  for (int i = 0; i < 8 && file >> value; ++i) {
    const bool is_idle = i == 3 || i == 4;
    if (!is_idle) ticks += value;
  }
  return ticks * tick;
}

// User and system seconds of a process, those of its threads included.
double seconds_of(pid_t process, double tick) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) * tick;
}

}  // namespace

OtherLoad::OtherLoad(std::vector<pid_t> ours) : ours_(std::move(ours)) {
  ours_.push_back(::getpid());
  last_ = now();
  time_ = std::chrono::steady_clock::now();
}

OtherLoad::Seconds OtherLoad::now() const {
  const double tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  Seconds seconds{busy_seconds(tick), 0};
  for (const pid_t process : ours_) seconds.ours += seconds_of(process, tick);
  return seconds;
}

double OtherLoad::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - time_).count();
}

double OtherLoad::since_last() {
  const Seconds before = std::exchange(last_, now());
  const double passed = seconds();
  time_ = std::chrono::steady_clock::now();
  const double others = (last_.all - before.all) - (last_.ours - before.ours);
  return std::max(0.0, others / passed);
}

}  // namespace bench
