// Bytes on host and device: copies, fills, totals, limits, and what is said where there are no more.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea {

/// Between host and device in any direction, in the order of the stream; views of the same number of bytes. The host's
/// bytes are there, or may be changed, when the call returns; it waits for the stream unless the copy is small and to
/// the device.
void copy(const View& to, const View& from, Stream stream);
void copy(const View& to, const View& from);  // on the current stream of the device involved

/// Host memory that a device copies to and from by itself; plain memory where there is none.
class PinnedMemory {
 public:
  PinnedMemory(const Shape& shape, Dtype dtype, Device device);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  View view() const { return view_; }

 private:
  View view_;
  Device device_;
};

/// As copy(), but the host does not wait: its side is PinnedMemory, to be read or written anew once an event that was
/// recorded after this call has been waited for.
void copy_async(const View& to, const View& from);

void fill_bytes(const View& view, unsigned char byte);  // on the current stream

/// Bytes of the device that can still be had, and all of them. Of the CPU: the limit and what is left of it;
/// zeros where there is none.
struct MemoryInfo {
  std::int64_t free = 0;
  std::int64_t total = 0;
};
MemoryInfo device_memory_info(Device device);

/// The most bytes that all Storage on a device may come to; 0: as many as there are. The next allocation above
/// it throws OutOfMemory.
void set_memory_limit(Device device, std::int64_t bytes);
std::int64_t memory_limit(Device device);

/// What is taken and given back during its life leaves memory_use()'s peak as it was: for measurements in the middle of a
/// step.
class PeakScope {
 public:
  explicit PeakScope(Device device);
  ~PeakScope();
  PeakScope(const PeakScope&) = delete;
  PeakScope& operator=(const PeakScope&) = delete;

 private:
  Device device_;
  std::int64_t before_;
};

/// Takes what an observer of a run holds (copies, scratch) out of memory_use()'s peak: what counts is the peak before its
/// life and the part of run() that is not the observer's.
class ObserverMemory {
 public:
  explicit ObserverMemory(Device device);
  ~ObserverMemory();
  ObserverMemory(const ObserverMemory&) = delete;
  ObserverMemory& operator=(const ObserverMemory&) = delete;
  /// Around the observed run, once.
  void begin_run();
  void end_run();

 private:
  Device device_;
  std::int64_t before_, current_, held_ = 0, peak_ = 0;
};

/// What was asked for where memory ran out.
struct MemoryRequest {
  std::string what;  // "conv2d", a dispatch, or empty
  Device device = Device::cpu;
  Shape shape;  // of bytes where no tensor is meant: rank 1, dtype u8
  Dtype dtype = Dtype::u8;
  std::int64_t bytes = 0;
  std::int64_t in_use = 0;
  std::int64_t most = 0;  // the limit or the device's memory; 0: unknown
};

/// "conv2d: out of memory on cpu: a tensor of 8x64x64x64 f32 needs 8.0 MiB, and ..."
std::string sentence_of(const MemoryRequest& request);

class OutOfMemory : public Error {
 public:
  explicit OutOfMemory(const MemoryRequest& request);
  const MemoryRequest& request() const { return request_; }

 private:
  MemoryRequest request_;
};

/// "24 bytes", "1.5 MiB", "2.0 GiB"
std::string bytes_text(std::int64_t bytes);

/// "2GiB", "512 MiB", "1000" (bytes), "0" (no limit); UsageError otherwise.
std::int64_t parse_bytes(const std::string& text);

}  // namespace fovea
