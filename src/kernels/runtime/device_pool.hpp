// Device memory in the order of streams, as Storage uses it; aware of graph captures (stream.hpp). For the runtime
// alone.
#pragma once

#include <cstdint>
#include <string>

namespace fovea::device_pool {

struct Block {
  void* data = nullptr;  // null: no memory left
  void* stream = nullptr;
};

/// On the current stream.
Block allocate(std::int64_t bytes);

/// After everything that this thread's current stream and the block's own stream were given so far. For
/// destructors: what fails is kept and thrown by the next synchronize().
void release(const Block& block) noexcept;

/// Streams that may be named in a release.
void add_stream(void* stream);
void remove_stream(void* stream);

/// Between these two, memory is part of the graph that this thread captures: what was made before is
/// given back after the capture, and what is made within must be given back within; end_capture() says how many
/// blocks were not.
void begin_capture();
bool is_capturing();  // this thread
std::size_t end_capture();

/// Keeps the first failure of a destructor.
void keep_failure(const std::string& what) noexcept;
/// Throws it, if there is one.
void throw_kept_failure();

}  // namespace fovea::device_pool
