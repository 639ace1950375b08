// What mlrm's CUDA kernels share: its convolutions, and its branches as kernels take them. Included by kernel files only.
#pragma once

#include "kernels/cuda/convolution.hpp"
#include "kernels/cuda/normalise.hpp"
#include "kernels/mlrm/kernels.hpp"

namespace fovea::SIMT_WORLD {

inline Convolution mlrm_convolution(const MlrmProblem& p) {
  Convolution all{.dtype = p.dtype,
                  .n = p.n,
                  .h = p.h,
                  .w = p.w,
                  .c = p.c,
                  .out_h = p.h,
                  .out_w = p.w,
                  .k = p.c,
                  .r = 3,
                  .s = 3,
                  .branches = p.branches};
  for (std::size_t b = 0; b < static_cast<std::size_t>(p.branches); ++b) {
    const std::int64_t d = p.dilations[b];
    all.branch[b] = {d, d, d, d};
  }
  return all;
}

/// A pointer for each branch to port `port` of the branch's `ports_of(branch)`.
template <class T, class PortsOf>
PerBranch<T> branch_ports(const MlrmProblem& p, std::size_t port, PortsOf&& ports_of) {
  PerBranch<T> all{};
  for (std::int64_t b = 0; b < p.branches; ++b)
    all[static_cast<std::size_t>(b)] = static_cast<T*>(ports_of(b)[port].data);
  return all;
}

/// The branches as a forward kernel takes them: what is normalised (z), or makes it (the filters), and how.
template <class T>
struct MlrmBranches {
  struct Branch {
    const T* source;
    ChannelInputs<Accumulator<T>> norm;
  };
  Branch at[MlrmProblem::max_branches];
  int count;
};

}  // namespace fovea::SIMT_WORLD
