// The cache of cubins: what is kept is found again, what is damaged is not; no CUDA is needed.
#include "backends/cuda/machine/cubin_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "blockgrad/graph/error.h"
#include "data/support.h"

using namespace blockgrad;
using data_test::read_bytes;
using data_test::TemporaryFolder;
using data_test::write_bytes;

namespace {

const Sha256 key = sha256("a kernel");
const std::string cubin = std::string(
                              "\x7f"
                              "ELF, of ") +
                          std::string(1000, '\0') + "machine code";

std::string only_file(const std::string& folder) {
  return std::filesystem::directory_iterator(folder)->path().string();
}

// An Nvrtc whose only function counts programs that could not be made: it compiles nothing.
int made = 0;
int refuse(void**, const char*, const char*, int, const char* const*, const char* const*) {
  ++made;
  return 1;
}
const char* refused(int) { return "refused"; }

Nvrtc fake(int major, int minor) {
  Nvrtc nvrtc;
  nvrtc.major = major;
  nvrtc.minor = minor;
  nvrtc.create_program = refuse;
  nvrtc.error_text = refused;
  return nvrtc;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cubin_cache)

// FIPS 180-4 examples, and lengths at which the padding takes another block.
BOOST_AUTO_TEST_CASE(sha256_has_the_published_values) {
  BOOST_TEST(to_string(sha256("")) ==
             "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(to_string(sha256("abc")) ==
             "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(to_string(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  BOOST_TEST(to_string(sha256(std::string(1'000'000, 'a'))) ==
             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

BOOST_AUTO_TEST_CASE(what_is_kept_is_found_again_and_nothing_else) {
  const TemporaryFolder folder;
  const CubinCache cache(folder / "deep/er");
  BOOST_TEST(!cache.find(key));
  BOOST_TEST(cache.keep(key, cubin));
  BOOST_TEST((cache.find(key) == cubin));
  BOOST_TEST(!cache.find(sha256("another kernel")));
  BOOST_TEST(cache.keep(key, ""));
  BOOST_TEST((cache.find(key) == ""));
  BOOST_TEST((read_cubin_file(cubin_file(cubin, key), key) == cubin));
  struct stat status{};
  BOOST_TEST_REQUIRE(::stat(only_file(cache.folder()).c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0600u);  // one file, and no temporary one beside it
  BOOST_TEST(std::distance(std::filesystem::directory_iterator(cache.folder()), {}) == 1);
}

BOOST_AUTO_TEST_CASE(a_file_cut_short_or_grown_or_changed_in_any_byte_is_not_believed) {
  const std::string file = cubin_file("a small cubin", key);
  for (std::size_t size = 0; size < file.size(); ++size)
    BOOST_TEST(!read_cubin_file(std::string_view(file).substr(0, size), key));
  BOOST_TEST(!read_cubin_file(file + '\0', key));
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string changed = file;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    BOOST_TEST(!read_cubin_file(changed, key), "byte " << at);
  }
}

BOOST_AUTO_TEST_CASE(a_file_of_another_kernel_is_not_believed) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  BOOST_TEST_REQUIRE(cache.keep(sha256("another kernel"), cubin));
  std::filesystem::rename(only_file(folder.path()), folder / (to_string(key) + ".cubin"));
  BOOST_TEST(!cache.find(key));
}

BOOST_AUTO_TEST_CASE(a_damaged_file_is_rewritten) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  BOOST_TEST_REQUIRE(cache.keep(key, cubin));
  const std::string path = only_file(folder.path());
  write_bytes(path, read_bytes(path).substr(0, 500));
  BOOST_TEST(!cache.find(key));
  BOOST_TEST(cache.keep(key, cubin));
  BOOST_TEST((cache.find(key) == cubin));
}

BOOST_AUTO_TEST_CASE(links_folders_and_pipes_are_not_read) {
  const TemporaryFolder folder, other;
  const std::string path = folder / (to_string(key) + ".cubin");
  const CubinCache cache(folder.path());
  write_bytes(other / "file", cubin_file(cubin, key));
  std::filesystem::create_symlink(other / "file", path);
  BOOST_TEST(!cache.find(key));
  BOOST_TEST(cache.keep(key, "new"));
  BOOST_TEST((cache.find(key) == "new"));
  BOOST_TEST((read_bytes(other / "file") == cubin_file(cubin, key)));
  std::filesystem::remove(path);
  BOOST_TEST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  BOOST_TEST(!cache.find(key));
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  BOOST_TEST(!cache.find(key));
  BOOST_TEST(!cache.keep(key, cubin));
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_made_and_no_folder_keep_nothing) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "");
  BOOST_TEST(!CubinCache(folder / "file/cubins").keep(key, cubin));
  BOOST_TEST(!CubinCache("").keep(key, cubin));
  BOOST_TEST(!CubinCache("").find(key));
}

