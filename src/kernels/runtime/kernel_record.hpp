// KernelRecord: which kernel was the fastest correct one on a device, for problems of about which size. The choice of a
// kernel asks it where the user named neither a kernel nor a backend; without one, the table's order decides.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

struct KernelRecord {
  /// The winner of one problem; `bytes` is its Cost's, by which other problems find the nearest.
  struct Row {
    std::string primitive, dtype, kernel;
    double bytes = 0, median_us = 0;
    bool operator==(const Row&) const = default;
  };
  std::string device;
  std::vector<Row> rows;  // sorted by primitive, so that a dispatch finds its own

  void sort();
  bool knows(std::string_view primitive) const;
  /// The winner among this primitive's and dtype's rows at the nearest size (in logarithms; of equals the smaller);
  /// empty where there are none.
  std::string_view fastest(std::string_view primitive, std::string_view dtype, double bytes) const;
};

/// Of the process, for kernels on the device; empty at first.
const KernelRecord& kernel_record();
void set_kernel_record(KernelRecord record);  // in any order of rows

}  // namespace fovea
