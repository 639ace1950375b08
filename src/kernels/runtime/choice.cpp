// Which row of a kernel table runs. Names are unique among the rows of one device, not across devices: the
// hand-written kernels have one row for the device and one for the host executor. The executor's are a thousand times
// slower than a CPU's own, so nobody gets one who did not ask. See primitive.hpp.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/kernel_record.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {
namespace {

// The names of those rows that `wanted` picks, each once, in table order.
template <class Wanted>
std::string names_where(const Primitive& primitive, Wanted&& wanted) {
  std::vector<std::string_view> names;
  for (const Kernel& k : primitive.kernels) {
    if (wanted(k) && std::find(names.begin(), names.end(), k.name) == names.end()) names.emplace_back(k.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

[[noreturn]] void fail_forced(const Primitive& primitive, std::string_view name, const void* problem,
                              Device device) {
  const bool has_row = std::any_of(primitive.kernels.begin(), primitive.kernels.end(), [&](const Kernel& k) {
    return name == k.name && device_of(k.backend) == device;
  });
  if (!has_row) {
    fail(fmt::format("{}: the forced kernel '{}' does not run on {}; drop --kernel {}={}, or use --device {}",
                     primitive.name, name, name_of(device), primitive.name, name,
                     name_of(device == Device::cpu ? Device::cuda : Device::cpu)));
  }
  fail(fmt::format(
      "{}: the forced kernel '{}' does not support this {} problem on {}; drop --kernel {}={} or change the "
      "problem",
      primitive.name, name, name_of(primitive.dtype(problem)), name_of(device), primitive.name, name));
}

[[noreturn]] void fail_none(const Primitive& primitive, const void* problem, Device device) {
  const std::string here = names_where(primitive, [&](const Kernel& k) {
    return device_of(k.backend) == device && k.backend != Backend::simt;
  });
  const bool executor = device == Device::cpu &&
                        std::any_of(primitive.kernels.begin(), primitive.kernels.end(), [&](const Kernel& k) {
                          return k.backend == Backend::simt && k.supports(problem);
                        });
  const std::string_view dtype = name_of(primitive.dtype(problem));
  if (here.empty()) {
    fail(fmt::format("{}: there is no kernel on {}; use --device {}", primitive.name, name_of(device),
                     name_of(device == Device::cpu ? Device::cuda : Device::cpu)));
  }
  fail(fmt::format("{}: no kernel on {} supports this {} problem (there: {}); use another dtype or device{}",
                   primitive.name, name_of(device), dtype, here,
                   executor ? ", or --backend simt, slowly" : ""));
}

// None where nothing is recorded, or where this build has no kernel of that name, or it does not support the problem.
const Kernel* fastest_on_record(const Primitive& primitive, const void* problem, Device device) {
  if (device != Device::cuda || !kernel_record().knows(primitive.name)) return nullptr;
  const std::string_view name = kernel_record().fastest(primitive.name, name_of(primitive.dtype(problem)),
                                                        primitive.cost(problem).bytes);
  const auto it = std::find_if(primitive.kernels.begin(), primitive.kernels.end(), [&](const Kernel& k) {
    return device_of(k.backend) == device && name == k.name;
  });
  return it == primitive.kernels.end() || !it->supports(problem) ? nullptr : &*it;
}

}  // namespace

void Selection::prefer(Backend backend) {
  has_preferred_ = true;
  preferred_ = backend;
}

void Selection::force(const Primitive& primitive, std::string_view kernel_name) {
  if (std::none_of(primitive.kernels.begin(), primitive.kernels.end(),
                   [&](const Kernel& k) { return kernel_name == k.name; })) {
    fail_usage(fmt::format("'{}' has no kernel '{}'; it has {}", primitive.name, kernel_name,
                           names_where(primitive, [](const Kernel&) { return true; })));
  }
  std::erase_if(forced_, [&](const auto& f) { return f.first == primitive.name; });
  forced_.emplace_back(primitive.name, kernel_name);
}

void Selection::clear() { *this = Selection{}; }

std::vector<std::string> Selection::forced() const { return assignments_; }

std::string_view Selection::forced_for(const Primitive& primitive) const {
  for (const auto& [name, kernel] : forced_) {
    if (name == primitive.name) return kernel;
  }
  return {};
}

std::string_view Selection::reason(const Primitive& primitive, const void* problem, Device device) const {
  if (!forced_for(primitive).empty()) return "forced";
  if (has_preferred_) return "preferred backend";
  return fastest_on_record(primitive, problem, device) != nullptr ? "fastest on record"
                                                                  : "first in the table";
}

const Kernel& Selection::choose(const Primitive& primitive, const void* problem, Device device) const {
  const auto runs = [&](const Kernel& k) { return device_of(k.backend) == device && k.supports(problem); };
  for (const auto& [name, kernel_name] : forced_) {
    if (name != primitive.name) continue;
    const auto it = std::find_if(primitive.kernels.begin(), primitive.kernels.end(),
                                 [&](const Kernel& k) { return kernel_name == k.name && runs(k); });
    if (it == primitive.kernels.end()) fail_forced(primitive, kernel_name, problem, device);
    return *it;
  }
  if (!has_preferred_) {
    if (const Kernel* recorded = fastest_on_record(primitive, problem, device)) return *recorded;
  }
  const bool with_simt = has_preferred_ && preferred_ == Backend::simt;
  const Kernel* first = nullptr;
  for (const Kernel& kernel : primitive.kernels) {
    if (kernel.backend == Backend::simt && !with_simt) continue;
    if (!runs(kernel)) continue;
    if (!has_preferred_ || kernel.backend == preferred_) return kernel;
    if (first == nullptr) first = &kernel;
  }
  if (first == nullptr) fail_none(primitive, problem, device);
  return *first;
}

Selection& selection() {
  static Selection instance;
  return instance;
}

}  // namespace fovea
