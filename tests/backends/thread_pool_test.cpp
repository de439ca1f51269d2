// The pool: every share once, whoever takes it; who is refused; and what the system allows.
#include "backends/cpu/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "backends/cpu/cpu_limits.h"

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

}  // namespace

BOOST_AUTO_TEST_SUITE(thread_pool)

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
