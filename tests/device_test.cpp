// The runtime's device side on a stand-in for the driver: memory that the host cannot touch (its pages are
// protected outside the stand-in's own calls), streams that note what they were given, captures, and failures on
// demand. It defines all of device_api.hpp, so it takes the place of the build's own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string>

#include "autograd/functions.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/runtime/cuda_error.hpp"
#include "kernels/runtime/cuda_status.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/graph_api.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/protected_memory.hpp"
#include "kernels/runtime/running.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/timing.hpp"

namespace fovea {
namespace {

struct StandIn {
  ProtectedMemory memory{64 << 20};
  std::set<void*> streams{nullptr};
  std::vector<std::string> log;
  std::uintptr_t next = 1;
  int failing = 0;  // the status of the next synchronize
  bool capturing = false, refuses = false;
  std::set<void*> graphs;  // captured ones and executables that are alive

  void* alive(const char* what) {
    log.push_back(std::string("new ") + what);
    return *graphs.insert(handle()).first;
  }
  void* handle() { return reinterpret_cast<void*>(next++); }
  std::string name(void* stream) { return std::to_string(reinterpret_cast<std::uintptr_t>(stream)); }
};
StandIn& device() {
  static StandIn* const instance = new StandIn;
  return *instance;
}

}  // namespace

namespace device_api {

DriverAnswer ask_driver() {
  DriverAnswer answer;
  answer.devices = 1;
  answer.driver_version = answer.runtime_version = 13000;
  answer.name = "stand-in";
  answer.major = 9;
  return answer;
}
bool is_emulated() { return false; }
DeviceInfo info() {
  DeviceInfo info;
  info.name = "stand-in";
  return info;
}

void* allocate(std::int64_t bytes, void* stream) {
  EXPECT_TRUE(device().streams.contains(stream));
  void* const data = device().memory.allocate(bytes);
  if (data == nullptr) return nullptr;
  device().log.push_back("allocate on " + device().name(stream));
  return data;
}
void release(void* data, void* stream) {
  EXPECT_TRUE(device().streams.contains(stream)) << "memory was given back on a stream that is gone";
  if (!device().memory.release(data)) check_cuda(1, "cudaFreeAsync(data)", __FILE__, __LINE__);
  device().log.push_back("release on " + device().name(stream));
}
void memory(std::int64_t& free_bytes, std::int64_t& total_bytes) {
  total_bytes = device().memory.capacity();
  free_bytes = total_bytes - device().memory.used();
}
void* allocate_pinned(std::int64_t bytes) { return std::malloc(static_cast<std::size_t>(bytes)); }
void release_pinned(void* data) { std::free(data); }
void copy(void* to, const void* from, std::int64_t bytes, void*) { device().memory.copy(to, from, bytes); }
void fill(void* data, unsigned char byte, std::int64_t bytes, void*) {
  device().memory.fill(data, byte, bytes);
}
void begin_kernel() { device().memory.open(); }
void end_kernel() noexcept { device().memory.close(); }
void begin_range(const char*) {}
void end_range() noexcept {}
void* make_stream() {
  void* const stream = device().handle();
  device().streams.insert(stream);
  return stream;
}
void destroy_stream(void* stream) { device().streams.erase(stream); }
void synchronize_stream(void*) {
  check_cuda(std::exchange(device().failing, 0), "cudaStreamSynchronize(stream)", __FILE__, __LINE__);
}
void synchronize_device() {
  check_cuda(std::exchange(device().failing, 0), "cudaDeviceSynchronize()", __FILE__, __LINE__);
}
void wait_for_event(void* stream, void*) { device().log.push_back(device().name(stream) + " waits"); }
void* make_event() { return device().handle(); }
void destroy_event(void*) {}
void record_event(void*, void* stream) { device().log.push_back("event on " + device().name(stream)); }
void synchronize_event(void*) {}
float elapsed_ms(void* from, void* to) {
  return static_cast<float>(static_cast<char*>(to) - static_cast<char*>(from));
}
void begin_capture(void*) { device().capturing = true; }
void* end_capture(void*) {
  device().capturing = false;
  check_cuda(std::exchange(device().failing, 0), "cudaStreamEndCapture(stream, &graph)", __FILE__, __LINE__);
  return device().alive("graph");
}
void abandon_capture(void*) noexcept { device().capturing = false; }
void destroy_captured(void* captured) { EXPECT_EQ(device().graphs.erase(captured), 1u); }
void* instantiate(void* captured) {
  EXPECT_TRUE(device().graphs.contains(captured));
  check_cuda(std::exchange(device().failing, 0), "cudaGraphInstantiate(&ready, captured)", __FILE__,
             __LINE__);
  return device().alive("executable");
}
bool update_graph(void* graph, void* captured) {
  EXPECT_TRUE(device().graphs.contains(graph) && device().graphs.contains(captured));
  return !device().refuses;
}
void launch_graph(void* graph, void* stream) {
  EXPECT_TRUE(device().graphs.contains(graph));
  device().log.push_back("graph on " + device().name(stream));
}
void destroy_graph(void* graph) { EXPECT_EQ(device().graphs.erase(graph), 1u); }
void check_launch() {}
const char* error_text(int) { return "the stand-in's words"; }

}  // namespace device_api

namespace {

struct ToyProblem {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  void check() const {}
};
PortList toy_ports(const ToyProblem& p) {
  return {{"x", Role::input, {p.count, 1}, p.dtype}, {"y", Role::output, {p.count, 1}, p.dtype}};
}
Cost toy_cost(const ToyProblem&) { return {}; }
bool supports_any(const ToyProblem&) { return true; }

Stream given;
int missing = 0, beyond = 0;  // planted faults of the kernel below

void double_on_device(const ToyProblem& p, Ports ports, Stream stream) {
  given = stream;
  visit_any(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = ports[0].as<T>();
    T* y = ports[1].as<T>();
    for (std::int64_t i = 0; i < p.count + beyond; ++i) {
      if (i >= missing) y[i] = static_cast<T>(i < p.count ? 2 * static_cast<double>(x[i]) : 0.0);
    }
  });
}

constexpr Kernel toy_kernels[] = {kernel<&double_on_device, &supports_any>("cluster", Backend::cuda)};
constexpr PrimitiveOf<ToyProblem> toy =
    primitive<ToyProblem, &toy_ports, &toy_cost>("toy.forward", toy_kernels);

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class DeviceTest : public ::testing::Test {
 protected:
  DeviceTest() { device().log.clear(); }
  ~DeviceTest() override {
    set_debug(false);
    set_memory_limit(Device::cuda, 0);
    missing = beyond = 0;
    EXPECT_EQ(memory_use(Device::cuda).current, 0) << "everything was given back";
    EXPECT_TRUE(device().memory.blocks() == 0);
  }
};

TEST_F(DeviceTest, TensorsMoveAndCompute) {
  ASSERT_TRUE(cuda_available());
  EXPECT_EQ(device_info().name, "stand-in");
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
    const std::vector<float> values{1, -2, 3.5};
    const Tensor host = Tensor::from<float>(values, {3, 1}, dtype);
    const Tensor x = host.to(Device::cuda);
    EXPECT_EQ(x.device(), Device::cuda);
    EXPECT_EQ(x.view().device, Device::cuda);
    EXPECT_EQ(x.to_doubles(), host.to_doubles());
    EXPECT_EQ(x.to(Device::cpu).to_doubles(), host.to_doubles());
    EXPECT_EQ(x.clone().device(), Device::cuda);
    EXPECT_EQ(x.clone().to_doubles(), host.to_doubles());
    EXPECT_EQ(x.to(Dtype::f64).device(), Device::cuda);
    EXPECT_EQ(x.to(Dtype::f64).to_doubles(), host.to_doubles());
    Tensor y = Tensor::zeros({3, 1}, dtype, Device::cuda);
    EXPECT_EQ(y.to_doubles(), std::vector<double>(3, 0));
    dispatch(toy, {.dtype = dtype, .count = 3}, {x.view(), y.view()});
    EXPECT_EQ(y.to_doubles(), (std::vector<double>{2, -4, 7}));
    y.fill(0.25);
    EXPECT_EQ(y.to_doubles(), std::vector<double>(3, 0.25));
    y.copy_from(host);
    EXPECT_EQ(y.to_doubles(), host.to_doubles());
  }
  EXPECT_EQ(Tensor::full({}, 4, Dtype::i64, Device::cuda).item(), 4);
  EXPECT_EQ(Tensor::zeros({0}, Dtype::f32, Device::cuda).to_doubles().size(), 0u);
}

