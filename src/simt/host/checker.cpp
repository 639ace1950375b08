// The checker: races, reads of what nobody wrote, accesses outside of what was announced.
//
// Kernel files are compiled with -fsanitize=thread, which puts a call before every load and store; libtsan is
// not linked, the calls end at the bottom of this file. Each looks at the shadow of the words it touches
// (checker/shadow.hpp) and asks the running thread's clock (checker/clock.hpp) whether the accesses found there
// are ordered before it. The rules:
//
//   - barriers order their members, __syncwarp the lanes of its mask, mbarriers who arrives before who waits;
//     shuffles and votes order nothing
//   - different clusters of a launch are never ordered
//   - atomics do not race with atomics
//   - the same value written twice is a race all the same
//
// A launch runs in one OS thread here, so a stamp is a counter and nothing is locked but the launch itself: other
// OS threads wait for its end with their launches, and with what they have to say of their memory.
#include "simt/host/checker.hpp"

#include <algorithm>
#include <cstdio>

#include "simt/host/checker/clock.hpp"
#include "simt/host/checker/shadow.hpp"
#include "simt/host/checker/symbols.hpp"

namespace simt::detail {
namespace {

// ---- state

/// The checker's view of a running thread.
struct Thread {
  Place place;
  std::uint32_t bit = 0;  // of its lane
  Stamp stamp = 0;
  ClockPointer clock;
};

struct Access {
  std::uintptr_t address;
  std::size_t bytes;
  bool write, atomic;
  Origin origin;
};

struct State {
  std::mutex mutex;   // held by a launch from its begin to its end, and by watch() and its like
  bool busy = false;  // the checker's own code, part of which the linker may take from a kernel file

  Shadow shadow;
  std::vector<Range> ranges;                  // global memory, oldest first
  std::map<std::uintptr_t, Range> variables;  // shared memory of the cluster

  std::uint32_t epoch = 0;  // counts clusters
  std::uint32_t launch_epoch = 0;
  Stamp stamp = 0;
  Stamp cluster_stamp = 0;                           // the cluster's first
  std::vector<std::pair<Stamp, unsigned>> clusters;  // of this launch: first stamp, number
  std::vector<Thread> threads;                       // of the cluster
  std::unordered_map<const void*, ClockPointer> objects;
  std::vector<std::uint32_t> arrived;  // lanes by warp, while a barrier is joined

