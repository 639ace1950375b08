// Profiles: a planted slow kernel leads the rows, rows add up to the step, nothing counts twice; the files of ceilings
// and of traces.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <thread>

#include "autograd/functions.hpp"
#include "eval/profile_charts.hpp"
#include "eval/profile_report.hpp"
#include "kernels/runtime/chrome_trace.hpp"
#include "kernels/runtime/layer_scope.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/profile.hpp"
#include "models/zoo.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

// ---- planted primitives: one that sleeps, one that calls it twice

struct PlantedProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 64;
  void check() const {}
};
PortList planted_ports(const PlantedProblem& p) {
  return {{"x", Role::input, {p.count, 2}, p.dtype}, {"y", Role::output, {p.count, 2}, p.dtype}};
}
Cost sleeping_cost(const PlantedProblem&) { return {1000, 400}; }
Cost calling_cost(const PlantedProblem&) { return {2500, 500}; }

void sleep_a_while(const PlantedProblem&, Ports, Stream) {
  std::this_thread::sleep_for(std::chrono::milliseconds(8));
}
constexpr Kernel sleeping_kernels[] = {
    kernel<&sleep_a_while, &supports_f32<PlantedProblem>>("sleeper", Backend::cpu)};
constexpr PrimitiveOf<PlantedProblem> sleeping =
    primitive<PlantedProblem, &planted_ports, &sleeping_cost>("planted.forward", sleeping_kernels);

void call_twice(const PlantedProblem& p, Ports ports, Stream) {
  for (int i = 0; i < 2; ++i) dispatch(sleeping, p, {ports[0], ports[1]});
}
constexpr Kernel calling_kernels[] = {
    kernel<&call_twice, &supports_f32<PlantedProblem>>("composed", Backend::cpu)};
constexpr PrimitiveOf<PlantedProblem> calling =
    primitive<PlantedProblem, &planted_ports, &calling_cost>("calling.forward", calling_kernels);

void run(const PrimitiveOf<PlantedProblem>& primitive) {
  const Tensor x = Tensor::zeros({64, 2}, Dtype::f32), y = Tensor::zeros({64, 2}, Dtype::f32);
  dispatch(primitive, {}, {x.view(), y.view()});
}

Peaks some_peaks() {
  Peaks peaks;
  peaks.machine = "A Machine (R) 3.0";
  peaks.library = "oneDNN 2.6.3";
  peaks.threads = 2;
  peaks.copy_bytes_per_s = 1e6;
  peaks.triad_bytes_per_s = 1.1e6;
  peaks.gemms = {{Dtype::f32, 1e6, "a product"}, {Dtype::f64, 5e5, "a loop"}};
  return peaks;
}

const ProfileRow& row_of(const std::vector<ProfileRow>& rows, const std::string& name) {
  for (const ProfileRow& row : rows)
    if (row.name == name) return row;
  ADD_FAILURE() << "no row " << name;
  return rows.front();
}

double sum_of(const std::vector<ProfileRow>& rows) {
  return std::accumulate(rows.begin(), rows.end(), 0.0,
                         [](double sum, const ProfileRow& row) { return sum + row.self_seconds; });
}

TEST(Profile, APlantedSlowKernelLeads) {
  const Tensor x = Tensor::zeros({8, 8}, Dtype::f32);
  Profile profile(Device::cpu);
  for (int step = 0; step < 3; ++step) {
    profile.begin_step();
    relu(x);
    run(sleeping);
    relu(x);
    profile.end_step();
  }
  const std::vector<ProfileRow> rows = profile.rows(ProfileBy::kernel, some_peaks());
  EXPECT_EQ(rows[0].name, "planted.forward");
  EXPECT_EQ(rows[0].kernel, "sleeper");
  EXPECT_DOUBLE_EQ(rows[0].calls, 1);
  EXPECT_GE(rows[0].self_seconds, 0.008);
  EXPECT_DOUBLE_EQ(rows[0].floor_seconds, 0.001);  // 1000 operations at 1e6
  EXPECT_NEAR(rows[0].floor_share(), 0.001 / rows[0].self_seconds, 1e-12);
  EXPECT_DOUBLE_EQ(row_of(rows, "relu.forward").calls, 2);
  EXPECT_EQ(trace_sink(), nullptr);
}

