// See clock.hpp.
#include "simt/host/checker/clock.hpp"

#include <algorithm>

namespace simt::detail {
namespace {

bool by_key(const std::pair<std::uint32_t, Stamp>& entry, std::uint32_t key) { return entry.first < key; }

}  // namespace

Stamp Clock::find(Level level, unsigned index) const {
  const std::uint32_t wanted = key(level, index);
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), wanted, by_key);
  return at != entries_.end() && at->first == wanted ? at->second : 0;
}

Stamp Clock::exception(const Place& place) const {
  return std::max(
      {find(Level::block, place.block), find(Level::warp, place.warp), find(Level::thread, place.thread)});
}

void Clock::set(Level level, unsigned index, Stamp stamp) {
  if (stamp <= all_) return;
  const std::uint32_t wanted = key(level, index);
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), wanted, by_key);
  if (at != entries_.end() && at->first == wanted) {
    at->second = std::max(at->second, stamp);
  } else {
    entries_.insert(at, {wanted, stamp});
  }
}

void Clock::set_all(Stamp stamp) {
  all_ = std::max(all_, stamp);
  prune();
}

void Clock::prune() {
  std::erase_if(entries_, [this](const Entry& entry) { return entry.second <= all_; });
}

void Clock::join(const Clock& other) {
  all_ = std::max(all_, other.all_);
  if (!other.entries_.empty()) {
    std::vector<Entry> merged;
    merged.reserve(entries_.size() + other.entries_.size());
    auto mine = entries_.begin();
    for (const Entry& theirs : other.entries_) {
      while (mine != entries_.end() && mine->first < theirs.first) merged.push_back(*mine++);
      if (mine != entries_.end() && mine->first == theirs.first) {
        merged.push_back({theirs.first, std::max(theirs.second, mine++->second)});
      } else {
        merged.push_back(theirs);
      }
    }
    merged.insert(merged.end(), mine, entries_.end());
    entries_ = std::move(merged);
  }
  prune();
}

}  // namespace simt::detail
