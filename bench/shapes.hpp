// The shapes at which docs/performance.md sets its floors and bars, and those of HM-VGG's other layers.
#pragma once

#include <algorithm>
#include <vector>

#include "cases/case.hpp"
#include "kernels/conv2d/conv2d.hpp"
#include "kernels/ham/ham.hpp"
#include "kernels/head/head.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/mlrm/mlrm.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/pool/pool.hpp"

namespace fovea::bench {

/// A case as the tests have them, so that one harness serves both.
struct BenchShape {
  cases::PrimitiveCase problem;
  /// The share of the nominal operations whose tap lies inside the image: what skipping the padding may save.
  double exact_share = 1;
};

/// Pixels of one axis that a tap sees, over all taps, of taps * outputs.
inline double live_share(std::int64_t size, std::int64_t outputs, std::int64_t taps, std::int64_t stride,
                         std::int64_t dilation, std::int64_t pad) {
  std::int64_t live = 0;
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t t = 0; t < taps; ++t) {
      const std::int64_t at = o * stride - pad + t * dilation;
      live += at >= 0 && at < size;
    }
  }
  return static_cast<double>(live) / static_cast<double>(outputs * taps);
}
inline double exact_share(const Conv2dProblem& p) {
  return live_share(p.h, p.out_h(), p.r, p.stride_h, p.dilation_h, p.pad_h) *
         live_share(p.w, p.out_w(), p.s, p.stride_w, p.dilation_w, p.pad_w);
}
inline double exact_share(const MlrmProblem& p) {
  double sum = 0;
  for (std::size_t b = 0; b < static_cast<std::size_t>(p.branches); ++b)
    sum += live_share(p.h, p.h, 3, 1, p.dilations[b], p.dilations[b]) *
           live_share(p.w, p.w, 3, 1, p.dilations[b], p.dilations[b]);
  return sum / static_cast<double>(p.branches);
}

inline void add_ham(std::vector<BenchShape>& all, const char* label, const HamProblem& p) {
  all.push_back({cases::make_case(ham_forward, label, p)});
  all.push_back({cases::make_case(ham_backward, label, p)});
}

inline void add_mlrm(std::vector<BenchShape>& all, const char* label, const MlrmProblem& p) {
  const double share = exact_share(p);
  all.push_back({cases::make_case(mlrm_forward_training, label, p), share});
  all.push_back({cases::make_case(mlrm_forward_inference, label, p), share});
  all.push_back({cases::make_case(mlrm_backward, label, p), share});
}

inline void add_head(std::vector<BenchShape>& all, const char* label, const HeadProblem& p) {
  all.push_back({cases::make_case(head_forward, label, p)});
  all.push_back({cases::make_case(head_backward, label, p)});
}

inline void add_conv(std::vector<BenchShape>& all, const char* label, const Conv2dProblem& p) {
  const double share = exact_share(p);
  all.push_back({cases::make_case(conv2d_forward, label, p), share});
  all.push_back({cases::make_case(conv2d_backward_data, label, p), share});
  all.push_back({cases::make_case(conv2d_backward_weights, label, p), share});
}

inline Conv2dProblem conv3x3(std::int64_t n, std::int64_t side, std::int64_t c, std::int64_t k,
                             std::int64_t stride = 1) {
  return {.relu = stride == 1,
          .n = n,
          .h = side,
          .w = side,
          .c = c,
          .k = k,
          .r = 3,
          .s = 3,
          .stride_h = stride,
          .stride_w = stride,
          .pad_h = 1,
          .pad_w = 1};
}

inline MlrmProblem mlrm_of(std::int64_t n, std::int64_t side, std::int64_t c) {
  return {.branches = 3, .n = n, .h = side, .w = side, .c = c, .dilations = {1, 2, 4}};
}

inline void add_normalisation(std::vector<BenchShape>& all, const char* label, std::int64_t rows,
                              std::int64_t channels) {
  const BatchNormProblem p{.relu = 1, .rows = rows, .channels = channels};
  all.push_back({cases::make_case(batch_norm_forward_training, label, p)});
  all.push_back({cases::make_case(batch_norm_backward, label, p)});
}

inline void add_linear(std::vector<BenchShape>& all, const char* label, std::int64_t n, std::int64_t in,
                       std::int64_t out) {
  const LinearProblem p{.relu = 1, .n = n, .in = in, .out = out};
  all.push_back({cases::make_case(linear_forward, label, p)});
  all.push_back({cases::make_case(linear_backward_data, label, p)});
  all.push_back({cases::make_case(linear_backward_weights, label, p)});
}

inline void add_pool(std::vector<BenchShape>& all, const char* label, std::int64_t n, std::int64_t side,
                     std::int64_t c) {
  const PoolProblem p{.n = n, .h = side, .w = side, .c = c};
  all.push_back({cases::make_case(max_pool_forward, label, p)});
  all.push_back({cases::make_case(max_pool_backward, label, p)});
}

/// "small" for a machine without a device.
inline std::vector<BenchShape> shapes(bool small) {
  std::vector<BenchShape> all;
  if (small) {
    add_ham(all, "N2 64@14", {.n = 2, .h = 14, .w = 14, .c = 64, .hidden = 4});
    add_ham(all, "N1 256@14", {.n = 1, .h = 14, .w = 14, .c = 256, .hidden = 16});
    add_mlrm(all, "N2 64@7", mlrm_of(2, 7, 64));
    add_head(all, "N2 64@7",
             {.n = 2, .c = 64, .m_h = 7, .m_w = 7, .r_h = 7, .r_w = 7, .hidden = 16, .classes = 3});
    add_conv(all, "N1 32-64@14", conv3x3(1, 14, 32, 64));
    add_normalisation(all, "N2 64@14", 392, 64);
    add_linear(all, "N4 64-32", 4, 64, 32);
    add_pool(all, "N2 64@14", 2, 14, 64);
    return all;
  }
  add_ham(all, "N32 256@56", {.n = 32, .h = 56, .w = 56, .c = 256, .hidden = 16});
  add_ham(all, "N32 512@28", {.n = 32, .h = 28, .w = 28, .c = 512, .hidden = 32});
  add_ham(all, "N32 512@14", {.n = 32, .h = 14, .w = 14, .c = 512, .hidden = 32});
  add_mlrm(all, "N32 512@14", mlrm_of(32, 14, 512));
  add_mlrm(all, "N8 512@14", mlrm_of(8, 14, 512));
  add_head(all, "N32 512@14",
           {.n = 32, .c = 512, .m_h = 14, .m_w = 14, .r_h = 14, .r_w = 14, .hidden = 64, .classes = 3});
  add_conv(all, "N8 3-64@224", conv3x3(8, 224, 3, 64));
  add_conv(all, "N8 64-128@112", conv3x3(8, 112, 64, 128));
  add_conv(all, "N8 256-256@56", conv3x3(8, 56, 256, 256));
  add_conv(all, "N8 512-512@28", conv3x3(8, 28, 512, 512));
  add_conv(all, "N8 512-512@28 /2", conv3x3(8, 28, 512, 512, 2));
  add_normalisation(all, "N32 512@14", 32 * 14 * 14, 512);
  add_linear(all, "N32 512-64", 32, 512, 64);
  add_linear(all, "N32 25088-4096", 32, 25088, 4096);
  add_pool(all, "N8 64@224", 8, 224, 64);
  return all;
}

}  // namespace fovea::bench
