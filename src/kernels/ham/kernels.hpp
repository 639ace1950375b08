// The kernels of ham, for its table, and its ports by name.
#pragma once

#include "kernels/ham/ham.hpp"

namespace fovea {

/// The ports of ham.forward as pointers, in port order. Images hold T, all else A.
template <class T, class A = T>
struct HamForward {
  const T* x;
  const A *spatial_weight, *spatial_bias, *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias;
  T* y;
  A *s, *a, *z, *wgt;
  explicit HamForward(Ports p)
      : x(p[0].as<T>()),
        spatial_weight(p[1].as<A>()),
        spatial_bias(p[2].as<A>()),
        fc1_weight(p[3].as<A>()),
        fc1_bias(p[4].as<A>()),
        fc2_weight(p[5].as<A>()),
        fc2_bias(p[6].as<A>()),
        y(p[7].as<T>()),
        s(p[8].as<A>()),
        a(p[9].as<A>()),
        z(p[10].as<A>()),
        wgt(p[11].as<A>()) {}
};

/// The ports of ham.backward as pointers, in port order. Images hold T, all else A.
template <class T, class A = T>
struct HamBackward {
  const T *x, *dy;
  const A *spatial_weight, *fc1_weight, *fc2_weight, *s, *a, *z, *wgt;
  T* dx;
  A *dspatial_weight, *dspatial_bias, *dfc1_weight, *dfc1_bias, *dfc2_weight, *dfc2_bias;
  explicit HamBackward(Ports p)
      : x(p[0].as<T>()),
        dy(p[1].as<T>()),
        spatial_weight(p[2].as<A>()),
        fc1_weight(p[3].as<A>()),
        fc2_weight(p[4].as<A>()),
        s(p[5].as<A>()),
        a(p[6].as<A>()),
        z(p[7].as<A>()),
        wgt(p[8].as<A>()),
        dx(p[9].as<T>()),
        dspatial_weight(p[10].as<A>()),
        dspatial_bias(p[11].as<A>()),
        dfc1_weight(p[12].as<A>()),
        dfc1_bias(p[13].as<A>()),
        dfc2_weight(p[14].as<A>()),
        dfc2_bias(p[15].as<A>()) {}
};

void ham_forward_reference(const HamProblem&, Ports, Stream);
void ham_backward_reference(const HamProblem&, Ports, Stream);

void ham_forward_fused(const HamProblem&, Ports, Stream);
void ham_backward_fused(const HamProblem&, Ports, Stream);

void ham_forward_composed(const HamProblem&, Ports, Stream);
void ham_backward_composed(const HamProblem&, Ports, Stream);

bool ham_forward_cudnn_supports(const HamProblem&);
void ham_forward_composed_cudnn(const HamProblem&, Ports, Stream);
bool ham_backward_cudnn_supports(const HamProblem&);
void ham_backward_composed_cudnn(const HamProblem&, Ports, Stream);
void ham_forward_composed_graph(const HamProblem&, Ports, Stream);
void ham_backward_composed_graph(const HamProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                              //
    void ham_forward_cluster(const HamProblem&, Ports, Stream);    //
    void ham_backward_cluster(const HamProblem&, Ports, Stream);   //
    bool supports_ham_forward_cluster(const HamProblem&);          //
    bool supports_ham_backward_cluster(const HamProblem&);         //
    void ham_forward_two_pass(const HamProblem&, Ports, Stream);   //
    void ham_backward_two_pass(const HamProblem&, Ports, Stream);  //
    bool supports_ham_two_pass(const HamProblem&);)

}  // namespace fovea
