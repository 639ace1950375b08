// augment: the check, the ports, the cost and the kernel table. See augment.hpp.
#include "kernels/augment/augment.hpp"

#include <fmt/format.h>

#include "kernels/augment/kernels.hpp"

namespace fovea {

void AugmentProblem::check() const {
  if (images < 1 || n < 1 || h < 1 || w < 1 || c < 1) {
    fail(fmt::format("augment: {} samples of {} images of {}x{}x{} must all be at least 1", n, images, h, w,
                     c));
  }
  if (h * w * c > 0x7fffffff) fail(fmt::format("augment: an image of {}x{}x{} is too large", h, w, c));
}

namespace {

using P = AugmentProblem;

PortList forward_ports(const P& p) {
  return {{"images", Role::input, {p.images, p.h, p.w, p.c}, Dtype::u8},
          {"index", Role::input, {p.n}, Dtype::i64},
          {"params", Role::input, {p.n, P::parameters}, Dtype::f64},
          {"normalise", Role::input, {p.c, 2}, Dtype::f64},
          {"x", Role::output, p.x_shape(), p.dtype}};
}

// Of the resident images a batch reads n at most; per element three interpolations, the curve and its bounds.
Cost forward_cost(const P& p) {
  const auto elements = static_cast<double>(p.x_shape().numel());
  return {12 * elements, elements * static_cast<double>(1 + size_of(p.dtype))};
}

constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("resample", augment_forward_resample, supports_augment_forward_resample),
    kernel<&augment_forward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("resample", augment_forward_resample, supports_augment_forward_resample),
};

}  // namespace

constexpr PrimitiveOf<P> augment_forward =
    primitive<P, &forward_ports, &forward_cost>("augment.forward", forward_kernels);

}  // namespace fovea
