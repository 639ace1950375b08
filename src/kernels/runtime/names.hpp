// Names that a user typed: the nearest known ones, for the hint of an error.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace fovea {

/// "; did you mean 'a' or 'b'?" with the known names nearest to `name` by edit distance; lists all of them
/// where few or none is near.
std::string nearest_hint(std::string_view name, std::span<const std::string> known);

}  // namespace fovea
