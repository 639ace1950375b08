// What CUPTI's records say, put together; and, where there is a device, a profile by them against one by events.
#include <gtest/gtest.h>

#include <cstring>

#include "autograd/functions.hpp"
#include "kernels/cuda/cupti_records.hpp"
#include "kernels/cuda/device_activity.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/profile.hpp"

namespace fovea {
namespace {

template <class T>
T record_of(CUpti_ActivityKind kind, std::uint32_t correlation) {
  T record;
  std::memset(&record, 0, sizeof record);
  record.kind = kind;
  record.correlationId = correlation;
  return record;
}

template <class T>
void add(CuptiRecords& records, const T& record) {
  records.add(reinterpret_cast<const CUpti_Activity&>(record));
}

CUpti_ActivityExternalCorrelation external(std::uint32_t correlation, std::uint64_t id) {
  auto pair =
      record_of<CUpti_ActivityExternalCorrelation>(CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, correlation);
  pair.externalId = id;
  return pair;
}

CUpti_ActivityKernel10 kernel(std::uint32_t correlation, const char* name, std::uint64_t begin,
                              std::uint64_t end) {
  auto record = record_of<CUpti_ActivityKernel10>(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, correlation);
  record.name = name;
  record.start = begin;
  record.end = end;
  return record;
}

TEST(CuptiRecords, CorrelationSaysWhoseWorkItIs) {
  CuptiRecords records;
  add(records, kernel(7, "_Z3addIfEvPT_", 1'000'000'000, 1'000'002'000));  // before what says whose it is
  add(records, external(7, 41));
  add(records, external(8, 42));
  add(records, kernel(8, "plain_name", 2'000'000'000, 2'000'000'500));
  add(records, kernel(8, nullptr, 3, 4));  // of one graph
  auto copy = record_of<CUpti_ActivityMemcpy6>(CUPTI_ACTIVITY_KIND_MEMCPY, 9);
  copy.copyKind = CUPTI_ACTIVITY_MEMCPY_KIND_HTOD;
  add(records, copy);
  add(records, record_of<CUpti_ActivityMemset4>(CUPTI_ACTIVITY_KIND_MEMSET, 7));
  add(records,
      record_of<CUpti_ActivityKernel10>(CUPTI_ACTIVITY_KIND_DRIVER, 7));  // of a kind that nobody asked for
  const std::vector<ActivitySource::Record> got = records.take();
  ASSERT_EQ(got.size(), 5u);
  EXPECT_EQ(got[0].name, "void add<float>(float*)");
  EXPECT_EQ(got[0].id, 41u);
  EXPECT_DOUBLE_EQ(got[0].begin_s, 1);
  EXPECT_NEAR(got[0].end_s - got[0].begin_s, 2e-6, 1e-12);
  EXPECT_EQ(got[1].name, "plain_name");
  EXPECT_EQ(got[2].id, 42u);
  EXPECT_EQ(got[3].name, "copy host to device");
  EXPECT_FALSE(got[3].id);
  EXPECT_EQ(got[4].name, "fill");
  EXPECT_EQ(got[4].id, 41u);
  add(records, kernel(7, "later", 5, 6));
  const std::vector<ActivitySource::Record> later =
      records.take();  // numbers of before mean nothing any more
  ASSERT_EQ(later.size(), 1u);
  EXPECT_FALSE(later[0].id);
}

TEST(CuptiRecords, TheLibraryIsThereOrSaysWhyNot) {
  std::string why;
  const bool there = device_activity(why) != nullptr;
  EXPECT_EQ(there, why.empty()) << why;
}

TEST(CuptiRecords, AgreeWithEventsOnADevice) {
  std::string why;
  if (!cuda_available(&why)) GTEST_SKIP() << why;
  if (device_activity(why) == nullptr) GTEST_SKIP() << why;
  const Tensor x = Tensor::full({64, 1 << 20}, 1, Dtype::f32).to(Device::cuda);
  relu(x);
  const auto self_seconds = [&](std::unique_ptr<DeviceClock> clock) {
    Profile profile(Device::cuda, std::move(clock));
    for (int step = 0; step < 5; ++step) {
      profile.begin_step();
      relu(x);
      profile.end_step();
    }
    Peaks peaks;
    peaks.copy_bytes_per_s = 1;
    peaks.gemms = {{Dtype::f32, 1, ""}};
    for (const ProfileRow& row : profile.rows(ProfileBy::kernel, peaks))
      if (row.name == "relu.forward") return row.self_seconds;
    return 0.0;
  };
  const double by_records = self_seconds(best_device_clock(Device::cuda)),
               by_events = self_seconds(std::make_unique<EventClock>());
  EXPECT_GT(by_records, 0);
  EXPECT_LE(by_records, by_events * 1.05);
  EXPECT_GT(by_records, by_events * 0.5);
}

}  // namespace
}  // namespace fovea
