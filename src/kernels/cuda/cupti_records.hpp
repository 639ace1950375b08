// CuptiRecords: what CUPTI says of a device's work, put together. A kernel, copy or fill has a correlation number, that of
// the call that asked for it; another record says what was on top of the stack of external numbers at that call. They come
// in any order. For activity_cupti.cpp and its test.
#pragma once

#include <cupti.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "kernels/runtime/device_clock.hpp"

namespace fovea {

class CuptiRecords {
 public:
  void add(const CUpti_Activity& record);
  /// In the order in which they were added; none are left.
  std::vector<ActivitySource::Record> take();

 private:
  struct Work {
    ActivitySource::Record record;
    std::uint32_t correlation;
  };
  void add_work(std::string name, std::uint64_t begin_ns, std::uint64_t end_ns, std::uint32_t correlation);

  std::vector<Work> work_;
  std::unordered_map<std::uint32_t, std::uint64_t> external_;  // by correlation
};

}  // namespace fovea
