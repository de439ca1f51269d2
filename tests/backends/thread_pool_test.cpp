// The pool: every share once, whoever takes it; who is refused; and what the system allows.
#include "backends/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "backends/cpu/cpu_limits.h"
#include "backends/cpu/detour.h"

using namespace blockgrad;

namespace {

struct Shares {
  std::atomic<int> calls[ThreadPool::most_threads] = {};

  static void count(void* context, int share) {
    static_cast<Shares*>(context)->calls[share].fetch_add(1, std::memory_order_relaxed);
  }
  bool each_had(int times, int shares) const {
    for (int s = 0; s < ThreadPool::most_threads; ++s) {
      if (calls[s] != (s < shares ? times : 0)) return false;
    }
    return true;
  }
};

// A folder that is like /sys/fs/cgroup.
class Groups {
 public:
  Groups() { std::filesystem::create_directories(root_); }
  ~Groups() { std::filesystem::remove_all(root_); }
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text << '\n';
  }
  int threads(const std::string& membership) const {
    write("membership", membership);
    return quota_threads((root_ / "membership").string(), root_.string(), 64);
  }

 private:
  std::filesystem::path root_ =
      std::filesystem::temp_directory_path() / ("blockgrad_groups_" + std::to_string(::getpid()));
};

// Processors of a thread of this process, by its number in the system; 0 is the calling one.
std::vector<int> processors_of(pid_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  if (sched_getaffinity(thread, sizeof set, &set) != 0) return found;
  for (int p = 0; p < CPU_SETSIZE; ++p) {
    if (CPU_ISSET(static_cast<std::size_t>(p), &set)) found.push_back(p);
  }
  return found;
}

void allow(pid_t thread, const std::vector<int>& processors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int p : processors) CPU_SET(static_cast<std::size_t>(p), &set);
  BOOST_TEST_REQUIRE(sched_setaffinity(thread, sizeof set, &set) == 0);
}

