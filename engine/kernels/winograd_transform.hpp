#pragma once

// The transforms of Winograd's minimal filtering F(m, 3), one dimension at a time, after Lavin and Gray
// (2015): y = Aᵀ[(G g) ⊙ (Bᵀ d)]. Included only by *.isa.cpp files.

#include "simd/vec.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

template <int kOutputs>
struct WinogradTransform;

/// F(2, 3) at the points 0, 1, −1 and infinity.
template <>
struct WinogradTransform<2> {
  static constexpr int kWindow = 4;
  static constexpr double kFilter[kWindow][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

  static EMBER_INLINE void input(const Vec (&d)[kWindow], Vec (&v)[kWindow]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  static EMBER_INLINE void output(const Vec (&m)[kWindow], Vec (&y)[2]) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }
};

/// F(4, 3) at the points 0, ±5/8, ±3/2 and infinity: less than half the error of the usual ±1 and ±2, for
/// as many operations, and every coefficient of the input and output transforms is exact.
template <>
struct WinogradTransform<4> {
  static constexpr int kWindow = 6;
  static constexpr double kP = 0.625;
  static constexpr double kQ = 1.5;
  static constexpr double kPp = kP * kP;
  static constexpr double kQq = kQ * kQ;
  /// Denominators: the product of a point's distances to the other finite ones.
  static constexpr double kAt0 = kPp * kQq;
  static constexpr double kAtP = 2 * kPp * (kPp - kQq);
  static constexpr double kAtQ = 2 * kQq * (kQq - kPp);
  static constexpr double kFilter[kWindow][3] = {{1 / kAt0, 0, 0},
                                                 {1 / kAtP, kP / kAtP, kPp / kAtP},
                                                 {1 / kAtP, -kP / kAtP, kPp / kAtP},
                                                 {1 / kAtQ, kQ / kAtQ, kQq / kAtQ},
                                                 {1 / kAtQ, -kQ / kAtQ, kQq / kAtQ},
                                                 {0, 0, 1}};

  static EMBER_INLINE Vec constant(double x) { return broadcast(static_cast<float>(x)); }

  static EMBER_INLINE void input(const Vec (&d)[kWindow], Vec (&v)[kWindow]) {
    const Vec pp = constant(kPp);
    const Vec qq = constant(kQq);
    const Vec even_p = fnmadd(qq, d[2], d[4]);
    const Vec odd_p = fnmadd(qq, d[1], d[3]);
    const Vec even_q = fnmadd(pp, d[2], d[4]);
    const Vec odd_q = fnmadd(pp, d[1], d[3]);
    v[0] = fmadd(constant(kAt0), d[0], fnmadd(constant(kPp + kQq), d[2], d[4]));
    v[1] = fmadd(constant(kP), odd_p, even_p);
    v[2] = fnmadd(constant(kP), odd_p, even_p);
    v[3] = fmadd(constant(kQ), odd_q, even_q);
    v[4] = fnmadd(constant(kQ), odd_q, even_q);
    v[5] = fmadd(constant(kAt0), d[1], fnmadd(constant(kPp + kQq), d[3], d[5]));
  }
  static EMBER_INLINE void output(const Vec (&m)[kWindow], Vec (&y)[4]) {
    const Vec even_p = m[1] + m[2];
    const Vec odd_p = m[1] - m[2];
    const Vec even_q = m[3] + m[4];
    const Vec odd_q = m[3] - m[4];
    y[0] = m[0] + (even_p + even_q);
    y[1] = fmadd(constant(kQ), odd_q, constant(kP) * odd_p);
    y[2] = fmadd(constant(kQq), even_q, constant(kPp) * even_p);
    y[3] = fmadd(constant(kQ * kQq), odd_q, fmadd(constant(kP * kPp), odd_p, m[5]));
  }
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
