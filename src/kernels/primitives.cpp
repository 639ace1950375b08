// The list. A new op adds its primitives here; nothing registers itself.
#include "kernels/primitives.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "kernels/conv2d/conv2d.hpp"
#include "kernels/runtime/names.hpp"
#include "kernels/runtime/registry.hpp"

namespace fovea {
namespace {

constexpr const Primitive* const list[] = {
    &conv2d_forward,
    &conv2d_backward_data,
    &conv2d_backward_weights,
};

}  // namespace

std::span<const Primitive* const> all_primitives() { return list; }
std::span<const Primitive* const> registered_primitives() { return list; }

const Primitive& find_primitive(std::string_view name) {
  std::vector<std::string> names;
  for (const Primitive* p : list) {
    if (name == p->name) return *p;
    names.emplace_back(p->name);
  }
  fail_usage(fmt::format("there is no primitive '{}'{}", name, nearest_hint(name, names)));
}

}  // namespace fovea
