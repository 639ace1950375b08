// ChannelSlice: the part of a larger image's channels that an op reads or writes in place.
//
// Tensors stay contiguous: the port has the whole image's shape, and the Problem says which of its channels are meant.
// An output port of a slice is an `update`, since the image's other channels stay as they are.
#pragma once

#include <cstdint>

#include "kernels/runtime/view.hpp"

namespace fovea {

struct ChannelSlice {
  std::int64_t begin = 0;  // the first channel
  std::int64_t total = 0;  // channels of the image; 0: the op's own are all of them

  bool is_whole() const { return total == 0; }
  /// Elements from pixel to pixel, where the op has `channels`.
  std::int64_t pitch(std::int64_t channels) const { return is_whole() ? channels : total; }
  /// Whether `channels` from `begin` on lie in the image.
  bool holds(std::int64_t channels) const {
    return is_whole() ? begin == 0 : begin >= 0 && begin + channels <= total;
  }
  /// Whether every row of the slice begins at a multiple of `elements` from the image's first.
  bool begins_at_multiples(std::int64_t channels, std::int64_t elements) const {
    return begin % elements == 0 && pitch(channels) % elements == 0;
  }
  /// The shape of the port whose own shape would be `own`.
  Shape shape_of(const Shape& own) const { return is_whole() ? own : with_channels(own, total); }
  /// The slice's first element.
  template <class T>
  T* first_of(const View& image) const {
    return image ? image.as<T>() + begin : nullptr;
  }
  bool operator==(const ChannelSlice&) const = default;
};

/// An Error that says which channels of how many, where they do not lie in the image.
void check_slice(const char* op, const ChannelSlice& slice, std::int64_t channels);

}  // namespace fovea
