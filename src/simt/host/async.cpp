// cp.async on the host. See async.hpp.
#include "simt/host/async.hpp"

#include <cstring>

#include "simt/host/checker.hpp"
#include "simt/host/executor.hpp"
#include "simt/host/sanitizer.hpp"

namespace simt::detail {
namespace {

void perform(const PendingCopy& copy) {
  check_range(copy.from, std::size_t(copy.bytes), "cp.async reads", copy.site);
  note_access(copy.from, std::size_t(copy.bytes), false, false, copy.site);
  check_arrival(copy.to, std::size_t(copy.filled));
  note_access(copy.to, std::size_t(copy.filled), true, false, copy.site);
  std::memcpy(copy.to, copy.from, std::size_t(copy.bytes));
  std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, std::size_t(copy.filled - copy.bytes));
}

}  // namespace

void async_copy(void* to, const void* from, int width, int bytes, Site site) {
  check_aligned(to, std::size_t(width), site);
  check_aligned(from, std::size_t(width), site);
  if (bytes < 0 || bytes > width) {
    fail(Fault::misuse, "cp.async of " + std::to_string(bytes) + " bytes into " + std::to_string(width),
         site);
  }
  if (block_of_shared(to) == nullptr)
    fail(Fault::misuse, "cp.async to an address that is not in shared memory", site);
  check_range(to, std::size_t(width), "cp.async writes", site);
  Fiber& me = running();
  check_in_flight(to, std::size_t(width), site);
  std::memset(to, 0xFF, std::size_t(width));
  me.copies.push_back({to, from, bytes, width, me.copy_group, site});
}

void async_commit(Site) { ++running().copy_group; }

// Copies that no group was committed for wait for the next commit, as on the device.
void async_wait(int groups_left, Site) {
  Fiber& me = running();
  std::size_t kept = 0;
  for (const PendingCopy& copy : me.copies) {
    if (copy.group < me.copy_group - groups_left) {
      perform(copy);
    } else {
      me.copies[kept++] = copy;
    }
  }
  me.copies.resize(kept);
}

// The executor is not instrumented, so its copies ask by hand.
void check_range(const void* pointer, std::size_t bytes, const char* what, Site site) {
  if (!with_asan() || bytes == 0) return;
  const void* bad = __asan_region_is_poisoned(const_cast<void*>(pointer), bytes);
  if (bad == nullptr) return;
  fail(Fault::bounds,
       std::string(what) + " " + std::to_string(bytes) + " bytes of which byte " +
           std::to_string(static_cast<const char*>(bad) - static_cast<const char*>(pointer)) +
           " lies outside of the array or variable",
       site);
}

}  // namespace simt::detail
