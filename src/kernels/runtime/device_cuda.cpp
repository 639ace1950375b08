// A build with CUDA: the driver's calls on the first device, each through the one check. Memory comes from the
// default pool of the device, told once to keep what is freed: its own rule is to give everything back at every
// synchronisation, and to ask the driver for it again in the next step.
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/runtime/cuda_error.hpp"
#include "kernels/runtime/cuda_status.hpp"
#include "kernels/runtime/device_api.hpp"

namespace fovea::device_api {
namespace {

static_assert(cuda_status::success == cudaSuccess);
static_assert(cuda_status::memory_allocation == cudaErrorMemoryAllocation);
static_assert(cuda_status::insufficient_driver == cudaErrorInsufficientDriver);
static_assert(cuda_status::no_device == cudaErrorNoDevice);
static_assert(cuda_status::no_kernel_image == cudaErrorNoKernelImageForDevice);
static_assert(cuda_status::unsupported_ptx == cudaErrorUnsupportedPtxVersion);
static_assert(cuda_status::illegal_address == cudaErrorIllegalAddress);
static_assert(cuda_status::is_of_an_earlier_kernel(cudaErrorLaunchTimeout) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorAssert) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorHardwareStackError) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorIllegalInstruction) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorMisalignedAddress) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorInvalidAddressSpace) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorInvalidPc) &&
              cuda_status::is_of_an_earlier_kernel(cudaErrorLaunchFailure));

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }
cudaEvent_t event_of(void* handle) { return static_cast<cudaEvent_t>(handle); }
cudaGraphExec_t graph_of(void* handle) { return static_cast<cudaGraphExec_t>(handle); }
cudaGraph_t captured_of(void* handle) { return static_cast<cudaGraph_t>(handle); }

int attribute(cudaDeviceAttr which) {
  int value = 0;
  FOVEA_CHECK_CUDA(cudaDeviceGetAttribute(&value, which, 0));
  return value;
}

cudaMemPool_t pool() {
  static const cudaMemPool_t kept = [] {
    cudaMemPool_t made = nullptr;
    FOVEA_CHECK_CUDA(cudaDeviceGetDefaultMemPool(&made, 0));
    std::uint64_t everything = UINT64_MAX;
    FOVEA_CHECK_CUDA(cudaMemPoolSetAttribute(made, cudaMemPoolAttrReleaseThreshold, &everything));
    return made;
  }();
  return kept;
}

// Null where there is no memory; any other failure throws. Not sticky, so the next call starts clean.
void* try_to_allocate(std::int64_t bytes, void* stream) {
  void* data = nullptr;
  const cudaError_t status =
      cudaMallocFromPoolAsync(&data, static_cast<std::size_t>(bytes), pool(), stream_of(stream));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "cudaMallocFromPoolAsync", __FILE__, __LINE__);
  return data;
}

bool is_capturing(void* stream) {
  cudaStreamCaptureStatus status{};
  FOVEA_CHECK_CUDA(cudaStreamIsCapturing(stream_of(stream), &status));
  return status != cudaStreamCaptureStatusNone;
}

// What other streams freed can be handed out only once their work is done, and the pool and the graphs that ran hold
// pieces that do not fit.
void give_back_unused() {
  FOVEA_CHECK_CUDA(cudaDeviceSynchronize());
  FOVEA_CHECK_CUDA(cudaMemPoolTrimTo(pool(), 0));
  FOVEA_CHECK_CUDA(cudaDeviceGraphMemTrim(0));
}

}  // namespace

DriverAnswer ask_driver() {
  DriverAnswer answer;
  FOVEA_CHECK_CUDA(cudaRuntimeGetVersion(&answer.runtime_version));
  FOVEA_CHECK_CUDA(cudaDriverGetVersion(&answer.driver_version));
  cudaError_t status = cudaGetDeviceCount(&answer.devices);
  cudaDeviceProp properties{};
  if (status == cudaSuccess && answer.devices > 0) status = cudaGetDeviceProperties(&properties, 0);
  answer.status = status;
  answer.status_text = cudaGetErrorString(status);
  answer.name = properties.name;
  answer.major = properties.major;
  answer.minor = properties.minor;
  (void)cudaGetLastError();  // the answer was taken; later calls start clean
  return answer;
}

bool is_emulated() { return false; }

DeviceInfo info() {
  cudaDeviceProp properties{};
  FOVEA_CHECK_CUDA(cudaGetDeviceProperties(&properties, 0));
  DeviceInfo info;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  FOVEA_CHECK_CUDA(cudaDriverGetVersion(&info.driver_version));
  FOVEA_CHECK_CUDA(cudaRuntimeGetVersion(&info.runtime_version));
  info.multiprocessors = properties.multiProcessorCount;
  info.clock_khz = attribute(cudaDevAttrClockRate);
  info.memory_clock_khz = attribute(cudaDevAttrMemoryClockRate);
  info.memory_bus_bits = properties.memoryBusWidth;
  info.shared_bytes_per_block = static_cast<std::int64_t>(properties.sharedMemPerBlockOptin);
  info.l2_bytes = properties.l2CacheSize;
  info.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  return info;
}

void* allocate(std::int64_t bytes, void* stream) {
  if (void* data = try_to_allocate(bytes, stream)) return data;
  if (is_capturing(stream)) return nullptr;
  give_back_unused();
  return try_to_allocate(bytes, stream);
}

