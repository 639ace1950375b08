// What each primitive is in ONNX.
#pragma once

#include "exchange/onnx_trace.hpp"

namespace fovea {

/// Writes the nodes of one primitive that ran. Error naming it where it has no form here, such as a backward.
void write_onnx_nodes(const Primitive& primitive, OnnxStep& step);

}  // namespace fovea
