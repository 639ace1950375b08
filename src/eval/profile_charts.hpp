// The pictures of a profile, as inline SVG: a roofline and a time line. Units and styles: svg_charts.hpp.
#pragma once

#include <span>
#include <string>

#include "kernels/runtime/profile.hpp"

namespace fovea {

/// Operations per second by operations per byte, both logarithmic, under the ceilings of copy and of the matrix products
/// in the types of the rows: a dot for each row that has both, the larger the longer it takes. Empty where no row has.
std::string roofline_chart(std::span<const ProfileRow> rows, const Peaks& peaks);

/// One step from left to right: its parts, the layers at work, the kernels; what would be narrower than a third of a pixel is
/// drawn with its neighbours.
std::string time_line(const Profile& profile, int step);

}  // namespace fovea
