// Bulk copies on the host: TMA tiles and plain bytes. A load is performed when threads wait for its mbarrier
// and nothing else can run; a store reads and writes when its thread waits for its group.
#include <algorithm>
#include <cstring>
#include <utility>

#include "simt/host/async_work.hpp"
#include "simt/host/checker.hpp"

namespace simt::detail {
namespace {

// ---- where the bytes are

unsigned swizzle_bits(Swizzle swizzle) { return (1u << int(swizzle)) - 1; }

// The hardware swizzles the address, not the offset; tiles are aligned so that both agree.
std::uintptr_t swizzled_address(std::uintptr_t address, Swizzle swizzle) {
  return address ^ (address >> 7 & swizzle_bits(swizzle)) << 4;
}

unsigned box_bytes(const TensorMap& map) {
  unsigned bytes = map.element_bytes;
  for (int i = 0; i < map.rank; ++i) bytes *= map.box[i];
  return bytes;
}

// Calls f(offset in the tile, bytes to skip, bytes inside the tensor, their global address) for every row of
// the box; rows outside of the tensor have no bytes inside.
template <class F>
void for_each_row(const Box& box, F&& f) {
  const TensorMap& map = box.map;
  const long first = std::max(0L, -long(box.at[0]));
  const long last = std::min(long(map.box[0]), long(map.extent[0]) - box.at[0]);
  const long inner = std::max(0L, last - first), row_bytes = long(map.box[0] * map.element_bytes);
  const long rows = long(box.bytes) / row_bytes;
  for (long row = 0; row < rows; ++row) {
    long global = (box.at[0] + first) * long(map.element_bytes);
    bool inside = inner > 0;
    long rest = row;
    for (int side = 1; side < map.rank; ++side) {
      const long at = box.at[side] + rest % map.box[side];
      rest /= map.box[side];
      inside = inside && at >= 0 && at < long(map.extent[side]);
      global += at * long(map.stride[side]);
    }
    const long bytes = inside ? inner * long(map.element_bytes) : 0;
    f(std::size_t(row * row_bytes), std::size_t(first * long(map.element_bytes)), std::size_t(bytes),
      map.data + (inside ? global : 0));
  }
}

// Copies a tile between shared memory and dense bytes.
template <class F>
void for_each_piece(const Box& box, const char* tile, F&& f) {
  for (unsigned offset = 0; offset < box.bytes; offset += 16) {
    const auto address = reinterpret_cast<std::uintptr_t>(tile) + offset;
    f(offset, reinterpret_cast<char*>(swizzled_address(address, box.map.swizzle)));
  }
}

std::vector<char> read_global(const Box& box, Site site) {
  std::vector<char> dense(box.bytes);
  if (box.map.rank == 0) {
    check_range(box.global, box.bytes, "bulk_load reads", site);
    std::memcpy(dense.data(), box.global, box.bytes);
    return dense;
  }
  for_each_row(box, [&](std::size_t offset, std::size_t skip, std::size_t bytes, const char* global) {
    check_range(global, bytes, "TMA reads", site);
    if (bytes > 0) std::memcpy(&dense[offset + skip], global, bytes);
  });
  return dense;
}

template <class F>
void for_each_global_part(const Box& box, F&& f) {
  if (box.map.rank == 0) return f(std::size_t(0), box.global, std::size_t(box.bytes));
  for_each_row(box, [&](std::size_t offset, std::size_t skip, std::size_t bytes, char* global) {
    if (bytes > 0) f(offset + skip, global, bytes);
  });
}

// ---- checks

void check_tile(const void* tile, const Box& box, const char* what, Site site) {
  const bool plain = box.map.rank == 0;
  const unsigned alignment = plain                              ? 16
                             : box.map.swizzle == Swizzle::none ? 128
                                                                : 128u << int(box.map.swizzle);
  if (reinterpret_cast<std::uintptr_t>(tile) % alignment != 0) {
    fail(Fault::misaligned,
         std::string(what) + ": the address in shared memory is not aligned to " + std::to_string(alignment) +
             " bytes" + (plain || box.map.swizzle == Swizzle::none ? "" : ", as the map's swizzle wants it"),
         site);
  }
  if (block_of_shared(tile) != &running().block()) {
    fail(Fault::misuse, std::string(what) + ": the tile is not in the block's shared memory", site);
  }
  check_range(tile, box.bytes, what, site);
}

Box box_of(const TensorMap* map, const int* at, int rank, const char* what, Site site) {
  if (map->rank != rank) {
    fail(Fault::misuse,
         std::string(what) + ": " + std::to_string(rank) + " coordinates for a tensor map of rank " +
             std::to_string(map->rank),
         site);
  }
  Box box;
  box.map = *map;
  std::copy_n(at, rank, box.at);
  box.bytes = box_bytes(*map);
  return box;
}

Box plain_box(const void* global, unsigned bytes, const char* what, Site site) {
  if (reinterpret_cast<std::uintptr_t>(global) % 16 != 0) {
    fail(Fault::misaligned, std::string(what) + ": the address in global memory is not 16-byte aligned",
         site);
  }
  if (bytes == 0 || bytes % 16 != 0) {
    fail(Fault::misuse,
         std::string(what) + " of " + std::to_string(bytes) + " bytes; it moves a multiple of 16", site);
  }
  Box box;
  box.global = static_cast<char*>(const_cast<void*>(global));
  box.bytes = bytes;
  return box;
}

bool overlap(const char* a, std::size_t a_bytes, const char* b, std::size_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

void check_no_other_copy(const char* to, unsigned bytes, Site site) {
  for (const PendingLoad& load : async_work().loads) {
    for (const auto& [other, barrier] : load.targets) {
      if (!overlap(to, bytes, other, load.box.bytes)) continue;
      fail(Fault::race,
           "a copy into shared memory that another, started at " + to_string(load.site) +
               ", still writes; nobody has waited for its mbarrier",
           site);
    }
  }
  for (const PendingStore& store : async_work().stores) {
    if (store.read || !overlap(to, bytes, store.from, store.box.bytes)) continue;
    fail(Fault::race,
         "a copy into shared memory that a store, started at " + to_string(store.site) +
             ", still reads; bulk_wait_read comes first",
         site);
  }
}

// ---- starting

void start_load(Box box, char* to, Mbarrier* b, unsigned ranks, Site site) {
  Cluster& cluster = *current_cluster;
  PendingLoad load{std::move(box), {}, &running(), site};
  for_each_global_part(load.box, [&](std::size_t, const char* global, std::size_t bytes) {
    note_access(global, bytes, false, false, site);
  });
  for (unsigned rank = 0; rank < 16; ++rank) {
    if ((ranks >> rank & 1) == 0) continue;
    if (rank >= cluster.blocks.size()) {
      fail(Fault::misuse,
           "tma_load_multicast to rank " + std::to_string(rank) + " in a cluster of " +
               std::to_string(cluster.blocks.size()),
           site);
    }
    auto* target = static_cast<char*>(map_rank(to, rank, site));
    auto* barrier = static_cast<Mbarrier*>(map_rank(b, rank, site));
    if (!barrier_at(barrier, "the mbarrier of a copy", site).visible) {
      fail(Fault::misuse, "a copy's mbarrier was initialised, but no fence_mbarrier_init() has followed",
           site);
    }
    check_no_other_copy(target, load.box.bytes, site);
    check_in_flight(target, load.box.bytes, site);
    std::memset(target, 0xFF, load.box.bytes);
    load.targets.emplace_back(target, barrier);
  }
  async_work().loads.push_back(std::move(load));
}

void start_store(Box box, const void* from, Site site) {
  AsyncWork& work = async_work();
  const Fiber& me = running();
  for_each_global_part(box, [&](std::size_t, char* global, std::size_t bytes) {
    check_range(global, bytes, "a bulk store writes", site);
    note_access(global, bytes, true, false, site);
    std::memset(global, 0xFF, bytes);
  });
  work.stores.push_back({.box = std::move(box),
                         .from = static_cast<const char*>(from),
                         .owner = &me,
                         .group = work.store_groups[&me],
                         .site = site});
}

// ---- performing

// To the checker the write is of the thread that started the copy, not of the one that happens to run.
void note_arrival(const PendingLoad& load, const char* to, const Mbarrier* barrier) {
  check_arrival(to, load.box.bytes);
  Fiber* const interrupted = std::exchange(current_cluster->running, load.owner);
  note_access(to, load.box.bytes, true, false, load.site);
  current_cluster->running = interrupted;
  check_release(*load.owner, barrier);
}

void perform(const PendingLoad& load) {
  const std::vector<char> dense = read_global(load.box, load.site);
  for (const auto& [to, barrier] : load.targets) {
    note_arrival(load, to, barrier);
    for_each_piece(load.box, to,
                   [&](unsigned offset, char* piece) { std::memcpy(piece, &dense[offset], 16); });
  }
  for (const auto& [to, barrier] : load.targets) complete_bytes(barrier, load.box.bytes, load.site);
}

void read_store(PendingStore& store) {
  if (store.read) return;
  note_access(store.from, store.box.bytes, false, false, store.site);
  store.data.resize(store.box.bytes);
  for_each_piece(store.box, store.from,
                 [&](unsigned offset, const char* piece) { std::memcpy(&store.data[offset], piece, 16); });
  store.read = true;
}

void write_store(const PendingStore& store) {
  for_each_global_part(store.box, [&](std::size_t offset, char* global, std::size_t bytes) {
    std::memcpy(global, &store.data[offset], bytes);
  });
}

bool is_awaited(const Cluster& cluster, const PendingLoad& load) {
  return std::any_of(load.targets.begin(), load.targets.end(), [&](const auto& target) {
    return std::any_of(cluster.fibers.begin(), cluster.fibers.end(), [&](const Fiber& f) {
      return f.wait == Wait::mbarrier && f.wait_object == target.second;
    });
  });
}

}  // namespace

// Copies are not ordered among each other: each schedule takes another first.
bool perform_awaited_load(Cluster& cluster) {
  std::vector<PendingLoad>& loads = cluster.async->loads;
  const std::size_t count = loads.size();
  const std::size_t first = cluster.order == Order::random && count > 0 ? cluster.random() % count : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = cluster.order == Order::reverse ? count - 1 - i : (first + i) % count;
    if (!is_awaited(cluster, loads[at])) continue;
    const PendingLoad load = std::move(loads[at]);
    loads.erase(loads.begin() + long(at));
    perform(load);
    return true;
  }
  return false;
}

void end_copies(AsyncWork& work) {
  if (!work.loads.empty()) {
    fail(Fault::misuse, "the block ends with a copy into its shared memory that nobody waited for, started",
         work.loads.front().site);
  }
  for (const PendingStore& store : work.stores) {
    if (!store.read) {
      fail(Fault::misuse, "a thread exits with a bulk store that it never waited for, started", store.site);
    }
    write_store(store);  // the end of the kernel waits for what has been read
  }
}

void tma_load(void* to, const TensorMap* map, Mbarrier* b, const int* at, int rank, Site site) {
  tma_load_multicast(to, map, b, at, rank, 1u << running().block().rank, site);
}

void tma_load_multicast(void* to, const TensorMap* map, Mbarrier* b, const int* at, int rank, unsigned ranks,
                        Site site) {
  if (ranks == 0) fail(Fault::misuse, "tma_load_multicast to no block at all", site);
  Box box = box_of(map, at, rank, "tma_load", site);
  check_tile(to, box, "tma_load writes", site);
  start_load(std::move(box), static_cast<char*>(to), b, ranks, site);
}

void bulk_load(void* to, const void* from, unsigned bytes, Mbarrier* b, Site site) {
  Box box = plain_box(from, bytes, "bulk_load", site);
  check_tile(to, box, "bulk_load writes", site);
  start_load(std::move(box), static_cast<char*>(to), b, 1u << running().block().rank, site);
}

void tma_store(const TensorMap* map, const int* at, int rank, const void* from, Site site) {
  Box box = box_of(map, at, rank, "tma_store", site);
  check_tile(from, box, "tma_store reads", site);
  start_store(std::move(box), from, site);
}

void bulk_store(void* to, const void* from, unsigned bytes, Site site) {
  Box box = plain_box(to, bytes, "bulk_store", site);
  check_tile(from, box, "bulk_store reads", site);
  start_store(std::move(box), from, site);
}

void bulk_commit() { ++async_work().store_groups[&running()]; }

void bulk_wait(int groups_left, bool read_only, Site) {
  AsyncWork& work = async_work();
  const Fiber& me = running();
  const int due = work.store_groups[&me] - groups_left;
  std::erase_if(work.stores, [&](PendingStore& store) {
    if (store.owner != &me || store.group >= due) return false;
    read_store(store);
    if (!read_only) write_store(store);
    return !read_only;
  });
}

}  // namespace simt::detail
