// Which fiber runs next, and what a user sets: the schedule, and the machine that the executor passes for.
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include "simt/host/executor.hpp"
#include "simt/host/schedule.hpp"

namespace simt {
namespace {

Schedule from_environment() {
  const char* text = std::getenv("SIMT_SCHEDULE");
  if (text == nullptr) return {};
  const std::string_view value(text);
  if (value == "forward") return {};
  if (value == "reverse") return {Order::reverse, 1};
  if (value == "random") return {Order::random, 1};
  if (value.starts_with("random:")) {
    char* end = nullptr;
    const std::uint64_t seed = std::strtoull(text + 7, &end, 10);
    if (end != text + 7 && *end == '\0') return {Order::random, seed};
  }
  throw Error(Fault::misuse, "SIMT_SCHEDULE is '" + std::string(value) +
                                 "'; it knows forward, reverse, random and random:SEED");
}

Schedule& current() {
  static Schedule schedule = from_environment();
  return schedule;
}

unsigned lowest(std::uint32_t set) { return static_cast<unsigned>(__builtin_ctz(set)); }
unsigned highest(std::uint32_t set) { return 31u - static_cast<unsigned>(__builtin_clz(set)); }

unsigned nth(std::uint32_t set, unsigned n) {
  while (n-- > 0) set &= set - 1;
  return lowest(set);
}

Limits machine{.shared_per_block = std::size_t(227) << 10,
               .max_cluster = 16,
               .architecture = 90,
               .multiprocessors = 132};

}  // namespace

Schedule schedule() { return current(); }
void set_schedule(const Schedule& schedule) { current() = schedule; }

Limits limits() { return machine; }
void set_limits(const Limits& limits) { machine = limits; }

namespace detail {

unsigned workers_from_environment() {
  const char* text = std::getenv("SIMT_WORKERS");
  if (text == nullptr) return std::max(1u, std::thread::hardware_concurrency());
  unsigned count = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, status] = std::from_chars(text, end, count);
  if (status == std::errc() && stop == end && count >= 1 && count <= 1024) return count;
  throw Error(Fault::misuse,
              "SIMT_WORKERS is '" + std::string(text) + "'; it takes a number of OS threads, 1 to 1024");
}

Fiber* next_ready(Cluster& cluster, const Warp& from, unsigned lane) {
  std::vector<Warp>& warps = cluster.warps;
  const std::size_t count = warps.size();
  if (cluster.order == Order::random) {
    const std::size_t first = cluster.random() % count;
    for (std::size_t i = 0; i < count; ++i) {
      Warp& w = warps[(first + i) % count];
      if (w.ready == 0) continue;
      const auto choices = static_cast<unsigned>(__builtin_popcount(w.ready));
      return w.fibers + nth(w.ready, static_cast<unsigned>(cluster.random() % choices));
    }
    return nullptr;
  }
  const bool reverse = cluster.order == Order::reverse;
  if (from.ready != 0) {  // the rest of the warp first: warp collectives complete soonest
    if (reverse) return from.fibers + highest(from.ready);
    const std::uint32_t after = lane >= 31 ? 0 : from.ready & (~0u << (lane + 1));
    return from.fibers + lowest(after != 0 ? after : from.ready);
  }
  for (std::size_t i = 1; i <= count; ++i) {
    Warp& w = warps[(from.index + (reverse ? count - i : i)) % count];
    if (w.ready != 0) return w.fibers + (reverse ? highest(w.ready) : lowest(w.ready));
  }
  return nullptr;
}

}  // namespace detail
}  // namespace simt
