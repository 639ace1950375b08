// conv2d by oneDNN, fp32: x, y and their gradients stay N,H,W,C (what its brgemm kernels read); filters are
// reordered to the blocked layout the primitive asks for. Bias and ReLU ride in the epilogue, the bias
// gradient in the weight gradient. Into a slice of an image the forward writes a dense result, which is then copied: to a
// strided destination oneDNN has reference code alone.
#include <algorithm>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/onednn.hpp"
#include "kernels/cpu/parallel.hpp"

namespace fovea {
namespace {

using dnnl::memory;
using namespace onednn;

struct Key {
  Conv2dProblem problem;
  std::int64_t bias;
};

struct Shapes {
  memory::dims strides, dilations, padding;
  memory::desc x, y, b, plain_w, any_w;
};

Shapes shapes_of(const Conv2dProblem& p) {
  return {{p.stride_h, p.stride_w},
          {p.dilation_h - 1, p.dilation_w - 1},  // oneDNN counts the gaps
          {p.pad_h, p.pad_w},
          nhwc(p.n, p.c, p.h, p.w),
          nhwc(p.n, p.k, p.out_h(), p.out_w()),
          {{p.k}, memory::data_type::f32, memory::format_tag::x},
          filters(p.k, p.c, p.r, p.s, p.groups),
          any(filter_dims(p.k, p.c, p.r, p.s, p.groups))};
}

dnnl::convolution_forward::primitive_desc forward_pd(const Conv2dProblem& p, const Shapes& s, bool bias) {
  using dnnl::convolution_forward;
  dnnl::primitive_attr attr = user_scratchpad();
  if (p.relu) {
    dnnl::post_ops ops;
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    attr.set_post_ops(ops);
  }
  const convolution_forward::desc desc(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct,
                                       s.x, s.any_w, bias ? s.b : memory::desc(), s.y, s.strides, s.dilations,
                                       s.padding, s.padding);
  return {desc, attr, engine()};
}

template <class Primitive>
struct Entry {
  Primitive primitive;
  Reordered w;
  memory::desc scratchpad;
  std::size_t workspace_bytes() const { return w.bytes() + Workspace::rounded(scratchpad.get_size()); }
};

}  // namespace

// oneDNN has no fp64 convolution.
bool conv2d_onednn_supports(const Conv2dProblem& p) { return p.dtype == Dtype::f32; }

namespace {

void copy_to_slice(const Conv2dProblem& p, const float* dense, const View& image) {
  float* y = p.y_slice.first_of<float>(image);
  const std::int64_t pitch = p.y_slice.pitch(p.k);
  parallel_blocks(p.n * p.out_h() * p.out_w(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) std::copy_n(dense + i * p.k, p.k, y + i * pitch);
  });
}

}  // namespace

void conv2d_forward_onednn(const Conv2dProblem& p, Ports ports, Stream) {
  static PrimitiveCache<Key, Entry<dnnl::convolution_forward>> cache;
  const bool bias = bool(ports[2]);
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, bias}, [&]() -> Entry<dnnl::convolution_forward> {
    const auto pd = forward_pd(p, s, bias);
    return {dnnl::convolution_forward(pd), reorder_to(s.plain_w, pd.weights_desc()), pd.scratchpad_desc()};
  });
  const std::size_t dense_bytes = p.y_slice.is_whole() ? 0 : s.y.get_size();
  Workspace workspace = Workspace::take(entry.workspace_bytes() + Workspace::rounded(dense_bytes));
  void* y = p.y_slice.is_whole() ? ports[3].data : workspace.next(dense_bytes);
  std::unordered_map<int, memory> args{
      {DNNL_ARG_SRC, bind(s.x, ports[0].data)},
      {DNNL_ARG_WEIGHTS, bring(entry.w, ports[1].data, workspace)},
      {DNNL_ARG_DST, bind(s.y, y)},
      {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}};
  if (bias) args.emplace(DNNL_ARG_BIAS, bind(s.b, ports[2].data));
  entry.primitive.execute(stream(), args);
  if (!p.y_slice.is_whole()) copy_to_slice(p, static_cast<const float*>(y), ports[3]);
}

