// Edit distance (Levenshtein) over short names. See names.hpp.
#include "kernels/runtime/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace fovea {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_hint(std::string_view name, std::span<const std::string> known) {
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    const bool prefix = !name.empty() && candidate.starts_with(name);
    if (prefix || distance <= std::max<std::size_t>(2, name.size() / 3))
      near.emplace_back(distance, candidate);
  }
  std::sort(near.begin(), near.end());
  if (near.size() == 1) return fmt::format("; did you mean '{}'?", near[0].second);
  if (near.size() > 1) return fmt::format("; did you mean '{}' or '{}'?", near[0].second, near[1].second);
  return fmt::format("; known: {}", fmt::join(known, ", "));
}

}  // namespace fovea
