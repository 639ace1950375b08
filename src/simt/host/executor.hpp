// The executor from the inside: what a thread, a warp, a block and a cluster are on the host.
//
// One OS thread runs one cluster at a time (a block alone is a cluster of one). Every CUDA thread of it is a
// Fiber with a stack of its own. A fiber runs until it must wait; then it switches straight to the next fiber
// that can run, in the order of the schedule. When none can, the cluster has ended or is deadlocked. So
// nothing here is locked: only clusters run side by side.
//
// Shared memory of a cluster is one mapping, one arena a block: static variables from the front, the dynamic
// part at the very end, then a page that traps.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "simt/host/context.hpp"
#include "simt/host/core.hpp"
#include "simt/host/launch.hpp"

namespace simt::detail {

struct AsyncWork;
struct Block;
struct Cluster;
struct Warp;

/// What a fiber waits for.
enum class Wait : std::uint8_t { nothing, warp, block, cluster, named, mbarrier, warpgroup, exited };

/// Copies that a thread has started and not yet waited for (cp.async).
struct PendingCopy {
  void* to;
  const void* from;
  int bytes, filled;  // read, and written: the rest is zeros
  int group;
  Site site;
};

struct Fiber {
  Context context;
  char* stack = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
  uint3 thread{};
  unsigned number = 0;  // within the cluster
  unsigned lane = 0;
  Warp* warp = nullptr;
  Wait wait = Wait::nothing;
  const void* wait_object = nullptr;
  Site site;  // of the last collective
  // its part in a warp collective
  WarpOp op{};
  std::uint32_t mask = 0;
  void* operand = nullptr;
  WarpLeader leader = nullptr;
  // asynchronous copies
  std::vector<PendingCopy> copies;
  int copy_group = 0;

  Block& block() const;
};

struct Warp {
  Block* block = nullptr;
  Fiber* fibers = nullptr;
  unsigned index = 0;           // within the cluster
  std::uint32_t live = 0;       // lanes that have not exited
  std::uint32_t ready = 0;      // lanes that can run
  std::uint32_t collected = 0;  // lanes that wait in a warp collective
};

/// Arrivals at a barrier of a fixed number of threads.
struct Barrier {
  unsigned expected = 0, arrived = 0;
  Site site;  // of the first to arrive
};

struct Block {
  Cluster* cluster = nullptr;
  uint3 index{};
  unsigned rank = 0;
  unsigned threads = 0, live = 0;
  char* arena = nullptr;
  std::vector<bool> statics;  // by number: whether the variable was opened
  std::vector<Warp>::iterator first_warp;
  unsigned warps = 0;
  Barrier barrier;
  std::array<Barrier, 16> named;
};

inline Block& Fiber::block() const { return *warp->block; }

/// One launch, shared by the OS threads that work on it.
struct Job {
  LaunchName name;
  Launch launch;
  void (*body)(void*);
  void* context;
  unsigned clusters = 0, threads_per_block = 0;
  std::uint64_t number = 0;  // of the launch in this process
  std::atomic<unsigned> next{0};
  std::mutex mutex{};  // guards what follows
  std::exception_ptr error{};
  struct Static {
    std::size_t offset = 0, number = 0;
  };
  std::map<const void*, Static> statics{};
  std::size_t static_end = 0;    // of the last variable in the arena
  std::size_t static_bytes = 0;  // of all variables, without what lies between them
};

struct Cluster {
  Job* job = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<Block> blocks;
  unsigned live = 0;
  Barrier barrier;
  Fiber* running = nullptr;
  std::exception_ptr error;
  std::mt19937_64 random;
  Order order = Order::forward;

  Context main;
  void* main_fake_stack = nullptr;
  const void* main_stack = nullptr;
  std::size_t main_stack_bytes = 0;

  char* stacks = nullptr;
  std::size_t stack_count = 0;
  char* arenas = nullptr;
  std::size_t arena_count = 0;

  Counters counters;
  std::shared_ptr<AsyncWork> async;  // mbarriers, TMA and wgmma under way (hopper.cpp)
};

// ---- sizes

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t static_limit = 48 << 10;
constexpr std::size_t arena_bytes = (48 << 10) + page_bytes + (228 << 10);
constexpr std::size_t arena_stride = arena_bytes + page_bytes;  // the page that traps
std::size_t stack_bytes();                                      // larger under AddressSanitizer

// ---- for the collectives (executor.cpp)

/// The cluster of this OS thread; null outside of a launch.
extern constinit thread_local Cluster* current_cluster;
inline Fiber& running() { return *current_cluster->running; }

/// Suspends the running fiber until wake() or make_ready().
void wait_on(const void* object, Wait kind, Site site);
/// Makes every fiber of the cluster that waits on this object ready; the caller goes on.
void wake(const void* object);
void make_ready(Fiber& fiber);
/// Lets others run first where the schedule wants it: at the end of a collective that the caller completed.
void reschedule();

/// Ends the launch with this error; the running thread, and with it the cluster, is left where it is.
[[noreturn]] void abandon(const Error& error);

/// A lane has left: collectives of its warp may be complete without it.
void release_warp_after_exit(Warp& warp);

// ---- shared memory (shared_memory.cpp)

/// Fills the arena with NaN and closes what is no variable.
void open_arena(Block& block, std::size_t dynamic_bytes);
/// Where `checked`, reports what was written between the dynamic part's end and the arena's.
void close_arena(Block& block, std::size_t dynamic_bytes, bool checked);
/// The block whose shared memory holds the address; null: none of this cluster.
Block* block_of_shared(const void* pointer);

// ---- words for reports (report.cpp)

/// The i-th index of a shape, x fastest.
inline uint3 unflatten(std::uint64_t i, dim3 shape) {
  return {unsigned(i % shape.x), unsigned(i / shape.x % shape.y), unsigned(i / shape.x / shape.y)};
}
std::string to_string(uint3 v);               // "(1,2,3)"
std::string to_string(Site site);             // "ham.cu:93"
std::string thread_name(const Fiber& fiber);  // "thread (5,0,0) of block (2,0,0)"
const char* name_of(WarpOp op);
std::string describe_wait(const Fiber& fiber);
std::string deadlock_report(const Cluster& cluster);
/// "kernel 'name': what at file:line, by thread ... of block ..."
std::string full_report(const std::string& what, Site site);

// ---- asynchronous work (async.cpp, hopper.cpp)

/// Under AddressSanitizer: fails where a copy reads or writes what is nobody's. `what` begins the sentence.
void check_range(const void* pointer, std::size_t bytes, const char* what, Site site);

/// Work that is due at the latest when nothing else can run; true if it made a fiber ready.
bool complete_pending(Cluster& cluster);
/// The cluster ends: reports what was never waited for, unless the cluster was abandoned.
void async_end(Cluster& cluster);
/// What an mbarrier waits for, in words: "1 of 2 arrivals and 512 bytes missing".
std::string mbarrier_state(const void* barrier);

}  // namespace simt::detail
