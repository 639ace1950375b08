// The executor's engine: stacks, the switch from fiber to fiber, the life of a cluster and of a launch.
#include "simt/host/executor.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <span>
#include <thread>

#include "simt/host/checker.hpp"
#include "simt/host/fault_handler.hpp"
#include "simt/host/sanitizer.hpp"
#include "simt/host/schedule.hpp"

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace simt::detail {

constinit thread_local Cluster* current_cluster = nullptr;

namespace {

// ---- switching

void set_builtins(const Fiber& fiber) {
  threadIdx = fiber.thread;
  blockIdx = fiber.block().index;
}

void switch_to(Fiber& next) {
  Cluster& cluster = *current_cluster;
  Fiber& from = *cluster.running;
  if (&next == &from) return;
  ++cluster.counters.switches;
  cluster.running = &next;
  set_builtins(next);
  leave_stack(from.wait == Wait::exited ? nullptr : &from.fake_stack, next.stack, stack_bytes());
  Context::swap(from.context, next.context);
  enter_stack(from.fake_stack);
}

void switch_to_main() {
  Cluster& cluster = *current_cluster;
  Fiber& from = *cluster.running;
  cluster.running = nullptr;
  leave_stack(from.wait == Wait::exited ? nullptr : &from.fake_stack, cluster.main_stack,
              cluster.main_stack_bytes);
  Context::swap(from.context, cluster.main);
  enter_stack(from.fake_stack);
}

void switch_from_main(Cluster& cluster, Fiber& first) {
  cluster.running = &first;
  set_builtins(first);
  leave_stack(&cluster.main_fake_stack, first.stack, stack_bytes());
  Context::swap(cluster.main, first.context);
  enter_stack(cluster.main_fake_stack);
}

// Goes on with another fiber, or with the cluster's caller where none can run.
void run_another(Fiber& from) {
  Cluster& cluster = *current_cluster;
  Fiber* next = next_ready(cluster, *from.warp, from.lane);
  if (next == nullptr && complete_pending(cluster)) next = next_ready(cluster, *from.warp, from.lane);
  if (next != nullptr) {
    switch_to(*next);
  } else {
    switch_to_main();
  }
}

// ---- a thread's life

void thread_exit(Fiber& fiber);

void fiber_entry() {
  Cluster& cluster = *current_cluster;
  enter_stack(nullptr, cluster.main_stack == nullptr ? &cluster.main_stack : nullptr,
              cluster.main_stack == nullptr ? &cluster.main_stack_bytes : nullptr);
  cluster.job->body(cluster.job->context);
  thread_exit(*cluster.running);
}

[[noreturn]] void fail_exited(unsigned missing, unsigned all, const char* what, Site site) {
  fail(Fault::exited,
       std::to_string(missing) + " of " + std::to_string(all) + " threads exited without reaching " + what,
       site);
}

// ---- barriers

template <class F>
void for_each_live(Block& block, F&& f) {
  for (unsigned w = 0; w < block.warps; ++w) {
    Warp& warp = block.first_warp[w];
    for (std::uint32_t left = warp.live; left != 0; left &= left - 1) f(warp.fibers[__builtin_ctz(left)]);
  }
}

// All have arrived: the waiting ones, which are of these blocks, and the caller, where it is one that waits. Threads
// that only arrived have released the barrier themselves.
void open_barrier(Barrier& barrier, std::span<Block> blocks, const Fiber* caller) {
  thread_local std::vector<const Fiber*> members;
  members.clear();
  for (Block& block : blocks) {
    for_each_live(block, [&](Fiber& f) {
      if (f.wait_object != &barrier && &f != caller) return;
      members.push_back(&f);
      if (&f != caller) make_ready(f);
    });
  }
  check_barrier(members.data(), members.size());
  barrier.arrived = 0;
  ++current_cluster->counters.barriers;
}

// One more thread has come, or the last of a warp that is not full, which counts for a whole one.
void arrive(Barrier& barrier, unsigned expected, std::span<Block> blocks, Wait kind, Site site,
            unsigned weight = 1, bool waits = true) {
  Fiber& me = running();
  me.site = site;
  if (barrier.arrived == 0) barrier.site = site;
  barrier.arrived += weight;
  if (barrier.arrived < expected) {
    if (waits) wait_on(&barrier, kind, site);
    return;
  }
  open_barrier(barrier, blocks, waits ? &me : nullptr);
  if (waits) reschedule();
}

}  // namespace

void block_barrier(Site site) {
  Block& block = running().block();
  Barrier& barrier = block.barrier;
  if (barrier.arrived > 0 && !(barrier.site == site)) {
    fail(Fault::divergence,
         "divergent barrier: threads of one block are at different __syncthreads(), " +
             to_string(barrier.site) + " and " + to_string(site) +
             "; every thread of the block must reach the same one",
         site);
  }
  if (barrier.arrived + 1 == block.live && block.live < block.threads) {
    fail_exited(block.threads - block.live, block.threads, "__syncthreads()", site);
  }
  arrive(barrier, block.live, {&block, 1}, Wait::block, site);
}

namespace {

Barrier& checked_named_barrier(Block& block, int id, int threads, Site site) {
  if (id < 0 || id > 15) {
    fail(Fault::misuse, "named barrier " + std::to_string(id) + " does not exist; there are 0 to 15", site);
  }
  if (threads <= 0 || threads % 32 != 0 || unsigned(threads) > (block.threads + 31) / 32 * 32) {
    fail(Fault::misuse,
         "named barrier " + std::to_string(id) + " is asked to wait for " + std::to_string(threads) +
             " threads; it takes a multiple of 32, at most the block's " + std::to_string(block.threads),
         site);
  }
  Barrier& barrier = block.named[static_cast<std::size_t>(id)];
  if (barrier.arrived > 0 && barrier.expected != unsigned(threads)) {
    fail(Fault::misuse,
         "named barrier " + std::to_string(id) + ": " + std::to_string(barrier.expected) +
             " threads expected at " + to_string(barrier.site) + ", " + std::to_string(threads) + " here",
         site);
  }
  barrier.expected = unsigned(threads);
  return barrier;
}

}  // namespace

void named_barrier(int id, int threads, bool waits, Site site) {
  const Fiber& me = running();
  Block& block = me.block();
  Barrier& barrier = checked_named_barrier(block, id, threads, site);
  const bool last_of_block = me.number % block.threads == block.threads - 1;  // hardware counts whole warps
  check_release(me, &barrier);
  arrive(barrier, unsigned(threads), {&block, 1}, Wait::named, site, last_of_block ? 32 - me.lane : 1, waits);
  if (waits) check_acquire(me, &barrier);
}

void cluster_barrier(Site site) {
  Cluster& cluster = *current_cluster;
  const unsigned all = unsigned(cluster.fibers.size());
  if (cluster.barrier.arrived + 1 == cluster.live && cluster.live < all) {
    fail_exited(all - cluster.live, all, "cluster_sync()", site);
  }
  arrive(cluster.barrier, cluster.live, cluster.blocks, Wait::cluster, site);
}

namespace {

// An exit may be what a barrier was waiting for: then the barrier can never be right.
void check_barriers_after_exit(Fiber& fiber) {
  Block& block = fiber.block();
  Cluster& cluster = *current_cluster;
  if (block.live > 0 && block.barrier.arrived == block.live) {
    fail_exited(block.threads - block.live, block.threads, "__syncthreads()", block.barrier.site);
  }
  if (cluster.live > 0 && cluster.barrier.arrived == cluster.live) {
    const unsigned all = unsigned(cluster.fibers.size());
    fail_exited(all - cluster.live, all, "cluster_sync()", cluster.barrier.site);
  }
}

void thread_exit(Fiber& fiber) {
  Cluster& cluster = *current_cluster;
  Warp& warp = *fiber.warp;
  if (!fiber.copies.empty()) {
    fail(Fault::misuse,
         "the thread exits with cp.async copies that it never waited for; the last was started",
         fiber.copies.back().site);
  }
  warp.live &= ~(1u << fiber.lane);
  warp.ready &= ~(1u << fiber.lane);
  --fiber.block().live;
  --cluster.live;
  check_barriers_after_exit(fiber);
  fiber.wait = Wait::exited;
  if (fiber.block().live == 0) check_block_exit(fiber.block());
  release_warp_after_exit(warp);
  run_another(fiber);
  std::abort();  // nobody switches back to a thread that has exited
}

}  // namespace

// ---- for the collectives

void wait_on(const void* object, Wait kind, Site site) {
  Fiber& me = running();
  me.wait = kind;
  me.wait_object = object;
  me.site = site;
  me.warp->ready &= ~(1u << me.lane);
  run_another(me);
}

void make_ready(Fiber& fiber) {
  fiber.wait = Wait::nothing;
  fiber.wait_object = nullptr;
  fiber.warp->ready |= 1u << fiber.lane;
}

void wake(const void* object) {
  for (Block& block : current_cluster->blocks) {
    for_each_live(block, [&](Fiber& f) {
      if (f.wait_object == object) make_ready(f);
    });
  }
}

void reschedule() {
  Cluster& cluster = *current_cluster;
  if (cluster.order == Order::forward) return;
  Fiber& me = running();
  switch_to(*next_ready(cluster, *me.warp, me.lane));
}

void fail(Fault fault, const std::string& what, Site site) { abandon(Error(fault, full_report(what, site))); }

// No unwinding through kernel code, which may be noexcept: the cluster's threads stay where they are. What
// strings the frames of this one own is then lost for good, and meant to be.
void abandon(const Error& error) {
  Cluster* cluster = current_cluster;
  if (cluster == nullptr || cluster->running == nullptr) throw error;
  cluster->error = std::make_exception_ptr(error);
  Fiber& me = *cluster->running;
  me.wait = Wait::exited;
  if (with_lsan()) {
    char* const end = me.stack + stack_bytes();
    auto** word = static_cast<void**>(__builtin_frame_address(0));
    for (; word < reinterpret_cast<void**>(end); ++word) forgive_leak(*word);
  }
  switch_to_main();
  std::abort();
}

unsigned cluster_rank() { return running().block().rank; }
unsigned cluster_size() { return unsigned(current_cluster->blocks.size()); }

// ---- a cluster's life

namespace {

char* map_with_guards(std::size_t count, std::size_t bytes) {
  const std::size_t stride = bytes + page_bytes, all = count * stride + page_bytes;
  void* mapping =
      mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(Fault::launch,
                "the host executor cannot map " + std::to_string(all >> 20) + " MiB of stacks");
  }
  char* base = static_cast<char*>(mapping);
  for (std::size_t i = 0; i <= count; ++i) {
    if (mprotect(base + i * stride, page_bytes, PROT_NONE) == 0) continue;
    munmap(mapping, all);
    throw Error(Fault::launch, "the host executor cannot protect " + std::to_string(count) +
                                   " stacks; vm.max_map_count allows too few mappings");
  }
  return base + page_bytes;
}

// Replaces a mapping by one of `wanted` parts, where it has fewer.
void grow(char*& first, std::size_t& count, std::size_t wanted, std::size_t bytes) {
  if (wanted <= count) return;
  if (first != nullptr) munmap(first - page_bytes, count * (bytes + page_bytes) + page_bytes);
  first = nullptr;
  count = 0;
  first = map_with_guards(wanted, bytes);
  count = wanted;
}

// Stacks and arenas are kept from launch to launch and grow where a launch needs more.
void reserve(Cluster& cluster, std::size_t fibers, std::size_t blocks) {
  grow(cluster.stacks, cluster.stack_count, fibers, stack_bytes());
  grow(cluster.arenas, cluster.arena_count, blocks, arena_bytes);
}

void start_fiber(Cluster& cluster, Block& block, Warp& warp, unsigned lane, std::size_t slot) {
  const Job& job = *cluster.job;
  Fiber& fiber = warp.fibers[lane];
  std::vector<PendingCopy> copies = std::move(fiber.copies);
  copies.clear();
  fiber = Fiber{};
  fiber.copies = std::move(copies);
  fiber.number = unsigned(slot);
  fiber.lane = lane;
  fiber.warp = &warp;
  fiber.thread = unflatten((&warp - &*block.first_warp) * 32 + lane, job.launch.block);
  fiber.stack = cluster.stacks + slot * (stack_bytes() + page_bytes);
  // Tops of stacks a page apart would share cache sets.
  fiber.context.prepare(fiber.stack, stack_bytes() - slot % 16 * 64, &fiber_entry);
}

void start_block(Cluster& cluster, unsigned rank, std::uint64_t linear) {
  const Job& job = *cluster.job;
  Block& block = cluster.blocks[rank];
  const unsigned threads = job.threads_per_block, warps = (threads + 31) / 32;
  block = Block{};
  block.cluster = &cluster;
  block.rank = rank;
  block.index = unflatten(linear, job.launch.grid);
  block.threads = block.live = threads;
  block.arena = cluster.arenas + rank * arena_stride;
  block.warps = warps;
  block.first_warp = cluster.warps.begin() + rank * warps;
  for (unsigned w = 0; w < warps; ++w) {
    Warp& warp = block.first_warp[w];
    const unsigned lanes = std::min(32u, threads - w * 32);
    warp = {&block, &cluster.fibers[rank * threads + w * 32], rank * warps + w, 0, 0, 0};
    warp.live = warp.ready = lanes == 32 ? ~0u : (1u << lanes) - 1;
    for (unsigned l = 0; l < lanes; ++l) start_fiber(cluster, block, warp, l, rank * threads + w * 32 + l);
  }
  open_arena(block, job.launch.shared_bytes);
}

void start(Cluster& cluster, unsigned number) {
  const Job& job = *cluster.job;
  const unsigned size = job.launch.cluster, warps = (job.threads_per_block + 31) / 32;
  reserve(cluster, std::size_t(size) * job.threads_per_block, size);
  cluster.fibers.resize(std::size_t(size) * job.threads_per_block);
  cluster.warps.resize(std::size_t(size) * warps);
  cluster.blocks.resize(size);
  cluster.live = size * job.threads_per_block;
  cluster.barrier = {};
  cluster.error = nullptr;
  cluster.main_stack = nullptr;
  cluster.order = schedule().order;
  cluster.random.seed(schedule().seed * 0x9E3779B97F4A7C15u + job.number * 0x100000001B3u + number);
  cluster.counters.threads += cluster.live;
  for (unsigned rank = 0; rank < size; ++rank) {
    start_block(cluster, rank, std::uint64_t(number) * size + rank);
  }
  check_cluster_begin(cluster);
}

void finish(Cluster& cluster) {
  if (cluster.error == nullptr && cluster.live > 0) {
    cluster.error = std::make_exception_ptr(Error(Fault::deadlock, deadlock_report(cluster)));
  }
  const bool abandoned = cluster.error != nullptr;
  try {
    async_end(cluster);
    for (Block& block : cluster.blocks) close_arena(block, cluster.job->launch.shared_bytes, !abandoned);
  } catch (...) {
    if (cluster.error == nullptr) cluster.error = std::current_exception();
  }
  check_cluster_end(cluster);
  if (abandoned) {
    for (Fiber& f : cluster.fibers) f.copies.clear();
    unpoison(cluster.stacks, cluster.stack_count * (stack_bytes() + page_bytes) - page_bytes);
  }
  if (cluster.error != nullptr) std::rethrow_exception(cluster.error);
}

void run_cluster(Cluster& cluster, unsigned number) {
  start(cluster, number);
  const Warp& last = cluster.warps.back();
  switch_from_main(cluster,
                   cluster.order == Order::forward ? cluster.fibers.front() : *next_ready(cluster, last, 31));
  finish(cluster);
}

// ---- a launch

// Clusters with their stacks, kept for the next launch.
class Pool {
 public:
  std::unique_ptr<Cluster> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Cluster>();
    std::unique_ptr<Cluster> cluster = std::move(free_.back());
    free_.pop_back();
    return cluster;
  }
  void give(std::unique_ptr<Cluster> cluster) {
    const std::lock_guard lock(mutex_);
    total_.threads += cluster->counters.threads;
    total_.switches += cluster->counters.switches;
    total_.warp_collectives += cluster->counters.warp_collectives;
    total_.barriers += cluster->counters.barriers;
    cluster->counters = {};
    free_.push_back(std::move(cluster));
  }
  std::uint64_t count_launch() {
    const std::lock_guard lock(mutex_);
    return ++total_.launches;
  }
  Counters total() {
    const std::lock_guard lock(mutex_);
    return total_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Cluster>> free_;
  Counters total_;
};

Pool& pool() {
  static Pool& instance = *new Pool;  // outlives every thread that may still launch
  return instance;
}

void work(Job& job) {
  std::unique_ptr<Cluster> cluster = pool().take();
  cluster->job = &job;
  current_cluster = cluster.get();
  const dim3 block = job.launch.block, grid = job.launch.grid;
  blockDim = {block.x, block.y, block.z};
  gridDim = {grid.x, grid.y, grid.z};
  const AlternateSignalStack signal_stack;
  try {
    for (unsigned number; (number = job.next.fetch_add(1)) < job.clusters;) run_cluster(*cluster, number);
  } catch (...) {
    const std::lock_guard lock(job.mutex);
    if (job.error == nullptr) job.error = std::current_exception();
    job.next = job.clusters;
  }
  current_cluster = nullptr;
  pool().give(std::move(cluster));
}

unsigned workers() {
  static const unsigned count = workers_from_environment();
#if defined(SIMT_CHECK)
  return std::min(count, 1u);  // the checker's shadow memory is not locked
#else
  return count;
#endif
}

void check_launch(const LaunchName& name, const Launch& l) {
  const auto refuse = [&](const std::string& why) {
    abandon(Error(Fault::launch, "kernel '" + std::string(name.text) + "': " + why + " [" +
                                     to_string(Site{name.file, name.line}) + "]"));
  };
  const std::uint64_t threads = std::uint64_t(l.block.x) * l.block.y * l.block.z;
  const std::string shape = to_string(uint3{l.grid.x, l.grid.y, l.grid.z}) + " blocks of " +
                            to_string(uint3{l.block.x, l.block.y, l.block.z}) + " threads";
  if (current_cluster != nullptr) refuse("a kernel launches another, which the executor does not do");
  if (threads == 0 || l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) refuse("an empty launch of " + shape);
  if (threads > 1024 || l.block.z > 64) refuse(shape + ": a block has at most 1024 threads, 64 along z");
  if (l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535) {
    refuse(shape + ": a grid has at most 2147483647, 65535 and 65535 blocks along x, y and z");
  }
  if (l.shared_bytes > limits().shared_per_block) {
    refuse(std::to_string(l.shared_bytes) + " bytes of shared memory asked for; a block has at most " +
           std::to_string(limits().shared_per_block));
  }
  if (l.cluster == 0 || l.cluster > limits().max_cluster || l.grid.x % l.cluster != 0) {
    refuse("clusters of " + std::to_string(l.cluster) + " blocks over " + std::to_string(l.grid.x) +
           " along x: a cluster has 1 to " + std::to_string(limits().max_cluster) +
           " blocks and divides them");
  }
}

bool runs_threads = true;

}  // namespace

void run(const LaunchName& name, const Launch& l, void (*body)(void*), void* context) {
  check_launch(name, l);
  if (!runs_threads) return;
  install_fault_handler();
  Job job{.name = name, .launch = l, .body = body, .context = context};
  job.threads_per_block = l.block.x * l.block.y * l.block.z;
  job.clusters = unsigned(std::uint64_t(l.grid.x) * l.grid.y * l.grid.z / l.cluster);
  job.number = pool().count_launch();
  const unsigned count = std::min(workers(), job.clusters);
  check_launch_begin(job);
  {
    std::vector<std::jthread> helpers;
    for (unsigned i = 1; i < count; ++i) helpers.emplace_back([&job] { work(job); });
    work(job);
  }
  check_launch_end();
  if (job.error != nullptr) std::rethrow_exception(job.error);
}

std::size_t stack_bytes() { return with_asan() ? std::size_t(256) << 10 : std::size_t(64) << 10; }

}  // namespace simt::detail

namespace simt {

void set_running(bool on) { detail::runs_threads = on; }

Counters counters() { return detail::pool().total(); }

}  // namespace simt
