#pragma once
// pow in twofold arithmetic, and division with a remainder. Largest errors in ulp, f32 / f64: pow 1
// / 2.

#include "graph/scalar_math.h"

namespace blockgrad::math {

/// high + low, where low is less than an ulp of high (Dekker 1971).
struct Twofold {
  double high, low;
};

/// a + b exactly, for |a| >= |b| or a = 0.
BG_SCALAR Twofold ordered_sum(double a, double b) {
  const double s = a + b;
  return {s, b - (s - a)};
}
BG_SCALAR Twofold product(double a, double b) {
  const double p = a * b;
  return {p, fma(a, b, -p)};
}

/// log x for finite x > 0 with some 65 bits: n ln 2 + 2 atanh(s), s = f / (2 + f), where
/// 2 atanh(s) = 2 s + s z (2/3 + 2/5 z + 2/7 z^2 + ...), z = s^2 <= 1/25.
BG_SCALAR Twofold log_twofold(double x) {
  const bool subnormal = x < Format<double>::least_normal;
  const LogParts<double> p = log_parts(subnormal ? x * 0x1p52 : x);
  const double n = subnormal ? p.n - 52.0 : p.n, f = p.f;
  const Twofold d = ordered_sum(2.0, f);
  const double s = f / d.high;
  const double s_low = (fma(-s, d.high, f) - s * d.low) / d.high;
  const double z = s * s;
  const double z_low = fma(s, s, -z) + 2.0 * s * s_low;
  const double rest = z * polynomial(z, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15,
                                     2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23, 2.0 / 25, 2.0 / 27);
  Twofold a = ordered_sum(2.0 / 3, rest);
  a.low += 0x1.5555555555555p-55;  // 2/3 - double(2/3)
  Twofold t = product(z, a.high);
  t.low += z * a.low + z_low * a.high;
  Twofold u = product(s, t.high);
  u.low += s * t.low + s_low * t.high;
  const Twofold whole = product(n, 0x1.62e42fefa39efp-1);  // ln 2 in two parts
  const Twofold first = ordered_sum(whole.high, 2.0 * s);
  const Twofold second = ordered_sum(first.high, u.high);
  const double low = whole.low + n * 0x1.abc9e3b39803fp-56 + 2.0 * s_low + u.low;
  return ordered_sum(second.high, first.low + second.low + low);
}

/// x^b for finite x > 0.
BG_SCALAR double positive_pow(double x, double b) {
  const Twofold l = log_twofold(x);
  const Twofold p = product(b, l.high);
  const double y = exp(p.high);
  const double low = p.low + b * l.low;
  const bool regular = with_sign(p.high, 1.0) < 800.0;  // elsewhere y is 0 or infinite
  return regular && y < infinity<double>() ? fma(y, low, y) : y;
}
BG_SCALAR float positive_pow(float x, float b) {
  return static_cast<float>(exp(static_cast<double>(b) * log(static_cast<double>(x))));
}

/// IEEE 754 pow: 1 for b = 0 and for a = 1 whatever the other is; NaN for a < 0 and a fraction b.
template <class T>
BG_SCALAR T pow(T a, T b) {
  const T x = with_sign(a, T(1)), size = with_sign(b, T(1)), half = floor(b * T(0.5));
  const T infinite = infinity<T>(), beyond = T(typename Format<T>::Bits(1) << Format<T>::digits);
  const T below = floor(b);
  const bool whole = below == b;
  const bool odd = whole & (size <= beyond) & (half != b * T(0.5));
  const bool endless = size == infinite, edge = (x == T(0)) | (x == infinite) | endless;
  const bool regular = (x > T(0)) & (x < infinite);
  T y = positive_pow(regular ? x : T(1), b);
  const bool large = (x < T(1)) != (b > T(0));
  y = edge ? (large ? infinite : T(0)) : y;
  const bool unit = (x == T(1)) & endless;
  y = unit ? T(1) : y;
  y = odd ? with_sign(y, a) : y;
  const bool no_value = ((a < T(0)) & !whole & (a > -infinite)) | (a != a) | (b != b);
  y = no_value ? nan<T>() : y;
  y = b == T(2) ? a * a : y;
  const bool is_one = (b == T(0)) | (a == T(1));
  return is_one ? T(1) : y;
}

/// floor(a / b) and a - b floor(a / b), which has the sign of b; integers divided by 0 give 0.
template <class T>
struct Division {
  T quotient, remainder;
};

/// Each turn takes a whole multiple of b away, exactly: its quotient has as many bits as the format
/// and leaves at most b / 2 times its last place. Only the last step, to the sign of b, may round.
/// NaN where a / b overflows.
template <class T>
BG_SCALAR Division<T> floating_division(T a, T b) {
  const T size = with_sign(b, T(1));
  T q = T(0), r = a;
  for (int turn = 0; turn < 48 && (turn == 0 || with_sign(r, T(1)) >= size); ++turn) {
    const T part = round(r / b);
    r = fma(-part, b, r);
    q = q + part;
  }
  const bool opposite = (r != T(0)) & ((r < T(0)) != (b < T(0)));
  q = opposite ? q - T(1) : q;
  r = opposite ? r + b : r;
  const bool is_number = isfinite(a), by_infinity = (size == infinity<T>()) & is_number;
  const bool across = (a != T(0)) & ((a < T(0)) != (b < T(0)));
  q = by_infinity ? (across ? T(-1) : T(0)) : q;
  r = by_infinity ? (across ? b : a) : r;
  return {q, r == T(0) ? with_sign(T(0), b) : r};
}

template <class T>
BG_SCALAR Division<T> integer_division(T a, T b) {
  if constexpr (Same<T, unsigned char>::value) {
    const T safe = b == T(0) ? T(1) : b;
    const T q = static_cast<T>(a / safe), r = static_cast<T>(a % safe);
    return {b == T(0) ? T(0) : q, b == T(0) ? T(0) : r};
  } else {
    const bool special = (b == T(0)) | (b == T(-1));  // the least number by -1 overflows
    const T safe = special ? T(1) : b;
    const T q = a / safe, r = a % safe;
    const bool below = (r != T(0)) & ((r < T(0)) != (b < T(0)));
    const T quotient = special ? (b == T(0) ? T(0) : negative(a)) : below ? q - T(1) : q;
    return {quotient, special ? T(0) : below ? r + b : r};
  }
}

template <class T>
BG_SCALAR T floor_divide(T a, T b) {
  if constexpr (Kind<T>::is_floating) return floating_division(a, b).quotient;
  else return integer_division(a, b).quotient;
}
template <class T>
BG_SCALAR T remainder(T a, T b) {
  if constexpr (Kind<T>::is_floating) return floating_division(a, b).remainder;
  else return integer_division(a, b).remainder;
}

}  // namespace blockgrad::math
