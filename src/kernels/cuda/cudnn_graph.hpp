// cuDNN's graph API behind PlannedOp, free of cuDNN's types. Its .cpp is the only file that includes cudnn_frontend
// (half a minute and 1.6 GB to compile).
//
// The library is loaded when it is first asked for, so that the program starts without it.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/graph_spec.hpp"
#include "kernels/cuda/planned.hpp"

namespace fovea::cudnn {

/// Empty where the library can be used, else one sentence.
std::string why_unusable();
/// "9.19.0", or empty where it cannot be loaded.
std::string version();

/// Builds and validates the graph, and lists its plans: heuristics A, B and fallback, each plan once. Throws Error with
/// cuDNN's reason where the graph is not valid; a valid one that no engine supports has no plans.
///
/// `device` describes a device in cuDNN's JSON; then none is needed, plans are those for that one, and none can be run.
/// Empty: the current device.
std::unique_ptr<PlannedOp> plan(const GraphSpec& spec, const std::string& device = "");

}  // namespace fovea::cudnn
