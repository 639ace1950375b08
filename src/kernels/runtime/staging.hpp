// Small copies from the host to a device, for which nobody waits. For the runtime alone.
#pragma once

#include <cstdint>

namespace fovea::staging {

/// The most bytes that one copy may have.
inline constexpr std::int64_t most = 32 << 10;

/// Takes the bytes at once, so `from` may change; they arrive in the order of the stream.
void upload(void* to, const void* from, std::int64_t bytes, void* stream);

}  // namespace fovea::staging
