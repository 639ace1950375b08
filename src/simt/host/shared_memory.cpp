// Shared memory of a block: one arena, static variables from the front (16 bytes apart), the dynamic part at
// the end, then a page that traps.
//
//   | static variables, 48 KiB + a page | unused | dynamic part | slack | trapping page |
//
// The dynamic part begins at a multiple of 1024, as TMA tiles want it; the slack of up to 1023 bytes holds a
// pattern that is checked when the block ends. Everything else holds NaN until it is written.
#include <cstring>

#include "simt/host/checker.hpp"
#include "simt/host/executor.hpp"
#include "simt/host/sanitizer.hpp"

namespace simt::detail {
namespace {

constexpr std::size_t alignment = 1024;
constexpr unsigned char undefined = 0xFF;  // a NaN in every floating type
constexpr unsigned char slack_pattern = 0xA5;

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

char* dynamic_begin(const Block& block, std::size_t bytes) {
  char* end = block.arena + arena_bytes;
  const auto address = reinterpret_cast<std::uintptr_t>(end - bytes) / alignment * alignment;
  return reinterpret_cast<char*>(address);
}

}  // namespace

void open_arena(Block& block, std::size_t dynamic_bytes) {
  char *begin = dynamic_begin(block, dynamic_bytes), *end = block.arena + arena_bytes;
  unpoison(block.arena, arena_bytes);
  std::memset(begin, undefined, dynamic_bytes);
  std::memset(begin + dynamic_bytes, slack_pattern, std::size_t(end - begin) - dynamic_bytes);
  poison(block.arena, std::size_t(begin - block.arena));
  poison(begin + dynamic_bytes, std::size_t(end - begin) - dynamic_bytes);
}

void close_arena(Block& block, std::size_t dynamic_bytes, bool checked) {
  const char *begin = dynamic_begin(block, dynamic_bytes), *end = block.arena + arena_bytes;
  unpoison(block.arena, arena_bytes);
  if (!checked) return;
  for (const char* p = begin + dynamic_bytes; p < end; ++p) {
    if (static_cast<unsigned char>(*p) == slack_pattern) continue;
    fail(Fault::bounds,
         "block " + to_string(block.index) + " wrote past the end of its " + std::to_string(dynamic_bytes) +
             " bytes of dynamic shared memory, at byte " + std::to_string(p - begin),
         {});
  }
}

void* dynamic_shared(std::size_t bytes, std::size_t wanted_alignment, Site site) {
  Fiber& me = running();
  me.site = site;
  const std::size_t have = current_cluster->job->launch.shared_bytes;
  if (bytes > have) {
    fail(Fault::bounds,
         "shared<T>() is a struct of " + std::to_string(bytes) + " bytes, and the launch gave " +
             std::to_string(have),
         site);
  }
  if (wanted_alignment > alignment) {
    fail(Fault::misaligned,
         "shared<T>() wants " + std::to_string(wanted_alignment) + "-byte alignment; 1024 is the most", site);
  }
  char* begin = dynamic_begin(me.block(), have);
  check_shared_variable(begin, have, nullptr);
  return begin;
}

namespace {

void check_static_size(std::size_t all, std::size_t end, const char* name, Site site) {
  if (all > static_limit || end > static_limit + page_bytes) {
    fail(Fault::launch, std::string("static shared memory exceeds 48 KiB at '") + name + "'", site);
  }
  const std::size_t dynamic_bytes = current_cluster->job->launch.shared_bytes;
  if (all + dynamic_bytes > limits().shared_per_block) {
    fail(Fault::launch,
         std::to_string(all) + " bytes of static and " + std::to_string(dynamic_bytes) +
             " of dynamic shared memory; a block has at most " + std::to_string(limits().shared_per_block),
         site);
  }
}

}  // namespace

void* static_shared(const void* key, std::size_t bytes, std::size_t wanted_alignment, const char* name,
                    Site site) {
  Job& job = *current_cluster->job;
  std::size_t offset = 0, number = 0, all = 0;
  {
    const std::lock_guard lock(job.mutex);
    const auto [at, is_new] = job.statics.try_emplace(key);
    if (is_new) {
      // 16 bytes of nothing before each variable, so that a step over the end is not into the next.
      at->second = {round_up(job.static_end + 16, wanted_alignment), job.statics.size() - 1};
      job.static_end = at->second.offset + bytes;
      job.static_bytes += bytes;
    }
    offset = at->second.offset;
    number = at->second.number;
    all = job.static_bytes;
  }
  check_static_size(all, offset + bytes, name, site);
  Block& block = running().block();
  char* begin = block.arena + offset;
  if (block.statics.size() <= number) block.statics.resize(number + 1);
  if (!block.statics[number]) {  // the first of the block's threads here
    block.statics[number] = true;
    unpoison(begin, bytes);
    std::memset(begin, undefined, bytes);
  }
  check_shared_variable(begin, bytes, name);
  return begin;
}

Block* block_of_shared(const void* pointer) {
  Cluster& cluster = *current_cluster;
  const auto offset = static_cast<const char*>(pointer) - cluster.arenas;
  if (offset < 0) return nullptr;
  const std::size_t rank = std::size_t(offset) / arena_stride;
  return rank < cluster.blocks.size() ? &cluster.blocks[rank] : nullptr;
}

void* map_rank(void* pointer, unsigned rank, Site site) {
  Cluster& cluster = *current_cluster;
  const Block* mine = block_of_shared(pointer);
  if (rank >= cluster.blocks.size()) {
    fail(Fault::misuse,
         "map_shared_rank: rank " + std::to_string(rank) + " in a cluster of " +
             std::to_string(cluster.blocks.size()),
         site);
  }
  if (mine == nullptr) fail(Fault::misuse, "map_shared_rank: the address is not in shared memory", site);
  const Block& theirs = cluster.blocks[rank];
  if (theirs.live == 0) {
    fail(Fault::exited,
         "map_shared_rank: block " + to_string(theirs.index) + " of rank " + std::to_string(rank) +
             " has exited already; cluster_sync() before the exit keeps its shared memory alive",
         site);
  }
  return theirs.arena + (static_cast<char*>(pointer) - mine->arena);
}

}  // namespace simt::detail
