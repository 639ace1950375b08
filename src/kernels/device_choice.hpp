// Which device a run takes, from what the user typed, what this machine has and which kernels there are.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// Whether a command runs whole models, which needs a kernel for every op, or only looks at single kernels.
enum class DeviceUse : std::uint8_t { whole_model, single_kernels };

/// "auto" | "cpu" | "cuda". auto is the CUDA device where it can be used and every primitive has a kernel there,
/// else the CPU. Throws Error with one sentence where "cuda" cannot be had.
Device resolve_device(std::string_view name, DeviceUse use = DeviceUse::whole_model);

/// The decision itself: `why_not_cuda` is empty where the device can be used.
Device decide_device(std::string_view name, DeviceUse use, const std::string& why_not_cuda,
                     std::span<const Primitive* const> primitives);

}  // namespace fovea
