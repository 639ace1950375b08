// launch(): a kernel's run, with what the device of its stream needs around it. dispatch() is this with checks, choice
// and trace; tests and benchmarks of single kernels call it directly.
#pragma once

#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// Throws what a launch left that its kernel did not check.
void launch(const Kernel& kernel, const void* problem, Ports ports, Stream stream);

}  // namespace fovea
