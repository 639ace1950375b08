// Buffer: scratch memory of a kernel that is composed of other primitives, with its View.
#pragma once

#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

struct Buffer {
  Storage storage;
  View view;
  Buffer(const Shape& shape, Dtype dtype, Device device = Device::cpu)
      : storage(shape, dtype, device), view{storage.data(), shape, dtype, device} {}
};

}  // namespace fovea
