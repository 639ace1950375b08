// mlrm composed of cuDNN's convolutions and normalisations, each branch on a stream of its own, and one pass that adds
// them up; in inference the normalisation rides in the convolution's epilogue:
//
//   relu(bn(conv(x, w))) = relu(conv(x, w) scale + shift),   scale = gamma invstd,   shift = beta - mean scale
//
// `statistics` is the training forward that moves less: each convolution sums its result and its squares on the way out,
// from which scale and shift follow, and one pass normalises all branches and adds them up:
//
//   y = x + sum_b relu(z_b scale_b + shift_b):   5T behind the convolutions of three branches, where `composed` has 14T
//
// The variance is then E z^2 - (E z)^2, in f32: less exact than one about the mean where that is large.
#include <bit>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/buffer.hpp"
#include "kernels/cuda/branches.hpp"
#include "kernels/cuda/graph_plan.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/mlrm/kernels.hpp"
#include "kernels/mlrm/mlrm_siblings.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea {
namespace {

using P = MlrmProblem;

Conv2dProblem convolution(const P& p, std::int64_t branch) {
  return mlrm_convolution<Conv2dProblem>(p, branch);
}
BatchNormProblem normalisation(const P& p) { return mlrm_normalisation<BatchNormProblem>(p); }

GraphShape image(const P& p) { return {p.n, p.c, p.h, p.w}; }

std::string numbered(const char* name, std::int64_t i) { return name + std::to_string(i); }

// sum = a + the branches
GraphSpec sum_graph(const P& p) {
  GraphSpec g(mlrm_forward_training.name, {});
  g.input("a", p.dtype, image(p));
  for (std::int64_t b = 0; b < p.branches; ++b) g.input(numbered("b", b), p.dtype, image(p));
  std::string sum = "a";
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const std::string next = b + 1 == p.branches ? "sum" : numbered("t", b);
    g.pointwise(GraphOp::add, {sum, numbered("b", b)}, next);
    sum = next;
  }
  g.output("sum", p.dtype, image(p));
  return g;
}

GraphSpec fold_graph(const P& p) {
  GraphSpec g(mlrm_forward_inference.name, {});
  for (const char* name : {"gamma", "beta", "mean", "var"})
    g.input(name, param_dtype(p.dtype), per_channel(p.c));
  g.constant("eps", p.eps);
  g.pointwise(GraphOp::add, {"var", "eps"}, "spread");
  g.pointwise(GraphOp::inverse_root, {"spread"}, "invstd");
  g.pointwise(GraphOp::multiply, {"invstd", "gamma"}, "scale");
  g.output("scale", param_dtype(p.dtype), per_channel(p.c));
  return g;
}

GraphSpec shift_graph(const P& p) {
  GraphSpec g(mlrm_forward_inference.name, {});
  for (const char* name : {"beta", "mean", "scale"}) g.input(name, param_dtype(p.dtype), per_channel(p.c));
  g.pointwise(GraphOp::multiply, {"mean", "scale"}, "moved");
  g.pointwise(GraphOp::subtract, {"beta", "moved"}, "shift");
  g.output("shift", param_dtype(p.dtype), per_channel(p.c));
  return g;
}

GraphSpec folded_graph(const P& p, std::int64_t branch) {
  const Conv2dProblem plain = convolution(p, branch);
  GraphSpec g(mlrm_forward_inference.name, conv2d_forward.cost(&plain));
  const std::int64_t d = p.dilations[static_cast<std::size_t>(branch)];
  g.input("x", p.dtype, image(p));
  g.input("w", p.dtype, {p.c, p.c, 3, 3});
  g.input("scale", param_dtype(p.dtype), per_channel(p.c));
  g.input("shift", param_dtype(p.dtype), per_channel(p.c));
  g.windowed(GraphOp::convolution, {"x", "w"}, "t",
             {.window = {1, 1}, .stride = {1, 1}, .pad = {d, d}, .dilation = {d, d}});
  g.pointwise(GraphOp::multiply, {"t", "scale"}, "u");
  g.pointwise(GraphOp::add, {"u", "shift"}, "v");
  g.pointwise(GraphOp::relu, {"v"}, "y");
  g.output("y", p.dtype, image(p));
  return g;
}

