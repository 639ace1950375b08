// report.html of a comparison: its rows on one page that needs nothing else, as a run's is. The one script in it sorts
// the table by a click or a key on a header; without it all is there but the sorting.
#pragma once

#include <string>

#include "eval/comparison.hpp"

namespace fovea {

/// The page as text; all given text is escaped. Rows without figures stand last in the table, whatever it is sorted by;
/// what failed is listed with its sentence.
std::string comparison_html(const Comparison& comparison);

/// Writes `folder`/report.html, whole or not at all.
void write_comparison_report(const std::string& folder, const Comparison& comparison);

}  // namespace fovea
