// conv2d as an implicit matrix product, forward, by data and by weights: the products are those of
// kernels/cuda/convolution*.cu, with one branch; the bias gradient is a sum over the pixels of dy of its own.
//
// Traffic: Cost's bytes where x, dy and the filters fit the second-level cache; the bias gradient reads dy once more.
#include "kernels/conv2d/kernels.hpp"
#include "kernels/cuda/columns.hpp"
#include "kernels/cuda/convolution.hpp"

namespace fovea::SIMT_WORLD {
namespace {

Convolution convolution_of(const Conv2dProblem& p) {
  return {.dtype = p.dtype,
          .n = p.n,
          .h = p.h,
          .w = p.w,
          .c = p.c,
          .out_h = p.out_h(),
          .out_w = p.out_w(),
          .k = p.k,
          .r = p.r,
          .s = p.s,
          .stride_h = p.stride_h,
          .stride_w = p.stride_w,
          .groups = p.groups,
          .y_pitch = p.y_slice.total,
          .branch = {{{p.dilation_h, p.dilation_w, p.pad_h, p.pad_w}}}};
}

}  // namespace

bool supports_conv2d_implicit_gemm(const Conv2dProblem& p) { return supports_convolution(convolution_of(p)); }

void conv2d_forward_implicit_gemm(const Conv2dProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    convolve(convolution_of(p), ports[0].data, {ports[1].data},
             {p.y_slice.first_of<decltype(zero)>(ports[3])}, {.bias = ports[2].data, .relu = p.relu != 0},
             stream);
  });
}

void conv2d_backward_data_implicit_gemm(const Conv2dProblem& p, Ports ports, Stream stream) {
  convolve_backward_data(convolution_of(p), {ports[0].data}, {ports[1].data}, nullptr, ports[2].data, stream);
}

void conv2d_backward_weights_implicit_gemm(const Conv2dProblem& p, Ports ports, Stream stream) {
  convolve_backward_weights(convolution_of(p), ports[0].data, {ports[1].data}, {ports[2].data}, stream);
  if (!ports[3]) return;
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    column_sums("conv2d bias gradient", ports[1].as<T>(), 1, p.n * p.out_h() * p.out_w(), p.k, 1,
                ports[3].as<Accumulator<T>>(), stream);
  });
}

}  // namespace fovea::SIMT_WORLD