  std::uintptr_t stacks_begin = 0, stacks_bytes = 0;  // of all fibers
  std::uintptr_t arenas_begin = 0, arenas_bytes = 0;
};

State& state() {
  static State& instance = *new State;  // outlives every launch
  return instance;
}
State& s = state();

class Busy {
 public:
  Busy() { s.busy = true; }
  ~Busy() { s.busy = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
};

unsigned warps_per_block() { return unsigned(current_cluster->blocks.front().warps); }
unsigned threads_per_block() { return current_cluster->blocks.front().threads; }
unsigned lanes_of_warp(unsigned warp) {
  return std::min(32u, threads_per_block() - warp % warps_per_block() * 32);
}
unsigned thread_number(unsigned warp, unsigned lane) {
  return warp / warps_per_block() * threads_per_block() + warp % warps_per_block() * 32 + lane;
}

// ---- order

bool is_foreign(Stamp stamp) { return stamp < s.cluster_stamp; }  // of a cluster that ran before

bool ordered(const Thread& me, unsigned thread, Stamp stamp) {
  return !is_foreign(stamp) && me.clock->knows(s.threads[thread].place, stamp);
}

// The first lane of a group, other than me, whose access is not ordered before me; -1: none.
int unordered_lane(const Thread& me, const Group& group) {
  if (group.stamp == 0) return -1;
  if (is_foreign(group.stamp)) return __builtin_ctz(group.lanes);
  std::uint32_t lanes = group.lanes;
  if (group.warp == me.place.warp) lanes &= ~me.bit;
  if (lanes == 0 || me.clock->knows_warp(group.warp, group.stamp)) return -1;
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    if (!ordered(me, thread_number(group.warp, unsigned(lane)), group.stamp)) return lane;
  }
  return -1;
}

// Adds one stamp for all members to a clock: for everybody, whole blocks and whole warps where they are whole.
void add_members(Clock& clock, const Fiber* const* members, std::size_t count, Stamp now) {
  if (count == s.threads.size()) return clock.set_all(now);
  for (std::size_t i = 0; i < count; ++i) s.arrived[members[i]->warp->index] |= 1u << members[i]->lane;
  const unsigned per_block = warps_per_block();
  for (unsigned block = 0; block < current_cluster->blocks.size(); ++block) {
    const auto whole = [&](unsigned warp) {
      return unsigned(__builtin_popcount(s.arrived[warp])) == lanes_of_warp(warp);
    };
    unsigned whole_warps = 0;
    for (unsigned w = 0; w < per_block; ++w) whole_warps += whole(block * per_block + w) ? 1 : 0;
    if (whole_warps == per_block) clock.set(Clock::Level::block, block, now);
    for (unsigned warp = block * per_block; warp < (block + 1) * per_block; ++warp) {
      if (whole_warps < per_block && whole(warp)) {
        clock.set(Clock::Level::warp, warp, now);
      } else if (whole_warps < per_block) {
        for (std::uint32_t left = s.arrived[warp]; left != 0; left &= left - 1) {
          clock.set(Clock::Level::thread, thread_number(warp, unsigned(__builtin_ctz(left))), now);
        }
      }
      s.arrived[warp] = 0;
    }
  }
}

// ---- words

/// "thread (3,0,0) of block (1,0,0)", also of a cluster that has ended.
std::string name_of_thread(unsigned thread, Stamp stamp) {
  if (!is_foreign(stamp)) return thread_name(current_cluster->fibers[thread]);
  const Job& job = *current_cluster->job;
  auto at = std::upper_bound(s.clusters.begin(), s.clusters.end(), stamp,
                             [](Stamp wanted, const auto& cluster) { return wanted < cluster.first; });
  const std::uint64_t block =
      std::uint64_t((--at)->second) * job.launch.cluster + thread / job.threads_per_block;
  return "thread " + to_string(unflatten(thread % job.threads_per_block, job.launch.block)) + " of block " +
         to_string(unflatten(block, job.launch.grid));
}

std::string kernel() { return "kernel '" + std::string(current_cluster->job->name.text) + "': "; }
std::string me() { return thread_name(running()); }
const char* noun(bool write, bool atomic) { return atomic ? "atomic access" : write ? "write" : "read"; }
bool in_arenas(std::uintptr_t address) { return address - s.arenas_begin < s.arenas_bytes; }

const Range* innermost_range(std::uintptr_t address) {
  const Range* found = nullptr;
  for (const Range& range : s.ranges) {
    if (!range.guard && range.holds(address) && (found == nullptr || range.bytes <= found->bytes))
      found = &range;
  }
  return found;
}

std::string element(std::uintptr_t offset, std::size_t bytes) {
  if (bytes == 0 || offset % bytes != 0) return "byte " + std::to_string(offset);
  return "element " + std::to_string(offset / bytes) + " of " + std::to_string(bytes) +
         (bytes == 1 ? " byte" : " bytes");
}

/// "'part', element 3 of 4 bytes, in shared memory"
std::string describe(const Access& a) {
  if (!in_arenas(a.address)) {
    const Range* range = innermost_range(a.address);
    if (range == nullptr) return "global memory";
    return "'" + range->name + "' (" + element(a.address - range->begin, a.bytes) + ", global memory)";
  }
  const Block* block = block_of_shared(reinterpret_cast<const void*>(a.address));
  const std::string where =
      block == &running().block() ? "shared memory" : "shared memory of block " + to_string(block->index);
  auto at = s.variables.upper_bound(a.address);
  if (at == s.variables.begin() || !(--at)->second.holds(a.address)) return where;
  const Range& variable = at->second;
  return (variable.name.empty() ? std::string("dynamic ") : "'" + variable.name + "', ") + where + " (" +
         element(a.address - variable.begin, a.bytes) + ")";
}

struct Earlier {
  unsigned thread;
  Stamp stamp;
  Origin origin;
  bool write, atomic;
};

void report_race(const Access& a, const Earlier& other) {
  const Busy busy;
  if (is_library(a.origin) || is_library(other.origin)) return;
  const bool foreign = is_foreign(other.stamp);
  abandon(Error(Fault::race, kernel() + "race on " + describe(a) + ": the " + noun(a.write, a.atomic) +
                                 " at " + to_string_origin(a.origin) + " by " + me() + " and the " +
                                 noun(other.write, other.atomic) + " at " + to_string_origin(other.origin) +
                                 " by " + name_of_thread(other.thread, other.stamp) +
                                 (foreign ? " are in different blocks, which nothing orders within a launch"
                                          : " have no barrier in between")));
}

[[noreturn]] void report_undefined(const Access& a, const Cell& cell) {
  const Busy busy;
  std::string text =
      kernel() + "uninitialised read of " + describe(a) + " at " + to_string_origin(a.origin) + " by " + me();
  if (cell.in_flight) {
    text += ": the asynchronous copy at " + to_string_origin(cell.write_origin) + " has not been waited for";
  } else {
    text += ": nobody has written it";
  }
  abandon(Error(cell.in_flight ? Fault::race : Fault::uninitialised, text));
}

[[noreturn]] void report_in_flight(const Access& a, const Cell& cell) {
  const Busy busy;
  abandon(Error(Fault::race, kernel() + "race on " + describe(a) + ": the write at " +
                                 to_string_origin(a.origin) + " by " + me() +
                                 " is to where the asynchronous copy at " +
                                 to_string_origin(cell.write_origin) + " still writes"));
}

std::string outside(const Access& a, const Range& range, const char* kind) {
  const std::string name = range.name.empty() ? "dynamic shared memory" : "'" + range.name + "'" + kind;
  const std::string whole = name + " (" + std::to_string(range.bytes) + " bytes)";
  if (a.address >= range.begin) {
    return " is " + std::to_string(a.address + a.bytes - range.end()) + " bytes past the end of " + whole;
  }
  return " is " + std::to_string(range.begin - a.address) + " bytes before the start of " + whole;
}

/// The variable or buffer that the access misses; empty where none is near.
std::string missed(const Access& a) {
  if (in_arenas(a.address)) {
    const auto above = s.variables.upper_bound(a.address);
    if (above != s.variables.begin() && a.address - std::prev(above)->second.end() < Page::bytes) {
      return outside(a, std::prev(above)->second, " in shared memory");
    }
    if (above != s.variables.end() && above->first - a.address < Page::bytes) {
      return outside(a, above->second, " in shared memory");
    }
    return " is in no variable of shared memory";
  }
  const Range* nearest = nullptr;
  std::uintptr_t best = ~std::uintptr_t(0);
  for (const Range& range : s.ranges) {
    const std::uintptr_t distance =
        a.address >= range.begin ? a.address - range.begin - range.bytes : range.begin - a.address;
    if (!range.guard && distance < best) {
      best = distance;
      nearest = &range;
    }
  }
  for (const Range& guard : s.ranges) {
    if (guard.guard && guard.meets(a.address, a.address + a.bytes) &&
        (nearest == nullptr || nearest->name != guard.name)) {
      return " is in the guard of '" + guard.name + "'";
    }
  }
  return nearest != nullptr ? outside(a, *nearest, "") : " is outside";
}

[[noreturn]] void report_closed(const Access& a) {
  const Busy busy;
  abandon(Error(Fault::bounds, kernel() + "out of bounds: the " + noun(a.write, a.atomic) + " of " +
                                   std::to_string(a.bytes) + " bytes at " + to_string_origin(a.origin) +
                                   " by " + me() + missed(a)));
}

[[noreturn]] void report_exited(const std::string& access, const Block& block) {
  const Busy busy;
  abandon(Error(Fault::exited, kernel() + access + " uses shared memory of block " + to_string(block.index) +
                                   ", which may have exited by then; cluster_sync() before the exit keeps it "
                                   "alive"));
}

// ---- one cell

Earlier earlier_write(const Cell& cell) {
  return {cell.write_thread, cell.write_stamp, cell.write_origin, true, cell.atomic != 0};
}

void check_against_write(const Cell& cell, const Thread& me, const Access& a) {
  if (cell.write_stamp == 0 || (a.atomic && cell.atomic)) return;
  if (cell.write_thread == me.place.thread && !is_foreign(cell.write_stamp)) return;
  if (!ordered(me, cell.write_thread, cell.write_stamp)) report_race(a, earlier_write(cell));
}

template <class F>
void for_each_group(Cell& cell, F&& f) {
  if (cell.readers.stamp != 0) f(cell.readers);
  for (std::uint32_t at = cell.more; at != 0; at = s.shadow.more(at).next) {
    for (Group& group : s.shadow.more(at).groups) {
      if (group.stamp != 0) f(group);
    }
  }
}

void check_against_group(const Group& group, const Thread& me, const Access& a) {
  if (a.atomic && group.atomic) return;
  if (!a.write && !a.atomic && !group.atomic) return;  // two reads
  const int lane = unordered_lane(me, group);
  if (lane < 0) return;
  report_race(a, {thread_number(group.warp, unsigned(lane)), group.stamp, group.origin, false, group.atomic});
}

void add_group(Cell& cell, const Group& group, const Thread& me) {
  if (group.atomic) cell.atomic_groups = true;
  if (cell.readers.stamp == 0) {
    cell.readers = group;
    return;
  }
  // What an earlier cluster did races with every write to come; nothing else need be remembered.
  if (is_foreign(cell.readers.stamp) && cell.readers.atomic == group.atomic) return;
  const auto same = [&](const Group& other) {
    return other.stamp == group.stamp && other.warp == group.warp && other.atomic == group.atomic;
  };
  // A read that is ordered before this one tells no more than this one.
  const auto covered = [&](const Group& other) {
    if (other.stamp == 0) return true;
    if (other.atomic || group.atomic || is_foreign(other.stamp)) return false;
    return other.stamp < me.clock->all() ||
           (other.warp == group.warp && me.clock->knows_warp(other.warp, other.stamp));
  };
  const auto put = [&](Group& slot) {
    if (same(slot)) {
      slot.lanes |= group.lanes;
    } else if (covered(slot)) {
      slot = group;
    } else {
      return false;
    }
    return true;
  };
  if (put(cell.readers)) return;
  for (std::uint32_t at = cell.more; at != 0; at = s.shadow.more(at).next) {
    for (Group& slot : s.shadow.more(at).groups) {
      if (put(slot)) return;
    }
  }
  const std::uint32_t fresh = s.shadow.take_more();
  s.shadow.more(fresh).groups[0] = group;
  s.shadow.more(fresh).next = cell.more;
  cell.more = fresh;
}

// Whether this very thread has read the cell already since its last write and its own last barrier.
bool has_read(const Cell& cell, const Thread& me) {
  const auto is_mine = [&](const Group& group) {
    return group.stamp == me.stamp && group.warp == me.place.warp && (group.lanes & me.bit) != 0;
  };
  if (is_mine(cell.readers)) return true;
  for (std::uint32_t at = cell.more; at != 0; at = s.shadow.more(at).next) {
    for (const Group& group : s.shadow.more(at).groups) {
      if (is_mine(group)) return true;
    }
  }
  return false;
}

void touch_reading(Cell& cell, const Thread& me, const Access& a) {
  if (!a.atomic && !cell.atomic_groups && has_read(cell, me)) return;
  check_against_write(cell, me, a);
  if (cell.atomic_groups) {
    for_each_group(cell, [&](const Group& group) { check_against_group(group, me, a); });
  }
  add_group(cell, {me.stamp, me.bit, a.origin, me.place.warp, a.atomic}, me);
}

// The cell forgets its readers; those of atomic kind stay where the write is atomic too.
void forget_readers(Cell& cell, bool keep_atomic) {
  if (!keep_atomic) {
    cell.readers = {};
    cell.atomic_groups = false;
    s.shadow.give_more(cell);
    return;
  }
  for_each_group(cell, [](Group& group) {
    if (!group.atomic) group.lanes = 0;
  });
  for_each_group(cell, [](Group& group) {
    if (group.lanes == 0) group = {};
  });
}

void touch_writing(Cell& cell, const Thread& me, const Access& a) {
  check_against_write(cell, me, a);
  if (cell.readers.stamp != 0 || cell.more != 0) {
    for_each_group(cell, [&](const Group& group) { check_against_group(group, me, a); });
    forget_readers(cell, a.atomic);
  }
  const bool replaces_other = a.atomic && cell.atomic && cell.write_thread != me.place.thread;
  if (replaces_other && cell.write_stamp != 0) {  // whoever reads next must be ordered after both
    const unsigned lane = is_foreign(cell.write_stamp)
                              ? cell.write_thread % threads_per_block() % 32
                              : unsigned(__builtin_ctz(s.threads[cell.write_thread].bit));
    add_group(
        cell,
        {cell.write_stamp, 1u << lane, cell.write_origin, s.threads[cell.write_thread].place.warp, true}, me);
  }
  cell.write_stamp = me.stamp;
  cell.write_origin = a.origin;
  cell.write_thread = me.place.thread;
  cell.atomic = a.atomic;
}

void touch_cell(Cell& cell, const Thread& me, const Access& a) {
  if (a.write) {
    touch_writing(cell, me, a);
  } else {
    touch_reading(cell, me, a);
  }
}

// ---- words and pages

// Some bytes of a word, or a word about which there is something to say.
void touch_bytes(Page& page, Cell& cell, unsigned bits, const Thread& me, const Access& a) {
  if ((cell.closed & bits) != 0) report_closed(a);
  if (!a.write && (~cell.defined & bits) != 0) report_undefined(a, cell);
  if (a.write && cell.in_flight) report_in_flight(a, cell);
  if (a.write) cell.defined = (cell.defined | bits) & 15;
  if (bits == 15 && !cell.split) return touch_cell(cell, me, a);
  std::array<Cell, 4>& bytes = s.shadow.split(page, cell);
  for (; bits != 0; bits &= bits - 1) touch_cell(bytes[unsigned(__builtin_ctz(bits))], me, a);
}

void refresh(Page& page, std::uintptr_t address) {
  const std::uintptr_t begin = address / Page::bytes * Page::bytes;
  s.shadow.forget_accesses(page);
  const bool shared = in_arenas(address);
  if (shared) {
    const Block* block = block_of_shared(reinterpret_cast<const void*>(address));
    s.shadow.make_shared(page, begin, block != nullptr ? int(block->rank) : 0, s.variables);
  } else if (page.epoch == 0 || page.rank >= 0) {
    s.shadow.make_global(page, begin, s.ranges);
  }
  page.epoch = s.epoch;
}

// A page of shared memory is of one cluster, one of global memory of one launch.
bool is_current(const Page& page, std::uintptr_t address) {
  if (page.epoch == s.epoch) return true;
  return page.epoch >= s.launch_epoch && page.rank < 0 && !in_arenas(address);
}

void note_remote(Page& page, const Access& a) {
  const Block& owner = current_cluster->blocks[std::size_t(page.rank)];
  page.remote = true;
  if (owner.live > 0) return;
  report_exited(
      "the " + std::string(noun(a.write, a.atomic)) + " at " + to_string_origin(a.origin) + " by " + me(),
      owner);
}

// The part of an access that lies in one page.
void touch_page(const Access& a, std::uintptr_t begin, std::uintptr_t end, const Thread& me) {
  Page& page = s.shadow.page(begin);
  if (!is_current(page, begin)) refresh(page, begin);
  if (page.rank >= 0 && page.rank != int(me.place.block)) note_remote(page, a);
  for (std::uintptr_t word = begin / 4 * 4; word < end; word += 4) {
    Cell& cell = page.cells[word % Page::bytes / 4];
    if (word >= begin && word + 4 <= end && cell.plain()) {
      touch_cell(cell, me, a);
      continue;
    }
    const unsigned first = begin > word ? unsigned(begin - word) : 0;
    const unsigned last = end < word + 4 ? unsigned(end - word) : 4;
    touch_bytes(page, cell, (1u << last) - (1u << first), me, a);
  }
}

// A thread's own variables, and threadIdx and its like.
bool is_private(std::uintptr_t address) {
  return address - s.stacks_begin < s.stacks_bytes ||
         address - (reinterpret_cast<std::uintptr_t>(&threadIdx) - 64) < 128;
}

inline void touch(const void* pointer, std::size_t bytes, bool write, bool atomic, Origin origin) {
  const Cluster* cluster = current_cluster;
  if (cluster == nullptr || cluster->running == nullptr || s.busy) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(pointer);
  if (is_private(begin)) return;
  const Access a{begin, bytes, write, atomic, origin};
  const Thread& me = s.threads[cluster->running->number];
  const std::uintptr_t end = begin + bytes, next_page = begin / Page::bytes * Page::bytes + Page::bytes;
  if (end <= next_page) return touch_page(a, begin, end, me);
  for (std::uintptr_t at = begin; at < end;) {
    const std::uintptr_t stop = std::min(end, at / Page::bytes * Page::bytes + Page::bytes);
    touch_page(a, at, stop, me);
    at = stop;
  }
}

template <class F>
void for_each_page(std::uintptr_t begin, std::size_t bytes, F&& f) {
  for (std::uintptr_t at = begin / Page::bytes * Page::bytes; at < begin + bytes; at += Page::bytes) f(at);
}

}  // namespace

// ---- hooks

void note_access(const void* pointer, std::size_t bytes, bool write, bool atomic, Site site) {
  if (bytes > 0) touch(pointer, bytes, write, atomic, origin_of(site));
}

void check_launch_begin(const Job&) {
  s.mutex.lock();
  s.launch_epoch = s.epoch + 1;
  s.stamp = 0;
  s.clusters.clear();
}

void check_launch_end() { s.mutex.unlock(); }

void check_cluster_begin(Cluster& cluster) {
  const Busy busy;
  ++s.epoch;
  s.cluster_stamp = ++s.stamp;
  const auto linear = cluster.blocks.front().index;
  const dim3 grid = cluster.job->launch.grid;
  const std::uint64_t first =
      linear.x + std::uint64_t(grid.x) * (linear.y + std::uint64_t(grid.y) * linear.z);
  s.clusters.push_back({s.stamp, unsigned(first / cluster.blocks.size())});
  s.variables.clear();
  s.objects.clear();
  s.arrived.assign(cluster.warps.size(), 0);
  const ClockPointer nothing = ClockPointer::make();
  s.threads.resize(cluster.fibers.size());
  for (const Fiber& f : cluster.fibers) {
    s.threads[f.number] = {
        {std::uint16_t(f.number), std::uint16_t(f.warp->index), std::uint16_t(f.block().rank)},
        1u << f.lane,
        s.stamp,
        nothing};
  }
  s.stacks_begin = reinterpret_cast<std::uintptr_t>(cluster.stacks);
  s.stacks_bytes = cluster.stack_count * (stack_bytes() + page_bytes);
  s.arenas_begin = reinterpret_cast<std::uintptr_t>(cluster.arenas);
  s.arenas_bytes = cluster.blocks.size() * arena_stride;
}

void check_cluster_end(Cluster&) { s.busy = false; }

// The exit is ordered after everything that its own threads know of. An access by another block that they do
// not know of may come after it.
void check_block_exit(const Block& block) {
  if (block.cluster->blocks.size() == 1) return;
  ClockPointer last = ClockPointer::make();
  const unsigned first = block.rank * block.threads;
  for (unsigned i = 0; i < block.threads; ++i) last->join(*s.threads[first + i].clock);
  Thread exit{{std::uint16_t(first), 0, std::uint16_t(block.rank)}, 0, s.stamp, last};
  const auto check = [&](unsigned thread, Stamp stamp, Origin origin, const char* what) {
    const Place& place = s.threads[thread].place;
    if (place.block == block.rank || ordered(exit, thread, stamp)) return;
    report_exited("the " + std::string(what) + " at " + to_string_origin(origin) + " by " +
                      name_of_thread(thread, stamp),
                  block);
  };
  const auto check_cell = [&](Cell& cell) {
    if (cell.write_stamp != 0) check(cell.write_thread, cell.write_stamp, cell.write_origin, "write");
    for_each_group(cell, [&](const Group& group) {
      for (std::uint32_t left = group.lanes; left != 0; left &= left - 1) {
        check(thread_number(group.warp, unsigned(__builtin_ctz(left))), group.stamp, group.origin, "read");
      }
    });
  };
  for_each_page(reinterpret_cast<std::uintptr_t>(block.arena), arena_bytes, [&](std::uintptr_t at) {
    Page* page = s.shadow.find(at);
    if (page == nullptr || page->epoch != s.epoch || !page->remote) return;
    for (Cell& cell : page->cells) {
      if (!cell.split) check_cell(cell);
    }
    for (std::array<Cell, 4>& bytes : page->splits) {
      for (Cell& cell : bytes) check_cell(cell);
    }
  });
}

void check_shared_variable(const void* begin, std::size_t bytes, const char* name) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  if (s.variables.count(address) != 0) return;
  const Busy busy;
  s.variables[address] = {address, bytes, name != nullptr ? name : ""};
  for_each_page(address, bytes, [&](std::uintptr_t at) {
    Page* page = s.shadow.find(at);
    if (page == nullptr || page->epoch != s.epoch) return;  // opened when it is first touched
    const std::uintptr_t from = std::max(at, address), to = std::min(at + Page::bytes, address + bytes);
    s.shadow.set_closed(from, to - from, false);
  });
}

