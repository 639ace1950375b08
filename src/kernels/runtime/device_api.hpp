// The driver's calls as the runtime needs them, free of CUDA headers: defined by device_cuda.cpp where the build
// has CUDA, by device_none.cpp where it has not. For the runtime alone; everyone else takes stream.hpp and
// memory.hpp. Handles are what CUDA calls cudaStream_t, cudaEvent_t and cudaGraphExec_t; a null stream is the
// device's default one.
#pragma once

#include <cstdint>

#include "kernels/runtime/device_info.hpp"

namespace fovea::device_api {

DriverAnswer ask_driver();
DeviceInfo info();
/// Whether the device is the host executor on memory of its own (device_none.cpp).
bool is_emulated();

/// From the driver's stream-ordered pool, which keeps what is freed; null where it has no more.
void* allocate(std::int64_t bytes, void* stream);
void release(void* data, void* stream);
/// Free memory counts what the pool and graphs hold for this process and do not use.
void memory(std::int64_t& free_bytes, std::int64_t& total_bytes);

/// Host memory that copies need not stage; null where there is none. Freed at once: the caller waits for what uses it.
void* allocate_pinned(std::int64_t bytes);
void release_pinned(void* data);

/// Between any two of host and device, in the order of the stream. Where the host is one of the two, it is done when it
/// returns, unless the host's memory is pinned: then once the stream is synchronized.
void copy(void* to, const void* from, std::int64_t bytes, void* stream);
void fill(void* data, unsigned char byte, std::int64_t bytes, void* stream);

/// Around a kernel's launches: what runs in between may touch the memory of an emulated device.
void begin_kernel();
void end_kernel() noexcept;

void* make_stream();
void destroy_stream(void* stream);
void synchronize_stream(void* stream);
void synchronize_device();
void wait_for_event(void* stream, void* event);

void* make_event();
void destroy_event(void* event);
void record_event(void* event, void* stream);
void synchronize_event(void* event);
float elapsed_ms(void* from, void* to);

void begin_capture(void* stream);
/// The work captured (a cudaGraph_t), to be destroyed with destroy_captured().
void* end_capture(void* stream);
/// Ends a capture whose result nobody wants; never throws.
void abandon_capture(void* stream) noexcept;
void destroy_captured(void* captured);
/// What was captured, ready to launch.
void* instantiate(void* captured);
/// Whether the driver takes what was captured for the work of `graph`.
bool update_graph(void* graph, void* captured);
void launch_graph(void* graph, void* stream);
void destroy_graph(void* graph);

/// Throws what the last launch left, if it failed.
void check_launch();

/// The driver's words for a status.
const char* error_text(int status);

}  // namespace fovea::device_api