TEST(Profile, RowsAddUpToTheStep) {
  Profile profile(Device::cpu);
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(4)); };
  profile.begin_step();
  {
    const TraceRange range(RangeKind::data, "data");
    pause();
  }
  run(calling);
  {
    const TraceRange range(RangeKind::optimizer, "optimizer");
    run(sleeping);
    pause();
  }
  pause();
  profile.end_step();
  const std::vector<ProfileRow> rows = profile.rows(ProfileBy::kernel, some_peaks());
  EXPECT_NEAR(sum_of(rows), profile.step_seconds(), 1e-9);
  for (const char* const name : {"data", "optimizer", "(framework)"}) {
    EXPECT_GE(row_of(rows, name).self_seconds, 0.004) << name;
    EXPECT_FALSE(row_of(rows, name).in_kernels) << name;
  }
  // Were its kernel counted as well, it would have 8 ms more.
  EXPECT_LT(row_of(rows, "optimizer").self_seconds, profile.seconds_in(RangeKind::optimizer) - 0.0079);
}

TEST(Profile, WhatAKernelCallsCountsOnce) {
  Profile profile(Device::cpu);
  profile.begin_step();
  run(calling);
  run(sleeping);
  profile.end_step();
  const std::vector<ProfileRow> rows = profile.rows(ProfileBy::kernel, some_peaks());
  const ProfileRow &caller = row_of(rows, "calling.forward"), &called = row_of(rows, "planted.forward");
  EXPECT_DOUBLE_EQ(called.calls, 3);
  EXPECT_DOUBLE_EQ(called.flops, 3000);
  EXPECT_DOUBLE_EQ(caller.flops, 500);  // 2500, of which the two it called did 1000 each
  EXPECT_DOUBLE_EQ(caller.bytes, 0);    // the two moved more than it says is needed
  EXPECT_LT(caller.self_seconds, 0.008);
  EXPECT_DOUBLE_EQ(profile.flops(), 3500);  // of what was asked for
}

TEST(Profile, BackwardRunsUnderTheLayerOfItsForward) {
  Tensor x = Tensor::zeros({4, 6}, Dtype::f32);
  x.set_requires_grad(true);
  Profile profile(Device::cpu);
  profile.begin_step();
  Tensor y;
  {
    const LayerScope layer(interned("block.act"));
    y = relu(x);
  }
  y.backward(Tensor::full({4, 6}, 1, Dtype::f32));
  profile.end_step();
  const std::vector<ProfileRow> rows = profile.rows(ProfileBy::layer_kernel, some_peaks());
  EXPECT_EQ(row_of(rows, "relu.forward").layer, "block.act");
  EXPECT_EQ(row_of(rows, "relu.backward").layer, "block.act");
  EXPECT_EQ(current_layer(), nullptr);
}

TEST(Profile, ALayerIsTheSumOfItsKernels) {
  Profile profile(Device::cpu);
  profile.begin_step();
  const auto work = [](RangeKind part, const char* name) {
    const TraceRange range(part, name);
    const LayerScope layer(interned("block"));
    run(sleeping);
    relu(Tensor::zeros({4, 6}, Dtype::f32));
  };
  work(RangeKind::forward, "forward");
  work(RangeKind::backward, "backward");
  run(sleeping);
  profile.end_step();
  const std::vector<ProfileRow> rows = profile.rows(ProfileBy::layer, some_peaks());
  EXPECT_NEAR(sum_of(rows), profile.step_seconds(), 1e-9);
  const ProfileRow& block = row_of(rows, "block");
  EXPECT_EQ(block.calls, 4);
  EXPECT_EQ(block.layer, "block");
  EXPECT_TRUE(block.in_kernels);
  EXPECT_GE(block.forward_seconds, 0.008);
  EXPECT_GE(block.backward_seconds, 0.008);
  EXPECT_NEAR(block.forward_seconds + block.backward_seconds, block.self_seconds, 1e-12);
  EXPECT_GE(block.flops, 2000);
  const ProfileRow& rest = row_of(rows, "(no layer)");
  EXPECT_EQ(rest.calls, 1);
  EXPECT_EQ(rest.forward_seconds, 0);
}

