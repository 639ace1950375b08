// mlrm composed of cuDNN's convolutions and normalisations, each branch on a stream of its own, and one pass that adds
// them up; in inference the normalisation rides in the convolution's epilogue:
//
//   relu(bn(conv(x, w))) = relu(conv(x, w) scale + shift),   scale = gamma invstd,   shift = beta - mean scale
//
// (Sums of a convolution's statistics on the way out are documented for half precision alone, not for bf16 or f32.)
#include <bit>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/buffer.hpp"
#include "kernels/cuda/branches.hpp"
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

struct Operations {
  explicit Operations(const P& p) : sum(sum_graph(p)), scale(fold_graph(p)), shift(shift_graph(p)) {
    for (std::int64_t b = 0; b < p.branches; ++b) {
      folded.push_back(std::make_unique<library::Operation>(folded_graph(p, b)));
    }
  }
  library::Operation sum, scale, shift;
  std::vector<std::unique_ptr<library::Operation>> folded;
};

Operations& operations(const P& p) {
  static library::Table<11, Operations> table;
  const auto d = p.dilations;
  return table.get({static_cast<std::int64_t>(p.dtype), p.branches, p.n, p.h, p.w, p.c, d[0], d[1], d[2],
                    d[3], std::bit_cast<std::int64_t>(p.eps)},
                   [&] { return std::make_unique<Operations>(p); });
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

void mlrm_forward_inference_composed_cudnn(const P& p, Ports ports, Stream stream) {
  Operations& o = operations(p);
  const Shape shape{p.branches,
                    (p.c + 15) / 16 * 16};  // so that every branch's begins aligned, as plans expect
  const Dtype small = param_dtype(p.dtype);
  const Buffer scales(shape, small, stream.device), shifts(shape, small, stream.device);
  const auto row = [&](const Buffer& all, std::int64_t b) {
    View view = with_shape(all.view, {p.c});
    view.data = static_cast<char*>(view.data) + b * shape[1] * size_of(small);
    return view;
  };
  forward(p, ports, stream, [&](std::int64_t b, const View& y, Stream side) {
    const Ports in = mlrm_forward_in(ports, b);
    const View scale = row(scales, b), shift = row(shifts, b);
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

}  // namespace fovea