GraphSpec convolution_statistics_graph(const P& p, std::int64_t branch) {
  const Conv2dProblem plain = convolution(p, branch);
  GraphSpec g(mlrm_forward_training.name, conv2d_forward.cost(&plain));
  const std::int64_t d = p.dilations[static_cast<std::size_t>(branch)];
  g.input("x", p.dtype, image(p));
  g.input("w", p.dtype, {p.c, p.c, 3, 3});
  g.windowed(GraphOp::convolution, {"x", "w"}, "z",
             {.window = {1, 1}, .stride = {1, 1}, .pad = {d, d}, .dilation = {d, d}});
  g.node(GraphOp::statistics, {"z"}, {"sum", "squares"});
  g.output("z", p.dtype, image(p));
  for (const char* name : {"sum", "squares"}) g.output(name, param_dtype(p.dtype), per_channel(p.c));
  return g;
}

GraphSpec finalize_graph(const P& p) {
  const std::array<const char*, 6> made{"scale", "shift", "mean", "invstd", "next_mean", "next_var"};
  GraphSpec g(mlrm_forward_training.name, {});
  for (const char* name : {"sum", "squares", "gamma", "beta", "running_mean", "running_var"})
    g.input(name, param_dtype(p.dtype), per_channel(p.c));
  g.constant("eps", p.eps);
  g.constant("momentum", p.momentum);
  g.constant("count", static_cast<double>(p.rows()), Dtype::i64);
  g.node(GraphOp::statistics_finalize,
         {"sum", "squares", "gamma", "beta", "running_mean", "running_var", "eps", "momentum", "count"},
         {made[0], made[1], made[2], made[3], made[4], made[5]});
  for (const char* name : made) g.output(name, param_dtype(p.dtype), per_channel(p.c));
  return g;
}

// y = x + sum_b relu(z_b scale_b + shift_b)
GraphSpec normalise_graph(const P& p) {
  GraphSpec g(mlrm_forward_training.name, {});
  g.input("x", p.dtype, image(p));
  std::string sum = "x";
  for (std::int64_t b = 0; b < p.branches; ++b) {
    g.input(numbered("z", b), p.dtype, image(p));
    g.input(numbered("scale", b), param_dtype(p.dtype), per_channel(p.c));
    g.input(numbered("shift", b), param_dtype(p.dtype), per_channel(p.c));
    g.pointwise(GraphOp::multiply, {numbered("z", b), numbered("scale", b)}, numbered("s", b));
    g.pointwise(GraphOp::add, {numbered("s", b), numbered("shift", b)}, numbered("u", b));
    g.pointwise(GraphOp::relu, {numbered("u", b)}, numbered("r", b));
    const std::string next = b + 1 == p.branches ? "y" : numbered("t", b);
    g.pointwise(GraphOp::add, {sum, numbered("r", b)}, next);
    sum = next;
  }
  g.output("y", p.dtype, image(p));
  return g;
}

struct Operations {
  explicit Operations(const P& p)
      : sum(sum_graph(p)),
        scale(fold_graph(p)),
        shift(shift_graph(p)),
        finalize(finalize_graph(p)),
        normalise(normalise_graph(p)) {
    for (std::int64_t b = 0; b < p.branches; ++b) {
      folded.push_back(std::make_unique<library::Operation>(folded_graph(p, b)));
      statistics.push_back(std::make_unique<library::Operation>(convolution_statistics_graph(p, b)));
    }
  }
  library::Operation sum, scale, shift, finalize, normalise;
  std::vector<std::unique_ptr<library::Operation>> folded, statistics;
};

using Table = library::Table<12, Operations>;
Table::Key key_of(const P& p) {
  const auto d = p.dilations;
  return {static_cast<std::int64_t>(p.dtype),
          p.branches,
          p.n,
          p.h,
          p.w,
          p.c,
          d[0],
          d[1],
          d[2],
          d[3],
          std::bit_cast<std::int64_t>(p.eps),
          std::bit_cast<std::int64_t>(p.momentum)};
}

Operations& operations(const P& p) {
  static Table table;
  return table.get(key_of(p), [&] { return std::make_unique<Operations>(p); });
}

template <class Supports>
bool every_branch(const P& p, Supports&& supports) {
  for (std::int64_t b = 0; b < p.branches; ++b) {
    if (!supports(convolution(p, b))) return false;
  }
  return true;
}

template <class Problem>
void run(void (*kernel)(const Problem&, Ports, Stream), const Problem& problem,
         std::initializer_list<View> ports, Stream stream) {
  kernel(problem, Ports(ports.begin(), ports.size()), stream);
}

