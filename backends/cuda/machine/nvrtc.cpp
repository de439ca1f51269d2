#include "backends/cuda/machine/nvrtc.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/machine/shared_library.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

const std::array<std::string, 2> names = {"libnvrtc.so.13", "libnvrtc.so.12"};

/// What is missing; empty if nothing is.
std::string bind(Nvrtc& nvrtc, const SharedLibrary& library) {
  std::string missing;
  library.bind(nvrtc.version, "nvrtcVersion", missing);
  library.bind(nvrtc.create_program, "nvrtcCreateProgram", missing);
  library.bind(nvrtc.destroy_program, "nvrtcDestroyProgram", missing);
  library.bind(nvrtc.compile_program, "nvrtcCompileProgram", missing);
  library.bind(nvrtc.get_log_size, "nvrtcGetProgramLogSize", missing);
  library.bind(nvrtc.get_log, "nvrtcGetProgramLog", missing);
  library.bind(nvrtc.get_cubin_size, "nvrtcGetCUBINSize", missing);
  library.bind(nvrtc.get_cubin, "nvrtcGetCUBIN", missing);
  library.bind(nvrtc.error_text, "nvrtcGetErrorString", missing);
  return missing;
}

/// NVRTC opens its built-in declarations by name, which fails beside a library that was opened by
/// its path; one of that name that is open already is taken instead.
void open_builtins(const Nvrtc& nvrtc) {
  const std::size_t slash = nvrtc.path.rfind('/');
  if (slash == std::string::npos) return;
  const std::string name = fmt::format("libnvrtc-builtins.so.{}.{}", nvrtc.major, nvrtc.minor);
  (void)::dlopen((nvrtc.path.substr(0, slash + 1) + name).c_str(), RTLD_NOW | RTLD_LOCAL);
}

/// A program of NVRTC; destroyed with this.
class Program {
 public:
  Program(const Nvrtc& nvrtc, const std::string& text) : nvrtc_(nvrtc) {
    check(nvrtc.create_program(&handle_, text.c_str(), "blockgrad.cu", 0, nullptr, nullptr));
  }
  ~Program() { (void)nvrtc_.destroy_program(&handle_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void check(int error) const {
    if (error != 0) throw DeviceError(fmt::format("NVRTC: {}", nvrtc_.error_text(error)));
  }
  int compile(std::span<const char* const> options) const {
    return nvrtc_.compile_program(handle_, static_cast<int>(options.size()), options.data());
  }
  std::string log() const { return bytes(nvrtc_.get_log_size, nvrtc_.get_log); }
  std::string cubin() const { return bytes(nvrtc_.get_cubin_size, nvrtc_.get_cubin); }

 private:
  std::string bytes(int (*get_size)(void*, std::size_t*), int (*get)(void*, char*)) const {
    std::size_t size = 0;
    check(get_size(handle_, &size));
    std::string bytes(size, '\0');
    if (size > 0) check(get(handle_, bytes.data()));
    return bytes;
  }

  const Nvrtc& nvrtc_;
  void* handle_ = nullptr;
};

}  // namespace

Nvrtc load_nvrtc(std::span<const std::string> folders) {
  Nvrtc found;
  const auto why_not = [&](const SharedLibrary& library) -> std::string {
    if (const std::string missing = bind(found, library); !missing.empty()) return missing;
    if (found.version(&found.major, &found.minor) != 0) return "it does not tell its version";
    if (found.major < 12 || found.major > 13) {
      return fmt::format("version {}.{}, 12 or 13 is needed", found.major, found.minor);
    }
    return "";
  };
  found.path = open_library("NVRTC", names, folders, why_not).path();
  open_builtins(found);
  return found;
}

const Nvrtc& nvrtc() {
  static const Nvrtc loaded = load_nvrtc(cuda_library_folders());
  return loaded;
}

std::string compile_cubin(const Nvrtc& nvrtc, const CubinRequest& request) {
  const Program program(nvrtc, request.text);
  const std::string processor = "--gpu-architecture=" + request.processor;
  std::vector<const char*> options = {processor.c_str()};
  for (const std::string& option : request.options) options.push_back(option.c_str());
  const int error = program.compile(options);
  if (error == 0) return program.cubin();
  throw CudaTextError(fmt::format("NVRTC {}.{} does not compile the program for {}: {}\n{}",
                                  nvrtc.major, nvrtc.minor, request.processor,
                                  nvrtc.error_text(error), program.log().c_str()));
}

}  // namespace blockgrad
