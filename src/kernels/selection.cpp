// Selection::force: resolves the names a user typed against the one list of primitives. It stands here, above
// the ops, and the rest of Selection in the runtime, below them.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/primitives.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

bool has_kernel(const Primitive& primitive, std::string_view name) {
  return std::any_of(primitive.kernels.begin(), primitive.kernels.end(),
                     [&](const Kernel& k) { return name == k.name; });
}

}  // namespace

void Selection::force(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == assignment.size()) {
    fail_usage(fmt::format("'{}' is not OP=NAME, as in ham.forward=reference", assignment));
  }
  const std::string_view op = assignment.substr(0, equals), kernel_name = assignment.substr(equals + 1);
  std::vector<std::string> known_ops, known_kernels;
  std::vector<const Primitive*> matched;
  for (const Primitive* primitive : all_primitives()) {
    known_ops.emplace_back(primitive->name);
    if (std::find(known_ops.begin(), known_ops.end(), primitive->op()) == known_ops.end()) {
      known_ops.emplace_back(primitive->op());
    }
    if (op != primitive->name && op != primitive->op()) continue;
    for (const Kernel& k : primitive->kernels) known_kernels.emplace_back(k.name);
    if (has_kernel(*primitive, kernel_name)) matched.push_back(primitive);
  }
  if (known_kernels.empty()) {
    fail_usage(fmt::format("there is no op '{}'{}", op, nearest_hint(op, known_ops)));
  }
  if (matched.empty()) {
    std::sort(known_kernels.begin(), known_kernels.end());
    known_kernels.erase(std::unique(known_kernels.begin(), known_kernels.end()), known_kernels.end());
    fail_usage(
        fmt::format("'{}' has no kernel '{}'; it has {}", op, kernel_name, fmt::join(known_kernels, ", ")));
  }
  for (const Primitive* primitive : matched) force(*primitive, kernel_name);
  assignments_.emplace_back(assignment);
}

}  // namespace fovea
