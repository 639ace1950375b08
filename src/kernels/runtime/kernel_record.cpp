// See kernel_record.hpp.
#include "kernels/runtime/kernel_record.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace fovea {
namespace {

KernelRecord& record_of_process() {
  static KernelRecord record;
  return record;
}

struct ByPrimitive {
  bool operator()(const KernelRecord::Row& a, const KernelRecord::Row& b) const {
    return a.primitive < b.primitive;
  }
  bool operator()(const KernelRecord::Row& a, std::string_view b) const { return a.primitive < b; }
  bool operator()(std::string_view a, const KernelRecord::Row& b) const { return a < b.primitive; }
};

}  // namespace

void KernelRecord::sort() { std::stable_sort(rows.begin(), rows.end(), ByPrimitive()); }

std::string_view KernelRecord::fastest(std::string_view primitive, std::string_view dtype,
                                       double bytes) const {
  const Row* nearest = nullptr;
  double least = 0;
  const auto [first, last] = std::equal_range(rows.begin(), rows.end(), primitive, ByPrimitive());
  for (const Row& row : std::span(first, last)) {
    if (row.dtype != dtype || !(row.bytes > 0)) continue;
    const double distance = std::abs(std::log2(row.bytes / std::max(bytes, 1.0)));
    const bool nearer =
        nearest == nullptr || distance < least || (distance == least && row.bytes < nearest->bytes);
    if (!nearer) continue;
    nearest = &row;
    least = distance;
  }
  return nearest == nullptr ? std::string_view() : nearest->kernel;
}

bool KernelRecord::knows(std::string_view primitive) const {
  return std::binary_search(rows.begin(), rows.end(), primitive, ByPrimitive());
}

const KernelRecord& kernel_record() { return record_of_process(); }
void set_kernel_record(KernelRecord record) {
  record.sort();
  record_of_process() = std::move(record);
}

}  // namespace fovea
