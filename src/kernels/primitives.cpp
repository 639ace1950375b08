// The list. A new op adds its primitives here; nothing registers itself.
#include "kernels/primitives.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "kernels/augment/augment.hpp"
#include "kernels/cast/cast.hpp"
#include "kernels/concat/concat.hpp"
#include "kernels/conv2d/conv2d.hpp"
#include "kernels/ham/ham.hpp"
#include "kernels/head/head.hpp"
#include "kernels/layer_norm/layer_norm.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/loss/loss.hpp"
#include "kernels/mlrm/mlrm.hpp"
#include "kernels/norm/norm.hpp"
#include "kernels/optim/optim.hpp"
#include "kernels/pointwise/pointwise.hpp"
#include "kernels/pool/pool.hpp"
#include "kernels/rows/rows.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

constexpr const Primitive* const list[] = {
    &conv2d_forward,
    &conv2d_backward_data,
    &conv2d_backward_weights,
    &batch_norm_forward_training,
    &batch_norm_forward_inference,
    &batch_norm_backward,
    &batch_norm_backward_inference,
    &layer_norm_forward,
    &layer_norm_backward,
    &max_pool_forward,
    &max_pool_backward,
    &avg_pool_forward,
    &avg_pool_backward,
    &adaptive_avg_pool_forward,
    &adaptive_avg_pool_backward,
    &global_avg_pool_forward,
    &global_avg_pool_backward,
    &ham_forward,
    &ham_backward,
    &mlrm_forward_training,
    &mlrm_forward_inference,
    &mlrm_backward,
    &mlrm_backward_inference,
    &head_forward,
    &head_backward,
    &linear_forward,
    &linear_backward_data,
    &linear_backward_weights,
    &relu_forward,
    &relu_backward,
    &sigmoid_forward,
    &sigmoid_backward,
    &gelu_forward,
    &gelu_backward,
    &scale_residual_forward,
    &scale_residual_backward,
    &add_forward,
    &add_backward,
    &multiply_forward,
    &multiply_backward,
    &dropout_forward,
    &dropout_backward,
    &cast_forward,
    &concat_forward,
    &concat_backward,
    &rows_gather,
    &rows_gather_backward,
    &rows_scatter,
    &rows_scatter_backward,
    &softmax_cross_entropy_forward,
    &softmax_cross_entropy_backward,
    &softmax_forward,
    &softmax_backward,
    &adam,
    &sgd,
    &sum_of_squares,
    &clip_scale,
    &augment_forward,
};

}  // namespace

std::span<const Primitive* const> all_primitives() { return list; }

const Primitive& find_primitive(std::string_view name) {
  std::vector<std::string> names;
  for (const Primitive* p : list) {
    if (name == p->name) return *p;
    names.emplace_back(p->name);
  }
  fail_usage(fmt::format("there is no primitive '{}'{}", name, nearest_hint(name, names)));
}

}  // namespace fovea
