#include "backends/cuda/harness/host_kernels.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/maps/emit.h"

namespace blockgrad::harness {

namespace {

/// A folder that goes with the process.
const std::filesystem::path& work_folder() {
  struct Folder {
    std::filesystem::path path;
    Folder() {
      std::string name = (std::filesystem::temp_directory_path() / "blockgrad-XXXXXX").string();
      if (mkdtemp(name.data()) == nullptr) throw DeviceError("no folder can be made: " + name);
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder folder;
  return folder.path;
}

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A thread has up to 255 of a processor's 65,536 registers where no bounds tell the compiler of
// more threads; more than the bounds say are refused at the launch.
int most_threads_of(const CudaText& text) {
  constexpr std::string_view bounds = "__launch_bounds__(";
  constexpr int without = 256;
  const std::size_t at = text.text.find(bounds);
  return at == std::string::npos ? without : std::atoi(text.text.c_str() + at + bounds.size());
}

std::string key_of(const CudaText& text) { return cuda_headers({&text, 1}) + text.text; }

}  // namespace

std::vector<CudaFunction> HostKernels::load(std::span<const CudaText> texts) {
  const std::lock_guard lock(mutex_);
  if (is_collecting_) {
    collected_.insert(collected_.end(), texts.begin(), texts.end());
    return std::vector<CudaFunction>(texts.size());
  }
  std::vector<CudaText> missing;
  std::set<std::string> asked;
  for (const CudaText& text : texts) {
    const std::string key = key_of(text);
    if (!known_.contains(key) && asked.insert(key).second) missing.push_back(text);
  }
  if (!missing.empty()) compile(missing);
  std::vector<CudaFunction> functions;
  for (const CudaText& text : texts) functions.push_back(known_.at(key_of(text)));
  return functions;
}

int HostKernels::most_threads(CudaFunction function) {
  const std::lock_guard lock(mutex_);
  return most_threads_.at(function);
}

std::vector<CudaText> HostKernels::texts() {
  const std::lock_guard lock(mutex_);
  return compiled_;
}

void HostKernels::end_collecting() {
  is_collecting_ = false;
  const std::vector<CudaText> texts = std::move(collected_);
  collected_.clear();
  load(texts);
}

void HostKernels::compile(const std::vector<CudaText>& texts) {
  const std::string stem = (work_folder() / fmt::format("kernels{}", files_++)).string();
  std::ofstream source(stem + ".cpp");
  source << "#include \"backends/cuda/harness/cuda_names.h\"\n"
            "#include \"backends/cuda/harness/host_call.h\"\n"
            "#include \"backends/cuda/harness/tensor_model.h\"\n"
         << cuda_prelude() << cuda_headers(texts);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string name = fmt::format("bg_kernel{}", i);
    source << cuda_named(texts[i].text, name)
           << fmt::format(
                  "\nusing namespace blockgrad;\nextern \"C\" void "
                  "bg_call{0}(blockgrad::harness::HostCall& call) {{\n"
                  "  blockgrad::harness::call_kernel({1}, call);\n}}\n",
                  i, name);
  }
  source.close();
  const std::string command =
      fmt::format("{} {} -I'{}' '{}.cpp' '{}' -o '{}.so' > '{}.log' 2>&1", BG_HOST_COMPILER,
                  BG_HOST_FLAGS, BG_SOURCE_DIR, stem, BG_HARNESS_LIBRARY, stem, stem);
  if (std::system(command.c_str()) != 0) {
    const char* kept = std::getenv("BLOCKGRAD_KEEP_KERNELS");
    if (kept != nullptr) std::filesystem::copy(stem + ".cpp", kept);
    throw CudaTextError("the host's compiler refuses a kernel: " + text_of(stem + ".log"));
  }
  void* library = dlopen((stem + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw DeviceError(dlerror());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const CudaFunction function = dlsym(library, fmt::format("bg_call{}", i).c_str());
    known_[key_of(texts[i])] = function;
    most_threads_[function] = most_threads_of(texts[i]);
  }
  compiled_.insert(compiled_.end(), texts.begin(), texts.end());
  count_ += static_cast<std::int64_t>(texts.size());
}

}  // namespace blockgrad::harness
