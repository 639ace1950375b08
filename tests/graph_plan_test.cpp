// Which graph is captured, updated, launched and destroyed when: GraphPlans over a stand-in for the device's graphs. Then
// the rows `composed_graph`, which stand on it.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cases/case.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

// Handles are numbers; what happened stands in `log`. Like a driver, it says when one is used that is not alive.
struct StandIn : GraphApi {
  bool capturing = false, refuses = false, out_of_room = false;
  std::vector<std::string> log;
  std::set<std::uintptr_t> graphs, executables;
  std::uintptr_t last = 0;

  bool can_capture(Stream) override { return !capturing; }
  void* capture(const std::function<void(Stream)>& work) override {
    capturing = true;
    try {
      work({Device::cuda, &last});
    } catch (...) {
      capturing = false;
      throw;
    }
    capturing = false;
    return make(graphs, "capture");
  }
  void destroy_graph(void* graph) noexcept override { EXPECT_EQ(graphs.erase(number(graph)), 1u); }
  void* instantiate(void* graph) override {
    EXPECT_TRUE(graphs.contains(number(graph)));
    if (out_of_room) fail("cudaGraphInstantiate failed");
    return make(executables, "instantiate");
  }
  bool update(void* executable, void* graph) override {
    EXPECT_TRUE(executables.contains(number(executable)) && graphs.contains(number(graph)));
    say(refuses ? "refuse" : "update", executable);
    return !refuses;
  }
  void launch(void* executable, Stream) override {
    EXPECT_TRUE(executables.contains(number(executable)));
    say("launch", executable);
  }
  void destroy(void* executable) noexcept override {
    EXPECT_EQ(executables.erase(number(executable)), 1u);
    say("destroy", executable);
  }

  void wait() override { log.push_back("wait"); }

  std::vector<std::string> take() { return std::exchange(log, {}); }

 private:
  static std::uintptr_t number(void* handle) { return reinterpret_cast<std::uintptr_t>(handle); }
  void say(const char* what, void* handle) {
    log.push_back(std::string(what) + " " + std::to_string(number(handle)));
  }
  void* make(std::set<std::uintptr_t>& alive, const char* what) {
    alive.insert(++last);
    void* const handle = reinterpret_cast<void*>(last);
    say(what, handle);
    return handle;
  }
};

class GraphPlanTest : public ::testing::Test {
 protected:
  ~GraphPlanTest() override {
    plans_.reset();
    EXPECT_TRUE(api_.graphs.empty() && api_.executables.empty()) << "nothing is left behind";
  }

  using Log = std::vector<std::string>;
  static GraphKey key(std::int64_t problem) { return {"ham.forward", {problem}, {}}; }

  void make(GraphRoom room) {
    plans_ = std::make_unique<GraphPlans>(
        api_, [this] { return generation_; }, room);
  }
  // What happened when a kernel ran on the tensor at this address.
  Log run(const GraphKey& key, std::uintptr_t address) {
    void* const tensor = reinterpret_cast<void*>(address);
    plans_->run(key, std::span(&tensor, 1), {Device::cuda, nullptr}, [this](Stream stream) {
      if (fails_) fail("the work's own");
      api_.log.push_back(stream.handle == nullptr ? "plain" : "work");
    });
    return api_.take();
  }

  StandIn api_;
  std::uint64_t generation_ = 1;
  bool fails_ = false;
  std::unique_ptr<GraphPlans> plans_;
};

TEST_F(GraphPlanTest, RunsPlainlyOnceThenIsCapturedOnceAndLaunched) {
  make({});
  EXPECT_EQ(run(key(1), 10), Log{"plain"}) << "plans are measured, which no capture allows";
  EXPECT_EQ(run(key(1), 10), (Log{"work", "capture 1", "instantiate 2", "launch 2"}));
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
}

TEST_F(GraphPlanTest, OtherAddressesGetExecutablesWhileThereIsRoomAndUpdatesAfterwards) {
  make({.all = 9, .per_problem = 2});
  run(key(1), 10);
  run(key(1), 10);
  EXPECT_EQ(run(key(1), 11), (Log{"work", "capture 3", "instantiate 4", "launch 4"}));
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
  EXPECT_EQ(run(key(1), 12), (Log{"work", "capture 5", "update 4", "launch 4"}))
      << "the one used longest ago";
  EXPECT_EQ(api_.graphs, (std::set<std::uintptr_t>{1, 3, 5})) << "what 3 launched may still run";
  EXPECT_EQ(run(key(1), 12), Log{"launch 4"});
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
  EXPECT_EQ(run(key(1), 11), (Log{"work", "capture 6", "update 4", "launch 4"})) << "11 was 4's before 12";
}

TEST_F(GraphPlanTest, ARefusedUpdateIsANewExecutable) {
  make({.all = 9, .per_problem = 1, .aside = 1});
  run(key(1), 10);
  run(key(1), 10);
  api_.refuses = true;
  EXPECT_EQ(run(key(1), 11),
            (Log{"work", "capture 3", "refuse 2", "wait", "destroy 2", "instantiate 4", "launch 4"}));
  EXPECT_EQ(run(key(1), 11), Log{"launch 4"});
}

TEST_F(GraphPlanTest, BeyondTheRoomTheOneUsedLongestAgoIsDestroyed) {
  make({.all = 2, .per_problem = 2, .aside = 1});
  for (const std::int64_t problem : {1, 2, 3}) run(key(problem), 10);
  run(key(1), 10);
  run(key(2), 10);
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
  EXPECT_EQ(run(key(3), 10), (Log{"work", "capture 5", "wait", "destroy 4", "instantiate 6", "launch 6"}));
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
}

