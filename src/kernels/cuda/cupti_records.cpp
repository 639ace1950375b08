// See cupti_records.hpp.
#include "kernels/cuda/cupti_records.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace fovea {
namespace {

std::string demangled(const char* name) {
  if (name == nullptr) return "kernel without a name";
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(name, nullptr, nullptr, nullptr), &std::free);
  return plain ? plain.get() : name;
}

std::string copy_name(std::uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD:
      return "copy host to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH:
      return "copy device to host";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD:
      return "copy device to device";
    default:
      return "copy";
  }
}

template <class T>
const T& as(const CUpti_Activity& record) {
  return *reinterpret_cast<const T*>(&record);
}

}  // namespace

void CuptiRecords::add_work(std::string name, std::uint64_t begin_ns, std::uint64_t end_ns,
                            std::uint32_t correlation) {
  ActivitySource::Record record;
  record.name = std::move(name);
  record.begin_s = static_cast<double>(begin_ns) * 1e-9;
  record.end_s = static_cast<double>(end_ns) * 1e-9;
  work_.push_back({std::move(record), correlation});
}

void CuptiRecords::add(const CUpti_Activity& record) {
  if (record.kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    const auto& kernel = as<CUpti_ActivityKernel10>(record);
    add_work(demangled(kernel.name), kernel.start, kernel.end, kernel.correlationId);
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const auto& copy = as<CUpti_ActivityMemcpy6>(record);
    add_work(copy_name(copy.copyKind), copy.start, copy.end, copy.correlationId);
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMSET) {
    const auto& fill = as<CUpti_ActivityMemset4>(record);
    add_work("fill", fill.start, fill.end, fill.correlationId);
  } else if (record.kind == CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION) {
    const auto& pair = as<CUpti_ActivityExternalCorrelation>(record);
    external_[pair.correlationId] = pair.externalId;
  }
}

std::vector<ActivitySource::Record> CuptiRecords::take() {
  std::vector<ActivitySource::Record> records;
  records.reserve(work_.size());
  for (Work& work : work_) {
    if (const auto found = external_.find(work.correlation); found != external_.end())
      work.record.id = found->second;
    records.push_back(std::move(work.record));
  }
  work_.clear();
  external_.clear();
  return records;
}

}  // namespace fovea
