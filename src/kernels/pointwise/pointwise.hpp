// pointwise: ReLU, sigmoid, GELU, addition and multiplication with broadcast, dropout; element by element.
//
//   relu     y = max(x, 0), NaN passes;   dx = dy where y > 0, else 0      (torch.relu)
//   sigmoid  y = 1 / (1 + exp(-x));       dx = dy y (1 - y)
//   gelu     y = x Phi(x);                dx = dy (Phi(x) + x phi(x))      (torch.nn.functional.gelu, exact;
//            Phi and phi are the normal distribution: Phi(x) = (1 + erf(x / sqrt 2)) / 2, phi = Phi')
//   add      y = a + b;                   da, db = dy summed over the broadcast dimensions
//   multiply y = a b;                     da = sum(dy b), db = sum(dy a), likewise
//   dropout  y = x / (1-p) where kept, else 0, kept with probability 1-p;  dx = dy / (1-p) where kept, else 0
//
// Broadcast is numpy's: dimensions are matched from the last; where they differ, one of the two is 1 or
// absent.
//
// Dropout's element i is decided by nothing but (seed, offset, i): word i mod 4 of Philox4x32-10 (Salmon et
// al., SC'11) with key {seed low, seed high} and counter {i/4 low, i/4 high, offset low, offset high}; the
// element is kept where word >= p 2^32. Neither threads nor vector width nor device change it.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>

#include "kernels/pointwise/scale_residual.hpp"  // of this room, too: dropout of whole samples
#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// One element after another: the shape does not matter, so views of any shape with `count` elements fit
/// (dispatch() below flattens them).
struct PointwiseProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  void check() const;
  bool operator==(const PointwiseProblem&) const = default;
};

/// Ports: x, y. y may be x.
extern const PrimitiveOf<PointwiseProblem> relu_forward;
/// Ports: y (of the forward), dy, dx. dx may be dy.
extern const PrimitiveOf<PointwiseProblem> relu_backward;
/// Ports: x, y. y may be x.
extern const PrimitiveOf<PointwiseProblem> sigmoid_forward;
/// Ports: y (of the forward), dy, dx. dx may be dy.
extern const PrimitiveOf<PointwiseProblem> sigmoid_backward;
/// Ports: x, y. y may be x.
extern const PrimitiveOf<PointwiseProblem> gelu_forward;
/// Ports: x (of the forward), dy, dx. dx may be dy.
extern const PrimitiveOf<PointwiseProblem> gelu_backward;

/// y = a (op) b. Shapes that do not broadcast are an Error.
struct BroadcastProblem {
  Dtype dtype = Dtype::f32;
  Shape a, b;
  Shape y_shape() const;  // of shapes that passed check()
  void check() const;
  bool operator==(const BroadcastProblem&) const = default;
};
using AddProblem = BroadcastProblem;
using MultiplyProblem = BroadcastProblem;

/// Ports: a, b, y. y may be a where a has y's shape, or b where b has.
extern const PrimitiveOf<BroadcastProblem> add_forward;
/// Ports: dy, da (optional), db (optional).
extern const PrimitiveOf<BroadcastProblem> add_backward;
/// Ports: a, b, y. y may be a where a has y's shape, or b where b has.
extern const PrimitiveOf<BroadcastProblem> multiply_forward;
/// Ports: a, b, dy, da (optional), db (optional).
extern const PrimitiveOf<BroadcastProblem> multiply_backward;

struct DropoutProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  double p = 0.5;  // of dropping, in [0, 1]
  Shape mask_shape() const { return {(count + 7) / 8}; }
  void check() const;
};

/// Ports: x, key (i64: seed, offset), y, mask (u8, mask_shape(): bit i%8 of byte i/8 is 1 where element i is kept;
/// the unused bits of the last byte are 0). y may be x.
extern const PrimitiveOf<DropoutProblem> dropout_forward;
/// Ports: mask, dy, dx. dx may be dy.
extern const PrimitiveOf<DropoutProblem> dropout_backward;

namespace detail {
template <class P>
void dispatch_flat(const PrimitiveOf<P>& primitive, const P& problem, std::initializer_list<View> ports,
                   Stream stream) {
  std::array<View, 4> flat;
  std::size_t size = 0;
  for (const View& view : ports) {
    flat[size] = view;
    if (view) flat[size].shape = {view.numel()};
    ++size;
  }
  dispatch(static_cast<const Primitive&>(primitive), &problem, Ports(flat.data(), size), stream);
}
}  // namespace detail

/// As the general dispatch(), for views of any shape.
inline void dispatch(const PrimitiveOf<PointwiseProblem>& primitive, const PointwiseProblem& problem,
                     std::initializer_list<View> ports, Stream stream = {}) {
  detail::dispatch_flat(primitive, problem, ports, stream);
}
inline void dispatch(const PrimitiveOf<DropoutProblem>& primitive, const DropoutProblem& problem,
                     std::initializer_list<View> ports, Stream stream = {}) {
  detail::dispatch_flat(primitive, problem, ports, stream);
}

}  // namespace fovea
