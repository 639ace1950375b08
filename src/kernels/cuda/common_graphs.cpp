// See common_graphs.hpp.
#include "kernels/cuda/common_graphs.hpp"

namespace fovea::graphs {

GraphSpec mean(const std::string& primitive, const Cost& cost, Dtype dtype, const GraphShape& image) {
  GraphSpec g(primitive, cost);
  g.input("x", dtype, image);
  g.windowed(GraphOp::pool_average, {"x"}, "a",
             {.window = {image[2], image[3]}, .stride = {1, 1}, .pad = {0, 0}, .dilation = {1, 1}});
  g.output("a", Dtype::f32, {image[0], image[1], 1, 1});
  return g;
}

GraphSpec channel_sum(const std::string& primitive, Dtype dtype, const GraphShape& shape) {
  GraphSpec g(primitive, {});
  g.input("dy", dtype, shape);
  g.node(GraphOp::sum, {"dy"}, {"db"});
  g.output("db", param_dtype(dtype), per_channel(shape[1]));
  return g;
}

GraphSpec relu_mask(const std::string& primitive, std::int64_t rows, std::int64_t columns) {
  GraphSpec g(primitive, {});
  for (const char* name : {"dy", "y"}) g.input(name, Dtype::f32, {rows, columns, 1, 1});
  g.pointwise(GraphOp::relu_backward, {"dy", "y"}, "dx");
  g.output("dx", Dtype::f32, {rows, columns, 1, 1});
  return g;
}

GraphSpec cast(const std::string& primitive, Dtype from, Dtype to, std::int64_t count) {
  GraphSpec g(primitive, {});
  g.input("from", from, per_channel(count));
  g.constant("one", 1);
  g.pointwise(GraphOp::multiply, {"from", "one"}, "to");
  g.output("to", to, per_channel(count));
  return g;
}

}  // namespace fovea::graphs