pid_t number_of_this_thread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Whether it becomes true within some seconds.
template <class Condition>
bool comes(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Whether other threads of this process use no processor for some milliseconds.
bool others_sleep() {
  const auto others = [] {
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID);
  };
  return comes([&] {
    const double before = others();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return others() - before < 0.001;
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(thread_pool)

BOOST_AUTO_TEST_CASE(a_detour_leaves_the_processor_at_once_and_returns_the_thread_its_choice) {
  std::thread([] {
    const std::vector<int> before = processors_of(0);
    Detour detour;
    for (int i = 0; i < 20; ++i) {
      const int here = this_processor();
      BOOST_TEST_REQUIRE(here >= 0);
      const bool has_others = before.size() > 1;
      BOOST_TEST(detour.begin(pthread_self(), here) == has_others);
      BOOST_TEST((this_processor() != here) == has_others);
      BOOST_TEST(processors_of(0).size() == (has_others ? before.size() - 1 : before.size()));
      BOOST_TEST(!detour.begin(pthread_self(), here), "twice for the same processor");
      detour.end(pthread_self());
      BOOST_TEST(processors_of(0) == before, boost::test_tools::per_element());
    }
    BOOST_TEST(!detour.begin(pthread_self(), -1));
    detour.end(pthread_self());
    BOOST_TEST(processors_of(0) == before, boost::test_tools::per_element());
  }).join();
}

BOOST_AUTO_TEST_CASE(a_second_detour_begins_from_the_first_choice) {
  std::thread([] {
    const std::vector<int> before = processors_of(0);
    if (before.size() < 2) return;
    Detour detour;
    BOOST_TEST(detour.begin(pthread_self(), before[0]));
    BOOST_TEST(detour.begin(pthread_self(), before[1]));
    const std::vector<int> now = processors_of(0);
    BOOST_TEST(now.size() == before.size() - 1);
    BOOST_TEST((std::find(now.begin(), now.end(), before[0]) != now.end()));
    detour.end(pthread_self());
    BOOST_TEST(processors_of(0) == before, boost::test_tools::per_element());
  }).join();
}

// The caller stays on one processor; the worker is made to sleep there, then may run anywhere.
BOOST_AUTO_TEST_CASE(a_worker_that_slept_where_the_caller_is_wakes_elsewhere) {
  const std::vector<int> all = processors_of(0);
  if (all.size() < 2 || available_threads() < 2 || number_of_this_thread() != ::getpid()) return;
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(2);
  std::atomic<pid_t> worker{0};
  // The caller's share waits until the worker has begun the other one.
  const auto meet = [](void* context, int) {
    auto& found = *static_cast<std::atomic<pid_t>*>(context);
    if (const pid_t mine = number_of_this_thread(); mine != ::getpid()) found = mine;
    comes([&] { return found != 0; });
  };
  const auto find_worker = [&] {
    worker = 0;
    BOOST_TEST_REQUIRE(pool.run(meet, &worker, 2));
    BOOST_TEST_REQUIRE(worker != 0);
    return worker.load();
  };
  const pid_t thread = find_worker();
  allow(0, {all[0]});
  const std::uint64_t before = pool.detours();
  for (int i = 0; i < 20 && pool.detours() == before; ++i) {
    allow(thread, {all[0]});
    find_worker();
    BOOST_TEST(others_sleep());
    allow(thread, all);
    find_worker();
    BOOST_TEST(comes([&] { return processors_of(thread) == all; }), "it may run anywhere again");
  }
  BOOST_TEST(pool.detours() > before);
  allow(0, all);
}

BOOST_AUTO_TEST_CASE(workers_sleep_when_no_program_runs) {
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(3);
  Shares done;
  for (int i = 0; i < 20; ++i) {
    {
      const ThreadPool::User user;
      BOOST_TEST(pool.run(&Shares::count, &done, 3));
    }
    if (i % 10 == 0) BOOST_TEST(others_sleep());
  }
  const ThreadPool::User user;
  BOOST_TEST(pool.run(&Shares::count, &done, 3));
  BOOST_TEST(others_sleep(), "nor in a run that has no work for them");
}

BOOST_AUTO_TEST_CASE(every_share_is_done_once_also_where_there_are_more_than_threads) {
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(3);
  BOOST_TEST_REQUIRE(pool.workers() >= 2);
  for (const int shares : {1, 2, 3, 8, ThreadPool::most_threads}) {
    Shares done;
    for (int i = 0; i < 200; ++i) BOOST_TEST_REQUIRE(pool.run(&Shares::count, &done, shares));
    BOOST_TEST(done.each_had(200, shares), shares << " shares");
  }
}

BOOST_AUTO_TEST_CASE(workers_that_sleep_are_not_waited_for) {
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(2);
  Shares done;
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    BOOST_TEST(pool.run(&Shares::count, &done, 2));
  }
  BOOST_TEST(done.each_had(20, 2));
}

BOOST_AUTO_TEST_CASE(whoever_finds_the_pool_busy_is_refused_a_worker_too) {
  ThreadPool::shared().prepare(2);
  std::atomic<int> refused{0};
  const bool ran = ThreadPool::shared().run(
      [](void* context, int) {
        Shares inner;
        const bool nested = ThreadPool::shared().run(&Shares::count, &inner, 2);
        *static_cast<std::atomic<int>*>(context) += !nested && inner.each_had(0, 0);
      },
      &refused, 2);
  BOOST_TEST(ran);
  BOOST_TEST(refused == 2);
}

BOOST_AUTO_TEST_CASE(as_many_programs_as_processors_work_alone) {
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(2);
  std::vector<std::unique_ptr<ThreadPool::User>> users;
  const int processors = available_threads();
  for (int i = 0; i < std::max(2, processors); ++i)
    users.push_back(std::make_unique<ThreadPool::User>());
  Shares done;
  BOOST_TEST(!pool.run(&Shares::count, &done, 2));
  BOOST_TEST(done.each_had(0, 0));
  users.resize(1);
  BOOST_TEST(pool.run(&Shares::count, &done, 2));
}

BOOST_AUTO_TEST_CASE(what_a_share_throws_reaches_the_caller_when_all_are_done) {
  ThreadPool& pool = ThreadPool::shared();
  pool.prepare(2);
  for (int i = 0; i < 10; ++i) {
    Shares done;
    const auto work = [](void* context, int share) {
      Shares::count(context, share);
      if (share > 0) throw std::runtime_error("a share failed");
    };
    BOOST_CHECK_THROW(pool.run(work, &done, 3), std::runtime_error);
    BOOST_TEST(done.each_had(1, 3));
  }
  Shares done;
  BOOST_TEST(pool.run(&Shares::count, &done, 2));
}

BOOST_AUTO_TEST_CASE(callers_in_several_threads_share_it_in_turns) {
  ThreadPool::shared().prepare(3);
  std::atomic<int> wrong{0}, ran{0};
  const auto work = [&] {
    for (int i = 0; i < 300; ++i) {
      Shares done;
      const bool mine = ThreadPool::shared().run(&Shares::count, &done, 3);
      wrong += !done.each_had(mine ? 1 : 0, 3);
      ran += mine;
    }
  };
  std::thread one(work), two(work);
  work();
  one.join();
  two.join();
  BOOST_TEST(wrong == 0);
  BOOST_TEST(ran > 0);
}

BOOST_AUTO_TEST_CASE(quotas_of_cgroups_and_of_those_around_them_count) {
  const Groups groups;
  BOOST_TEST(groups.threads("0::/") == 64);
  groups.write("cpu.max", "max 100000");
  BOOST_TEST(groups.threads("0::/") == 64);
  groups.write("a/b/cpu.max", "350000 100000");
  BOOST_TEST(groups.threads("0::/a/b") == 4);
  BOOST_TEST(groups.threads("0::/a/b/c") == 4);
  BOOST_TEST(groups.threads("0::/a") == 64);
  groups.write("a/cpu.max", "100000 100000");
  BOOST_TEST(groups.threads("0::/a/b") == 1);
  groups.write("cpu.max", "20000 100000");
  BOOST_TEST(groups.threads("0::/elsewhere") == 1);
}

BOOST_AUTO_TEST_CASE(quotas_of_version_1_count) {
  const Groups groups;
  groups.write("cpu,cpuacct/cpu.cfs_quota_us", "-1");
  groups.write("cpu,cpuacct/cpu.cfs_period_us", "100000");
  BOOST_TEST(groups.threads("3:cpu,cpuacct:/x") == 64);
  groups.write("cpu,cpuacct/x/cpu.cfs_quota_us", "200000");
  groups.write("cpu,cpuacct/x/cpu.cfs_period_us", "100000");
  BOOST_TEST(groups.threads("7:memory:/x\n3:cpu,cpuacct:/x\n0::/x") == 2);
  groups.write("cpu/y/cpu.cfs_quota_us", "300000");
  groups.write("cpu/y/cpu.cfs_period_us", "100000");
  BOOST_TEST(groups.threads("3:cpuacct,cpu:/y") == 3);
  BOOST_TEST(groups.threads("7:memory:/x\n") == 64);
}

BOOST_AUTO_TEST_SUITE_END()
