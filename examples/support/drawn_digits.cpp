#include "support/drawn_digits.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "support/random.h"

namespace examples {

namespace {

constexpr int size = 28;

struct Point {
  double x = 0, y = 0;
};
using Stroke = std::vector<Point>;

// Part of an ellipse in degrees; 0 points right, 90 down.
Stroke arc(Point centre, double radius_x, double radius_y, double from, double to) {
  constexpr int parts = 12;
  Stroke stroke;
  for (int i = 0; i <= parts; ++i) {
    const double angle = (from + (to - from) * i / parts) * std::numbers::pi / 180;
    stroke.push_back(
        {centre.x + radius_x * std::cos(angle), centre.y + radius_y * std::sin(angle)});
  }
  return stroke;
}

Stroke joined(Stroke a, const Stroke& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// In a box of width and height 1; y points down.
std::vector<std::vector<Stroke>> all_strokes() {
  return {
      {arc({.5, .5}, .28, .42, 0, 360)},
      {{{.34, .26}, {.54, .08}, {.54, .92}}},
      {joined(arc({.5, .33}, .27, .25, 190, 385), {{.22, .92}, {.8, .92}})},
      {joined(arc({.46, .29}, .26, .21, 210, 450), arc({.46, .71}, .3, .22, 270, 510))},
      {{{.64, .92}, {.64, .08}, {.18, .62}, {.84, .62}}},
      {joined({{.76, .08}, {.3, .08}, {.26, .46}}, arc({.46, .67}, .3, .25, 240, 510))},
      {joined({{.68, .08}, {.4, .3}}, arc({.5, .68}, .27, .24, 200, 560))},
      {{{.2, .08}, {.8, .08}, {.42, .92}}},
      {arc({.5, .29}, .22, .21, 0, 360), arc({.5, .71}, .27, .22, 0, 360)},
      {joined(arc({.5, .32}, .26, .24, 20, 380), {{.74, .4}, {.58, .92}})},
  };
}

double squared_distance(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double length = dx * dx + dy * dy;
  const double along =
      length == 0 ? 0 : std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0);
  const double x = p.x - a.x - along * dx, y = p.y - a.y - along * dy;
  return x * x + y * y;
}

// From the unit box to pixels: every digit is another hand's.
struct Hand {
  double angle, slant, width, height, x, y, pen;

  explicit Hand(Random& random)
      : angle(random.uniform(-0.25, 0.25)),
        slant(random.uniform(-0.3, 0.3)),
        width(random.uniform(15, 22)),
        height(random.uniform(17, 23)),
        x(random.uniform(-2.5, 2.5)),
        y(random.uniform(-2.5, 2.5)),
        pen(random.uniform(0.7, 1.9)) {}

  Point place(Point p) const {
    const double u = (p.x - 0.5) * width - slant * (p.y - 0.5) * height, v = (p.y - 0.5) * height;
    return {size / 2.0 + x + u * std::cos(angle) - v * std::sin(angle),
            size / 2.0 + y + u * std::sin(angle) + v * std::cos(angle)};
  }
};

void draw(const std::vector<Stroke>& digit, Random& random, std::span<std::uint8_t> image) {
  const Hand hand(random);
  std::vector<Stroke> strokes = digit;
  for (Stroke& stroke : strokes) {
    for (Point& p : stroke) {
      p = hand.place({p.x + random.uniform(-0.035, 0.035), p.y + random.uniform(-0.035, 0.035)});
    }
  }
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) {
      const Point pixel{column + 0.5, row + 0.5};
      double nearest = size * size;
      for (const Stroke& stroke : strokes) {
        for (std::size_t i = 1; i < stroke.size(); ++i)
          nearest = std::min(nearest, squared_distance(pixel, stroke[i - 1], stroke[i]));
      }
      const double ink = std::clamp(hand.pen + 0.5 - std::sqrt(nearest), 0.0, 1.0);
      const double speckle = random.uniform(0, 1) < 0.03 ? random.uniform(0, 0.7) : 0;
      const double paper = random.uniform(0, 0.08);
      image[static_cast<std::size_t>(row * size + column)] =
          static_cast<std::uint8_t>(255 * std::min(1.0, std::max({ink, speckle, paper})));
    }
  }
}

}  // namespace

DrawnDigits draw_digits(std::int64_t count, std::uint64_t seed, std::uint64_t stream) {
  const std::vector<std::vector<Stroke>> strokes = all_strokes();
  Random random(seed, stream);
  const auto pixels = static_cast<std::size_t>(size * size);
  std::vector<std::uint8_t> images(static_cast<std::size_t>(count) * pixels), labels;
  for (std::int64_t i = 0; i < count; ++i) {
    labels.push_back(static_cast<std::uint8_t>(i % 10));
    draw(strokes[labels.back()], random,
         std::span(images).subspan(static_cast<std::size_t>(i) * pixels, pixels));
  }
  return {blockgrad::tensor(std::span<const std::uint8_t>(images), {count, size, size}),
          blockgrad::tensor(std::span<const std::uint8_t>(labels), {count})};
}

}  // namespace examples
