#include "backends/cuda/index/cuda_sorts.h"

#include "blockgrad/graph/error.h"
#include "blockgrad/graph/shape.h"

namespace blockgrad {

namespace {

void* address(std::uint64_t arg) {
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(arg));
}

class ThrustCall final : public CudaLibraryCall {
 public:
  using Call = std::function<ThrustAnswer(const std::uint64_t* args, Workspace, void* stream)>;

  ThrustCall(std::string what, std::int64_t bytes, Call call, CudaSorts::Check check)
      : what_(std::move(what)),
        bytes_(static_cast<std::size_t>(bytes)),
        call_(std::move(call)),
        check_(std::move(check)) {}

  /// The last argument is the workspace.
  void enqueue(void* stream, std::span<const std::uint64_t> args) const override {
    ThrustAnswer answer;
    check_(what_, [&] {
      answer = call_(args.data(), {address(args.back()), bytes_}, stream);
      return answer.error;
    });
    if (answer.needed > bytes_) {
      throw DeviceError(
          join({what_, " needs ", answer.needed, " bytes of workspace, and the plan has ", bytes_,
                ": this version of CUB wants more than the one that blockgrad was written for"}));
    }
  }

 private:
  std::string what_;
  std::size_t bytes_;
  Call call_;
  CudaSorts::Check check_;
};

// Tables whose size does not grow with the work, and what is lost by aligning pieces to 256 bytes.
constexpr std::int64_t tables = 128 * 1024;

}  // namespace

std::int64_t CudaSorts::Entries::bytes() const { return checked_multiply(n, is_wide ? 16 : 8); }

// A second buffer of entries; 1,024 bytes a tile, and tiles have 1,920 entries or more.
std::int64_t CudaSorts::sort_bytes(const Entries& entries) {
  return checked_add(checked_add(entries.bytes(), entries.n), tables);
}

// At most 20 bytes a tile, and tiles have 128 elements or more.
std::int64_t CudaSorts::start_bytes(std::int64_t n) { return n / 4 + tables; }
std::int64_t CudaSorts::sum_bytes(std::int64_t n) { return n / 4 + tables; }

CudaLaunch CudaSorts::launch(std::string what, std::int64_t bytes, Call call,
                             std::vector<CudaArg> args) const {
  CudaLaunch made;
  made.args = std::move(args);
  made.library = std::make_shared<ThrustCall>(name_ + "'s " + what, bytes, std::move(call), check_);
  return made;
}

CudaLaunch CudaSorts::sort(const Entries& entries, EntryBits bits, const CudaArg& from,
                           const CudaArg& to, const CudaArg& workspace) const {
  const auto call = [calls = calls_, entries, bits](const std::uint64_t* args, Workspace memory,
                                                    void* stream) {
    return calls->sort({address(args[0]), entries.n, entries.is_wide}, bits, address(args[1]),
                       memory, stream);
  };
  return launch(join({"sort of ", entries.n, " entries"}), sort_bytes(entries), call,
                {from, to, workspace});
}

CudaLaunch CudaSorts::find_starts(const Entries& entries, const CudaArg& from,
                                  const CudaArg& starts, const CudaArg& count,
                                  const CudaArg& workspace) const {
  const auto call = [calls = calls_, entries](const std::uint64_t* args, Workspace memory,
                                              void* stream) {
    return calls->find_starts({address(args[0]), entries.n, entries.is_wide},
                              static_cast<std::int64_t*>(address(args[1])),
                              static_cast<std::int64_t*>(address(args[2])), memory, stream);
  };
  return launch(join({"selection from ", entries.n, " entries"}), start_bytes(entries.n), call,
                {from, starts, count, workspace});
}

CudaLaunch CudaSorts::add_up(const IntegerLine& line, const CudaArg& x, const CudaArg& y,
                             const CudaArg& workspace) const {
  const auto call = [calls = calls_, line](const std::uint64_t* args, Workspace memory,
                                           void* stream) {
    IntegerLine at = line;
    at.x = address(args[0]);
    return calls->add_up(at, static_cast<std::int64_t*>(address(args[1])), memory, stream);
  };
  return launch(join({"scan of ", line.n, " integers"}), sum_bytes(line.n), call,
                {x, y, workspace});
}

}  // namespace blockgrad
