// Tensors to and from safetensors entries.
#pragma once

#include <string>

#include "autograd/tensor.hpp"
#include "nn/safetensors.hpp"

namespace fovea {

/// The bytes as they are; the entry keeps them alive.
SafetensorsEntry entry_of(std::string name, const Tensor& tensor);

/// Of the entry's shape (Error above five dimensions): floating entries converted to `floating`, integers to
/// i64.
Tensor tensor_of(const SafetensorsEntry& entry, Dtype floating);

}  // namespace fovea