BOOST_AUTO_TEST_CASE(writers_of_one_file_leave_it_whole) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) cache.keep(key, cubin);
    });
  }
  for (std::thread& writer : writers) writer.join();
  BOOST_TEST((cache.find(key) == cubin));
  BOOST_TEST(folder.files() == 1);
}

BOOST_AUTO_TEST_CASE(what_would_not_be_read_is_not_kept) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  BOOST_TEST(!cache.keep(key, std::string(std::size_t{64} << 20, '\0')));
  BOOST_TEST(folder.files() == 0);
}

BOOST_AUTO_TEST_CASE(what_an_ended_writer_left_is_removed_after_a_day) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  const std::string another = folder / (to_string(sha256("another kernel")) + ".cubin");
  const std::string young = another + ".0123456789abcdef", old = another + ".fedcba9876543210";
  const std::string kept[] = {young, another, another + ".backup", folder / "notes"};
  const auto write = [](const std::string& path, int hours_ago) {
    write_bytes(path, "");
    const timespec then{std::time(nullptr) - hours_ago * 3600, 0}, times[] = {then, then};
    BOOST_TEST_REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  };
  for (const std::string& path : kept) write(path, path == young ? 23 : 25);
  write(old, 25);
  BOOST_TEST(cache.keep(key, cubin));
  for (const std::string& path : kept) BOOST_TEST(std::filesystem::exists(path), path);
  BOOST_TEST(!std::filesystem::exists(old));
  BOOST_TEST((cache.find(key) == cubin));
}

BOOST_AUTO_TEST_CASE(the_key_holds_text_processor_options_and_version) {
  const CubinRequest request{.text = "void f();"};
  const Nvrtc nvrtc = fake(13, 0);
  std::vector<Sha256> keys = {cubin_key(nvrtc, request), cubin_key(fake(13, 1), request),
                              cubin_key(fake(12, 0), request)};
  CubinRequest changed = request;
  changed.text += ' ';
  keys.push_back(cubin_key(nvrtc, changed));
  changed = request;
  changed.processor = "sm_80";
  keys.push_back(cubin_key(nvrtc, changed));
  changed = request;
  changed.options = {};
  keys.push_back(cubin_key(nvrtc, changed));
  changed.options = {"--fmad=", "false"};
  keys.push_back(cubin_key(nvrtc, changed));
  for (std::size_t i = 0; i < keys.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) BOOST_TEST((keys[i] != keys[j]), i << " and " << j);
  BOOST_TEST((cubin_key(nvrtc, request) == keys[0]));
}

BOOST_AUTO_TEST_CASE(a_cubin_of_the_cache_asks_no_compiler) {
  const TemporaryFolder folder;
  const CubinCache cache(folder.path());
  const Nvrtc nvrtc = fake(13, 0);
  const CubinRequest request{.text = "void f();"};
  made = 0;
  BOOST_CHECK_EXCEPTION(cubin_of(nvrtc, request, cache), DeviceError, [](const DeviceError& e) {
    return std::string(e.what()) == "NVRTC: refused";
  });
  BOOST_TEST(made == 1);
  BOOST_TEST_REQUIRE(cache.keep(cubin_key(nvrtc, request), cubin));
  BOOST_TEST((cubin_of(nvrtc, request, cache) == cubin));
  BOOST_TEST(made == 1);
}

BOOST_AUTO_TEST_CASE(the_folder_is_the_users_choice_or_in_the_users_cache) {
  const char* names[] = {"BLOCKGRAD_CUDA_CACHE", "XDG_CACHE_HOME", "HOME"};
  std::vector<std::pair<std::string, std::string>> kept;
  for (const char* name : names)
    if (const char* value = std::getenv(name)) kept.emplace_back(name, value);
  const auto folder = [&](const char* own, const char* cache, const char* home) {
    ::setenv(names[0], own, 1);
    ::setenv(names[1], cache, 1);
    ::setenv(names[2], home, 1);
    return cubin_cache_folder();
  };
  BOOST_TEST(folder("/own", "/cache", "/home/x") == "/own");
  BOOST_TEST(folder("off", "/cache", "/home/x") == "");
  BOOST_TEST(folder("", "/cache", "/home/x") == "/cache/blockgrad/cubins");
  BOOST_TEST(folder("", "cache", "/home/x") == "/home/x/.cache/blockgrad/cubins");
  BOOST_TEST(folder("", "", "/home/x") == "/home/x/.cache/blockgrad/cubins");
  BOOST_TEST(folder("", "", "") == "");
  for (const char* name : names) ::unsetenv(name);
  for (const auto& [name, value] : kept) ::setenv(name.c_str(), value.c_str(), 1);
}

BOOST_AUTO_TEST_SUITE_END()
