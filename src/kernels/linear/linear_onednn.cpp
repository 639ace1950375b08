// linear by oneDNN's inner product, fp32. The weights stay in the plain layout: with the small batches of
// this project the layer is bound by reading them once, and a reorder to a blocked layout would read and
// write them once more.
#include "kernels/cpu/onednn.hpp"
#include "kernels/linear/kernels.hpp"

namespace fovea {
namespace {

using dnnl::memory;
using namespace onednn;

struct Key {
  LinearProblem problem;
  std::int64_t bias;
};

struct Shapes {
  memory::desc x, w, b, y;
};

Shapes shapes_of(const LinearProblem& p) {
  return {strided({p.n, p.in}, {p.in, 1}), strided({p.out, p.in}, {p.in, 1}), strided({p.out}, {1}),
          strided({p.n, p.out}, {p.out, 1})};
}

dnnl::inner_product_forward::primitive_desc forward_pd(const Shapes& s, bool bias, bool relu) {
  dnnl::primitive_attr attr = user_scratchpad();
  if (relu) {
    dnnl::post_ops ops;
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
    attr.set_post_ops(ops);
  }
  const dnnl::inner_product_forward::desc desc(dnnl::prop_kind::forward_training, s.x, s.w,
                                               bias ? s.b : memory::desc(), s.y);
  return {desc, attr, engine()};
}

template <class Primitive>
struct Entry {
  Primitive primitive;
  memory::desc scratchpad;
};

template <class Primitive>
void execute(Entry<Primitive>& entry, std::unordered_map<int, memory> args) {
  const std::size_t bytes = entry.scratchpad.get_size();
  Workspace workspace = Workspace::take(Workspace::rounded(bytes));
  args.emplace(DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(bytes)));
  entry.primitive.execute(stream(), args);
}

}  // namespace

void linear_forward_onednn(const LinearProblem& p, Ports ports, Stream) {
  using dnnl::inner_product_forward;
  static PrimitiveCache<Key, Entry<inner_product_forward>> cache;
  const bool bias = bool(ports[2]);
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, bias}, [&]() -> Entry<inner_product_forward> {
    const auto pd = forward_pd(s, bias, p.relu != 0);
    return {inner_product_forward(pd), pd.scratchpad_desc()};
  });
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, bind(s.x, ports[0].data)},
                                       {DNNL_ARG_WEIGHTS, bind(s.w, ports[1].data)},
                                       {DNNL_ARG_DST, bind(s.y, ports[3].data)}};
  if (bias) args.emplace(DNNL_ARG_BIAS, bind(s.b, ports[2].data));
  execute(entry, std::move(args));
}

void linear_backward_data_onednn(const LinearProblem& p, Ports ports, Stream) {
  using dnnl::inner_product_backward_data;
  static PrimitiveCache<Key, Entry<inner_product_backward_data>> cache;
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, 0}, [&]() -> Entry<inner_product_backward_data> {
    const inner_product_backward_data::desc desc(s.x, s.w, s.y);
    const inner_product_backward_data::primitive_desc pd(desc, user_scratchpad(), engine(),
                                                         forward_pd(s, false, false));
    return {inner_product_backward_data(pd), pd.scratchpad_desc()};
  });
  execute(entry, {{DNNL_ARG_DIFF_DST, bind(s.y, ports[0].data)},
                  {DNNL_ARG_WEIGHTS, bind(s.w, ports[1].data)},
                  {DNNL_ARG_DIFF_SRC, bind(s.x, ports[2].data)}});
}

void linear_backward_weights_onednn(const LinearProblem& p, Ports ports, Stream) {
  using dnnl::inner_product_backward_weights;
  static PrimitiveCache<Key, Entry<inner_product_backward_weights>> cache;
  const bool bias = bool(ports[3]);
  const Shapes s = shapes_of(p);
  auto& entry = cache.get({p, bias}, [&]() -> Entry<inner_product_backward_weights> {
    const inner_product_backward_weights::desc desc(s.x, s.w, bias ? s.b : memory::desc(), s.y);
    const inner_product_backward_weights::primitive_desc pd(desc, user_scratchpad(), engine(),
                                                            forward_pd(s, bias, false));
    return {inner_product_backward_weights(pd), pd.scratchpad_desc()};
  });
  std::unordered_map<int, memory> args{{DNNL_ARG_SRC, bind(s.x, ports[0].data)},
                                       {DNNL_ARG_DIFF_DST, bind(s.y, ports[1].data)},
                                       {DNNL_ARG_DIFF_WEIGHTS, bind(s.w, ports[2].data)}};
  if (bias) args.emplace(DNNL_ARG_DIFF_BIAS, bind(s.b, ports[3].data));
  execute(entry, std::move(args));
}

}  // namespace fovea
