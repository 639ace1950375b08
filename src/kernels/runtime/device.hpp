// Device: where bytes live. Backend: who computes. A backend implies a device, never the reverse.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fovea {

enum class Device : std::uint8_t { cpu, cuda };

enum class Backend : std::uint8_t {
  reference,  // plain loops, float and double: the definition of every op
  cpu,        // own vectorised OpenMP loops, or an op composed of sibling primitives
  onednn,     // oneDNN, fp32
  simt,       // the hand-written CUDA kernels on the host executor
  cudnn,      // cuDNN and cuBLAS
  cuda,       // the hand-written CUDA kernels on a device
};

std::string_view name_of(Device device);
std::string_view name_of(Backend backend);

/// Throws UsageError for a name that is not one of the enumerators, listing them.
Device parse_device(std::string_view name);
Backend parse_backend(std::string_view name);

Device device_of(Backend backend);

/// Whether a CUDA device can be used by this build on this machine; `why_not` gets one sentence if not.
bool cuda_available(std::string* why_not = nullptr);

/// The queue a kernel runs on, as kernels get it: see stream.hpp for who owns it. On the CPU kernels run at once
/// and `handle` is null; on a device a null handle is the default stream.
struct Stream {
  Device device = Device::cpu;
  void* handle = nullptr;
};

}  // namespace fovea