TEST_F(DeviceTest, CopiesThatTheHostDoesNotWaitFor) {
  const std::vector<float> values{1, -2, 3.5};
  const Tensor x = Tensor::from<float>(values, {3}, Dtype::f32);
  for (const Device where : {Device::cpu, Device::cuda}) {
    const PinnedMemory there({3}, Dtype::f32, where), back({3}, Dtype::f32, where);
    copy(there.view(), x.view());
    Tensor y = Tensor::zeros({3}, Dtype::f32, where);
    copy_async(y.view(), there.view());
    copy_async(back.view(), y.view());
    Event arrived(where);
    arrived.record(current_stream(where));
    arrived.synchronize();
    EXPECT_EQ(std::vector<float>(back.view().as<float>(), back.view().as<float>() + 3), values);
  }
}

TEST(DeviceDeathTest, HostCodeThatTouchesDeviceMemoryFaults) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const Tensor x = Tensor::zeros({3}, Dtype::f32, Device::cuda);
        *x.data<float>() = 1;
      },
      "");
}

TEST_F(DeviceTest, KernelsGetTheCurrentStream) {
  const Tensor x = Tensor::zeros({2, 1}, Dtype::f32, Device::cuda), y = x.clone();
  dispatch(toy, {.count = 2}, {x.view(), y.view()});
  EXPECT_EQ(given.device, Device::cuda);
  EXPECT_EQ(given.handle, nullptr);
  const OwnedStream stream(Device::cuda);
  const StreamScope scope(stream.get());
  dispatch(toy, {.count = 2}, {x.view(), y.view()});
  EXPECT_EQ(given.handle, stream.get().handle);
  const OwnedStream other(Device::cuda);
  dispatch(toy, {.count = 2}, {x.view(), y.view()}, other.get());
  EXPECT_EQ(given.handle, other.get().handle);
}

