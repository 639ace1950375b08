// Selection::force and Shadows::pair: the names a user typed against the one list of primitives. They stand here, above
// the ops, and the rest of both in the runtime, below them.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "kernels/primitives.hpp"
#include "kernels/runtime/names.hpp"
#include "kernels/runtime/shadow.hpp"

namespace fovea {
namespace {

bool has_kernel(const Primitive& primitive, std::string_view name) {
  return std::any_of(primitive.kernels.begin(), primitive.kernels.end(),
                     [&](const Kernel& k) { return name == k.name; });
}

// The primitives of this name or op; UsageError where there are none.
std::vector<const Primitive*> primitives_of(std::string_view op) {
  std::vector<std::string> known;
  std::vector<const Primitive*> found;
  for (const Primitive* primitive : all_primitives()) {
    known.emplace_back(primitive->name);
    if (std::find(known.begin(), known.end(), primitive->op()) == known.end())
      known.emplace_back(primitive->op());
    if (op == primitive->name || op == primitive->op()) found.push_back(primitive);
  }
  if (found.empty()) fail_usage(fmt::format("there is no op '{}'{}", op, nearest_hint(op, known)));
  return found;
}

// Those of them that have a kernel of this name; UsageError where none has.
std::vector<const Primitive*> with_kernel(std::vector<const Primitive*> primitives, std::string_view op,
                                          std::string_view kernel_name) {
  std::set<std::string_view> known;
  for (const Primitive* primitive : primitives) {
    for (const Kernel& k : primitive->kernels) known.insert(k.name);
  }
  std::erase_if(primitives, [&](const Primitive* p) { return !has_kernel(*p, kernel_name); });
  if (primitives.empty()) {
    fail_usage(fmt::format("'{}' has no kernel '{}'; it has {}", op, kernel_name, fmt::join(known, ", ")));
  }
  return primitives;
}

}  // namespace

void Selection::force(std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == assignment.size()) {
    fail_usage(fmt::format("'{}' is not OP=NAME, as in ham.forward=reference", assignment));
  }
  const std::string_view op = assignment.substr(0, equals), kernel_name = assignment.substr(equals + 1);
  for (const Primitive* primitive : with_kernel(primitives_of(op), op, kernel_name)) {
    force(*primitive, kernel_name);
  }
  assignments_.emplace_back(assignment);
}

void Shadows::pair(std::string_view assignment) {
  const std::size_t equals = assignment.find('='), comma = assignment.find(',');
  if (equals == std::string_view::npos || comma == std::string_view::npos || equals == 0 ||
      equals + 1 >= comma || comma + 1 == assignment.size() || assignment.rfind(',') != comma) {
    fail_usage(fmt::format("'{}' is not OP=FIRST,SECOND, as in ham.backward=fused,composed", assignment));
  }
  const std::string_view op = assignment.substr(0, equals);
  const std::string_view first = assignment.substr(equals + 1, comma - equals - 1);
  const std::string_view second = assignment.substr(comma + 1);
  const std::vector<const Primitive*> with_first = with_kernel(primitives_of(op), op, first);
  with_kernel(primitives_of(op), op, second);
  bool any = false;
  for (const Primitive* primitive : with_first) {
    if (!has_kernel(*primitive, second)) continue;
    pair(*primitive, first, second);
    any = true;
  }
  if (!any) {
    fail_usage(fmt::format("no direction of '{}' has both kernels, '{}' and '{}'; name two of one direction",
                           op, first, second));
  }
}

}  // namespace fovea