void check_release(const Fiber& fiber, const void* object) {
  const Busy busy;
  Thread& thread = s.threads[fiber.number];
  Clock& clock = s.objects[object].own();
  const Stamp now = ++s.stamp;
  clock.join(*thread.clock);
  clock.set(Clock::Level::thread, thread.place.thread, now);
  thread.stamp = now;
}

void check_acquire(const Fiber& fiber, const void* object) {
  const Busy busy;
  const auto at = s.objects.find(object);
  if (at != s.objects.end()) s.threads[fiber.number].clock.own().join(*at->second);
}

void check_barrier(const Fiber* const* members, std::size_t count) {
  const Busy busy;
  const Stamp now = ++s.stamp;
  ClockPointer joined = ClockPointer::make();
  const Clock* previous = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    const Clock* clock = s.threads[members[i]->number].clock.get();
    if (clock != previous) joined->join(*clock);
    previous = clock;
  }
  add_members(*joined, members, count, now);
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = s.threads[members[i]->number];
    thread.clock = joined;
    thread.stamp = now;
  }
}

namespace {

// Memory may have been freed and taken again without a word: what lies within the new range, or across its
// ends, is gone.
void forget_ranges(std::uintptr_t begin, std::uintptr_t end, bool guard) {
  std::erase_if(s.ranges, [&](const Range& old) {
    const bool around = old.begin <= begin && old.end() >= end && old.begin != begin && !old.guard && !guard;
    return old.meets(begin, end) && !around;
  });
}

void make_page_for_record(std::uintptr_t begin, std::size_t bytes) {
  for_each_page(begin, bytes, [](std::uintptr_t at) {
    Page& page = s.shadow.page(at);
    if (page.epoch == 0) {
      s.shadow.make_global(page, at, s.ranges);
      page.epoch = 1;
    }
  });
}

}  // namespace