TEST_F(DeviceTest, MemoryGoesBackInOrder) {
  Tensor x = Tensor::empty({8}, Dtype::f32, Device::cuda);
  {
    const OwnedStream stream(Device::cuda);
    const StreamScope scope(stream.get());
    const std::string name = device().name(stream.get().handle);
    device().log.clear();
    x = {};  // was made on the default stream, may have been used on this one
    EXPECT_EQ(device().log, (std::vector<std::string>{"event on " + name, "0 waits", "release on 0"}));
    device().log.clear();
    x = Tensor::empty({8}, Dtype::f32, Device::cuda);
    EXPECT_EQ(device().log, (std::vector<std::string>{"allocate on " + name}));
  }
  device().log.clear();
  x = {};  // its stream is gone
  EXPECT_EQ(device().log, (std::vector<std::string>{"release on 0"}));
}

TEST_F(DeviceTest, EventsMeasureAndHoldBack) {
  Event begin(Device::cuda), end(Device::cuda);
  begin.record(current_stream(Device::cuda));
  end.record(current_stream(Device::cuda));
  EXPECT_EQ(Event::elapsed_ms(begin, end), 1.0);
  EXPECT_NE(message_of([&] { begin.record({}); }).find("an event of cuda was recorded on a stream of cpu"),
            std::string::npos);
  Event host_begin(Device::cpu), host_end(Device::cpu);
  host_begin.record({});
  host_end.record({});
  EXPECT_GE(Event::elapsed_ms(host_begin, host_end), 0.0);
}

