// See stream.hpp.
#include "kernels/runtime/stream.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>

#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/graph_api.hpp"

namespace fovea {
namespace {

thread_local Stream current{Device::cuda, nullptr};

double host_now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// A destructor cannot throw: what fails in it is reported by the next synchronize().
template <class F>
void quietly(F&& f) noexcept {
  try {
    f();
  } catch (const std::exception& error) {
    device_pool::keep_failure(error.what());
  }
}

}  // namespace

void synchronize(Stream stream) {
  if (stream.device == Device::cpu) return;
  device_pool::throw_kept_failure();
  device_api::synchronize_stream(stream.handle);
}

void synchronize(Device device) {
  if (device == Device::cpu) return;
  device_pool::throw_kept_failure();
  device_api::synchronize_device();
}

OwnedStream::OwnedStream(Device device) : stream_{device, nullptr} {
  if (device == Device::cpu) return;
  stream_.handle = device_api::make_stream();
  device_pool::add_stream(stream_.handle);
}

OwnedStream::~OwnedStream() {
  if (stream_.handle == nullptr) return;
  device_pool::remove_stream(stream_.handle);
  quietly([&] { device_api::synchronize_stream(stream_.handle); });
  quietly([&] { device_api::destroy_stream(stream_.handle); });
}

Stream current_stream(Device device) { return device == Device::cpu ? Stream{} : current; }

StreamScope::StreamScope(Stream stream) : before_(current) {
  if (stream.device == Device::cuda) current = stream;
}
StreamScope::~StreamScope() { current = before_; }

Event::Event(Device device)
    : device_(device), handle_(device == Device::cuda ? device_api::make_event() : nullptr) {}

Event::~Event() {
  if (handle_ != nullptr) quietly([&] { device_api::destroy_event(handle_); });
}

void Event::record(Stream stream) {
  if (stream.device != device_) {
    fail(fmt::format("an event of {} was recorded on a stream of {}", name_of(device_),
                     name_of(stream.device)));
  }
  if (device_ == Device::cpu) {
    host_ms_ = host_now_ms();
  } else {
    device_api::record_event(handle_, stream.handle);
  }
}

void Event::hold_back(Stream stream) const {
  if (device_ == Device::cuda && stream.device == Device::cuda) {
    device_api::wait_for_event(stream.handle, handle_);
  } else {
    synchronize();  // the host does all work of a CPU stream itself
  }
}

void Event::synchronize() const {
  if (device_ == Device::cuda) device_api::synchronize_event(handle_);
}

double Event::elapsed_ms(const Event& begin, const Event& end) {
  if (begin.device_ != end.device_) fail("the time between events of two devices was asked for");
  if (end.device_ == Device::cpu) return end.host_ms_ - begin.host_ms_;
  end.synchronize();
  return device_api::elapsed_ms(begin.handle_, end.handle_);
}

Graph::Graph(Device device, const std::function<void()>& work) : device_(device) {
  if (device == Device::cpu || device_api::is_emulated()) {
    work_ = work;
    return;
  }
  if (debug()) {
    fail("debug mode looks at the results of every kernel, and a graph capture has none; capture without it");
  }
  synchronize(device);  // what the work reads is there, since a capture cannot wait for other streams
  GraphApi& graphs = device_graphs();
  void* const captured = graphs.capture([&](Stream) { work(); });
  try {
    handle_ = graphs.instantiate(captured);
  } catch (...) {
    graphs.destroy_graph(captured);
    throw;
  }
  graphs.destroy_graph(captured);
}

Graph::~Graph() {
  if (handle_ != nullptr) device_graphs().destroy(handle_);
}

void Graph::replay(Stream stream) const {
  if (handle_ != nullptr) return device_graphs().launch(handle_, stream);
  const StreamScope scope(stream);
  work_();
}

}  // namespace fovea
