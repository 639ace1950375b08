// See device_info.hpp. The numbers of cudaError_t that decide stand here, so that builds without CUDA can test
// them; device_cuda.cpp holds them to the toolkit's.
#include "kernels/runtime/device_info.hpp"

#include <fmt/format.h>

#include "kernels/runtime/cuda_status.hpp"
#include "kernels/runtime/device.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string why_unusable(const DriverAnswer& a) {
  if (!a.built_with_cuda) return "this build has no CUDA backend (the 'cuda' preset has)";
  if (a.status == cuda_status::insufficient_driver && a.driver_version == 0) {
    return fmt::format("this machine has no NVIDIA driver, and CUDA {} needs one",
                       cuda_version_text(a.runtime_version));
  }
  if (a.status == cuda_status::insufficient_driver) {
    return fmt::format("the NVIDIA driver runs CUDA up to {}, and this build needs {}: update the driver",
                       cuda_version_text(a.driver_version), cuda_version_text(a.runtime_version));
  }
  if (a.status == cuda_status::no_device || (a.status == cuda_status::success && a.devices == 0)) {
    return "this machine has no CUDA device";
  }
  if (a.status != cuda_status::success) {
    return fmt::format("the CUDA device cannot be used: {} (status {})", a.status_text, a.status);
  }
  if (a.major != 8 && a.major != 9) {  // machine code, not PTX: what a cluster is differs between the two
    return fmt::format("{} has compute capability {}.{}, and fovea's kernels are compiled for 8.x and 9.0",
                       a.name, a.major, a.minor);
  }
  return "";
}

bool cuda_available(std::string* why_not) {
  static const std::string reason = why_unusable(device_api::ask_driver());
  if (why_not != nullptr) *why_not = reason;
  return reason.empty();
}

const DeviceInfo& device_info() {
  std::string why_not;
  if (!cuda_available(&why_not)) fail(why_not + "; use --device cpu");
  static const DeviceInfo info = device_api::info();
  return info;
}

std::string device_note() { return device_api::is_emulated() ? "emulated on the host executor" : ""; }

std::string to_string(const DeviceInfo& i) {
  constexpr double gib = 1 << 30, kib = 1 << 10, mib = 1 << 20;
  return fmt::format(
      "{} (compute capability {}.{}, {} multiprocessors at {} MHz, {:.0f} GiB at {} MHz on {} bits, L2 "
      "{:.0f} "
      "MiB, shared memory {:.0f} KiB a block, driver for CUDA {}, built with CUDA {})",
      i.name, i.major, i.minor, i.multiprocessors, i.clock_khz / 1000,
      static_cast<double>(i.memory_bytes) / gib, i.memory_clock_khz / 1000, i.memory_bus_bits,
      static_cast<double>(i.l2_bytes) / mib, static_cast<double>(i.shared_bytes_per_block) / kib,
      cuda_version_text(i.driver_version), cuda_version_text(i.runtime_version));
}

}  // namespace fovea