TEST_F(DeviceTest, GraphsCaptureAndReplay) {
  const Tensor x = Tensor::full({2, 1}, 3, Dtype::f32, Device::cuda), y = x.clone();
  Tensor old = x.clone();
  bool captured = false;
  device().log.clear();
  const Graph graph(Device::cuda, [&] {
    captured = device().capturing;
    dispatch(toy, {.count = 2}, {x.view(), y.view()});
    const Tensor scratch = x.clone();
    old = {};  // made before: must not become part of the graph
    EXPECT_EQ(device().memory.blocks(), 4u);
  });
  EXPECT_TRUE(captured);
  EXPECT_EQ(device().memory.blocks(), 2u) << "given back after the capture";
  graph.replay(current_stream(Device::cuda));
  EXPECT_EQ(device().log.back(), "graph on 0");
  int runs = 0;
  const Graph on_host(Device::cpu, [&] { ++runs; });
  on_host.replay({});
  on_host.replay({});
  EXPECT_EQ(runs, 2);
}

TEST_F(DeviceTest, CapturesRefuseWhatCannotBeReplayed) {
  set_debug(true);
  EXPECT_NE(message_of([] { const Graph graph(Device::cuda, [] {}); }).find("debug mode"), std::string::npos);
  set_debug(false);
  EXPECT_EQ(message_of([] { const Graph graph(Device::cuda, [] { fail("the work's own"); }); }),
            "the work's own");
  EXPECT_FALSE(device().capturing);
  Tensor kept;
  EXPECT_EQ(message_of([&] {
              const Graph graph(Device::cuda, [&] { kept = Tensor::empty({4}, Dtype::f32, Device::cuda); });
            }),
            "1 blocks of memory made inside a graph capture outlive it; make them before the capture");
  kept = {};  // was never there: nothing is given back
  EXPECT_EQ(device().memory.blocks(), 1u);
  device().memory.release_all();
  EXPECT_NO_THROW(Graph(Device::cuda, [] {})) << "a capture that failed leaves nothing behind";
}

TEST_F(DeviceTest, GraphsLeaveNothingWhateverFails) {
  const auto make = [] { const Graph graph(Device::cuda, [] {}); };
  make();
  EXPECT_TRUE(device().graphs.empty());
  const auto fail_at = [&](const std::string& call) {
    return message_of([&] { const Graph graph(Device::cuda, [&] { device().failing = 1; }); }).find(call) !=
           std::string::npos;
  };
  EXPECT_TRUE(fail_at("cudaStreamEndCapture"));
  EXPECT_TRUE(device().graphs.empty());
  make();
  GraphApi& graphs = device_graphs();
  void* const captured = graphs.capture([](Stream) {});
  device().failing = 1;
  EXPECT_THROW(graphs.instantiate(captured), Error);
  graphs.destroy_graph(captured);
  EXPECT_TRUE(device().graphs.empty());
}

// As GraphPlans uses them: one composed kernel, its scratch, other addresses, a refused update.
TEST_F(DeviceTest, AKernelAsOneGraphIsCapturedOnItsOwnStream) {
  const Tensor x = Tensor::full({2, 1}, 3, Dtype::f32, Device::cuda), y = x.clone(), z = x.clone();
  {
    GraphPlans plans(device_graphs(), [] { return std::uint64_t{1}; },
                     {.all = 1, .per_problem = 1, .aside = 1});
    const auto run = [&](const Tensor& to) {
      device().log.clear();
      void* const addresses[] = {x.view().data, to.view().data};
      plans.run({"toy.forward", {2}, {}}, addresses, current_stream(Device::cuda), [&](Stream stream) {
        const Tensor scratch = x.clone();
        dispatch(toy, {.count = 2}, {x.view(), to.view()}, stream);
      });
      return std::count_if(device().log.begin(), device().log.end(),
                           [](const std::string& line) { return line.starts_with("new "); });
    };
    run(y);
    EXPECT_EQ(given.handle, nullptr) << "plainly, on the kernel's stream";
    EXPECT_EQ(run(y), 2);
    EXPECT_NE(given.handle, nullptr) << "under the capture";
    EXPECT_EQ(device().log.back(), "graph on 0");
    given = {};
    EXPECT_EQ(run(y), 0);
    EXPECT_EQ(given.device, Device::cpu) << "the work itself does not run again";
    EXPECT_EQ(run(z), 1) << "an update";
    device().refuses = true;
    EXPECT_EQ(run(y), 2) << "a new executable";
    device().refuses = false;
    EXPECT_EQ(device().graphs.size(), 2u);
    EXPECT_EQ(device().memory.blocks(), 3u) << "scratch is the graph's";
    set_debug(true);
    run(z);
    set_debug(false);
    EXPECT_EQ(given.handle, nullptr) << "debug mode looks at every kernel";
    const Graph whole_step(Device::cuda,
                           [&] { EXPECT_EQ(run(z), 0) << "inside another capture it is plain"; });
  }
  EXPECT_TRUE(device().graphs.empty());
}