TEST(Profile, EveryLayerOfAModelNamesItself) {
  for (const char* const name : {"hm-vgg", "resnet18"}) {
    const std::unique_ptr<Model> model = make_model({.name = name});
    model->name_layers();
    Profile profile(Device::cpu);
    profile.begin_step();
    const Tensor image = Tensor::zeros({2, 32, 32, 3}, Dtype::f32);
    model->forward({{image}, {}}, {.stochastic = false});
    profile.end_step();
    std::set<std::string> layers;
    for (const ProfileRow& row : profile.rows(ProfileBy::layer_kernel, some_peaks())) {
      if (row.name.starts_with("conv2d")) {
        EXPECT_NE(row.layer, "") << name;
      }
      layers.insert(row.layer);
    }
    EXPECT_TRUE(layers.contains(name == std::string("hm-vgg") ? "fundus.ham3" : "layer1.0.conv1")) << name;
  }
}

TEST(Profile, ByShapeTellsProblemsApart) {
  Profile profile(Device::cpu);
  profile.begin_step();
  relu(Tensor::zeros({4, 6}, Dtype::f32));
  relu(Tensor::zeros({8, 6}, Dtype::f32));
  const Tensor a = Tensor::zeros({8, 2}, Dtype::f32), b = Tensor::zeros({2}, Dtype::f32);
  add(a, b);
  profile.end_step();
  std::set<std::string> shapes;
  for (const ProfileRow& row : profile.rows(ProfileBy::shape, some_peaks()))
    if (row.in_kernels) shapes.insert(row.shape);
  EXPECT_EQ(shapes, (std::set<std::string>{"24", "8x2, 8x2", "48"}));
}

TEST(Profile, AStepThatThrowsLeavesNoSink) {
  {
    Profile profile(Device::cpu);
    profile.begin_step();
    EXPECT_THROW(profile.begin_step(), Error);
  }
  EXPECT_EQ(trace_sink(), nullptr);
}

// ---- what people and programs read

class ProfileOutput : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int step = 0; step < 2; ++step) {
      profile_.begin_step();
      const TraceRange range(RangeKind::forward, "forward");
      run(calling);
      profile_.end_step();
    }
  }
  Profile profile_{Device::cpu};
  Peaks peaks_ = some_peaks();
  ProfileFacts facts_{.model = "a <model>", .device = "cpu", .dtype = "f32", .mode = "training"};
  ProfileView view_{.profile = profile_, .peaks = peaks_, .facts = facts_};
};

TEST_F(ProfileOutput, TheTableSumsUpWhatItLeavesOut) {
  const std::string whole = profile_table(view_, 30), cut = profile_table(view_, 1);
  EXPECT_NE(whole.find("calling.forward"), std::string::npos) << whole;
  EXPECT_EQ(cut.find("calling.forward"), std::string::npos) << cut;
  EXPECT_NE(cut.find("(4 more)"), std::string::npos) << cut;
}

TEST_F(ProfileOutput, PagesAreEscapedAndDrawn) {
  const std::string page = profile_page(view_);
  EXPECT_EQ(page.find("a <model>"), std::string::npos);
  EXPECT_NE(page.find("a &lt;model&gt;"), std::string::npos);
  EXPECT_NE(page.find("Roofline of the kernels"), std::string::npos);
  EXPECT_NE(page.find("Time line of a step"), std::string::npos);
  EXPECT_EQ(page.find("nan"), std::string::npos);
}

TEST_F(ProfileOutput, NoRooflineWhereNothingCounts) {
  EXPECT_EQ(roofline_chart({}, peaks_), "");
  EXPECT_EQ(time_line(profile_, 99), "");
}

// ---- files

