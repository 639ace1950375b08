// Copies, fills, totals and the text of OutOfMemory. The limit itself is kept by Storage. See memory.hpp.
#include "kernels/runtime/memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>
#include <utility>

#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/staging.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kib = 1 << 10, mib = 1 << 20, gib = 1 << 30;

void start_copy(const View& to, const View& from, Stream stream) {
  if (to.bytes() != from.bytes()) {
    fail(fmt::format("{} bytes cannot be copied into {}", from.bytes(), to.bytes()));
  }
  if (to.bytes() == 0) return;
  if (to.device == Device::cpu && from.device == Device::cpu) {
    std::memmove(to.data, from.data, static_cast<std::size_t>(to.bytes()));
  } else {
    device_api::copy(to.data, from.data, to.bytes(), stream.handle);
  }
}

Stream stream_between(const View& to, const View& from) {
  return current_stream(to.device == Device::cuda ? to.device : from.device);
}

}  // namespace

void copy(const View& to, const View& from, Stream stream) {
  const bool uploads = to.device == Device::cuda && from.device == Device::cpu;
  if (uploads && to.bytes() == from.bytes() && to.bytes() > 0 && to.bytes() <= staging::most &&
      !device_pool::is_capturing()) {
    return staging::upload(to.data, from.data, to.bytes(), stream.handle);
  }
  start_copy(to, from, stream);
  if (to.device != from.device && to.bytes() > 0) synchronize(stream);
}

void copy(const View& to, const View& from) { copy(to, from, stream_between(to, from)); }

void copy_async(const View& to, const View& from) { start_copy(to, from, stream_between(to, from)); }

PinnedMemory::PinnedMemory(const Shape& shape, Dtype dtype, Device device)
    : view_{.shape = shape, .dtype = dtype}, device_(device) {
  const std::int64_t bytes = std::max<std::int64_t>(view_.bytes(), 1);
  view_.data = device == Device::cuda ? device_api::allocate_pinned(bytes)
                                      : std::malloc(static_cast<std::size_t>(bytes));
  if (view_.data == nullptr) fail(fmt::format("out of memory: {} of pinned memory", bytes_text(bytes)));
}

PinnedMemory::~PinnedMemory() {
  if (device_ == Device::cpu) {
    std::free(view_.data);
    return;
  }
  try {
    device_api::synchronize_device();  // a copy may be under way
    device_api::release_pinned(view_.data);
  } catch (const std::exception& error) {
    device_pool::keep_failure(error.what());
  }
}

void fill_bytes(const View& view, unsigned char byte) {
  if (view.bytes() == 0) return;
  if (view.device == Device::cpu) {
    std::memset(view.data, byte, static_cast<std::size_t>(view.bytes()));
  } else {
    device_api::fill(view.data, byte, view.bytes(), current_stream(view.device).handle);
  }
}

MemoryInfo device_memory_info(Device device) {
  MemoryInfo info;
  if (device == Device::cuda) device_api::memory(info.free, info.total);
  const std::int64_t limit = memory_limit(device);
  if (limit > 0 && (device == Device::cpu || limit < info.total)) {
    const std::int64_t left = std::max<std::int64_t>(limit - memory_use(device).current, 0);
    info.free = device == Device::cpu ? left : std::min(left, info.free);
    info.total = limit;
  }
  return info;
}

std::string sentence_of(const MemoryRequest& r) {
  const std::string tensor = r.shape.rank() == 1 && r.dtype == Dtype::u8
                                 ? std::string("a buffer")
                                 : fmt::format("a tensor of {} {}", to_string(r.shape), name_of(r.dtype));
  const std::string most = r.most > 0 ? fmt::format(" of {}", bytes_text(r.most)) : "";
  return fmt::format("{}{}out of memory on {}: {} needs {}, and {}{} are in use", r.what,
                     r.what.empty() ? "" : ": ", name_of(r.device), tensor, bytes_text(r.bytes),
                     bytes_text(r.in_use), most);
}

OutOfMemory::OutOfMemory(const MemoryRequest& request)
    : Error(sentence_of(request) + "; try a smaller batch, image size or model"), request_(request) {}

std::string bytes_text(std::int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= gib) return fmt::format("{:.2f} GiB", value / static_cast<double>(gib));
  if (bytes >= mib) return fmt::format("{:.1f} MiB", value / static_cast<double>(mib));
  if (bytes >= kib) return fmt::format("{:.1f} KiB", value / static_cast<double>(kib));
  return fmt::format("{} bytes", bytes);
}

std::int64_t parse_bytes(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units{
      {{"", 1}, {"bytes", 1}, {"KiB", kib}, {"MiB", mib}, {"GiB", gib}}};
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& [name, size] : units) {
    const double bytes = value * static_cast<double>(size);
    if (error == std::errc{} && unit == name && bytes >= 0 && bytes < 9e18) {
      return static_cast<std::int64_t>(bytes);
    }
  }
  fail_usage(fmt::format("'{}' is not a number of bytes, as in 2GiB, 512MiB, 64KiB or 1000000", text));
}

}  // namespace fovea
