// The kernels of ham, for its table, and its ports by name.
#pragma once

#include "kernels/ham/ham.hpp"

namespace fovea {

/// The ports of ham.forward as pointers, in port order.
template <class T>
struct HamForward {
  const T *x, *spatial_weight, *spatial_bias, *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias;
  T *y, *s, *a, *z, *wgt;
  explicit HamForward(Ports p)
      : x(p[0].as<T>()),
        spatial_weight(p[1].as<T>()),
        spatial_bias(p[2].as<T>()),
        fc1_weight(p[3].as<T>()),
        fc1_bias(p[4].as<T>()),
        fc2_weight(p[5].as<T>()),
        fc2_bias(p[6].as<T>()),
        y(p[7].as<T>()),
        s(p[8].as<T>()),
        a(p[9].as<T>()),
        z(p[10].as<T>()),
        wgt(p[11].as<T>()) {}
};

/// The ports of ham.backward as pointers, in port order.
template <class T>
struct HamBackward {
  const T *x, *dy, *spatial_weight, *fc1_weight, *fc2_weight, *s, *a, *z, *wgt;
  T *dx, *dspatial_weight, *dspatial_bias, *dfc1_weight, *dfc1_bias, *dfc2_weight, *dfc2_bias;
  explicit HamBackward(Ports p)
      : x(p[0].as<T>()),
        dy(p[1].as<T>()),
        spatial_weight(p[2].as<T>()),
        fc1_weight(p[3].as<T>()),
        fc2_weight(p[4].as<T>()),
        s(p[5].as<T>()),
        a(p[6].as<T>()),
        z(p[7].as<T>()),
        wgt(p[8].as<T>()),
        dx(p[9].as<T>()),
        dspatial_weight(p[10].as<T>()),
        dspatial_bias(p[11].as<T>()),
        dfc1_weight(p[12].as<T>()),
        dfc1_bias(p[13].as<T>()),
        dfc2_weight(p[14].as<T>()),
        dfc2_bias(p[15].as<T>()) {}
};

void ham_forward_reference(const HamProblem&, Ports, Stream);
void ham_backward_reference(const HamProblem&, Ports, Stream);

void ham_forward_fused(const HamProblem&, Ports, Stream);
void ham_backward_fused(const HamProblem&, Ports, Stream);

void ham_forward_composed(const HamProblem&, Ports, Stream);
void ham_backward_composed(const HamProblem&, Ports, Stream);

}  // namespace fovea
