// The host executor: each part of the language once, its refusals, its schedules, and what an error leaves.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <thread>

#include "simt/executor.hpp"

namespace simt_tests {
namespace {

using simt::DeviceArray;
using simt::Fault;
using simt::Order;

// The environment's schedule and then the others.
class Executor : public ::testing::Test {
 protected:
  void TearDown() override { simt::set_schedule(schedule_); }
  simt::Schedule schedule_ = simt::schedule();
};

std::vector<float> iota(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

template <class F>
void expect_error(Fault fault, const std::string& words, F&& f) {
  try {
    f();
  } catch (const simt::Error& error) {
    EXPECT_EQ(error.fault, fault) << error.what();
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    return;
  }
  ADD_FAILURE() << "no error; expected: " << words;
}

std::vector<float> reversed(const simt::Launch& shape) {
  const std::size_t block = shape.block.x * shape.block.y * shape.block.z;
  const std::size_t n = block * shape.grid.x * shape.grid.y * shape.grid.z;
  DeviceArray<float> x(iota(n), "x"), y(n, "y");
  reverse(shape, x.data(), y.data());
  return y.to_host();
}

void expect_reversed(const simt::Launch& shape) {
  const std::size_t block = shape.block.x * shape.block.y * shape.block.z;
  const std::vector<float> y = reversed(shape);
  for (std::size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(y[i], float(i / block * block + block - 1 - i % block)) << "element " << i;
  }
}

// ---- the language

TEST_F(Executor, BarriersForBlocksOfEverySize) {
  for (const unsigned threads : {1u, 2u, 31u, 32u, 33u, 63u, 64u, 100u, 1000u, 1024u}) {
    expect_reversed({.grid = 3, .block = threads});
  }
}

TEST_F(Executor, GridsAndBlocksOfThreeDimensions) {
  expect_reversed({.grid = {3, 2, 4}, .block = {5, 3, 4}});
}

TEST_F(Executor, ManyBlocksOverSeveralOsThreads) { expect_reversed({.grid = 2000, .block = 64}); }

TEST_F(Executor, PlacesInGridAndWarp) {
  const simt::Launch shape{.grid = {3, 2, 2}, .block = {5, 4, 3}};
  const unsigned threads = 60, blocks = 12;
  DeviceArray<unsigned> y(4 * threads * blocks, "y");
  places(shape, y.data());
  const std::vector<unsigned> at = y.to_host();
  for (unsigned i = 0; i < threads * blocks; ++i) {
    const unsigned t = i % threads, b = i / threads;
    ASSERT_EQ(at[4 * i], t % 5 + 100 * (t / 5 % 4) + 10000 * (t / 20));
    ASSERT_EQ(at[4 * i + 1], t / 32);
    ASSERT_EQ(at[4 * i + 2], t % 32);
    ASSERT_EQ(at[4 * i + 3], b % 3 + 100 * (b / 3 % 2) + 10000 * (b / 6));
  }
}

TEST_F(Executor, ShufflesOfAllKindsAndWidths) {
  DeviceArray<float> y(12 * 32, "y");
  shuffles(y.data());
  const std::vector<float> v = y.to_host();
  for (int t = 0; t < 32; ++t) {
    const auto at = [&](int row) { return v[std::size_t(32 * row + t)]; };
    EXPECT_EQ(at(0), 5.0f);
    EXPECT_EQ(at(1), float(t / 8 * 8 + 5));
    EXPECT_EQ(at(2), float(t ^ 1));
    // A source in a later segment keeps the lane's own value, one in an earlier segment is read.
    EXPECT_EQ(at(3), (t ^ 12) < t / 8 * 8 + 8 ? float(t ^ 12) : float(t));
    EXPECT_EQ(at(4), t >= 3 ? float(t - 3) : float(t));
    EXPECT_EQ(at(5), t % 16 >= 3 ? float(t - 3) : float(t));
    EXPECT_EQ(at(6), t + 3 < 32 ? float(t + 3) : float(t));
    EXPECT_EQ(at(7), t % 4 + 3 < 4 ? float(t + 3) : float(t));
    EXPECT_EQ(at(8), float((t + 1) % 32) * 0.5f);
    EXPECT_EQ(at(9), float(t ^ 31));
    EXPECT_EQ(at(10), 496.0f);
    EXPECT_EQ(at(11), 31.0f);
  }
}

TEST_F(Executor, Votes) {
  DeviceArray<unsigned> y(2, "y");
  votes(y.data());
  EXPECT_EQ(y.to_host()[0], 0x000fffffu);
  EXPECT_EQ(y.to_host()[1], 0b0101u);
}

TEST_F(Executor, PartialMasksAndExitedLanes) {
  DeviceArray<float> y(32, "y");
  partial_masks(y.data());
  const std::vector<float> v = y.to_host();
  for (std::size_t t = 8; t < 16; ++t) EXPECT_EQ(v[t], float(t ^ 7));
  for (std::size_t t = 16; t < 32; ++t) EXPECT_EQ(v[t], 376.0f);
  EXPECT_TRUE(std::isnan(v[0]));
}

TEST_F(Executor, ClustersReadEachOthersSharedMemory) {
  for (const unsigned size : {1u, 2u, 4u, 8u, 16u}) {
    const unsigned clusters = 3;
    const std::size_t n = std::size_t(clusters) * size * 32;
    DeviceArray<float> x(iota(n), "x"), y(n, "y");
    cluster_sum(clusters, size, x.data(), y.data());
    const std::vector<float> v = y.to_host();
    for (std::size_t i = 0; i < n; ++i) {
      float sum = 0;
      for (std::size_t rank = 0; rank < size; ++rank)
        sum += float((i / 32 / size * size + rank) * 32 + i % 32);
      ASSERT_EQ(v[i], sum) << "cluster of " << size << ", element " << i;
    }
  }
}

TEST_F(Executor, AtomicsOverBlocks) {
  DeviceArray<unsigned> y(std::vector<unsigned>{0, 1000000, 0, 0}, "y");
  atomics({.grid = 100, .block = 96}, y.data());
  EXPECT_EQ(y.to_host(), (std::vector<unsigned>{9600u * 9599u / 2u, 0, 9599, 9600}));
}

TEST_F(Executor, StaticSharedVariables) {
  DeviceArray<float> y(5 * 64, "y");
  statics(5, y.data());
  const std::vector<float> v = y.to_host();
  for (std::size_t i = 0; i < v.size(); ++i) EXPECT_EQ(v[i], float(63 - i % 64 + 100 + i / 64));
}

TEST_F(Executor, StaticSharedVariablesBeginUndefinedInEveryLaunch) {
  DeviceArray<float> y(3, "y");
  large_static(true, y.data());
#if defined(SIMT_CHECK)
  expect_error(Fault::uninitialised, "'first', shared memory (element 1999 of 4 bytes)",
               [&] { large_static(false, y.data()); });
#else
  large_static(false, y.data());
  for (const float value : y.to_host()) EXPECT_TRUE(std::isnan(value));
#endif
}

TEST_F(Executor, NamedBarriersAlsoOfAWarpThatIsNotFull) {
  for (const unsigned threads : {64u, 40u}) {
    DeviceArray<float> y(threads, "y");
    named(threads, y.data());
    const std::vector<float> v = y.to_host();
    for (unsigned t = 0; t < threads; ++t) EXPECT_EQ(v[t], float(t));
  }
}

TEST_F(Executor, NeighbouringBytesAreNoRace) {
  DeviceArray<unsigned char> bytes(64, "bytes");
  DeviceArray<simt::bf16> halves(64, "halves");
  neighbours(bytes.data(), halves.data());
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(bytes.to_host()[i], 63 - i);
    EXPECT_EQ(float(halves.to_host()[i]), float(63 - i));
  }
}

// ---- schedules

std::vector<unsigned> order_in(Order order, std::uint64_t seed) {
  simt::set_schedule({order, seed});
  DeviceArray<unsigned> y(64, "y"), next(std::vector<unsigned>{0}, "next");
  simt_tests::order(y.data(), next.data());
  return y.to_host();
}

TEST_F(Executor, SchedulesGiveOtherOrdersAndEqualResults) {
  const std::vector<unsigned> forward = order_in(Order::forward, 1), reverse = order_in(Order::reverse, 1);
  const std::vector<unsigned> random = order_in(Order::random, 1);
  EXPECT_NE(forward, reverse);
  EXPECT_NE(forward, random);
  for (std::vector<unsigned> order : {forward, reverse, random}) {
    std::sort(order.begin(), order.end());
    for (unsigned i = 0; i < 64; ++i) EXPECT_EQ(order[i], i);
  }
  for (const Order order : {Order::forward, Order::reverse, Order::random}) {
    simt::set_schedule({order, 7});
    expect_reversed({.grid = 4, .block = 96});
  }
}

TEST_F(Executor, EveryLaunchDrawsAnotherRandomOrder) {
  EXPECT_NE(order_in(Order::random, 1), order_in(Order::random, 1));
}

// Runs one test of this program with these settings; returns what it prints.
std::string run_self(const std::string& settings, const std::string& test) {
  char path[4096] = {};
  EXPECT_GT(readlink("/proc/self/exe", path, sizeof path - 1), 0);
  const std::string command = settings + " '" + path + "' --gtest_also_run_disabled_tests --gtest_filter='" +
                              test + "' --gtest_print_time=0 2>&1";
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char part[1024];
  while (std::fgets(part, sizeof part, pipe) != nullptr) output += part;
  pclose(pipe);
  return output;
}

TEST_F(Executor, DISABLED_PrintsAnOrder) {
  DeviceArray<unsigned> y(64, "y"), next(std::vector<unsigned>{0}, "next");
  simt_tests::order(y.data(), next.data());
  for (const unsigned place : y.to_host()) std::printf("%u ", place);
}

TEST_F(Executor, ASeedGivesTheSameOrderInEveryProcess) {
  const auto order = [](const char* seed) {
    return run_self(std::string("SIMT_SCHEDULE=random:") + seed, "Executor.DISABLED_PrintsAnOrder");
  };
  EXPECT_EQ(order("5"), order("5"));
  EXPECT_NE(order("5"), order("6"));
}

TEST_F(Executor, DISABLED_PrintsTimes) {
  const auto nanoseconds = [](auto&& work) {
    work();
    const auto start = std::chrono::steady_clock::now();
    work();
    return double((std::chrono::steady_clock::now() - start) / std::chrono::nanoseconds(1));
  };
  const int rounds = 10000;
  std::printf("a switch, in __syncwarp():    %6.1f ns\n",
              nanoseconds([&] { syncwarps(rounds); }) / rounds / 32);
  std::printf("a barrier of 256 threads:     %6.2f us\n",
              nanoseconds([&] { barriers(256, rounds); }) / rounds / 1000);
  std::printf("a launch of 1 block of 256:   %6.2f us\n", nanoseconds([&] {
                                                            for (int i = 0; i < 1000; ++i) barriers(256, 0);
                                                          }) / 1000 /
                                                              1000);
}

// ---- refusals

TEST_F(Executor, RefusesSettingsThatItDoesNotKnow) {
  const auto says = [](const char* settings, const char* words) {
    const std::string output = run_self(settings, "Executor.PlacesInGridAndWarp");
    EXPECT_NE(output.find(words), std::string::npos) << output;
  };
  says("SIMT_WORKERS=abc", "SIMT_WORKERS is 'abc'; it takes a number of OS threads, 1 to 1024");
  says("SIMT_WORKERS=0", "SIMT_WORKERS is '0'; it takes a number of OS threads, 1 to 1024");
  says("SIMT_WORKERS=4x", "SIMT_WORKERS is '4x'");
  says("SIMT_WORKERS=", "SIMT_WORKERS is ''");
  says("SIMT_SCHEDULE=random:x",
       "SIMT_SCHEDULE is 'random:x'; it knows forward, reverse, random and random:SEED");
  says("SIMT_SCHEDULE=backwards", "SIMT_SCHEDULE is 'backwards'");
}

TEST_F(Executor, RefusesWhatNoDeviceLaunches) {
  const auto refuses = [](const simt::Launch& shape, const std::string& words) {
    expect_error(Fault::launch, words, [&] { reverse(shape, nullptr, nullptr); });
  };
  refuses({.block = 0}, "an empty launch of (1,1,1) blocks of (0,1,1) threads");
  refuses({.grid = {1, 0, 1}}, "an empty launch");
  refuses({.block = 1025}, "a block has at most 1024 threads, 64 along z");
  refuses({.block = {2, 2, 65}}, "a block has at most 1024 threads, 64 along z");
  refuses({.grid = {1, 65536, 1}}, "2147483647, 65535 and 65535 blocks along x, y and z");
  refuses({.shared_bytes = 232449}, "232449 bytes of shared memory asked for; a block has at most 232448");
  refuses({.grid = 34, .cluster = 17}, "a cluster has 1 to 16 blocks and divides them");
  refuses({.grid = 3, .cluster = 2}, "clusters of 2 blocks over 3 along x");
  refuses({.block = 32, .shared_bytes = 232448},
          "4096 bytes of static and 232448 of dynamic shared memory; a block has at most 232448");
  refuses({.block = 2000}, "kernel 'reverse': ");
}

TEST_F(Executor, RefusesALaunchWithinALaunch) {
  expect_error(Fault::launch, "kernel 'inner': a kernel launches another, which the executor does not do",
               nested);
  expect_reversed({.grid = 2, .block = 64});
}

TEST_F(Executor, RefusesAShuffleOfWidth3) {
  DeviceArray<float> y(32, "y");
  expect_error(Fault::misuse, "a shuffle of width 3; it takes 1, 2, 4, 8, 16 or 32",
               [&] { wrong_width(y.data()); });
}

// ---- errors, and after

TEST_F(Executor, AnErrorNamesKernelLineAndThreadAndLeavesTheExecutorUsable) {
  for (int i = 0; i < 3; ++i) {
    expect_error(Fault::bounds,
                 "kernel 'fails': shared<T>() is a struct of 256 bytes, and the launch gave 128", fails);
    expect_error(Fault::bounds, "by thread (3,0,0) of block (0,0,0)", fails);
    expect_error(Fault::bounds, "executor.cu:", fails);
    expect_reversed({.grid = 5, .block = 64});
  }
}

TEST_F(Executor, LaunchesFromSeveralOsThreads) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {  // memory comes and goes while others launch
      for (int k = 0; k < 20; ++k) expect_reversed({.grid = 20, .block = 128});
    });
  }
}

TEST_F(Executor, CountsItsWork) {
  const simt::Counters before = simt::counters();
  barriers(64, 10);
  syncwarps(7);
  const simt::Counters after = simt::counters();
  EXPECT_EQ(after.launches - before.launches, 2u);
  EXPECT_EQ(after.threads - before.threads, 96u);
  EXPECT_EQ(after.barriers - before.barriers, 10u);
  EXPECT_EQ(after.warp_collectives - before.warp_collectives, 7u * 32u);
  EXPECT_GE(after.switches - before.switches, 10u * 63u);
}

}  // namespace
}  // namespace simt_tests
