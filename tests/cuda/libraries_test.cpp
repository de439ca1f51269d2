// Libraries that are missing, too old, incomplete or damaged, in folders made for it: no CUDA is
// needed.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/machine/report.h"
#include "backends/cuda/machine/shared_library.h"
#include "backends/cuda/products/cublaslt.h"
#include "backends/cuda/products/product_table.h"
#include "data/support.h"
#include "support/checks.h"

using namespace blockgrad;
using data_test::TemporaryFolder;
using data_test::write_bytes;
using test_support::contains;
using test_support::error_of;

namespace {

const std::string start =
    " was not found; sought (folders can be added in BLOCKGRAD_CUDA_LIBRARY_PATH):";

/// A copy of a stub that the build made, under the name of a library: of one file the loader would
/// remember the first name.
void place(const TemporaryFolder& folder, const std::string& stub, const std::string& name) {
  std::filesystem::copy_file(std::string(BG_STUBS) + "/lib" + stub + ".so", folder / name);
}

std::string nvrtc_error(const std::vector<std::string>& folders) {
  return error_of([&] { load_nvrtc(folders); });
}

std::string cublaslt_error(const std::vector<std::string>& folders) {
  return error_of([&] { load_cublaslt(folders); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(libraries)

BOOST_AUTO_TEST_CASE(a_missing_library_is_named_with_every_place_where_it_was_sought) {
  const TemporaryFolder a, b;
  BOOST_TEST(nvrtc_error({a.path(), b.path()}) ==
             "NVRTC" + start + "\n  " + a.path() + ": no libnvrtc.so.13, libnvrtc.so.12\n  " +
                 b.path() + ": no libnvrtc.so.13, libnvrtc.so.12");
  BOOST_TEST(cublaslt_error({a.path()}) ==
             "cuBLASLt" + start + "\n  " + a.path() + ": no libcublasLt.so.13, libcublasLt.so.12");
  BOOST_CHECK_THROW(load_nvrtc(std::vector{a.path()}), DeviceError);
}

BOOST_AUTO_TEST_CASE(a_library_of_another_version_is_refused_with_its_version) {
  const TemporaryFolder folder;
  place(folder, "old_nvrtc", "libnvrtc.so.12");
  place(folder, "old_cublaslt", "libcublasLt.so.13");
  BOOST_TEST(nvrtc_error({folder.path()}) ==
             "NVRTC" + start + "\n  " + (folder / "libnvrtc.so.12") +
                 ": version 11.8, 12 or 13 is needed\n  " + folder.path() + ": no libnvrtc.so.13");
  BOOST_TEST(contains(cublaslt_error({folder.path()}),
                      "libcublasLt.so.13: version 11.11.3, 12 or 13 is needed\n"));
}

BOOST_AUTO_TEST_CASE(a_library_without_its_functions_is_refused_with_their_names) {
  const TemporaryFolder folder;
  place(folder, "bare_nvrtc", "libnvrtc.so.13");
  place(folder, "bare_nvrtc", "libcublasLt.so.13");
  BOOST_TEST(contains(nvrtc_error({folder.path()}),
                      "libnvrtc.so.13: it has no nvrtcCreateProgram, nvrtcDestroyProgram, "));
  BOOST_TEST(
      contains(cublaslt_error({folder.path()}), "libcublasLt.so.13: it has no cublasLtGetVersion"));
}

BOOST_AUTO_TEST_CASE(a_damaged_library_is_refused_with_the_words_of_the_loader) {
  const TemporaryFolder folder;
  write_bytes(folder / "libnvrtc.so.13",
              data_test::read_bytes(std::string(BG_STUBS) + "/libold_nvrtc.so").substr(0, 40));
  write_bytes(folder / "libnvrtc.so.12", std::string(4096, 'x'));
  BOOST_TEST(contains(nvrtc_error({folder.path()}), "/libnvrtc.so.13: file too short\n"));
  BOOST_TEST(contains(nvrtc_error({folder.path()}), "/libnvrtc.so.12: invalid ELF header"));
}

BOOST_AUTO_TEST_CASE(the_first_good_library_is_taken_whatever_lies_before_it) {
  const TemporaryFolder none, old, good;
  place(old, "old_cublaslt", "libcublasLt.so.13");
  place(good, "good_cublaslt", "libcublasLt.so.12");
  const std::vector<std::string> folders = {none.path(), old.path(), good.path()};
  const CublasLt found = load_cublaslt(folders);
  BOOST_TEST(found.path == good / "libcublasLt.so.12");
  BOOST_TEST(found.major == 13);
  BOOST_TEST(found.minor == 1);
  BOOST_TEST(found.patch == 0);
  BOOST_TEST(found.version() == 130100u);
}

BOOST_AUTO_TEST_CASE(the_users_folders_come_first_then_the_loader_then_the_toolkit) {
  const char* before = std::getenv("BLOCKGRAD_CUDA_LIBRARY_PATH");
  const std::string kept = before ? before : "";
  ::setenv("BLOCKGRAD_CUDA_LIBRARY_PATH", "/a::/b c:", 1);
  const std::vector<std::string> expected = {"/a", "/b c", "", "/usr/local/cuda/lib64"};
  BOOST_TEST(cuda_library_folders() == expected, boost::test_tools::per_element());
  ::unsetenv("BLOCKGRAD_CUDA_LIBRARY_PATH");
  const std::vector<std::string> alone = {"", "/usr/local/cuda/lib64"};
  BOOST_TEST(cuda_library_folders() == alone, boost::test_tools::per_element());
  if (before) ::setenv("BLOCKGRAD_CUDA_LIBRARY_PATH", kept.c_str(), 1);
}

BOOST_AUTO_TEST_CASE(the_report_of_a_device_tells_which_library_is_there_and_which_is_not) {
  const TemporaryFolder folder;
  place(folder, "good_cublaslt", "libcublasLt.so.13");
  const CudaFindings h200{.runtime_version = 13000,
                          .driver_version = 13010,
                          .device_count = 8,
                          .name = "NVIDIA H200",
                          .processors = 132,
                          .memory_bytes = std::int64_t{150'110'011'392},
                          .capability = 90,
                          .has_code = true};
  BOOST_TEST(cuda_report(h200, std::vector{folder.path()}) ==
             "NVIDIA H200, 132 multiprocessors, 139.8 GiB, compute capability 9.0, driver 13.1, "
             "runtime 13.0\n  NVRTC" +
                 start + "\n  " + folder.path() +
                 ": no libnvrtc.so.13, libnvrtc.so.12\n  cuBLASLt 13.1.0, " +
                 (folder / "libcublasLt.so.13") + "\n  no table of measured products");
  data_test::write_bytes(folder / "table", "x\n");
  BOOST_TEST(cuda_report(h200, {}, folder / "table")
                 .ends_with("\n  " + (folder / "table") +
                            ", line 1: no table of products, or one of another version"));
  write_product_table(folder / "table", {{ProductKey{}, ProductEntry{}}});
  BOOST_TEST(cuda_report(h200, {}, folder / "table")
                 .ends_with("\n  1 measured products, " + (folder / "table")));
}

BOOST_AUTO_TEST_SUITE_END()
