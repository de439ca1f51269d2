#include "backends/cuda/products/lt_product.h"

#include <fmt/format.h>

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

void check(int status, std::string_view what) {
  if (status == 0) return;
  throw DeviceError(fmt::format("cuBLASLt refuses {}: {}", what, cublas_status_text(status)));
}

/// An object that the library makes, with what takes it back.
template <class T, class Make>
std::unique_ptr<T, int (*)(T*)> owned(int (*destroy)(T*), Make&& make, std::string_view what) {
  T* made = nullptr;
  check(make(&made), what);
  return {made, destroy};
}

constexpr std::uint32_t ordered_reductions = 7 & ~lt::reduction_in_place;

bool reduces_in_place(const CublasLt& lt, const lt::Algorithm& algorithm) {
  std::uint32_t scheme = 0;
  std::size_t written = 0;
  check(lt.get_algorithm(&algorithm, lt::AlgorithmField::reduction_scheme, &scheme, sizeof scheme,
                         &written),
        "to tell how an algorithm adds slices of k");
  return (scheme & lt::reduction_in_place) != 0;
}

class LtCall final : public CudaLibraryCall {
 public:
  LtCall(std::shared_ptr<const LtHandle> handle, const LtProblem& problem, const LtChoice& choice)
      : handle_(std::move(handle)),
        descriptors_(handle_->lt(), problem),
        choice_(choice),
        is_f64_(problem.scale == lt::Type::f64) {
    lt::Heuristic result;
    check(handle_->lt().check(handle_->get(), descriptors_.matmul(), descriptors_.left(),
                              descriptors_.right(), descriptors_.result(), descriptors_.result(),
                              &choice_.algorithm, &result),
          "this algorithm");
    check(result.status, "this algorithm");
    if (reduces_in_place(handle_->lt(), choice_.algorithm)) {
      throw DeviceError(
          "cuBLASLt's algorithm adds slices of k in the order in which they are done: its bits are "
          "not those of every run");
    }
    if (result.workspace > static_cast<std::size_t>(choice_.workspace)) {
      throw DeviceError(fmt::format("cuBLASLt wants {} bytes of workspace, not {}",
                                    result.workspace, choice_.workspace));
    }
  }

  void enqueue(void* stream, std::span<const std::uint64_t> args) const override {
    const double one = 1, zero = 0;
    const float one_f32 = 1, zero_f32 = 0;
    const void* alpha = is_f64_ ? static_cast<const void*>(&one) : &one_f32;
    const void* beta = is_f64_ ? static_cast<const void*>(&zero) : &zero_f32;
    const auto at = [&](std::size_t i) { return reinterpret_cast<void*>(args[i]); };
    check(handle_->lt().matmul(handle_->get(), descriptors_.matmul(), alpha, at(1),
                               descriptors_.left(), at(0), descriptors_.right(), beta, at(2),
                               descriptors_.result(), at(2), descriptors_.result(),
                               &choice_.algorithm, choice_.workspace > 0 ? at(3) : nullptr,
                               static_cast<std::size_t>(choice_.workspace), stream),
          "a product");
  }

 private:
  std::shared_ptr<const LtHandle> handle_;
  LtDescriptors descriptors_;
  LtChoice choice_;
  bool is_f64_;
};

}  // namespace

LtHandle::LtHandle(const CublasLt& lt) : lt_(lt) { check(lt.create(&handle_), "a handle"); }

LtDescriptors::Matrix LtDescriptors::make(const CublasLt& lt, const LtMatrix& matrix, lt::Type type,
                                          std::int32_t batch) {
  Matrix made = owned<lt::Matrix>(
      lt.destroy_matrix,
      [&](lt::Matrix** to) {
        return lt.create_matrix(to, type, static_cast<std::uint64_t>(matrix.rows),
                                static_cast<std::uint64_t>(matrix.columns), matrix.leading);
      },
      "a matrix");
  const auto set = [&](lt::MatrixField field, const auto& value) {
    check(lt.set_matrix(made.get(), field, &value, sizeof value), "the batch of a matrix");
  };
  set(lt::MatrixField::batch_count, batch);
  set(lt::MatrixField::batch_stride, matrix.batch_stride);
  return made;
}

LtDescriptors::LtDescriptors(const CublasLt& lt, const LtProblem& problem)
    : matmul_(owned<lt::Matmul>(
          lt.destroy_matmul,
          [&](lt::Matmul** to) { return lt.create_matmul(to, problem.compute, problem.scale); },
          "these types")),
      left_(make(lt, problem.left, problem.type, problem.batch)),
      right_(make(lt, problem.right, problem.type, problem.batch)),
      result_(make(lt, problem.result, problem.result_type, problem.batch)) {
  const auto set = [&](lt::MatmulField field, lt::Operation operation) {
    check(lt.set_matmul(matmul_.get(), field, &operation, sizeof operation), "an operation");
  };
  set(lt::MatmulField::operation_a, problem.left_operation);
  set(lt::MatmulField::operation_b, problem.right_operation);
}

std::vector<LtChoice> lt_choices(const LtHandle& handle, const LtProblem& problem, int count,
                                 std::int64_t most_workspace) {
  const CublasLt& lt = handle.lt();
  const LtDescriptors descriptors(lt, problem);
  const auto preference =
      owned<lt::Preference>(lt.destroy_preference, lt.create_preference, "a preference");
  const auto set = [&](lt::PreferenceField field, auto value) {
    check(lt.set_preference(preference.get(), field, &value, sizeof value), "a preference");
  };
  set(lt::PreferenceField::workspace, static_cast<std::uint64_t>(most_workspace));
  set(lt::PreferenceField::reduction_schemes, ordered_reductions);
  set(lt::PreferenceField::alignment_a, static_cast<std::uint32_t>(problem.left.alignment));
  set(lt::PreferenceField::alignment_b, static_cast<std::uint32_t>(problem.right.alignment));
  set(lt::PreferenceField::alignment_c, static_cast<std::uint32_t>(problem.result.alignment));
  set(lt::PreferenceField::alignment_d, static_cast<std::uint32_t>(problem.result.alignment));
  std::vector<lt::Heuristic> found(static_cast<std::size_t>(count));
  int returned = 0;
  const int status = lt.heuristics(handle.get(), descriptors.matmul(), descriptors.left(),
                                   descriptors.right(), descriptors.result(), descriptors.result(),
                                   preference.get(), count, found.data(), &returned);
  constexpr int not_supported = 15;  // there is no algorithm
  if (status != not_supported) check(status, "a search for algorithms");
  std::vector<LtChoice> choices;
  for (int i = 0; i < returned && i < count; ++i) {
    const lt::Heuristic& heuristic = found[static_cast<std::size_t>(i)];
    if (heuristic.status != 0) continue;
    choices.push_back({heuristic.algorithm, static_cast<std::int64_t>(heuristic.workspace)});
  }
  return choices;
}

std::shared_ptr<const CudaLibraryCall> lt_call(std::shared_ptr<const LtHandle> handle,
                                               const LtProblem& problem, const LtChoice& choice) {
  return std::make_shared<LtCall>(std::move(handle), problem, choice);
}

}  // namespace blockgrad
