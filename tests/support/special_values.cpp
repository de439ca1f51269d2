#include "tests/support/special_values.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/support/array.h"
#include "tests/support/variants.h"

namespace op_check {

using namespace blockgrad;

namespace {

template <class T>
Limits limits_of() {
  using Double = std::numeric_limits<double>;
  using Numbers = std::numeric_limits<T>;
  return {Double::infinity(), Double::quiet_NaN(), Numbers::max(), Numbers::denorm_min(),
          Numbers::epsilon()};
}

}  // namespace

bool fits(double got, double want, const Limits& limits) {
  if (std::isnan(want)) return std::isnan(got);
  if (got == want) return true;
  return std::abs(got - want) <= 8 * limits.epsilon * std::abs(want) + limits.tiny;
}

Tensor column(const std::vector<double>& values, DType dtype) {
  return tensor_of(Array{{static_cast<std::int64_t>(values.size())}, values}, dtype);
}

void in_every_way(const std::function<void(DType, const Limits&, const CompileOptions&)>& check) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Limits limits = dtype == DType::f64 ? limits_of<double>() : limits_of<float>();
    for (const CompileOptions& options : {CompileOptions(), variants()[0].options}) {
      BOOST_TEST_CONTEXT(name(dtype) << (options.skip.empty() ? "" : ", no pass"))
      check(dtype, limits, options);
    }
  }
}

Limits double_limits() { return limits_of<double>(); }

}  // namespace op_check
