// See kernel_record.hpp.
#include "kernels/runtime/kernel_record.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fovea {
namespace {

KernelRecord& record_of_process() {
  static KernelRecord record;
  return record;
}

}  // namespace

std::string_view KernelRecord::fastest(std::string_view primitive, std::string_view dtype,
                                       double bytes) const {
  const Row* nearest = nullptr;
  double least = 0;
  for (const Row& row : rows) {
    if (row.primitive != primitive || row.dtype != dtype || !(row.bytes > 0)) continue;
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
  return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.primitive == primitive; });
}

const KernelRecord& kernel_record() { return record_of_process(); }
void set_kernel_record(KernelRecord record) { record_of_process() = std::move(record); }

}  // namespace fovea
