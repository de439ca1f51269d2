#include "blockgrad/optim/initial.h"

#include <vector>

namespace blockgrad {

namespace {

void require_finite(std::string_view initial, std::string_view name, double value) {
  require(std::isfinite(value), initial, ": ", name, " must be finite, got ", value);
}

struct Fans {
  double in = 1, out = 1;
};

Fans fans_of(std::string_view initial, const Shape& shape) {
  require(shape.rank() >= 2, initial, ": wants a weight of rank 2 or more, got shape ", shape);
  if (shape.rank() == 2) return {static_cast<double>(shape[0]), static_cast<double>(shape[1])};
  double window = 1;
  for (int a = 2; a < shape.rank(); ++a) window *= static_cast<double>(shape[a]);
  return {static_cast<double>(shape[1]) * window, static_cast<double>(shape[0]) * window};
}

// 0 for a weight without elements.
double root_of_ratio(double above, double below) {
  return below > 0 ? std::sqrt(above / below) : 0;
}

Initial even(std::string_view name, double gain, double (*width)(const Fans&)) {
  require_finite(name, "gain", gain);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    const double a = std::abs(gain) * width(fans_of(name, shape));
    return uniform_tensor(shape, -a, a, draw, dtype);
  }};
}

Initial bell(std::string_view name, double gain, double (*sigma)(const Fans&)) {
  require_finite(name, "gain", gain);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    return normal_tensor(shape, 0, std::abs(gain) * sigma(fans_of(name, shape)), draw, dtype);
  }};
}

using Vectors = std::vector<std::vector<double>>;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram-Schmidt, each vector twice: once leaves what cancellation kept (Giraud et al. 2005).
void make_orthonormal(Vectors& vectors) {
  for (std::size_t v = 0; v < vectors.size(); ++v) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t before = 0; before < v; ++before) {
        const double part = dot(vectors[before], vectors[v]);
        for (std::size_t i = 0; i < vectors[v].size(); ++i)
          vectors[v][i] -= part * vectors[before][i];
      }
    }
    const double length = std::sqrt(dot(vectors[v], vectors[v]));
    for (double& x : vectors[v]) x /= length;
  }
}

}  // namespace

Initial constant_initial(double value) {
  require_finite("constant_initial", "value", value);
  return {[=](const Shape& shape, const Draw&, DType dtype) { return full(shape, value, dtype); }};
}

Initial uniform_initial(double low, double high) {
  require_finite("uniform_initial", "low", low);
  require_finite("uniform_initial", "high", high);
  require(low <= high, "uniform_initial: low must not be above high, got ", low, " and ", high);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    return uniform_tensor(shape, low, high, draw, dtype);
  }};
}

Initial normal_initial(double mean, double sigma) {
  require_finite("normal_initial", "mean", mean);
  require_finite("normal_initial", "sigma", sigma);
  require(sigma >= 0, "normal_initial: sigma must not be negative, got ", sigma);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    return normal_tensor(shape, mean, sigma, draw, dtype);
  }};
}

Initial truncated_normal_initial(double mean, double sigma) {
  require_finite("truncated_normal_initial", "mean", mean);
  require_finite("truncated_normal_initial", "sigma", sigma);
  require(sigma >= 0, "truncated_normal_initial: sigma must not be negative, got ", sigma);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    return truncated_normal_tensor(shape, mean, sigma, draw, dtype);
  }};
}

Initial xavier_uniform(double gain) {
  return even("xavier_uniform", gain, [](const Fans& f) { return root_of_ratio(6, f.in + f.out); });
}

Initial xavier_normal(double gain) {
  return bell("xavier_normal", gain, [](const Fans& f) { return root_of_ratio(2, f.in + f.out); });
}

Initial kaiming_uniform(double gain) {
  return even("kaiming_uniform", gain, [](const Fans& f) { return root_of_ratio(3, f.in); });
}

Initial kaiming_normal(double gain) {
  return bell("kaiming_normal", gain, [](const Fans& f) { return root_of_ratio(1, f.in); });
}

Initial orthogonal(double gain) {
  require_finite("orthogonal", "gain", gain);
  return {[=](const Shape& shape, const Draw& draw, DType dtype) {
    require(shape.rank() >= 2, "orthogonal: wants a weight of rank 2 or more, got shape ", shape);
    const std::int64_t rows = shape[0], columns = shape.size() == 0 ? 0 : shape.size() / rows;
    const bool by_rows = rows <= columns;
    const auto count = static_cast<std::size_t>(by_rows ? rows : columns);
    const auto length = static_cast<std::size_t>(by_rows ? columns : rows);
    const Tensor drawn = normal_tensor(shape, 0, 1, draw, DType::f64);
    Vectors vectors(shape.size() == 0 ? 0 : count, std::vector<double>(length));
    const auto place = [&](std::size_t v, std::size_t i) {
      return by_rows ? v * length + i : i * count + v;
    };
    for (std::size_t v = 0; v < vectors.size(); ++v) {
      for (std::size_t i = 0; i < length; ++i) vectors[v][i] = drawn.span<double>()[place(v, i)];
    }
    make_orthonormal(vectors);
    std::vector<double> values(static_cast<std::size_t>(shape.size()));
    for (std::size_t v = 0; v < vectors.size(); ++v) {
      for (std::size_t i = 0; i < length; ++i) values[place(v, i)] = gain * vectors[v][i];
    }
    return tensor(std::span<const double>(values), shape).astype(dtype);
  }};
}

Draw draw_of(std::string_view name, std::uint64_t seed) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char letter : name)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
  return {seed, static_cast<std::int64_t>(hash >> 32),
          static_cast<std::int64_t>(hash & 0xFFFFFFFFu)};
}

Expr parameter(const Shape& shape, const Initial& initial, std::string name, std::uint64_t seed,
               DType dtype, SourceLoc where) {
  const std::string of = to_string(current_origin(where), "parameter '" + name + "'");
  require(static_cast<bool>(initial.draw), of, ": the initial value is empty");
  require(is_floating(dtype), of, ": wants a floating dtype, got ", dtype);
  try {
    return parameter(initial.draw(shape, draw_of(name, seed), dtype), name, where);
  } catch (const Error& error) {
    throw Error(of + ": " + error.what());
  }
}

}  // namespace blockgrad
