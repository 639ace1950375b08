// head: the classifier of one stream of HM-VGG (arXiv 2410.24046, Fig. 1):
//
//   p = gap(r)      f = gap(m) + shortcut p      hid = relu( fc1 f )      logits = fc2 hid
//
// with gap the mean over the pixels of an image, and shortcut (a 1x1 convolution of a pooled tensor), fc1 and
// fc2 fully connected with bias. m and r are N,H,W,C with H, W of their own. Forward also returns p, f and
// hid, which backward reads; neither m nor r is needed there, and their gradients are constant over an image. Of a
// bf16 problem m, r, dm and dr are bf16, all else is f32.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct HeadProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t n = 1, c = 1;
  std::int64_t m_h = 1, m_w = 1;
  std::int64_t r_h = 1, r_w = 1;
  std::int64_t hidden = 1, classes = 1;

  Shape m_shape() const { return {n, m_h, m_w, c}; }
  Shape r_shape() const { return {n, r_h, r_w, c}; }
  void check() const;
};

/// Ports: m, r, shortcut_weight (C,C), shortcut_bias, fc1_weight (hidden,C), fc1_bias, fc2_weight
/// (classes,hidden), fc2_bias, logits, pooled (N,C), f (N,C), hid (N,hidden; after the ReLU).
extern const PrimitiveOf<HeadProblem> head_forward;
/// Ports: dlogits, shortcut_weight, fc1_weight, fc2_weight, pooled, f, hid,
/// dm (optional), dr (optional), dshortcut_weight, dshortcut_bias, dfc1_weight, dfc1_bias, dfc2_weight,
/// dfc2_bias.
extern const PrimitiveOf<HeadProblem> head_backward;

}  // namespace fovea
