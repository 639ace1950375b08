// The device's memory and presence, as the runtime needs them: defined by device_cuda.cpp where the build has
// CUDA, by device_none.cpp where it has not.
#pragma once

#include <cstdint>
#include <string>

namespace fovea {

/// From the driver's stream-ordered pool; null where it has no more.
void* allocate_device(std::int64_t bytes);
void free_device(void* data);

/// Empty where a CUDA device can be used, else one sentence.
std::string why_no_device();

}  // namespace fovea
