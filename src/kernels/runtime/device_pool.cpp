// See device_pool.hpp.
#include "kernels/runtime/device_pool.hpp"

#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea::device_pool {
namespace {

// Never destroyed, since Storage with static lifetime is released after everything else.
struct Shared {
  std::mutex mutex;
  std::set<void*> streams{nullptr};
  std::string failure;
};
Shared& shared() {
  static Shared* const instance = new Shared;
  return *instance;
}

struct Capture {
  std::set<void*> made;
  std::vector<Block> released;  // made before the capture
};
thread_local std::optional<Capture> capture;
thread_local std::set<void*> lost;  // of captures that were thrown away: the memory was never there

bool is_alive(void* stream) {
  const std::scoped_lock lock(shared().mutex);
  return shared().streams.contains(stream);
}

// The block's stream takes it back once the current stream has come as far as it was told to by now.
void release_in_order(const Block& block) {
  void* const current = current_stream(Device::cuda).handle;
  void* const home = is_alive(block.stream) ? block.stream : current;
  if (home != current) {
    Event event(Device::cuda);
    event.record({Device::cuda, current});
    event.hold_back({Device::cuda, home});
  }
  device_api::release(block.data, home);
}

}  // namespace

Block allocate(std::int64_t bytes) {
  void* const stream = current_stream(Device::cuda).handle;
  // The driver hands out nothing for no bytes; an empty tensor has an address all the same.
  const Block block{device_api::allocate(bytes > 0 ? bytes : 1, stream), stream};
  if (capture && block.data != nullptr) capture->made.insert(block.data);
  return block;
}

void release(const Block& block) noexcept {
  try {
    if (lost.erase(block.data) > 0) return;
    if (capture && capture->made.erase(block.data) == 0) {
      capture->released.push_back(block);
    } else {
      release_in_order(block);
    }
  } catch (const std::exception& error) {
    keep_failure(error.what());
  }
}

void add_stream(void* stream) {
  const std::scoped_lock lock(shared().mutex);
  shared().streams.insert(stream);
}

void remove_stream(void* stream) {
  const std::scoped_lock lock(shared().mutex);
  shared().streams.erase(stream);
}

void begin_capture() {
  if (capture) fail("a graph capture was begun inside another one");
  capture.emplace();
}

bool is_capturing() { return capture.has_value(); }

std::size_t end_capture() {
  const Capture ended = std::move(*capture);
  capture.reset();
  lost.insert(ended.made.begin(), ended.made.end());
  for (const Block& block : ended.released) release(block);
  return ended.made.size();
}

void keep_failure(const std::string& what) noexcept {
  const std::scoped_lock lock(shared().mutex);
  if (shared().failure.empty()) shared().failure = what;
}

void throw_kept_failure() {
  std::string failure;
  {
    const std::scoped_lock lock(shared().mutex);
    failure = std::exchange(shared().failure, {});
  }
  if (!failure.empty()) fail(failure);
}

}  // namespace fovea::device_pool