void check_register(const void* data, std::size_t bytes, const char* name, bool defined) {
  const std::lock_guard lock(s.mutex);
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  if (name == nullptr) {
    if (!defined || innermost_range(begin) == nullptr) return;
    make_page_for_record(begin, bytes);
    return s.shadow.set_defined(begin, bytes, true);
  }
  forget_ranges(begin, begin + bytes, false);
  s.ranges.push_back({begin, bytes, name, defined, false});
  s.shadow.set_closed(begin, bytes, false);
  s.shadow.set_defined(begin, bytes, defined);
}

void check_guard(const void* data, std::size_t bytes, const char* name) {
  const std::lock_guard lock(s.mutex);
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  forget_ranges(begin, begin + bytes, true);
  s.ranges.push_back({begin, bytes, name, true, true});
  s.shadow.set_closed(begin, bytes, true);
  s.shadow.set_defined(begin, bytes, true);
}

void check_unregister(const void* data) {
  const std::lock_guard lock(s.mutex);
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  std::uintptr_t end = begin;
  for (const Range& range : s.ranges) {
    if (range.begin == begin) end = std::max(end, range.end());
  }
  std::erase_if(s.ranges, [&](const Range& range) {
    const bool gone = range.begin == begin || (range.guard && (range.end() == begin || range.begin == end));
    if (gone) {
      s.shadow.set_closed(range.begin, range.bytes, false);
      s.shadow.set_defined(range.begin, range.bytes, true);
    }
    return gone;
  });
}

