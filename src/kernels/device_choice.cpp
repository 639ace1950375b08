// See device_choice.hpp. It stands here, above the ops, because the runtime does not see the list of primitives.
#include "kernels/device_choice.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/primitives.hpp"

namespace fovea {
namespace {

bool has_kernel_on(const Primitive& primitive, Device device) {
  return std::any_of(primitive.kernels.begin(), primitive.kernels.end(),
                     [&](const Kernel& k) { return device_of(k.backend) == device; });
}

}  // namespace

Device decide_device(std::string_view name, DeviceUse use, const std::string& why_not_cuda,
                     std::span<const Primitive* const> primitives) {
  const bool automatic = name == "auto";
  if (!automatic && parse_device(name) == Device::cpu) return Device::cpu;
  if (automatic && !why_not_cuda.empty()) return Device::cpu;
  if (!why_not_cuda.empty()) fail(fmt::format("{}; use --device cpu", why_not_cuda));
  const auto missing = std::find_if(primitives.begin(), primitives.end(),
                                    [](const Primitive* p) { return !has_kernel_on(*p, Device::cuda); });
  if (missing == primitives.end()) return Device::cuda;
  if (automatic) return Device::cpu;
  if (use == DeviceUse::single_kernels) return Device::cuda;
  fail(fmt::format("{} has no kernel on cuda in this build, so no whole model runs there; use --device cpu",
                   (*missing)->name));
}

Device resolve_device(std::string_view name, DeviceUse use) {
  std::string why_not;
  cuda_available(&why_not);
  return decide_device(name, use, why_not, all_primitives());
}

}  // namespace fovea
