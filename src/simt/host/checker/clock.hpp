// Clock: what one thread knows of the others' progress, for the race checker.
//
// Synchronisation events of a launch are numbered; the number is a Stamp. An access carries the stamp of the
// last event in which its thread took part. A clock says, for every other thread, up to which event all that
// this thread did is ordered before us. Barriers join whole blocks and warps, so a clock holds one stamp for
// everybody and only the exceptions: blocks, warps and, rarely, single threads. After a barrier of all threads
// nothing but the one stamp is left, and all of them share one object.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace simt::detail {

using Stamp = std::uint32_t;

/// A thread's number in its cluster, and the warp and block that it belongs to.
struct Place {
  std::uint16_t thread = 0, warp = 0, block = 0;
};

class Clock {
 public:
  enum class Level : std::uint32_t { block, warp, thread };

  /// Whether what the thread at this place did at this stamp is ordered before the clock's owner.
  bool knows(const Place& place, Stamp stamp) const {
    return stamp < all_ || (!entries_.empty() && stamp < exception(place));
  }
  /// The same for a whole warp; false may only mean that the lanes have to be asked one by one.
  bool knows_warp(unsigned warp, Stamp stamp) const {
    return stamp < all_ || stamp < find(Level::warp, warp);
  }
  Stamp all() const { return all_; }

  void join(const Clock& other);
  void set(Level level, unsigned index, Stamp stamp);
  void set_all(Stamp stamp);

 private:
  friend class ClockPointer;
  using Entry = std::pair<std::uint32_t, Stamp>;  // by level and index; sorted

  static std::uint32_t key(Level level, unsigned index) { return std::uint32_t(level) << 16 | index; }
  Stamp find(Level level, unsigned index) const;
  Stamp exception(const Place& place) const;
  void prune();

  Stamp all_ = 0;
  unsigned owners_ = 0;
  std::vector<Entry> entries_;
};

/// Shared ownership without atomics: a launch under the checker runs in one OS thread.
class ClockPointer {
 public:
  ClockPointer() = default;
  static ClockPointer make() { return ClockPointer(new Clock); }
  ClockPointer(const ClockPointer& other) : ClockPointer(other.clock_) {}
  ClockPointer(ClockPointer&& other) noexcept : clock_(std::exchange(other.clock_, nullptr)) {}
  ClockPointer& operator=(ClockPointer other) {
    std::swap(clock_, other.clock_);
    return *this;
  }
  ~ClockPointer() {
    if (clock_ != nullptr && --clock_->owners_ == 0) delete clock_;
  }

  Clock* get() const { return clock_; }
  Clock* operator->() const { return clock_; }
  Clock& operator*() const { return *clock_; }
  explicit operator bool() const { return clock_ != nullptr; }
  /// A clock that nobody else sees, to be changed.
  Clock& own() {
    if (clock_ == nullptr) {
      *this = make();
    } else if (clock_->owners_ > 1) {
      ClockPointer copy = make();
      copy.clock_->all_ = clock_->all_;
      copy.clock_->entries_ = clock_->entries_;
      *this = std::move(copy);
    }
    return *clock_;
  }

 private:
  explicit ClockPointer(Clock* clock) : clock_(clock) {
    if (clock_ != nullptr) ++clock_->owners_;
  }
  Clock* clock_ = nullptr;
};

}  // namespace simt::detail
