#pragma once
// The linear sets of NIST's Statistical Reference Datasets: data with certified coefficients.

#include <string>
#include <vector>

namespace bench {

struct NistParameter {
  std::string name;  // "B0", …
  double certified = 0;
  double deviation = 0;  // certified standard deviation of the estimate
};

struct NistSet {
  std::string name;                    // "Longley"
  std::vector<double> y;               // the response
  std::vector<std::vector<double>> x;  // predictors as in the file: x[j][i] of observation i
  std::vector<std::vector<double>>
      columns;                 // the model's columns without the intercept; powers are worked out
  bool has_intercept = false;  // then parameters[0] is it
  std::vector<NistParameter> parameters;  // the intercept, if any, then one for each of `columns`
  double residual_deviation = 0;          // certified
};

/// Reads a .dat file of the linear sets. A model with one predictor and more parameters is a
/// polynomial in it. Throws blockgrad::Error naming file and line for what does not follow the
/// format.
NistSet read_nist(const std::string& path);

/// Correct digits of an estimate: -log10 of the relative error (of the absolute one where the
/// certified value is 0), from 0 to 15.
double correct_digits(double estimate, double certified);

}  // namespace bench