// Values of each channel, in as many rows as are asked for.
class Rows {
 public:
  Rows(const P& p, std::int64_t count, Stream stream)
      : channels_(p.c), all_({count, (p.c + 15) / 16 * 16}, param_dtype(p.dtype), stream.device) {}
  View operator[](std::int64_t i) const {
    View view = with_shape(all_.view, {channels_});
    view.data = static_cast<char*>(view.data) + i * all_.view.shape[1] * size_of(view.dtype);
    return view;
  }

 private:
  std::int64_t channels_;
  Buffer all_;  // every row begins aligned, as plans expect
};

// An image for each branch, made on the kernel's stream, which outlives the branches'.
std::deque<Buffer> images(const P& p, Stream stream) {
  std::deque<Buffer> made;
  for (std::int64_t b = 0; b < p.branches; ++b) made.emplace_back(p.x_shape(), p.dtype, stream.device);
  return made;
}

void add_up(const P& p, const View& a, const std::deque<Buffer>& branches, const View& sum, Stream stream) {
  std::vector<void*> tensors{a.data};
  for (const Buffer& b : branches) tensors.push_back(b.view.data);
  tensors.push_back(sum.data);
  operations(p).sum.run(tensors, stream);
}

// `run(b, out, stream)` for each branch, then y = x + all of them.
template <class F>
void forward(const P& p, Ports ports, Stream stream, F&& branch) {
  const std::deque<Buffer> out = images(p, stream);
  Branches branches(stream);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const auto i = static_cast<std::size_t>(b);
    const Stream side = branches.begin(i);
    const StreamScope scope(side);  // what a part takes besides is ordered with it
    branch(b, out[i].view, side);
  }
  branches.join();
  add_up(p, ports[0], out, mlrm_forward_y(p, ports), stream);
}

// `normalise(b, dz, stream)` writes dz, dgamma and dbeta of a branch; then the convolution's gradients.
template <class F>
void backward(const P& p, Ports ports, std::size_t per_branch, Stream stream, F&& normalise) {
  const View& dx = mlrm_backward_dx(p, ports, per_branch);
  const std::deque<Buffer> dz = images(p, stream), part = images(p, stream);
  Branches branches(stream);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const auto i = static_cast<std::size_t>(b);
    const Stream side = branches.begin(i);
    const StreamScope scope(side);
    const View& dw = mlrm_backward_out(p, ports, per_branch, b)[0];
    normalise(b, dz[i].view, part[i].view, side);
    if (dw) run(&conv2d_backward_weights_cudnn, convolution(p, b), {ports[0], dz[i].view, dw, View{}}, side);
    if (dx) {
      run(&conv2d_backward_data_cudnn, convolution(p, b),
          {dz[i].view, mlrm_backward_in(ports, per_branch, b)[0], part[i].view}, side);
    }
  }
  branches.join();
  if (dx) add_up(p, ports[1], part, dx, stream);
}

}  // namespace

bool mlrm_forward_training_cudnn_supports(const P& p) {
  return library::has_dtype(p) && operations(p).sum.is_supported() &&
         every_branch(p, conv2d_forward_cudnn_supports) &&
         batch_norm_forward_training_cudnn_supports(normalisation(p));
}

bool mlrm_forward_training_statistics_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  for (const auto& convolution : o.statistics) {
    if (!convolution->is_supported()) return false;
  }
  return o.finalize.is_supported() && o.normalise.is_supported();
}

bool mlrm_forward_inference_cudnn_supports(const P& p) {
  if (!library::has_dtype(p)) return false;
  Operations& o = operations(p);
  for (const auto& folded : o.folded) {
    if (!folded->is_supported()) return false;
  }
  return o.sum.is_supported() && o.scale.is_supported() && o.shift.is_supported();
}

bool mlrm_backward_cudnn_supports(const P& p) {
  return library::has_dtype(p) && operations(p).sum.is_supported() &&
         every_branch(p, conv2d_backward_data_cudnn_supports) &&
         every_branch(p, conv2d_backward_weights_cudnn_supports) &&
         batch_norm_backward_cudnn_supports(normalisation(p));
}

bool mlrm_backward_inference_cudnn_supports(const P& p) {
  return library::has_dtype(p) && operations(p).sum.is_supported() &&
         every_branch(p, conv2d_forward_cudnn_supports) &&
         every_branch(p, conv2d_backward_data_cudnn_supports) &&
         every_branch(p, conv2d_backward_weights_cudnn_supports) &&
         batch_norm_backward_inference_cudnn_supports(normalisation(p));
}

