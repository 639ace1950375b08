// cp.async, host half: a copy takes effect when the thread waits for its group, and not before; until then
// its destination holds NaN, so that a missing wait shows.
#pragma once

#include "simt/host/core.hpp"

namespace simt {
namespace detail {
void async_copy(void* to, const void* from, int width, int bytes, Site site);
void async_commit(Site site);
void async_wait(int groups_left, Site site);
}  // namespace detail

/// Starts copying `bytes` (0 to width) from global to shared memory and zeros up to `width`, which is 4, 8 or
/// 16; both addresses are multiples of it.
template <int width>
inline void cp_async(void* to, const void* from, int bytes = width, SIMT_SITE) {
  static_assert(width == 4 || width == 8 || width == 16, "cp.async moves 4, 8 or 16 bytes");
  detail::async_copy(to, from, width, bytes, site);
}
inline void cp_async_commit(SIMT_SITE) { detail::async_commit(site); }
/// Waits until at most so many of this thread's latest groups are under way. A barrier must follow before
/// other threads read what arrived.
template <int groups_left>
inline void cp_async_wait(SIMT_SITE) {
  detail::async_wait(groups_left, site);
}

}  // namespace simt
