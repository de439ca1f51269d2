#include "support/results.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "blockgrad/data/files.h"
#include "blockgrad/graph/error.h"
#include "support/circumstances.h"

namespace bench {

namespace bg = blockgrad;

std::string results_folder(bool is_tiny, bool is_whole) {
  const std::string folder = BG_SOURCE_DIR "/build/bench";
  if (is_tiny) return folder + "/tiny";
  return is_whole ? folder : folder + "/part";
}

void check_place(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  bg::require(!error, "expected a file to write, got ", path, ": ", error.message());
  bg::require(!std::filesystem::is_directory(path, error), "expected a file to write, got ", path,
              ": it is a folder");
  const std::string probe = path + ".probe";
  const bool is_writable = std::ofstream(probe).is_open();
  std::filesystem::remove(probe, error);
  bg::require(is_writable, "expected a file to write, got ", path, ": its folder takes none");
}

void leave(const std::string& path, nlohmann::json result) {
  if (!result.contains("at")) result["at"] = circumstances();
  bg::data::write_text_file(path, result.dump(2) + "\n");
}

}  // namespace bench
