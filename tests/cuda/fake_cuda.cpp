#include "cuda/fake_cuda.h"

#include <algorithm>
#include <cstdlib>

#include "cuda/fake_cuda_world.h"

namespace fake_cuda {

World& world() {
  static World the;
  return the;
}

void reset() {
  World& w = world();
  const Lock lock(w.mutex);
  w.calls.clear();
  w.failures.clear();
  w.misuse.clear();
  w.waits = 0;
  w.keeps_up = false;
  w.last = cudaSuccess;
  w.memory = std::size_t{1} << 40;
  w.used = 0;
  for (const auto& [memory, bytes] : w.device) std::free(memory);
  for (const auto& [memory, bytes] : w.pinned) std::free(memory);
  w.device.clear();
  w.pinned.clear();
  const auto drop = [](auto& all) {
    for (auto* it : all) delete it;
    all.clear();
  };
  drop(w.streams);
  drop(w.events);
  drop(w.graphs);
  drop(w.execs);
  drop(w.libraries);
  w.kernels.clear();
  w.uploads.clear();
  w.bodies.clear();
  w.loaded.clear();
}

std::vector<std::string> calls() {
  const Lock lock(world().mutex);
  return world().calls;
}

void clear() {
  const Lock lock(world().mutex);
  world().calls.clear();
  world().waits = 0;
}

int count(const std::string& name) {
  const Lock lock(world().mutex);
  return static_cast<int>(std::ranges::count_if(world().calls, [&](const std::string& call) {
    return call == name || call.starts_with(name + " ");
  }));
}

void fail(const std::string& name, cudaError_t error, int nth) {
  const Lock lock(world().mutex);
  world().failures.emplace(name, std::pair(nth, error));
}

std::string held() {
  const World& w = world();
  std::string text;
  const auto add = [&](std::size_t count, const std::string& what) {
    if (count == 0) return;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  };
  add(w.streams.size(), "streams");
  add(w.events.size(), "events");
  add(w.device.size(), "device memory");
  add(w.pinned.size(), "pinned memory");
  add(w.graphs.size(), "graphs");
  add(w.execs.size(), "ready graphs");
  add(w.libraries.size(), "libraries");
  for (const CUstream_st* stream : w.streams) add(stream->recorder ? 1 : 0, "recordings");
  return text;
}

std::string misuse() { return world().misuse; }
int waits() { return world().waits; }
cudaError_t last_error() { return world().last; }
void set_memory(std::size_t bytes) { world().memory = bytes; }
void keep_up(bool keeps_up) { world().keeps_up = keeps_up; }
void set_kernel(const std::string& name, int arguments, Kernel kernel) {
  world().bodies[name] = {arguments, std::move(kernel)};
}
std::vector<std::string> loaded() {
  const Lock lock(world().mutex);
  return world().loaded;
}

}  // namespace fake_cuda