class Files : public ::testing::Test {
 protected:
  Files() : folder_(fs::temp_directory_path() / ("fovea-profile-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~Files() override { fs::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::string write(const std::string& text) const {
    std::ofstream(path("peaks.json")) << text;
    return path("peaks.json");
  }
  static nlohmann::json parsed(const std::string& path) {
    std::ifstream file(path);
    return nlohmann::json::parse(file);
  }
  fs::path folder_;
};

using PeaksFile = Files;

TEST_F(PeaksFile, IsReadAsItWasWritten) {
  const std::string file = path("folder/of/its/own/peaks.json");
  std::string complaint;
  EXPECT_FALSE(read_peaks(file, some_peaks(), complaint));
  EXPECT_EQ(complaint, "");  // none is no mistake
  write_peaks(file, some_peaks());
  EXPECT_EQ(read_peaks(file, some_peaks(), complaint), some_peaks());
  EXPECT_EQ(complaint, "");
}

TEST_F(PeaksFile, DamagedOrOfAnotherMachineIsSaid) {
  nlohmann::json good = nlohmann::json::parse(peaks_json(some_peaks()));
  const auto changed = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json bad = good;
    bad[key] = value;
    return bad.dump();
  };
  const std::pair<std::string, const char*> cases[] = {
      {"", "no valid JSON"},
      {peaks_json(some_peaks()).substr(0, 90), "no valid JSON"},
      {"[]", "is no object"},
      {changed("version", 7), "is not version 1"},
      {changed("machine", "Another"), "it is of 'Another', and here is 'A Machine (R) 3.0'"},
      {changed("threads", 3), "it is of 3 threads, not 2"},
      {changed("threads", 0), "it has 0 threads"},
      {changed("library", "oneDNN 1"), "it was measured with oneDNN 1, and here is oneDNN 2.6.3"},
      {changed("copy_bytes_per_s", 0), "'copy_bytes_per_s' is 0"},
      {changed("copy_bytes_per_s", "fast"), "'copy_bytes_per_s'"},
      {changed("gemm", nlohmann::json::array()), "no matrix product of f32"},
      {changed("gemm", {{{"dtype", "i64"}, {"flops_per_s", 1}, {"by", ""}}}), "'i64' is no floating type"}};
  for (const auto& [text, says] : cases) {
    std::string complaint;
    EXPECT_FALSE(read_peaks(write(text), some_peaks(), complaint)) << text;
    EXPECT_NE(complaint.find(says), std::string::npos) << complaint;
  }
}

TEST_F(PeaksFile, LiesWhereTheCacheIs) {
  ::setenv("FOVEA_CACHE", "/some/where", 1);
  EXPECT_EQ(peaks_path("A Machine (R) 3.0 / x", 2), "/some/where/peaks-A-Machine-R-3.0-x-2.json");
  ::unsetenv("FOVEA_CACHE");
}

TEST(Peaks, FloorsAreTheSlowerOfTheTwo) {
  const Peaks peaks = some_peaks();
  EXPECT_DOUBLE_EQ(peaks.floor_seconds(Dtype::f32, 2e6, 1e6), 2);
  EXPECT_DOUBLE_EQ(peaks.floor_seconds(Dtype::f64, 2e6, 1e6), 4);
  EXPECT_DOUBLE_EQ(peaks.floor_seconds(Dtype::f32, 0, 3e6), 3);
  EXPECT_DOUBLE_EQ(peaks.flops_of(Dtype::bf16), 1e6);  // none of its own
}

using TraceFile = Files;

TEST_F(TraceFile, NestsAndAddsUp) {
  Profile profile(Device::cpu);
  profile.begin_step();
  {
    const TraceRange range(RangeKind::forward, "forward");
    const LayerScope layer(interned("a \"layer\""));
    run(calling);
  }
  profile.end_step();
  const ChromeTraceSize size = write_chrome_trace(path("trace.json"), profile, 1 << 20);
  EXPECT_EQ(size.written, 6);
  EXPECT_EQ(size.left_out, 0);
  const nlohmann::json events = parsed(path("trace.json")).at("traceEvents");
  ASSERT_EQ(events.size(), 6u);
  std::vector<std::string> names;
  for (const auto& event : events) names.push_back(event.at("name"));
  EXPECT_EQ(names, (std::vector<std::string>{"step", "forward", "a \"layer\"", "calling.forward",
                                             "planted.forward", "planted.forward"}));
  double self_us = 0;
  for (const auto& event : events)
    if (event.at("cat") == "kernel") self_us += event.at("args").at("self_us").get<double>();
  EXPECT_NEAR(self_us, events[3].at("dur").get<double>(), 0.01);
}

TEST_F(TraceFile, StopsAtItsLimit) {
  Profile profile(Device::cpu);
  profile.begin_step();
  for (int i = 0; i < 50; ++i) relu(Tensor::zeros({2, 2}, Dtype::f32));
  profile.end_step();
  const ChromeTraceSize size = write_chrome_trace(path("trace.json"), profile, 4000);
  EXPECT_GT(size.written, 5);
  EXPECT_EQ(size.written + size.left_out, 51);
  EXPECT_LE(fs::file_size(path("trace.json")), 4000u);
  EXPECT_EQ(parsed(path("trace.json")).at("traceEvents").size(), static_cast<std::size_t>(size.written));
  EXPECT_EQ(write_chrome_trace(path("none.json"), profile, 1).written, 0);
  EXPECT_EQ(parsed(path("none.json")).at("traceEvents").size(), 0u);
}

}  // namespace
}  // namespace fovea
