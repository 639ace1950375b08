// Red zones: a map from the address of every Storage made in debug mode to its size, by which the zones around
// any View are found. See debug.hpp.
#include "kernels/runtime/red_zones.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/memory.hpp"

namespace fovea {
namespace {

constexpr unsigned char paint = 0xA5;
using Zone = std::array<unsigned char, red_zone_bytes>;

struct Painted {
  std::int64_t bytes;
  Device device;
};

// Never destroyed, since Storage with static lifetime is released after everything else.
struct Registry {
  std::mutex mutex;
  std::map<const unsigned char*, Painted> painted;
  std::string damage_of_freed;
};
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

View zone_view(const unsigned char* at, Device device) {
  return {const_cast<unsigned char*>(at), {red_zone_bytes}, Dtype::u8, device};
}

// The distance of the first damaged byte from the storage, 0 where the zone is as it was painted. A damaged zone
// is painted again, so that the next report is of something new.
std::int64_t damage(const unsigned char* zone, bool in_front, Device device) {
  Zone seen;
  copy({seen.data(), {red_zone_bytes}, Dtype::u8, Device::cpu}, zone_view(zone, device));
  const auto wrong = [](unsigned char byte) { return byte != paint; };
  const auto first = std::find_if(seen.begin(), seen.end(), wrong);
  if (first == seen.end()) return 0;
  fill_bytes(zone_view(zone, device), paint);
  if (!in_front) return first - seen.begin() + 1;
  return std::find_if(seen.rbegin(), seen.rend(), wrong) - seen.rbegin() + 1;
}

std::string damage_around(const unsigned char* data, const Painted& painted) {
  const std::int64_t before = damage(data - red_zone_bytes, true, painted.device);
  const std::int64_t after = damage(data + painted.bytes, false, painted.device);
  if (after > 0) return fmt::format("byte {} after the end of its {} bytes", after, painted.bytes);
  if (before > 0) return fmt::format("byte {} before the beginning of its {} bytes", before, painted.bytes);
  return "";
}

}  // namespace

void add_red_zones(void* data, std::int64_t bytes, Device device) {
  auto* const begin = static_cast<unsigned char*>(data);
  fill_bytes(zone_view(begin - red_zone_bytes, device), paint);
  fill_bytes(zone_view(begin + bytes, device), paint);
  const std::scoped_lock lock(registry().mutex);
  registry().painted[begin] = {bytes, device};
}

void remove_red_zones(void* data) {
  auto* const begin = static_cast<unsigned char*>(data);
  const std::scoped_lock lock(registry().mutex);
  const auto it = registry().painted.find(begin);
  try {
    const std::string found = damage_around(begin, it->second);
    if (!found.empty() && registry().damage_of_freed.empty()) registry().damage_of_freed = found;
  } catch (const std::exception&) {
    // A device that fails is reported by its next call; nothing can be thrown from a destructor.
  }
  registry().painted.erase(it);
}

std::string red_zone_damage(const View& view) {
  const auto* const at = static_cast<const unsigned char*>(view.data);
  const std::scoped_lock lock(registry().mutex);
  auto it = registry().painted.upper_bound(at);
  if (it == registry().painted.begin()) return "";
  --it;
  if (at >= it->first + std::max<std::int64_t>(it->second.bytes, 1)) return "";  // made before debug mode
  return damage_around(it->first, it->second);
}

std::string take_damage_of_freed() {
  const std::scoped_lock lock(registry().mutex);
  return std::exchange(registry().damage_of_freed, {});
}

}  // namespace fovea
