// HostBytes: a view's bytes where the host can read them; on a device this waits for what makes them.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

class HostBytes {
 public:
  explicit HostBytes(const View& view) : view_(view) {
    if (view.device == Device::cpu) return;
    bytes_.resize(static_cast<std::size_t>(view.bytes()));
    view_ = {bytes_.data(), view.shape, view.dtype, Device::cpu};
    copy(view_, view);
  }
  HostBytes(const HostBytes&) = delete;
  HostBytes& operator=(const HostBytes&) = delete;
  const View& view() const { return view_; }

 private:
  View view_;
  std::vector<std::byte> bytes_;  // of what lies on a device
};

}  // namespace fovea
