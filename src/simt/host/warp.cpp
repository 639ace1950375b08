// Warp collectives: each lane of the mask deposits its operands; the last to arrive computes for all of them.
#include "simt/host/checker.hpp"
#include "simt/host/executor.hpp"

namespace simt::detail {
namespace {

std::string hex(std::uint32_t mask) {
  char text[12];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

std::string lane_at(const Fiber& f) {
  return "lane " + std::to_string(f.lane) + " is at " + name_of(f.op) + " (mask " + hex(f.mask) + ") " +
         to_string(f.site);
}

// Two lanes that wait for each other must be at the same collective, with the same mask. The lanes that wait
// already agree with each other, so one of them speaks for all.
void check_together(const Fiber& me, const Warp& warp) {
  for (std::uint32_t left = warp.collected & me.mask; left != 0; left &= left - 1) {
    const Fiber& other = warp.fibers[__builtin_ctz(left)];
    if ((other.mask >> me.lane & 1) == 0) continue;
    const bool same_place = me.op == WarpOp::syncwarp || me.site == other.site;
    if (me.op == other.op && me.mask == other.mask && same_place) return;
    fail(Fault::divergence,
         "warp divergence: " + lane_at(me) + ", " + lane_at(other) +
             "; all lanes of a mask must reach the same collective with the same mask",
         me.site);
  }
}

// Runs the collective of this mask if all its live lanes wait there.
bool release(Warp& warp, std::uint32_t mask) {
  const std::uint32_t members = mask & warp.live;
  if (members == 0 || (warp.collected & members) != members) return false;
  Fiber& first = warp.fibers[__builtin_ctz(members)];
  void* operands[32] = {};
  const Fiber* fibers[32];
  std::size_t count = 0;
  for (std::uint32_t left = members; left != 0; left &= left - 1) {
    Fiber& f = warp.fibers[__builtin_ctz(left)];
    if (f.mask != mask) return false;
    operands[f.lane] = f.operand;
    fibers[count++] = &f;
  }
  if (first.leader != nullptr) first.leader(members, operands);
  if (first.op == WarpOp::syncwarp) check_barrier(fibers, count);  // shuffles order no memory
  warp.collected &= ~members;
  for (std::size_t i = 0; i < count; ++i) make_ready(const_cast<Fiber&>(*fibers[i]));
  return true;
}

}  // namespace

void warp_collective(std::uint32_t mask, WarpOp op, void* operand, WarpLeader leader, Site site) {
  Cluster& cluster = *current_cluster;
  Fiber& me = running();
  Warp& warp = *me.warp;
  ++cluster.counters.warp_collectives;
  me.site = site;
  if ((mask >> me.lane & 1) == 0) {
    fail(Fault::mask,
         std::string(name_of(op)) + ": the calling lane " + std::to_string(me.lane) +
             " is not in its own mask " + hex(mask),
         site);
  }
  me.op = op;
  me.mask = mask;
  me.operand = operand;
  me.leader = leader;
  check_together(me, warp);
  warp.collected |= 1u << me.lane;
  if (release(warp, mask)) {
    reschedule();
    return;
  }
  wait_on(&warp.collected, Wait::warp, site);
}

void release_warp_after_exit(Warp& warp) {
  for (std::uint32_t left = warp.collected; left != 0; left &= left - 1) {
    const Fiber& f = warp.fibers[__builtin_ctz(left)];
    if (release(warp, f.mask)) return release_warp_after_exit(warp);
  }
}

std::uint32_t active_mask() {
  const Fiber& me = running();
  return me.warp->ready;  // the lanes that could run now, this one among them
}

void check_shuffle_width(int width, Site site) {
  if (width >= 1 && width <= 32 && (width & (width - 1)) == 0) return;
  fail(Fault::misuse, "a shuffle of width " + std::to_string(width) + "; it takes 1, 2, 4, 8, 16 or 32",
       site);
}

void vote_leader(std::uint32_t lanes, void* const* operands) {
  std::uint32_t result = 0;
  for (std::uint32_t left = lanes; left != 0; left &= left - 1) {
    const int i = __builtin_ctz(left);
    result |= std::uint32_t(static_cast<Vote*>(operands[i])->predicate) << i;
  }
  for (std::uint32_t left = lanes; left != 0; left &= left - 1) {
    static_cast<Vote*>(operands[__builtin_ctz(left)])->result = result;
  }
}

}  // namespace simt::detail
