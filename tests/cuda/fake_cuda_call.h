#pragma once
// What every call of the fake does: it is noted, may be made to fail, and is given to a stream.

#include <set>
#include <string>

#include "cuda/fake_cuda_world.h"

namespace fake_cuda {

/// The first one is told at the end of a test.
void note_misuse(const std::string& what);
/// Notes the call; the error it is to return.
cudaError_t enter(const std::string& name, const std::string& rest = {});
cudaError_t failed(cudaError_t error);
/// Of the calling thread.
cudaStreamCaptureMode& capture_mode();
/// What a recording must not contain spoils it, but where the thread's mode is relaxed.
bool spoils();
/// Does the work of a stream up to this place of its history.
void run_until(CUstream_st* stream, std::int64_t position);
/// To the stream's recording, or behind its work.
void give(CUstream_st* stream, std::function<void()> work);

template <class T>
void take_back(std::set<T*>& from, T* it, const char* what) {
  if (from.erase(it) == 0) return note_misuse(std::string("an unknown ") + what);
  delete it;
}

}  // namespace fake_cuda
