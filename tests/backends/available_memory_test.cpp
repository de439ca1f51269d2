// What the machine and the control group say is left.
#include "backends/cpu/available_memory.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <string>

using namespace blockgrad;

namespace {

// The files that tell it, in a folder of the test.
class Files {
 public:
  Files()
      : root_(std::filesystem::temp_directory_path() /
              ("blockgrad-memory-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(root_ / "proc");
    std::filesystem::create_directories(root_ / "sys/fs/cgroup");
  }
  ~Files() { std::filesystem::remove_all(root_); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::int64_t available() const { return available_memory(root_.string()); }

 private:
  std::filesystem::path root_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(available_memory)

BOOST_AUTO_TEST_CASE(the_smaller_of_machine_and_group_counts) {
  const Files files;
  BOOST_TEST(files.available() == unlimited_memory);
  files.write("proc/meminfo", "MemTotal:  4000 kB\nMemFree:  1000 kB\nMemAvailable:   3000 kB\n");
  BOOST_TEST(files.available() == 3000 * 1024);
  files.write("proc/meminfo", "MemAvailable:   3000 kB\nSwapTotal: 900 kB\nSwapFree:  500 kB\n");
  BOOST_TEST(files.available() == 3500 * 1024);
  files.write("sys/fs/cgroup/memory.max", "max\n");
  files.write("sys/fs/cgroup/memory.current", "100000\n");
  BOOST_TEST(files.available() == 3500 * 1024);
  files.write("sys/fs/cgroup/memory.max", "1100000\n");
  BOOST_TEST(files.available() == 1000000);
  files.write("sys/fs/cgroup/memory.stat", "anon 5\nactive_file 7\ninactive_file 30000\n");
  BOOST_TEST(files.available() == 1030007);
  files.write("sys/fs/cgroup/memory.current", "2000000\n");
  BOOST_TEST(files.available() == 0);
}

BOOST_AUTO_TEST_CASE(groups_around_the_own_one_have_limits_too) {
  const Files files;
  const auto group = [&](const std::string& folder, const std::string& most,
                         const std::string& used) {
    files.write("sys/fs/cgroup/" + folder + "memory.max", most + "\n");
    files.write("sys/fs/cgroup/" + folder + "memory.current", used + "\n");
  };
  files.write("proc/self/cgroup", "0::/outer/inner\n");
  group("outer/inner/", "max", "1000");
  BOOST_TEST(files.available() == unlimited_memory);
  group("outer/", "50000", "20000");
  BOOST_TEST(files.available() == 30000);
  group("outer/inner/", "10000", "1000");
  BOOST_TEST(files.available() == 9000);
  group("", "25000", "24000");
  BOOST_TEST(files.available() == 1000);
  group("elsewhere/", "1", "1");
  BOOST_TEST(files.available() == 1000);
}

BOOST_AUTO_TEST_CASE(groups_of_version_1_have_limits) {
  const Files files;
  const auto group = [&](const std::string& folder, const std::string& most,
                         const std::string& used, const std::string& cached) {
    const std::string path = "sys/fs/cgroup/memory/" + folder + "memory.";
    files.write(path + "limit_in_bytes", most + "\n");
    files.write(path + "usage_in_bytes", used + "\n");
    files.write(path + "stat", "inactive_file 1\ntotal_inactive_file " + cached + "\n");
  };
  files.write("proc/self/cgroup", "4:memory:/jobs/one\n2:cpu:/\n0::/\n");
  group("", "9223372036854771712", "123456", "200000");
  BOOST_TEST(files.available() == 9223372036854771712);
  group("jobs/", "70000", "40000", "5000");
  BOOST_TEST(files.available() == 35000);
  group("jobs/one/", "20000", "4000", "0");
  BOOST_TEST(files.available() == 16000);
}

BOOST_AUTO_TEST_CASE(this_machine_has_some) {
  BOOST_TEST(blockgrad::available_memory() > (64 << 20));
}

BOOST_AUTO_TEST_SUITE_END()
