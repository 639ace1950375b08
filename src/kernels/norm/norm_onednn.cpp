// batch_norm by oneDNN, fp32. Rows are its batch dimension over pixels of one, N,H,W,C in memory. The ReLU is
// fused forward; backward it would need oneDNN's own mask from the forward, which this project recomputes
// from x instead, so that case is left to the other kernels. oneDNN speaks of variances, this project of
// inverse deviations: the C values are converted on the way.
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/cpu/onednn.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea {
namespace {

using dnnl::memory;
using dnnl::normalization_flags;
using namespace onednn;

struct Key {
  std::int64_t rows, channels, relu, global_statistics;
  std::uint64_t eps;
};

Key key_of(const BatchNormProblem& p, bool global_statistics) {
  return {p.rows, p.channels, p.relu, global_statistics, std::bit_cast<std::uint64_t>(p.eps)};
}

memory::desc data_desc(const BatchNormProblem& p) { return nhwc(1, p.channels, p.rows, 1); }
memory::desc channel_desc(const BatchNormProblem& p) {
  return {{p.channels}, memory::data_type::f32, memory::format_tag::x};
}

dnnl::batch_normalization_forward::primitive_desc forward_pd(const BatchNormProblem& p,
                                                             bool global_statistics, bool relu) {
  auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
  if (global_statistics) flags |= normalization_flags::use_global_stats;
  if (relu) flags |= normalization_flags::fuse_norm_relu;
  // Only forward_training hands the statistics out.
  const auto kind =
      global_statistics ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
  return {{kind, data_desc(p), static_cast<float>(p.eps), flags}, user_scratchpad(), engine()};
}

struct Forward {
  dnnl::batch_normalization_forward primitive;
  memory::desc scratchpad, relu_mask;
};

void run_forward(const BatchNormProblem& p, bool global_statistics, Ports ports, void* y, float* mean,
                 float* variance) {
  static PrimitiveCache<Key, Forward> cache;
  auto& entry = cache.get(key_of(p, global_statistics), [&]() -> Forward {
    const auto pd = forward_pd(p, global_statistics, p.relu != 0);
    return {dnnl::batch_normalization_forward(pd), pd.scratchpad_desc(), pd.workspace_desc()};
  });
  Workspace workspace = Workspace::take(Workspace::rounded(entry.scratchpad.get_size()) +
                                        Workspace::rounded(entry.relu_mask.get_size()));
  const memory::desc data = data_desc(p), channels = channel_desc(p);
  entry.primitive.execute(
      stream(), {{DNNL_ARG_SRC, bind(data, ports[0].data)},
                 {DNNL_ARG_SCALE, bind(channels, ports[1].data)},
                 {DNNL_ARG_SHIFT, bind(channels, ports[2].data)},
                 {DNNL_ARG_DST, bind(data, y)},
                 {DNNL_ARG_MEAN, bind(channels, mean)},
                 {DNNL_ARG_VARIANCE, bind(channels, variance)},
                 {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))},
                 {DNNL_ARG_WORKSPACE, bind(entry.relu_mask, workspace.next(entry.relu_mask.get_size()))}});
}

struct Backward {
  dnnl::batch_normalization_backward primitive;
  memory::desc scratchpad;
};

void run_backward(const BatchNormProblem& p, bool global_statistics, Ports ports, float* variance) {
  static PrimitiveCache<Key, Backward> cache;
  const memory::desc data = data_desc(p), channels = channel_desc(p);
  auto& entry = cache.get(key_of(p, global_statistics), [&]() -> Backward {
    auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
    if (global_statistics) flags |= normalization_flags::use_global_stats;
    const dnnl::batch_normalization_backward::primitive_desc pd(
        {dnnl::prop_kind::backward, data, data, static_cast<float>(p.eps), flags}, user_scratchpad(),
        engine(), forward_pd(p, global_statistics, false));
    return {dnnl::batch_normalization_backward(pd), pd.scratchpad_desc()};
  });
  Workspace workspace = Workspace::take(Workspace::rounded(entry.scratchpad.get_size()));
  entry.primitive.execute(
      stream(), {{DNNL_ARG_SRC, bind(data, ports[0].data)},
                 {DNNL_ARG_DIFF_DST, bind(data, ports[1].data)},
                 {DNNL_ARG_SCALE, bind(channels, ports[2].data)},
                 {DNNL_ARG_SHIFT, bind(channels, ports[3].data)},
                 {DNNL_ARG_MEAN, bind(channels, ports[4].data)},
                 {DNNL_ARG_VARIANCE, bind(channels, variance)},
                 {DNNL_ARG_DIFF_SRC, bind(data, ports[6].data)},
                 {DNNL_ARG_DIFF_SCALE, bind(channels, ports[7].data)},
                 {DNNL_ARG_DIFF_SHIFT, bind(channels, ports[8].data)},
                 {DNNL_ARG_SCRATCHPAD, bind(entry.scratchpad, workspace.next(entry.scratchpad.get_size()))}});
}

}  // namespace

bool batch_norm_forward_onednn_supports(const BatchNormProblem& p) {
  return p.dtype == Dtype::f32 && !p.has_slices();
}
bool batch_norm_backward_onednn_supports(const BatchNormProblem& p) {
  return p.dtype == Dtype::f32 && !p.relu && !p.has_slices() && p.accumulate == 0;
}

void batch_norm_forward_training_onednn(const BatchNormProblem& p, Ports ports, Stream) {
  float *running_mean = ports[3].as<float>(), *running_var = ports[4].as<float>();
  float *mean = ports[6].as<float>(), *invstd = ports[7].as<float>();  // holds the variance first
  run_forward(p, false, ports, ports[5].data, mean, invstd);
  const double unbiased = static_cast<double>(p.rows) / static_cast<double>(p.rows - 1);
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const double variance = invstd[c];
    running_mean[c] = static_cast<float>((1 - p.momentum) * running_mean[c] + p.momentum * mean[c]);
    running_var[c] = static_cast<float>((1 - p.momentum) * running_var[c] + p.momentum * variance * unbiased);
    invstd[c] = static_cast<float>(1 / std::sqrt(variance + p.eps));
  }
}

void batch_norm_forward_inference_onednn(const BatchNormProblem& p, Ports ports, Stream) {
  run_forward(p, true, ports, ports[5].data, ports[3].as<float>(), ports[4].as<float>());
}

void batch_norm_backward_onednn(const BatchNormProblem& p, Ports ports, Stream) {
  const float* invstd = ports[5].as<float>();
  std::vector<float> variance(static_cast<std::size_t>(p.channels));
  for (std::int64_t c = 0; c < p.channels; ++c) {
    variance[static_cast<std::size_t>(c)] =
        static_cast<float>(1 / (double(invstd[c]) * double(invstd[c])) - p.eps);
  }
  run_backward(p, false, ports, variance.data());
}

void batch_norm_backward_inference_onednn(const BatchNormProblem& p, Ports ports, Stream) {
  run_backward(p, true, ports, ports[5].as<float>());
}

}  // namespace fovea
