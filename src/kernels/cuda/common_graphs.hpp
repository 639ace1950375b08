// Graphs that kernels of several ops ask for.
#pragma once

#include <string>

#include "kernels/cuda/graph_spec.hpp"

namespace fovea::graphs {

/// Over the pixels of each image, as pooling of all of it: x -> f32 N,C.
GraphSpec mean(const std::string& primitive, const Cost& cost, Dtype dtype, const GraphShape& image);
/// Over all but the channels, a bias gradient: dy -> db, in the dtype of parameters.
GraphSpec channel_sum(const std::string& primitive, Dtype dtype, const GraphShape& shape);
/// dy, y -> dx, of f32 rows: 0 where the ReLU's y is.
GraphSpec relu_mask(const std::string& primitive, std::int64_t rows, std::int64_t columns);
/// Of `count` values, in one row: how many channels there are does not matter to it.
GraphSpec cast(const std::string& primitive, Dtype from, Dtype to, std::int64_t count);

}  // namespace fovea::graphs