TEST_F(GraphPlanTest, WhatMayStillRunIsDestroyedOnlyWhenTheDeviceIsAtRest) {
  make({.all = 1, .per_problem = 1, .aside = 3});
  for (const std::int64_t problem : {1, 2}) run(key(problem), 10);
  run(key(1), 10);
  EXPECT_EQ(run(key(2), 10), (Log{"work", "capture 3", "instantiate 4", "launch 4"})) << "2 is put aside";
  EXPECT_EQ(run(key(2), 11), (Log{"work", "capture 5", "update 4", "launch 4"})) << "and so is graph 3";
  EXPECT_EQ(api_.graphs.size(), 3u);
  EXPECT_EQ(run(key(2), 12), (Log{"work", "capture 6", "update 4", "wait", "destroy 2", "launch 4"}));
  EXPECT_EQ(api_.graphs, std::set<std::uintptr_t>{6});
}

TEST_F(GraphPlanTest, ProblemsPrimitivesAndLimitsAreTheirOwn) {
  make({});
  std::vector<GraphKey> keys{key(1), key(2), {"ham.backward", {1}, {}}, {"ham.forward", {1, 0}, {}}};
  for (const PlanLimits& limits : {PlanLimits{.workspace = 1}, PlanLimits{.deterministic = false},
                                   PlanLimits{.tf32 = true}, PlanLimits{.measure = false}})
    keys.push_back({"ham.forward", {1}, limits});
  for (const GraphKey& k : keys) EXPECT_EQ(run(k, 10), Log{"plain"});
  std::set<std::string> launched;
  for (const GraphKey& k : keys) launched.insert(run(k, 10).back());
  EXPECT_EQ(launched.size(), keys.size()) << "none is launched for another";
}

TEST_F(GraphPlanTest, OtherPlansAreCapturedAgain) {
  make({});
  run(key(1), 10);
  run(key(1), 10);
  ++generation_;
  EXPECT_EQ(run(key(1), 10), Log{"plain"}) << "an operation may have to choose";
  EXPECT_EQ(run(key(1), 10), (Log{"work", "capture 3", "update 2", "launch 2"}));
  EXPECT_EQ(run(key(1), 10), Log{"launch 2"});
}

TEST_F(GraphPlanTest, InsideAnothersCaptureItIsPlain) {
  make({});
  api_.capturing = true;
  EXPECT_EQ(run(key(1), 10), Log{"plain"});
  EXPECT_EQ(run(key(1), 10), Log{"plain"});
  api_.capturing = false;
  EXPECT_EQ(run(key(1), 10), Log{"plain"}) << "nothing was measured in there";
  EXPECT_EQ(run(key(1), 10).back(), "launch 2");
  api_.capturing = true;
  EXPECT_EQ(run(key(1), 10), Log{"plain"});
}

TEST_F(GraphPlanTest, AFailureSaysItselfAndLeavesNothing) {
  make({.all = 1, .per_problem = 1, .aside = 1});
  fails_ = true;
  EXPECT_THROW(run(key(1), 10), Error);
  fails_ = false;
  EXPECT_EQ(run(key(1), 10), Log{"plain"}) << "what failed has measured nothing";
  fails_ = true;
  try {
    run(key(1), 10);
    FAIL() << "the capture failed";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the work's own");
  }
  fails_ = false;
  api_.out_of_room = true;
  EXPECT_THROW(run(key(1), 10), Error);
  api_.out_of_room = false;
  api_.take();
  EXPECT_EQ(run(key(1), 10).back(), "launch 3");
  api_.refuses = api_.out_of_room = true;
  EXPECT_THROW(run(key(1), 11), Error);
  api_.refuses = api_.out_of_room = false;
  api_.take();
  EXPECT_EQ(run(key(1), 10).size(), 4u) << "the executable that was lost is made again";
}

// ---- on this machine

TEST(DeviceGraphsTest, TheHostAndDebugModeCaptureNothing) {
  EXPECT_FALSE(device_graphs().can_capture({}));
  set_debug(true);
  EXPECT_FALSE(device_graphs().can_capture({Device::cuda, nullptr}));
  set_debug(false);
}

TEST(ComposedGraphTest, OnTheHostItIsTheWorkItself) {
  int runs = 0;
  const std::int64_t problem = 1;
  for (int i = 0; i < 2; ++i) {
    run_as_graph("ham.forward", std::span(&problem, 1), {}, {}, [&](Stream stream) {
      EXPECT_EQ(stream.device, Device::cpu);
      ++runs;
    });
  }
  EXPECT_EQ(runs, 2);
}

// Every composition of the libraries has its row as one graph behind it, which takes the same problems.
TEST(ComposedGraphTest, StandsBehindEveryCompositionOfTheLibraries) {
  std::set<std::string> with_libraries, as_graph;
  for (const cases::PrimitiveCase& c : cases::primitive_cases()) {
    for (const Kernel& kernel : c.primitive->kernels) {
      if (kernel.backend == Backend::cudnn && kernel.name == std::string_view("composed"))
        with_libraries.insert(c.primitive->name);
      if (launches_graph(kernel)) as_graph.insert(c.primitive->name);
    }
  }
  EXPECT_EQ(as_graph, with_libraries);
}

}  // namespace
}  // namespace fovea