TEST_F(DeviceTest, LaunchesAreTimedWithoutAGraph) {
  int runs = 0;
  const Timing t =
      time_launches(Device::cuda, [&](int) { ++runs; }, {.copies = 4, .replays = 5, .warm_up = 2});
  EXPECT_EQ(t.copies, 4);
  EXPECT_EQ(t.replays, 5);
  EXPECT_EQ(runs, 4 * (2 + 1 + 5));
  EXPECT_TRUE(device().graphs.empty());
}

TEST_F(DeviceTest, ErrorsFoundLaterSayWhatRan) {
  const Tensor x = Tensor::zeros({2, 1}, Dtype::f32, Device::cuda), y = x.clone();
  dispatch(toy, {.count = 2}, {x.view(), y.view()});
  device().failing = cuda_status::illegal_address;
  const std::string message = message_of([] { synchronize(Device::cuda); });
  EXPECT_NE(
      message.find("cudaDeviceSynchronize failed: the stand-in's words, raised by a kernel that ran before "
                   "this call (the last dispatched, newest first: toy.forward 'cluster'"),
      std::string::npos)
      << message;
  EXPECT_NO_THROW(synchronize(Device::cuda));
  device_pool::keep_failure("of a destructor");
  EXPECT_EQ(message_of([] { synchronize(Stream{Device::cuda, nullptr}); }), "of a destructor");
  EXPECT_NO_THROW(synchronize(Device::cuda));
}

TEST_F(DeviceTest, OutOfMemory) {
  void* const rest = device().memory.allocate(device().memory.capacity() - 100);
  EXPECT_EQ(device_memory_info(Device::cuda).free, 100);
  std::string message = message_of([] { Tensor::zeros({5, 7}, Dtype::bf16, Device::cuda).to(Dtype::f32); });
  EXPECT_TRUE(
      message.starts_with("out of memory on cuda: a tensor of 5x7 f32 needs 140 bytes, and 70 bytes of "
                          "64.0 MiB are in use"))
      << message;
  device().memory.release(rest);
  set_memory_limit(Device::cuda, 1000);
  EXPECT_EQ(device_memory_info(Device::cuda).total, 1000);
  message = message_of([] { Tensor::zeros({1001}, Dtype::u8, Device::cuda); });
  EXPECT_TRUE(
      message.starts_with("out of memory on cuda: a buffer needs 1001 bytes, and 0 bytes of 1000 bytes"))
      << message;
}

TEST_F(DeviceTest, DebugModeLooksAtDeviceMemory) {
  set_debug(true);
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
    const Tensor x = Tensor::full({3, 1}, 1, dtype, Device::cuda), y = x.clone();
    const auto run = [&] {
      return message_of([&] { dispatch(toy, {.dtype = dtype, .count = 3}, {x.view(), y.view()}); });
    };
    const std::string prefix =
        "toy.forward (cuda kernel 'cluster', x 3x1 " + std::string(name_of(dtype)) + "): ";
    EXPECT_EQ(run(), "");
    missing = 1;
    EXPECT_EQ(run(), prefix + "output 'y' was never written (or made from what never was) at [0, 0]");
    missing = 0;
    beyond = 1;
    EXPECT_EQ(run(), prefix + "memory outside port 'y' was overwritten: byte 1 after the end of its " +
                         std::to_string(3 * size_of(dtype)) + " bytes");
    beyond = 0;
    EXPECT_EQ(run(), "");
  }
}

}  // namespace
}  // namespace fovea
