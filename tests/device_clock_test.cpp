// Clocks of a device: events and activity records agree on whose time is whose, and a profile shows what they say. On the
// emulated device, with a source of records that a test writes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "autograd/functions.hpp"
#include "eval/profile_report.hpp"
#include "kernels/cuda/device_activity.hpp"
#include "kernels/runtime/chrome_trace.hpp"
#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/profile.hpp"

namespace fovea {
namespace {

const bool asked = setenv("FOVEA_EMULATE_DEVICE", "1", 1) == 0;

/// Each push launches work of a millisecond at once, half of which the next one overlaps.
class WrittenSource : public ActivitySource {
 public:
  void start() override {
    ++started;
    collects = true;
  }
  void stop() noexcept override {
    ++stopped;
    collects = false;
    records.clear();
  }
  void push(std::uint64_t id) override {
    stack.push_back(id);
    launch("kernel<" + std::to_string(id) + ">", id);
  }
  void pop() noexcept override { stack.pop_back(); }
  std::vector<Record> take() override { return std::exchange(records, {}); }

  void launch(const std::string& name, std::optional<std::uint64_t> id) {
    if (collects) records.push_back({name, id, at, at + 1e-3});
    at += 0.5e-3;
  }

  int started = 0, stopped = 0;
  bool collects = false;
  double at = now_s();
  std::vector<std::uint64_t> stack;
  std::vector<Record> records;
};

TEST(ActivityClock, WorkIsOfTheInnermostDispatch) {
  WrittenSource source;
  {
    ActivityClock clock(source);
    EXPECT_EQ(source.started, 1);
    EXPECT_FALSE(source.collects);  // only whether it can was asked
    clock.start();
    for (int round = 0; round < 2; ++round) {
      const int outer = clock.begin({}), inner = clock.begin({});
      EXPECT_EQ(outer, 0);
      EXPECT_EQ(inner, 1);
      source.launch("again", source.stack.back());
      clock.end(inner, {});
      source.launch("far away", 1'000'000);  // of nobody here
      source.launch("upload", std::nullopt);
      clock.end(outer, {});
      const DeviceTimes times = clock.read();
      ASSERT_EQ(times.self_seconds.size(), 2u);
      EXPECT_NEAR(times.self_seconds[0], 1e-3, 1e-9);
      EXPECT_NEAR(times.self_seconds[1], 1.5e-3, 1e-9);  // two of a millisecond that overlap by half of one
      ASSERT_EQ(times.work.size(), 5u);
      EXPECT_EQ(times.work[2].dispatch, 1);
      EXPECT_EQ(times.work[3].dispatch, -1);
      EXPECT_EQ(times.work[4].dispatch, -1);
    }
  }
  EXPECT_EQ(source.stopped, 2);
}

TEST(EventClock, WhatADispatchCalledIsNotItsOwn) {
  if (!cuda_available()) GTEST_SKIP() << "no device";
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(4)); };
  const Stream stream = current_stream(Device::cuda);
  EventClock clock;
  for (int round = 0; round < 2; ++round) {
    const int outer = clock.begin(stream);
    pause();
    const int inner = clock.begin(stream);
    pause(), pause(), pause();
    clock.end(inner, stream);
    clock.end(outer, stream);
    clock.begin(stream);  // never ends, as where the program is torn down
    const DeviceTimes times = clock.read();
    ASSERT_EQ(times.self_seconds.size(), 3u);
    EXPECT_GE(times.self_seconds[0], 0.004);
    EXPECT_GE(times.self_seconds[1], 0.012);
    EXPECT_LT(times.self_seconds[0], times.self_seconds[1]);
    EXPECT_EQ(times.self_seconds[2], 0);
    EXPECT_TRUE(times.work.empty());
  }
}

TEST(BestClock, EmulatedDevicesHaveEvents) {
  std::string why;
  EXPECT_EQ(best_device_clock(Device::cpu), nullptr);
  if (!cuda_available()) GTEST_SKIP() << "no device";
  const std::unique_ptr<DeviceClock> clock = best_device_clock(Device::cuda, &why);
  EXPECT_EQ(clock->sees_work(), why.empty()) << why;
}

Peaks some_peaks() {
  Peaks peaks;
  peaks.copy_bytes_per_s = 1e9;
  peaks.gemms = {{Dtype::f32, 1e9, "a product"}};
  return peaks;
}

class DeviceProfile : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_available()) GTEST_SKIP() << "no device";
    profile_ = std::make_unique<Profile>(Device::cuda, std::make_unique<ActivityClock>(source_));
    const Tensor x = Tensor::full({8, 4}, 1, Dtype::f32).to(Device::cuda);
    for (int step = 0; step < 2; ++step) {
      profile_->begin_step();
      const TraceRange range(RangeKind::forward, "forward");
      relu(x);
      source_.launch("a \"copy\"", std::nullopt);
      relu(x);
      profile_->end_step();
      source_.launch("between steps", std::nullopt);
    }
  }
  WrittenSource source_;
  std::unique_ptr<Profile> profile_;
  Peaks peaks_ = some_peaks();
  ProfileFacts facts_{.model = "m", .device = "cuda", .dtype = "f32", .mode = "training"};
};

TEST_F(DeviceProfile, SelfTimesAreTheClocks) {
  for (const ProfileRow& row : profile_->rows(ProfileBy::kernel, peaks_)) {
    if (row.name != "relu.forward") continue;
    EXPECT_EQ(row.calls, 2);
    EXPECT_EQ(row.launches, 2);
    EXPECT_NEAR(row.self_seconds, 2e-3, 1e-9);
    EXPECT_EQ(row.forward_seconds, row.self_seconds);
  }
  const ProfileView view{.profile = *profile_, .peaks = peaks_, .facts = facts_};
  EXPECT_NE(profile_table(view, 30).find("launches"), std::string::npos);
  EXPECT_NE(profile_table(view, 30).find("CUPTI"), std::string::npos);
  const nlohmann::json json = nlohmann::json::parse(profile_json(view));
  EXPECT_EQ(json.at("clock"), "CUPTI's activity records");
  EXPECT_EQ(json.at("ops")[0].contains("launches"), true);
}

TEST_F(DeviceProfile, ATraceHasALineOfTheDevice) {
  const auto path =
      std::filesystem::temp_directory_path() / ("fovea-clock-" + std::to_string(::getpid()) + ".json");
  const ChromeTraceSize size = write_chrome_trace(path.string(), *profile_, 1 << 20);
  std::ifstream file(path);
  const nlohmann::json events = nlohmann::json::parse(file).at("traceEvents");
  std::filesystem::remove(path);
  EXPECT_EQ(size.left_out, 0);
  EXPECT_EQ(events.size(),
            14u);  // in each step: itself, forward, two kernels of the host, three of the device
  int of_relu = 0, of_nobody = 0;
  for (const auto& event : events) {
    if (event.at("cat") != "device") continue;
    EXPECT_EQ(event.at("tid"), 2);
    EXPECT_NEAR(event.at("dur").get<double>(), 1000, 1e-3);
    of_relu += event.at("args").value("op", "") == "relu.forward";
    of_nobody += event.at("args").empty() && event.at("name") == "a \"copy\"";
  }
  EXPECT_EQ(of_relu, 4);
  EXPECT_EQ(of_nobody, 2);
}

}  // namespace
}  // namespace fovea
