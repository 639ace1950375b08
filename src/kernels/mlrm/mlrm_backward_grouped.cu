// mlrm backward: with g = dy where bn_b(z_b) > 0,
//
//   normalise   dgamma_b, dbeta_b and dz_b of all branches: normalise.hpp's gradients, with dy for each
//   weights     dw_b of all branches: one product, and where its sum is cut into parts one sum of them
//   data        dx = dy + sum_b the data gradient of dz_b: one product over all branches, dx written once
//
// Idea: the grouped products of convolution.hpp; the mask is computed again from z_b, so nothing but z_b is kept from
// the forward. With running statistics z_b is convolved again first, and takes its gradient's place.
//
// Traffic: with B branches, z_b and dy twice each for dz_b, dz_b written once and read by both products, x and dy read
// and dx written once: 7 B + 3 images, of which those of dy for the later branches come from the second-level cache.
// Launch: see the parts.
#include <algorithm>

#include "kernels/mlrm/mlrm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// Where a backward's ports lie; `per_branch` as in kernels.hpp.
struct BackwardPorts {
  const MlrmProblem& p;
  Ports ports;
  std::size_t per_branch;

  Ports in(std::int64_t b) const { return mlrm_backward_in(ports, per_branch, b); }
  Ports out(std::int64_t b) const { return mlrm_backward_out(p, ports, per_branch, b); }
  PerBranch<const void> filters() const {
    return branch_ports<const void>(p, 0, [&](std::int64_t b) { return in(b); });
  }
  PerBranch<void> filter_gradients() const {
    return branch_ports<void>(p, 0, [&](std::int64_t b) { return out(b); });
  }
};

/// dgamma, dbeta and dz from z. In training the statistics are ports 4 and 5 of a branch, behind z, else 3 and 4.
template <class T>
void through_norms(const BackwardPorts& t, const PerBranch<const void>& z, const PerBranch<void>& dz,
                   bool constant, Stream stream) {
  using A = Accumulator<T>;
  NormGradients<T> all{.at = {},
                       .x_pitch = t.p.c,
                       .dy_pitch = t.p.c,
                       .relu = true,
                       .constant = constant,
                       .accumulate = false,
                       .aligned = aligned_16(t.ports)};
  for (std::int64_t b = 0; b < t.p.branches; ++b) {
    const Ports in = t.in(b), out = t.out(b);
    const std::size_t statistics = constant ? 3 : 4;
    const auto at = static_cast<std::size_t>(b);
    all.at[at] = {static_cast<const T*>(z[at]),
                  t.ports[1].as<T>(),
                  static_cast<T*>(dz[at]),
                  {in[1].as<A>(), in[2].as<A>(), in[statistics].as<A>(), in[statistics + 1].as<A>(),
                   constant ? A(t.p.eps) : A(-1)},
                  out[1].as<A>(),
                  out[2].as<A>()};
  }
  normalise_backward("mlrm.backward grouped, normalise", all, t.p.branches, t.p.rows(), t.p.c, stream);
}

/// dw of all branches and dx, as far as they are wanted.
void through_convolutions(const BackwardPorts& t, const PerBranch<void>& dz, Stream stream) {
  const Convolution convolution = mlrm_convolution(t.p);
  const PerBranch<const void> from{dz[0], dz[1], dz[2], dz[3]};
  const PerBranch<void> dw = t.filter_gradients();
  if (std::any_of(dw.begin(), dw.end(), [](const void* wanted) { return wanted != nullptr; }))
    convolve_backward_weights(convolution, t.ports[0].data, from, dw, stream);
  const View& dx = mlrm_backward_dx(t.p, t.ports, t.per_branch);
  if (dx) convolve_backward_data(convolution, from, t.filters(), t.ports[1].data, dx.data, stream);
}

template <class T>
PerBranch<void> images_of(const MlrmProblem& p, const Scratch<T>& all) {
  PerBranch<void> images{};
  for (std::int64_t b = 0; b < p.branches; ++b)
    images[static_cast<std::size_t>(b)] = all.data() + b * p.x_shape().numel();
  return images;
}

}  // namespace

void mlrm_backward_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  const BackwardPorts t{p, ports, 6};
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch<T> all(p.branches * p.x_shape().numel(), stream, "dz of the branches");
    const PerBranch<void> dz = images_of(p, all);
    through_norms<T>(t, branch_ports<const void>(p, 3, [&](std::int64_t b) { return t.in(b); }), dz, false,
                     stream);
    through_convolutions(t, dz, stream);
  });
}

void mlrm_backward_inference_grouped(const MlrmProblem& p, Ports ports, Stream stream) {
  const BackwardPorts t{p, ports, 5};
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Scratch<T> all(p.branches * p.x_shape().numel(), stream, "z, then dz, of the branches");
    const PerBranch<void> images = images_of(p, all);
    convolve(mlrm_convolution(p), ports[0].data, t.filters(), images, {}, stream);
    through_norms<T>(t, {images[0], images[1], images[2], images[3]}, images, true, stream);
    through_convolutions(t, images, stream);
  });
}

}  // namespace fovea::SIMT_WORLD
