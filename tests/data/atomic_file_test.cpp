// Files are replaced as a whole or not at all, whatever fails.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <csignal>
#include <numeric>

#include "blockgrad/data/files.h"
#include "blockgrad/data/readers.h"
#include "tests/data/failing_calls.h"
#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;
using namespace data_test;
using namespace std::string_literals;

namespace {

unsigned mode_of(const std::string& path) {
  struct stat status{};
  BOOST_REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

int open_descriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

std::vector<NamedTensor> weights(float value) {
  return {{"w", full({5}, value)}, {"b", full({1}, value)}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(atomic_file)

BOOST_AUTO_TEST_CASE(a_new_file_obeys_umask_and_a_replaced_one_keeps_its_rights) {
  const TemporaryFolder folder;
  const mode_t old = ::umask(027);
  write_text_file(folder / "new", "text\0more"s);
  BOOST_TEST(mode_of(folder / "new") == 0640);
  BOOST_REQUIRE(::chmod((folder / "new").c_str(), 0606) == 0);
  write_text_file(folder / "new", "other");
  ::umask(old);
  BOOST_TEST(mode_of(folder / "new") == 0606);
  BOOST_TEST(read_bytes(folder / "new") == "other");
  BOOST_TEST(folder.files() == 1);
}

BOOST_AUTO_TEST_CASE(empty_and_large_texts_are_written_whole) {
  const TemporaryFolder folder;
  write_text_file(folder / "a", "");
  BOOST_TEST(read_bytes(folder / "a").empty());
  const std::string large((std::size_t{1} << 24) + 3, 'x');
  write_text_file(folder / "a", large);
  BOOST_TEST((read_bytes(folder / "a") == large));
}

BOOST_AUTO_TEST_CASE(what_is_not_a_regular_file_is_not_replaced) {
  const TemporaryFolder folder;
  const auto write = [](const std::string& path) {
    return error_of([&] { write_text_file(path, "new"); });
  };
  std::filesystem::create_directory(folder / "d");
  BOOST_TEST(write(folder / "d") ==
             folder / "d" + ": expected a regular file to replace, got a folder");
  BOOST_TEST(write(folder / "d/") == folder / "d/" + ": expected a file, got a folder");
  BOOST_REQUIRE(::mkfifo((folder / "f").c_str(), 0600) == 0);
  BOOST_TEST(write(folder / "f") ==
             folder / "f" + ": expected a regular file to replace, got a FIFO");
  write_bytes(folder / "target", "old");
  std::filesystem::create_symlink(folder / "target", folder / "l");
  BOOST_TEST(write(folder / "l") ==
             folder / "l" + ": expected a regular file to replace, got a symbolic link");
  BOOST_TEST(read_bytes(folder / "target") == "old");
  BOOST_TEST(write(folder / "none/x") ==
             folder / "none/x" + ": cannot create a file in its folder: No such file or directory");
  BOOST_TEST(write(folder / "target/x") ==
             folder / "target/x" + ": cannot look at it: Not a directory");
  BOOST_TEST(write("") == "expected the path of a file, got an empty one");
  BOOST_TEST(write("/proc/none") ==
             "/proc/none: cannot create a file in its folder: No such file or directory");
  BOOST_TEST(folder.files() == 4);
}

BOOST_AUTO_TEST_CASE(a_folder_without_the_right_to_write_is_an_error) {
  if (::geteuid() == 0) {
    BOOST_TEST_MESSAGE("skipped: root writes into every folder");
    return;
  }
  const TemporaryFolder folder;
  write_bytes(folder / "a", "old");
  BOOST_REQUIRE(::chmod(folder.path().c_str(), 0500) == 0);
  const std::string message = error_of([&] { write_text_file(folder / "a", "new"); });
  ::chmod(folder.path().c_str(), 0700);
  BOOST_TEST(message == folder / "a" + ": cannot create a file in its folder: Permission denied");
  BOOST_TEST(read_bytes(folder / "a") == "old");
}

BOOST_AUTO_TEST_CASE(a_file_size_limit_leaves_the_old_file) {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "old");
  rlimit old{};
  BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, old.rlim_max};
  BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message =
      error_of([&] { write_text_file(folder / "a", std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  BOOST_TEST(message == folder / "a" + ": cannot write it: File too large");
  BOOST_TEST(read_bytes(folder / "a") == "old");
  BOOST_TEST(folder.files() == 1);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_file) {
  // A write to /dev/full answers what a full disk does; a link to it cannot stand in for the
  // temporary file, so the call itself is made to answer ENOSPC.
  const TemporaryFolder folder;
  write_safetensors(folder / "w", weights(1));
  const std::string before = read_bytes(folder / "w");
  FailingCalls calls{.at = 3, .error = ENOSPC, .failure = Failure::error};
  std::string message;
  {
    const Armed armed(calls);
    message = error_of([&] { write_safetensors(folder / "w", weights(2)); });
  }
  BOOST_TEST(calls.failed == "write");
  BOOST_TEST(message == folder / "w" + ": cannot write it: No space left on device");
  BOOST_TEST(read_bytes(folder / "w") == before);
  BOOST_TEST(folder.files() == 1);
}

BOOST_AUTO_TEST_CASE(every_call_that_fails_is_an_error_and_leaves_one_whole_file) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w", weights(2));
  const std::string after = read_bytes(folder / "w");
  write_safetensors(folder / "w", weights(1));
  const std::string before = read_bytes(folder / "w");
  FailingCalls counted;
  {
    const Armed armed(counted);
    write_safetensors(folder / "w", weights(2));
  }
  BOOST_REQUIRE(counted.count >= 10);
  const int descriptors = open_descriptors();
  int injected = 0;
  for (int at = 1; at <= counted.count; ++at) {
    for (const int error : {ENOSPC, EIO, EDQUOT, EROFS}) {
      write_bytes(folder / "w", before);
      FailingCalls calls{.at = at, .error = error, .failure = Failure::error};
      std::string message;
      {
        const Armed armed(calls);
        message = error_of([&] { write_safetensors(folder / "w", weights(2)); });
      }
      ++injected;
      BOOST_TEST_CONTEXT("call " << at << ", " << calls.failed << ": " << message) {
        BOOST_TEST(message.starts_with(folder / "w: "));
        const bool in_place = message.find("the new file is in place") != std::string::npos;
        BOOST_TEST((read_bytes(folder / "w") == (in_place ? after : before)));
        BOOST_TEST(in_place ==
                   (at > counted.count - 3));  // opening, syncing and closing the folder
        BOOST_TEST(folder.files() == 1);
        BOOST_TEST(open_descriptors() == descriptors);
      }
    }
  }
  BOOST_TEST_MESSAGE(injected << " failures injected into " << counted.count << " calls");
}

BOOST_AUTO_TEST_CASE(interrupted_calls_and_short_writes_are_no_errors) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w", weights(2));
  const std::string after = read_bytes(folder / "w");
  FailingCalls counted;
  {
    const Armed armed(counted);
    write_safetensors(folder / "w", weights(2));
  }
  for (int at = 1; at <= counted.count; ++at) {
    for (const Failure failure : {Failure::interrupted, Failure::short_write}) {
      write_bytes(folder / "w", "old");
      FailingCalls calls{.at = at, .error = EINTR, .failure = failure};
      {
        const Armed armed(calls);
        // rename and fchmod are never interrupted; there EINTR is an error like others.
        const std::string message = error_of([&] { write_safetensors(folder / "w", weights(2)); });
        if (calls.failed != "rename"s && calls.failed != "fchmod"s)
          BOOST_TEST(message == "no error");
        else continue;
      }
      BOOST_TEST((read_bytes(folder / "w") == after), calls.failed << " " << at);
      BOOST_TEST(folder.files() == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_writer_killed_at_any_time_leaves_a_file_that_loads) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w", weights(0));
  float last = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      for (float value = last;; value += 1) write_safetensors(folder / "w", weights(value));
    }
    ::usleep(static_cast<useconds_t>(500 + 397 * round % 9000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    BOOST_REQUIRE(WIFSIGNALED(status));
    const TensorFile file = read_safetensors(folder / "w");
    const auto w = static_cast<float>(file["w"].at(4));
    BOOST_TEST(w == static_cast<float>(file["b"].at(0)));
    BOOST_TEST(w >= last);
    last = w;
  }
}

BOOST_AUTO_TEST_SUITE_END()
