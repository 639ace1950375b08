// The charts of a comparison's page, each with its heading; empty where no row has what they show.
#pragma once

#include <string>

#include "eval/comparison.hpp"
#include "eval/svg_charts.hpp"

namespace fovea {

/// A dot for every fold and seed, under each row's name, with the pooled mean and its interval.
std::string spread_section(const Comparison& comparison);

/// For each row the mean of its classes' and seeds' ROC curves, over the reference's.
std::string roc_section(const Comparison& comparison);

/// For each row the losses of all its runs, over common axes.
std::string curves_section(const Comparison& comparison);

}  // namespace fovea