void release(void* data, void* stream) { FOVEA_CHECK_CUDA(cudaFreeAsync(data, stream_of(stream))); }

void memory(std::int64_t& free_bytes, std::int64_t& total_bytes) {
  std::size_t free_now = 0, total = 0;
  FOVEA_CHECK_CUDA(cudaMemGetInfo(&free_now, &total));
  std::uint64_t reserved = 0, used = 0;
  FOVEA_CHECK_CUDA(cudaMemPoolGetAttribute(pool(), cudaMemPoolAttrReservedMemCurrent, &reserved));
  FOVEA_CHECK_CUDA(cudaMemPoolGetAttribute(pool(), cudaMemPoolAttrUsedMemCurrent, &used));
  std::uint64_t graphs_reserved = 0, graphs_used = 0;
  FOVEA_CHECK_CUDA(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrReservedMemCurrent, &graphs_reserved));
  FOVEA_CHECK_CUDA(cudaDeviceGetGraphMemAttribute(0, cudaGraphMemAttrUsedMemCurrent, &graphs_used));
  free_bytes = static_cast<std::int64_t>(free_now + (reserved - used) + (graphs_reserved - graphs_used));
  total_bytes = static_cast<std::int64_t>(total);
}

void* allocate_pinned(std::int64_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, static_cast<std::size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "cudaMallocHost", __FILE__, __LINE__);
  return data;
}
void release_pinned(void* data) { FOVEA_CHECK_CUDA(cudaFreeHost(data)); }

void copy(void* to, const void* from, std::int64_t bytes, void* stream) {
  FOVEA_CHECK_CUDA(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream_of(stream)));
}

void fill(void* data, unsigned char byte, std::int64_t bytes, void* stream) {
  FOVEA_CHECK_CUDA(cudaMemsetAsync(data, byte, static_cast<std::size_t>(bytes), stream_of(stream)));
}

void begin_kernel() {}
void end_kernel() noexcept {}

void* make_stream() {
  cudaStream_t stream = nullptr;
  FOVEA_CHECK_CUDA(cudaStreamCreate(&stream));
  return stream;
}
void destroy_stream(void* stream) { FOVEA_CHECK_CUDA(cudaStreamDestroy(stream_of(stream))); }
void synchronize_stream(void* stream) { FOVEA_CHECK_CUDA(cudaStreamSynchronize(stream_of(stream))); }
void synchronize_device() { FOVEA_CHECK_CUDA(cudaDeviceSynchronize()); }
void wait_for_event(void* stream, void* event) {
  FOVEA_CHECK_CUDA(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0));
}

void* make_event() {
  cudaEvent_t event = nullptr;
  FOVEA_CHECK_CUDA(cudaEventCreate(&event));
  return event;
}
void destroy_event(void* event) { FOVEA_CHECK_CUDA(cudaEventDestroy(event_of(event))); }
void record_event(void* event, void* stream) {
  FOVEA_CHECK_CUDA(cudaEventRecord(event_of(event), stream_of(stream)));
}
void synchronize_event(void* event) { FOVEA_CHECK_CUDA(cudaEventSynchronize(event_of(event))); }
float elapsed_ms(void* from, void* to) {
  float ms = 0;
  FOVEA_CHECK_CUDA(cudaEventElapsedTime(&ms, event_of(from), event_of(to)));
  return ms;
}

void begin_capture(void* stream) {
  FOVEA_CHECK_CUDA(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal));
}

void* end_capture(void* stream) {
  cudaGraph_t graph = nullptr;
  FOVEA_CHECK_CUDA(cudaStreamEndCapture(stream_of(stream), &graph));
  return graph;
}

void abandon_capture(void* stream) noexcept {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_of(stream), &graph) == cudaSuccess && graph != nullptr) {
    (void)cudaGraphDestroy(graph);
  }
  (void)cudaGetLastError();  // the error that made the capture worthless is on its way already
}

void destroy_captured(void* captured) { FOVEA_CHECK_CUDA(cudaGraphDestroy(captured_of(captured))); }

void* instantiate(void* captured) {
  cudaGraphExec_t ready = nullptr;
  FOVEA_CHECK_CUDA(cudaGraphInstantiate(&ready, captured_of(captured), 0));
  return ready;
}

bool update_graph(void* graph, void* captured) {
  cudaGraphExecUpdateResultInfo info{};
  const cudaError_t status = cudaGraphExecUpdate(graph_of(graph), captured_of(captured), &info);
  if (status == cudaErrorGraphExecUpdateFailure || status == cudaErrorNotSupported) {
    (void)cudaGetLastError();
    return false;
  }
  check_cuda(status, "cudaGraphExecUpdate", __FILE__, __LINE__);
  return true;
}

// Its memory nodes are given memory only now.
void launch_graph(void* graph, void* stream) {
  cudaError_t status = cudaGraphLaunch(graph_of(graph), stream_of(stream));
  if (status == cudaErrorMemoryAllocation && !is_capturing(stream)) {
    (void)cudaGetLastError();
    give_back_unused();
    status = cudaGraphLaunch(graph_of(graph), stream_of(stream));
  }
  check_cuda(status, "cudaGraphLaunch", __FILE__, __LINE__);
}
void destroy_graph(void* graph) { FOVEA_CHECK_CUDA(cudaGraphExecDestroy(graph_of(graph))); }

void check_launch() { FOVEA_CHECK_CUDA(cudaGetLastError()); }

const char* error_text(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

}  // namespace fovea::device_api
