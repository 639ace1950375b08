// Launching, limits, memory and the executor's switches, on the host.
#pragma once

#include <cstdint>
#include <tuple>

#include "simt/host/core.hpp"

namespace simt {

/// How a kernel is launched. A cluster is so many blocks along x.
struct Launch {
  dim3 grid = 1;
  dim3 block = 1;
  std::size_t shared_bytes = 0;
  unsigned cluster = 1;
  stream_t stream = nullptr;
};

namespace detail {
/// Runs body(context) once for every thread of the grid; returns when all have ended.
void run(const LaunchName& name, const Launch& launch, void (*body)(void*), void* context);
}  // namespace detail

/// Runs the kernel to its end. Throws Error, naming line, block and thread, for whatever it does that CUDA
/// leaves undefined and the executor can see.
template <class... Parameters, class... Arguments>
void launch(const LaunchName& name, void (*kernel)(Parameters...), const Launch& l,
            const Arguments&... arguments) {
  std::tuple<void (*)(Parameters...), std::tuple<std::decay_t<Parameters>...>> call{
      kernel, std::tuple<std::decay_t<Parameters>...>(arguments...)};
  detail::run(
      name, l,
      [](void* context) {
        auto& [function, parameters] = *static_cast<decltype(call)*>(context);
        std::apply(function, parameters);
      },
      &call);
}

/// Those of an H100: 227 KiB of shared memory for a block, clusters of up to 16.
Limits limits();
/// Makes the executor pass for another machine: a smaller one shows, with small problems, what a launcher does with
/// large ones.
void set_limits(const Limits& limits);

/// Memory for kernels: 256-byte aligned, filled with NaN, known to the checker as undefined under this name.
void* device_malloc(std::size_t bytes, const char* name);
void device_free(void* data);
void copy_to_device(void* to, const void* from, std::size_t bytes);
void copy_to_host(void* to, const void* from, std::size_t bytes);

/// Tells the checker of memory that kernels see and that did not come from device_malloc: its name for
/// reports, and whether it holds values (else reading it before it was written is reported). Called again for
/// the same address it replaces what was said before; a null name keeps the old one. Without the checker these
/// do nothing.
void watch(const void* data, std::size_t bytes, const char* name, bool defined);
/// Tells it of memory beside the buffer of this name that no kernel may touch: a guard band. unwatch() of a
/// buffer forgets the guards that it touches, too.
void watch_guard(const void* data, std::size_t bytes, const char* name);
void unwatch(const void* data);

/// In which order threads run between two barriers: each order shows other missing barriers.
enum class Order : std::uint8_t { forward, reverse, random };
struct Schedule {
  Order order = Order::forward;
  std::uint64_t seed = 1;  // of Order::random; every launch draws another order from it
};
/// From the environment at first: SIMT_SCHEDULE=forward | reverse | random[:SEED].
Schedule schedule();
void set_schedule(const Schedule& schedule);

/// Whether launches run their threads (they do at first). Where they do not, a launcher does all else: it checks, shapes
/// and allocates, and every result is left as it was.
void set_running(bool on);

/// Work done by the executor since the process started.
struct Counters {
  unsigned long long launches = 0, threads = 0, switches = 0, warp_collectives = 0, barriers = 0;
};
Counters counters();

}  // namespace simt