void conv2d_backward_data_onednn(const Conv2dProblem& p, Ports ports, Stream) {
  static PrimitiveCache<Key, Entry<dnnl::convolution_backward_data>> cache;
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, 0}, [&]() -> Entry<dnnl::convolution_backward_data> {
    Conv2dProblem plain = p;
    plain.relu = 0;
    const dnnl::convolution_backward_data::desc desc(dnnl::algorithm::convolution_direct, s.x, s.any_w, s.y,
                                                     s.strides, s.dilations, s.padding, s.padding);
    const dnnl::convolution_backward_data::primitive_desc pd(desc, user_scratchpad(), engine(),
                                                             forward_pd(plain, s, false));
    return {dnnl::convolution_backward_data(pd), reorder_to(s.plain_w, pd.weights_desc()),
            pd.scratchpad_desc()};
  });
  Workspace workspace = Workspace::take(entry.workspace_bytes());
  entry.primitive.execute(
      stream(), {{DNNL_ARG_DIFF_DST, bind(s.y, ports[0].data)},
                 {DNNL_ARG_WEIGHTS, bring(entry.w, ports[1].data, workspace)},
                 {DNNL_ARG_DIFF_SRC, bind(s.x, ports[2].data)},
                 {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}});
}

namespace {

// For few input channels and for strides, oneDNN's weight gradient over N,H,W,C runs at a fraction of its
// rate over its own blocked layout (read on an EPYC with AVX-512, 2 threads: 3 -> 64 at 224 px 33 ms against 5, 256 -> 512
// stride 2 at 56 px 62 against 41), more than the reorders of x and dy cost.
bool prefers_blocked(const Conv2dProblem& p) { return p.c < 16 || p.stride_h > 1 || p.stride_w > 1; }

struct WeightsEntry {
  dnnl::convolution_backward_weights primitive;
  Reordered x, dy, w;
  memory::desc scratchpad;
  std::size_t workspace_bytes() const {
    return x.bytes() + dy.bytes() + w.bytes() + Workspace::rounded(scratchpad.get_size());
  }
};

WeightsEntry make_weights_entry(const Conv2dProblem& p, const Shapes& s, bool bias) {
  Conv2dProblem plain = p;
  plain.relu = 0;
  Shapes wanted = s;
  if (prefers_blocked(p)) {
    wanted.x = any(s.x.dims());
    wanted.y = any(s.y.dims());
  }
  const dnnl::convolution_backward_weights::desc desc(dnnl::algorithm::convolution_direct, wanted.x, s.any_w,
                                                      bias ? s.b : memory::desc(), wanted.y, s.strides,
                                                      s.dilations, s.padding, s.padding);
  const dnnl::convolution_backward_weights::primitive_desc pd(desc, user_scratchpad(), engine(),
                                                              forward_pd(plain, wanted, bias));
  return {dnnl::convolution_backward_weights(pd), reorder_to(s.x, pd.src_desc()),
          reorder_to(s.y, pd.diff_dst_desc()), reorder_from(pd.diff_weights_desc(), s.plain_w),
          pd.scratchpad_desc()};
}

}  // namespace

void conv2d_backward_weights_onednn(const Conv2dProblem& p, Ports ports, Stream) {
  static PrimitiveCache<Key, WeightsEntry> cache;
  const bool bias = bool(ports[3]);
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, bias}, [&] { return make_weights_entry(p, s, bias); });
  Workspace workspace = Workspace::take(entry.workspace_bytes());
  memory plain = bind(entry.w.plain, ports[2].data);
  memory dw = entry.w.needed ? bind(entry.w.wanted, workspace.next(entry.w.wanted.get_size())) : plain;
  std::unordered_map<int, memory> args{
      {DNNL_ARG_SRC, bring(entry.x, ports[0].data, workspace)},
      {DNNL_ARG_DIFF_DST, bring(entry.dy, ports[1].data, workspace)},
      {DNNL_ARG_DIFF_WEIGHTS, dw},
      {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}};
  if (bias) args.emplace(DNNL_ARG_DIFF_BIAS, bind(s.b, ports[3].data));
  entry.primitive.execute(stream(), args);
  if (entry.w.needed) entry.w.primitive.execute(stream(), dw, plain);
}

}  // namespace fovea
