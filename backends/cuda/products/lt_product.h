#pragma once
// Products by cuBLASLt: its objects with owners, and a product as a call on a stream. Nothing here
// needs CUDA; without a GPU the library makes descriptors but no handle.

#include <memory>
#include <vector>

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/products/lt_problem.h"

namespace blockgrad {

/// A handle of the library. Several threads may use it.
class LtHandle {
 public:
  /// Throws DeviceError where the library makes none.
  explicit LtHandle(const CublasLt& lt);
  ~LtHandle() { lt_.destroy(handle_); }
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;

  const CublasLt& lt() const { return lt_; }
  lt::Handle* get() const { return handle_; }

 private:
  CublasLt lt_;
  lt::Handle* handle_ = nullptr;
};

/// What the library is told of a problem. Made without a handle, and not changed after.
class LtDescriptors {
 public:
  /// Throws DeviceError if the library refuses it.
  LtDescriptors(const CublasLt& lt, const LtProblem& problem);

  lt::Matmul* matmul() const { return matmul_.get(); }
  lt::Matrix* left() const { return left_.get(); }
  lt::Matrix* right() const { return right_.get(); }
  lt::Matrix* result() const { return result_.get(); }

 private:
  using Matrix = std::unique_ptr<lt::Matrix, int (*)(lt::Matrix*)>;
  static Matrix make(const CublasLt& lt, const LtMatrix& matrix, lt::Type type, std::int32_t batch);

  std::unique_ptr<lt::Matmul, int (*)(lt::Matmul*)> matmul_;
  Matrix left_, right_, result_;
};

/// An algorithm with the bytes of workspace it needs.
struct LtChoice {
  lt::Algorithm algorithm;
  std::int64_t workspace = 0;
};

/// At most `count`, those that the library thinks fastest first, whose bits are those of every run:
/// none adds slices of k in the order in which they are done. Throws DeviceError.
std::vector<LtChoice> lt_choices(const LtHandle& handle, const LtProblem& problem, int count,
                                 std::int64_t most_workspace);

/// C = A B as a call whose arguments are the addresses of A, B, C and the workspace. Throws
/// DeviceError if the library does not do the problem by this algorithm in this workspace, or adds
/// slices of k in the order in which they are done.
std::shared_ptr<const CudaLibraryCall> lt_call(std::shared_ptr<const LtHandle> handle,
                                               const LtProblem& problem, const LtChoice& choice);

}  // namespace blockgrad
