// cublasLt behind PlannedOp, free of its types. Loaded when it is first asked for.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/matmul_spec.hpp"
#include "kernels/cuda/planned.hpp"

namespace fovea::cublaslt {

/// Empty where the library can be used, else one sentence.
std::string why_unusable();
/// "13.1.0", or empty where it cannot be loaded.
std::string version();

/// What its heuristics offer: for f32 in f32 and in TF32. Ports: a, b, d, then bias and aux where the epilogue has them.
/// Throws Error for a product that it does not know; one that nothing supports has no plans.
std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec);

}  // namespace fovea::cublaslt