void mlrm_forward_training_composed_cudnn(const P& p, Ports ports, Stream stream) {
  forward(p, ports, stream, [&](std::int64_t b, const View& y, Stream side) {
    const Ports in = mlrm_forward_in(ports, b), out = mlrm_forward_out(p, ports, b);
    run(&conv2d_forward_cudnn, convolution(p, b), {ports[0], in[0], View{}, out[0]}, side);
    run(&batch_norm_forward_training_cudnn, normalisation(p),
        {mlrm_rows(p, out[0]), in[1], in[2], in[3], in[4], mlrm_rows(p, y), out[1], out[2]}, side);
  });
}

void mlrm_forward_training_statistics_cudnn(const P& p, Ports ports, Stream stream) {
  Operations& o = operations(p);
  const Rows rows(p, 4 * p.branches, stream);
  std::vector<void*> tensors{ports[0].data};
  Branches branches(stream);
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const Stream side = branches.begin(static_cast<std::size_t>(b));
    const StreamScope scope(side);
    const Ports in = mlrm_forward_in(ports, b), out = mlrm_forward_out(p, ports, b);
    const View sum = rows[4 * b], squares = rows[4 * b + 1], scale = rows[4 * b + 2], shift = rows[4 * b + 3];
    o.statistics[static_cast<std::size_t>(b)]->run({ports[0], in[0], out[0], sum, squares}, side);
    // Each channel's running statistics are read before they are written, in place.
    o.finalize.run({sum, squares, in[1], in[2], in[3], in[4], scale, shift, out[1], out[2], in[3], in[4]},
                   side);
    tensors.insert(tensors.end(), {out[0].data, scale.data, shift.data});
  }
  branches.join();
  tensors.push_back(mlrm_forward_y(p, ports).data);
  o.normalise.run(tensors, stream);
}

void mlrm_forward_inference_composed_cudnn(const P& p, Ports ports, Stream stream) {
  Operations& o = operations(p);
  const Rows rows(p, 2 * p.branches, stream);
  forward(p, ports, stream, [&](std::int64_t b, const View& y, Stream side) {
    const Ports in = mlrm_forward_in(ports, b);
    const View scale = rows[2 * b], shift = rows[2 * b + 1];
    o.scale.run({in[1], in[2], in[3], in[4], scale}, side);
    o.shift.run({in[2], in[3], scale, shift}, side);
    o.folded[static_cast<std::size_t>(b)]->run({ports[0], in[0], scale, shift, y}, side);
  });
}

void mlrm_backward_composed_cudnn(const P& p, Ports ports, Stream stream) {
  backward(p, ports, 6, stream, [&](std::int64_t b, const View& dz, const View&, Stream side) {
    const Ports in = mlrm_backward_in(ports, 6, b), out = mlrm_backward_out(p, ports, 6, b);
    run(&batch_norm_backward_cudnn, normalisation(p),
        {mlrm_rows(p, in[3]), mlrm_rows(p, ports[1]), in[1], in[2], in[4], in[5], mlrm_rows(p, dz), out[1],
         out[2]},
        side);
  });
}

// z is computed again, where the branch's dx comes later.
void mlrm_backward_inference_composed_cudnn(const P& p, Ports ports, Stream stream) {
  backward(p, ports, 5, stream, [&](std::int64_t b, const View& dz, const View& z, Stream side) {
    const Ports in = mlrm_backward_in(ports, 5, b), out = mlrm_backward_out(p, ports, 5, b);
    run(&conv2d_forward_cudnn, convolution(p, b), {ports[0], in[0], View{}, z}, side);
    run(&batch_norm_backward_inference_cudnn, normalisation(p),
        {mlrm_rows(p, z), mlrm_rows(p, ports[1]), in[1], in[2], in[3], in[4], mlrm_rows(p, dz), out[1],
         out[2]},
        side);
  });
}

void mlrm_forward_training_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(mlrm_forward_training, key_of(p), p, t, stream, &mlrm_forward_training_composed_cudnn);
}
void mlrm_forward_inference_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(mlrm_forward_inference, key_of(p), p, t, stream, &mlrm_forward_inference_composed_cudnn);
}
void mlrm_backward_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(mlrm_backward, key_of(p), p, t, stream, &mlrm_backward_composed_cudnn);
}
void mlrm_backward_inference_composed_graph(const P& p, Ports t, Stream stream) {
  run_as_graph(mlrm_backward_inference, key_of(p), p, t, stream, &mlrm_backward_inference_composed_cudnn);
}

}  // namespace fovea
