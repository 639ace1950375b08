// See branches.hpp. Streams are kept by the thread: making one takes longer than most branches.
#include "kernels/cuda/branches.hpp"

namespace fovea {
namespace {

Stream side_stream(std::size_t i, Device device) {
  // Never destroyed: the driver may be gone when a thread's objects are.
  thread_local std::vector<std::unique_ptr<OwnedStream>>* const streams =
      new std::vector<std::unique_ptr<OwnedStream>>;
  while (streams->size() <= i) streams->push_back(std::make_unique<OwnedStream>(device));
  return (*streams)[i]->get();
}

}  // namespace

Branches::Branches(Stream stream) : stream_(stream), fork_(stream.device) { fork_.record(stream); }

Stream Branches::begin(std::size_t i) {
  if (i == 0) return stream_;
  const Stream side = side_stream(i - 1, stream_.device);
  fork_.hold_back(side);
  begun_.push_back(side);
  return side;
}

void Branches::join() {
  for (const Stream side : begun_) {
    Event done(stream_.device);
    done.record(side);
    done.hold_back(stream_);
  }
  begun_.clear();
}

}  // namespace fovea
