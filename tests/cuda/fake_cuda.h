#pragma once
// A CUDA runtime that a test is linked with instead of the real one. Device memory is the host's.
// What a stream is given waits there until something waits for it, as late as a device may do it.
// Any call can be made to fail. It notes what real CUDA forbids.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fake_cuda {

/// As at the start of a process; forgets what is held.
void reset();

/// The calls since the last clear(), without questions: "cudaMalloc 256".
std::vector<std::string> calls();
void clear();
/// How many of them are of that name.
int count(const std::string& name);

/// Fails the nth call of that name from now on, 1 the next.
void fail(const std::string& name, cudaError_t error, int nth = 1);
/// What is made and not given back: "1 stream, 2 events"; empty if nothing is.
std::string held();
/// What was done that CUDA forbids; empty if nothing was.
std::string misuse();
/// Waits that had something to wait for.
int waits();
/// The error that cudaGetLastError would return.
cudaError_t last_error();

void set_memory(std::size_t bytes);
/// The device is done with everything as soon as it has it.
void keep_up(bool keeps_up);

/// What a kernel of that name does, with its arguments.
using Kernel = std::function<void(const std::vector<std::uint64_t>& args)>;
void set_kernel(const std::string& name, int arguments, Kernel kernel);
/// Cubins that were loaded.
std::vector<std::string> loaded();

}  // namespace fake_cuda