void check_in_flight(const void* to, std::size_t bytes, Site site) {
  note_access(to, bytes, true, false, site);  // it may write at once: nobody may still be reading
  const auto begin = reinterpret_cast<std::uintptr_t>(to);
  for (std::uintptr_t word = begin / 4 * 4; word < begin + bytes; word += 4) {
    Cell& cell = s.shadow.page(word).cells[word % Page::bytes / 4];
    cell.in_flight = true;
    cell.defined = 0;
    cell.write_origin = cell.split ? origin_of(site) : cell.write_origin;
  }
}

void check_arrival(const void* to, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(to);
  for (std::uintptr_t word = begin / 4 * 4; word < begin + bytes; word += 4) {
    s.shadow.page(word).cells[word % Page::bytes / 4].in_flight = false;
  }
}

}  // namespace simt::detail

// ---- what -fsanitize=thread calls

#define SIMT_HERE simt::detail::origin_of(__builtin_return_address(0))
#define SIMT_TOUCH(name, bytes, write) \
  extern "C" void __tsan_##name(void* p) { simt::detail::touch(p, bytes, write, false, SIMT_HERE); }
#define SIMT_TOUCHES(bytes)                                \
  SIMT_TOUCH(read##bytes, bytes, false)                    \
  SIMT_TOUCH(write##bytes, bytes, true)                    \
  SIMT_TOUCH(unaligned_read##bytes, bytes, false)          \
  SIMT_TOUCH(unaligned_write##bytes, bytes, true)          \
  SIMT_TOUCH(volatile_read##bytes, bytes, false)           \
  SIMT_TOUCH(volatile_write##bytes, bytes, true)           \
  SIMT_TOUCH(unaligned_volatile_read##bytes, bytes, false) \
  SIMT_TOUCH(unaligned_volatile_write##bytes, bytes, true)

SIMT_TOUCHES(1)
SIMT_TOUCHES(2)
SIMT_TOUCHES(4)
SIMT_TOUCHES(8)
SIMT_TOUCHES(16)
SIMT_TOUCH(vptr_read, sizeof(void*), false)

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** p, void*) { simt::detail::touch(p, sizeof(void*), true, false, SIMT_HERE); }
void __tsan_read_range(void* p, std::size_t n) { simt::detail::touch(p, n, false, false, SIMT_HERE); }
void __tsan_write_range(void* p, std::size_t n) { simt::detail::touch(p, n, true, false, SIMT_HERE); }
void* __tsan_memcpy(void* to, const void* from, std::size_t n) {
  simt::detail::touch(from, n, false, false, SIMT_HERE);
  simt::detail::touch(to, n, true, false, SIMT_HERE);
  return std::memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, std::size_t n) {
  simt::detail::touch(from, n, false, false, SIMT_HERE);
  simt::detail::touch(to, n, true, false, SIMT_HERE);
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, std::size_t n) {
  simt::detail::touch(to, n, true, false, SIMT_HERE);
  return std::memset(to, value, n);
}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
}

// The strongest order for all: these run once for the guard of a static variable, or for std::atomic.
#define SIMT_ATOMIC_FETCH(bits, type, op)                                  \
  extern "C" type __tsan_atomic##bits##_fetch_##op(type* p, type v, int) { \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);           \
    return __atomic_fetch_##op(p, v, __ATOMIC_SEQ_CST);                    \
  }
#define SIMT_ATOMIC(bits, type)                                                                             \
  extern "C" type __tsan_atomic##bits##_load(const type* p, int) {                                          \
    simt::detail::touch(p, sizeof(type), false, true, SIMT_HERE);                                           \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                            \
  }                                                                                                         \
  extern "C" void __tsan_atomic##bits##_store(type* p, type v, int) {                                       \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);                                            \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                               \
  }                                                                                                         \
  extern "C" type __tsan_atomic##bits##_exchange(type* p, type v, int) {                                    \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);                                            \
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);                                                     \
  }                                                                                                         \
  SIMT_ATOMIC_FETCH(bits, type, add)                                                                        \
  SIMT_ATOMIC_FETCH(bits, type, sub)                                                                        \
  SIMT_ATOMIC_FETCH(bits, type, and)                                                                        \
  SIMT_ATOMIC_FETCH(bits, type, or)                                                                         \
  SIMT_ATOMIC_FETCH(bits, type, xor)                                                                        \
  SIMT_ATOMIC_FETCH(bits, type, nand)                                                                       \
  extern "C" int __tsan_atomic##bits##_compare_exchange_strong(type* p, type* expected, type v, int, int) { \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);                                            \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
  }                                                                                                         \
  extern "C" int __tsan_atomic##bits##_compare_exchange_weak(type* p, type* expected, type v, int, int) {   \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);                                            \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);          \
  }                                                                                                         \
  extern "C" type __tsan_atomic##bits##_compare_exchange_val(type* p, type expected, type v, int, int) {    \
    simt::detail::touch(p, sizeof(type), true, true, SIMT_HERE);                                            \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                \
    return expected;                                                                                        \
  }

SIMT_ATOMIC(8, std::uint8_t)
SIMT_ATOMIC(16, std::uint16_t)
SIMT_ATOMIC(32, std::uint32_t)
SIMT_ATOMIC(64, std::uint64_t)
