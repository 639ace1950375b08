// Functions that write into channels of an image (Into in functions.hpp): where the result goes, and the node.
#pragma once

#include <utility>

#include "autograd/engine.hpp"
#include "autograd/functions.hpp"
#include "kernels/concat/concat.hpp"
#include "kernels/runtime/channel_slice.hpp"

namespace fovea {

/// Of the Problem.
inline ChannelSlice slice_of(const Into& into) {
  if (!into.image) return {};
  if (into.image.shape().rank() != 4)
    fail("an image to write into must be N,H,W,C, not " + to_string(into.image.shape()));
  return {into.begin, into.image.shape()[3]};
}

/// The tensor that the function writes to, and returns: a new one, or the image's next.
inline Tensor result_of(const Into& into, const Shape& own, Dtype dtype, Device device) {
  if (!into.image) return Tensor::empty(own, dtype, device);
  if (into.image.requires_grad() && into.image.meta()->node == nullptr)
    fail("a leaf that requires a gradient is not written into; begin with Tensor::zeros");
  ++into.image.storage()->version;
  ++into.image.storage()->filled;
  return alias(into.image, into.image.shape());
}

/// The slice's channels of an image of the same bytes or gradient, by themselves.
inline Tensor cut(const Tensor& image, const ChannelSlice& slice, std::int64_t channels) {
  if (slice.is_whole()) return image;
  const Tensor part = Tensor::empty(with_channels(image.shape(), channels), image.dtype(), image.device());
  const std::int64_t rows = part.numel() / channels, after = slice.total - slice.begin - channels;
  ConcatProblem p{.dtype = image.dtype(), .rows = rows, .parts = 0};
  std::vector<View> ports{with_shape(image.view(), {rows, slice.total})};
  const auto add = [&](std::int64_t width, const View& view) {
    if (width == 0) return;
    p.channels[static_cast<std::size_t>(p.parts++)] = width;
    ports.push_back(view);
  };
  add(slice.begin, {});
  add(channels, with_shape(part.view(), {rows, channels}));
  add(after, {});
  dispatch(concat_backward, p, Ports(ports));
  return part;
}

/// record() of a function that wrote to result_of(into, ...): the image is its last input, after those that `backward`
/// knows, which gets the gradient as it came, of the whole image. The image's gradient passes through as it is, in the same
/// bytes: of the channels written here and after, which it holds too, the earlier tensor's readers know nothing.
template <class F>
Tensor record_into(const char* name, const Into& into, Tensor y, std::vector<Tensor> inputs,
                   std::vector<Saved> saved, F&& backward) {
  if (!into.image) return record(name, std::move(y), inputs, std::move(saved), std::forward<F>(backward));
  inputs.push_back(into.image);
  return record(name, std::move(y), inputs, std::move(saved),
                [backward = std::forward<F>(backward)](const Node& node, Tensor dy) -> Gradients {
                  Gradients g = backward(node, dy);
                  g.push_back(node.needs(g.size()) ? std::move(dy) : Tensor{});
                  return g;
                });
}

}  // namespace fovea
