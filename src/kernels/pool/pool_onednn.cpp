// Average pooling by oneDNN, fp32, over N,H,W,C memory. The average over a whole image is a window of its
// size. There is no maximum here: oneDNN's passes over NaN.
#include "kernels/cpu/onednn.hpp"
#include "kernels/pool/kernels.hpp"

namespace fovea {
namespace {

using dnnl::memory;
using namespace onednn;

struct Shapes {
  memory::desc x, y;
  dnnl::algorithm algorithm;
  memory::dims strides, kernel, padding;
};

Shapes shapes_of(const PoolProblem& p) {
  return {nhwc(p.n, p.c, p.h, p.w),
          nhwc(p.n, p.c, p.out_h(), p.out_w()),
          p.count_include_pad ? dnnl::algorithm::pooling_avg_include_padding
                              : dnnl::algorithm::pooling_avg_exclude_padding,
          {p.stride_h, p.stride_w},
          {p.kernel_h, p.kernel_w},
          {p.pad_h, p.pad_w}};
}

dnnl::pooling_forward::primitive_desc forward_pd(const Shapes& s) {
  return {
      {dnnl::prop_kind::forward_inference, s.algorithm, s.x, s.y, s.strides, s.kernel, s.padding, s.padding},
      user_scratchpad(),
      engine()};
}

template <class Primitive>
struct Entry {
  Primitive primitive;
  memory::desc scratchpad;
};

}  // namespace

// Its windows do not reach past the padding, and its images are whole.
bool avg_pool_forward_onednn_supports(const PoolProblem& p) {
  return avg_pool_backward_onednn_supports(p) && p.y_slice.is_whole();
}
bool avg_pool_backward_onednn_supports(const PoolProblem& p) {
  return p.dtype == Dtype::f32 && p.ceil_mode == 0;
}

void avg_pool_forward_onednn(const PoolProblem& p, Ports ports, Stream) {
  static PrimitiveCache<PoolProblem, Entry<dnnl::pooling_forward>> cache;
  const Shapes s = shapes_of(p);
  auto& entry = cache.get(p, [&]() -> Entry<dnnl::pooling_forward> {
    const auto pd = forward_pd(s);
    return {dnnl::pooling_forward(pd), pd.scratchpad_desc()};
  });
  Workspace workspace = Workspace::take(Workspace::rounded(entry.scratchpad.get_size()));
  entry.primitive.execute(
      stream(), {{DNNL_ARG_SRC, bind(s.x, ports[0].data)},
                 {DNNL_ARG_DST, bind(s.y, ports[1].data)},
                 {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}});
}

void avg_pool_backward_onednn(const PoolProblem& p, Ports ports, Stream) {
  static PrimitiveCache<PoolProblem, Entry<dnnl::pooling_backward>> cache;
  const Shapes s = shapes_of(p);
  auto& entry = cache.get(p, [&]() -> Entry<dnnl::pooling_backward> {
    const dnnl::pooling_backward::primitive_desc pd(
        {s.algorithm, s.x, s.y, s.strides, s.kernel, s.padding, s.padding}, user_scratchpad(), engine(),
        forward_pd(s));
    return {dnnl::pooling_backward(pd), pd.scratchpad_desc()};
  });
  Workspace workspace = Workspace::take(Workspace::rounded(entry.scratchpad.get_size()));
  entry.primitive.execute(
      stream(), {{DNNL_ARG_DIFF_DST, bind(s.y, ports[0].data)},
                 {DNNL_ARG_DIFF_SRC, bind(s.x, ports[1].data)},
                 {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}});
}

void global_avg_pool_forward_onednn(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  avg_pool_forward_onednn(whole_image(p), ports, stream);
}

void global_avg_pool_backward_onednn(const GlobalPoolProblem& p, Ports ports, Stream stream) {
  avg_pool_backward_onednn(whole_image(p), ports, stream);
}

}  // namespace fovea
