// See channel_slice.hpp.
#include "kernels/runtime/channel_slice.hpp"

#include <fmt/format.h>

#include "kernels/runtime/error.hpp"

namespace fovea {

void check_slice(const char* op, const ChannelSlice& slice, std::int64_t channels) {
  if (slice.holds(channels)) return;
  fail(fmt::format("{}: {} channels from {} on do not lie in an image of {} channels", op, channels,
                   slice.begin, slice.total));
}

}  // namespace fovea
