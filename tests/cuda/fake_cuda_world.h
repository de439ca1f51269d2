#pragma once
// What the fake of CUDA knows, for its calls and for who asks it. `world().mutex` guards all of it.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/fake_cuda.h"

struct CUstream_st;

struct CUevent_st {
  CUstream_st* stream = nullptr;  // null: never recorded
  std::int64_t position = 0;      // in the stream's history, after which it is past
};
struct CUgraphNode_st {
  std::function<void()> work;
  std::vector<CUgraphNode_st*> after;
};
struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUstream_st {
  std::deque<std::function<void()>> work;
  std::int64_t given = 0, done = 0;
  std::optional<std::thread::id> recorder;
  bool is_spoilt = false;  // the recording
  CUgraph_st graph;
  std::vector<CUgraphNode_st*> next_after;  // of the next node
};
struct CUlib_st {
  std::string cubin;
};
struct CUkern_st {
  CUlib_st* library = nullptr;
  std::string name;
  int shared_bytes = 48 * 1024;
};

namespace fake_cuda {

struct KernelBody {
  int arguments = 0;
  Kernel run;
};

struct Range {
  const std::byte* from;
  std::size_t bytes;
};

struct World {
  std::recursive_mutex mutex;
  std::vector<std::string> calls;
  std::multimap<std::string, std::pair<int, cudaError_t>> failures;
  std::string misuse;
  int waits = 0;
  std::mt19937 random;  // the order of nodes that none is given
  bool keeps_up = false;
  cudaError_t last = cudaSuccess;
  std::size_t memory = std::size_t{1} << 40, used = 0;
  std::map<std::byte*, std::size_t> device, pinned;
  std::set<CUstream_st*> streams;
  std::set<CUevent_st*> events;
  std::set<CUgraph_st*> graphs;
  std::set<CUgraphExec_st*> execs;
  std::set<CUlib_st*> libraries;
  std::vector<std::unique_ptr<CUkern_st>> kernels;
  std::vector<Range> uploads;  // pinned memory that is being read
  std::map<std::string, KernelBody> bodies;
  std::vector<std::string> loaded;
};

World& world();

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace fake_cuda
