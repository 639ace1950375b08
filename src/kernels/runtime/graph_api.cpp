// See graph_api.hpp.
#include "kernels/runtime/graph_api.hpp"

#include <fmt/format.h>

#include <exception>

#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea {
namespace {

// Never destroyed: the driver may be gone when a thread's objects are.
Stream capturing_stream() {
  thread_local OwnedStream* const stream = new OwnedStream(Device::cuda);
  return stream->get();
}

class DeviceGraphs : public GraphApi {
 public:
  bool can_capture(Stream stream) override {
    return stream.device == Device::cuda && !device_api::is_emulated() && !debug() &&
           !device_pool::is_capturing();
  }

  void* capture(const std::function<void(Stream)>& work) override {
    const Stream stream = capturing_stream();
    const StreamScope scope(stream);
    device_pool::begin_capture();
    try {
      device_api::begin_capture(stream.handle);
      work(stream);
    } catch (...) {
      device_api::abandon_capture(stream.handle);
      device_pool::end_capture();
      throw;
    }
    return finish(stream);
  }
  void destroy_graph(void* graph) noexcept override {
    quietly([&] { device_api::destroy_captured(graph); });
  }

  void* instantiate(void* graph) override { return device_api::instantiate(graph); }
  bool update(void* executable, void* graph) override { return device_api::update_graph(executable, graph); }
  void launch(void* executable, Stream stream) override {
    device_api::launch_graph(executable, stream.handle);
  }
  void wait() override { synchronize(Device::cuda); }
  void destroy(void* executable) noexcept override {
    quietly([&] { device_api::destroy_graph(executable); });
  }

 private:
  void* finish(Stream stream) {
    void* graph = nullptr;
    try {
      graph = device_api::end_capture(stream.handle);
    } catch (...) {
      device_pool::end_capture();
      throw;
    }
    if (const std::size_t kept = device_pool::end_capture(); kept > 0) {
      destroy_graph(graph);
      fail(fmt::format(
          "{} blocks of memory made inside a graph capture outlive it; make them before the capture", kept));
    }
    return graph;
  }

  // What fails where nothing can be thrown is reported by the next synchronize().
  template <class F>
  static void quietly(F&& f) noexcept {
    try {
      f();
    } catch (const std::exception& error) {
      device_pool::keep_failure(error.what());
    }
  }
};

}  // namespace

GraphApi& device_graphs() {
  static DeviceGraphs* const instance = new DeviceGraphs;
  return *instance;
}

}  // namespace fovea
