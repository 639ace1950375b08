// See tensor_io.hpp.
#include "tensor_io.hpp"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "kernels/runtime/error.hpp"

namespace fovea {

SafetensorsEntry entry_of(std::string name, const Tensor& tensor) {
  constexpr std::array names{"F32", "F64", "U8", "I64", "BF16"};  // in Dtype's order
  const Tensor on_host = tensor.to(Device::cpu);
  const View view = on_host.view();
  std::vector<std::int64_t> dims;
  for (int i = 0; i < view.shape.rank(); ++i) dims.push_back(view.shape[i]);
  return {.name = std::move(name),
          .dtype = names[static_cast<std::size_t>(view.dtype)],
          .shape = std::move(dims),
          .data = {static_cast<const std::byte*>(view.data), static_cast<std::size_t>(view.bytes())},
          .owner = std::make_shared<Tensor>(on_host)};
}

Tensor tensor_of(const SafetensorsEntry& entry, Dtype floating) {
  if (entry.shape.size() > static_cast<std::size_t>(Shape::max_rank)) {
    fail(fmt::format("'{}' has {} dimensions; at most {} are possible", entry.name, entry.shape.size(),
                     Shape::max_rank));
  }
  Shape shape;
  for (const std::int64_t d : entry.shape) shape.push_back(d);
  const bool is_float = entry.dtype.starts_with("F") || entry.dtype.starts_with("BF");
  if (!is_float) {
    const std::vector<std::int64_t> values = to_integers(entry);
    return Tensor::from<std::int64_t>(std::span<const std::int64_t>(values), shape, Dtype::i64);
  }
  if (floating == Dtype::f64) {
    const std::vector<double> values = to_doubles(entry);
    return Tensor::from<double>(std::span<const double>(values), shape, floating);
  }
  const std::vector<float> values = to_floats(entry);
  return Tensor::from<float>(std::span<const float>(values), shape, floating);
}

}  // namespace fovea
