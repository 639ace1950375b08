// mlrm forward with running statistics, in one launch:
//
//   y = x + sum_b relu( conv_b(x) scale_b + shift_b ),    scale = gamma / sqrt(var + eps), shift = beta - mean scale
//
// Idea: a block makes Tile::m pixels x Tile::n channels of y. Branch after branch it makes the convolution's sums
// (tile_gemm.hpp), and folds normalisation and ReLU into them on their way to a second set of sums, so that no z is
// ever written. The filters are not folded: the scale is applied to sums in fp32, which is exact where folded bf16
// filters would round.
//
// Traffic: Cost's bytes (x, y and the filters once) where x and the filters fit the second-level cache.
// Launch: (tiles of pixels, tiles of channels) blocks of Tile::threads threads; the small tile in bf16, since two
// sets of sums of the large one do not fit the registers.
#include "kernels/cuda/convolution_device.hpp"
#include "kernels/mlrm/mlrm_device.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T>
struct FusedArguments {
  Gather gather;
  TapAxes axes[MlrmProblem::max_branches];
  MlrmBranches<T> branches;  // the filters
  const T* x;
  T* y;
};

template <class Tile>
struct FusedShared {
  using A = Accumulator<typename Tile::type>;
  ForwardShared<Tile> product;
  A scale[Tile::n], shift[Tile::n];

  /// bn(z) = z scale + shift, for the tile's channels of a branch.
  __device__ __forceinline__ void fold(const ChannelInputs<A>& norm, int first_channel, int columns) {
    for (int n = static_cast<int>(threadIdx.x); n < Tile::n; n += Tile::threads) {
      const int c = first_channel + min(n, columns - 1);
      scale[n] = norm.gamma[c] * inverse_deviation(norm.spread[c], norm.eps);
      shift[n] = norm.beta[c] - norm.mean[c] * scale[n];
    }
  }
};

/// all += relu(sums scale + shift).
template <class Tile, class A>
__device__ __forceinline__ void add_branch(Accumulators<Tile>& all, Accumulators<Tile>& sums, const A* scale,
                                           const A* shift) {
  all.for_each_with(sums, [&](int, int column, A& total, A sum) {
    const A value = sum * scale[column] + shift[column];
    total += value < A(0) ? A(0) : value;  // NaN stays
  });
}

template <class Tile, int V, class T = typename Tile::type>
__global__ void __launch_bounds__(Tile::threads, 1) mlrm_fused(const __grid_constant__ FusedArguments<T> a) {
  using A = Accumulator<T>;
  auto& shared = simt::shared<FusedShared<Tile>>();
  const Gather& g = a.gather;
  const int first_row = static_cast<int>(blockIdx.x) * Tile::m,
            first_channel = static_cast<int>(blockIdx.y) * Tile::n;
  const int columns = min(Tile::n, g.pixel - first_channel);
  const std::size_t first_weight = static_cast<std::size_t>(first_channel) * (g.r * g.s * g.channels);

  list_rows<Tile>(shared.product.rows, g, first_row);
  Accumulators<Tile> all, sums;
  clear(all);
  for (int b = 0; b < a.branches.count; ++b) {
    shared.fold(a.branches.at[b].norm, first_channel, columns);
    clear(sums);
    accumulate_forward<Tile, V>(shared.product, g, a.axes[b], first_row, a.x,
                                a.branches.at[b].source + first_weight, columns, sums);
    add_branch<Tile>(all, sums, shared.scale, shared.shift);
    __syncthreads();  // everybody has read scale and shift
  }
  OutTile<Tile>& out = shared.product.tile.out;
  put<Tile>(out, all);
  __syncthreads();
  out.template for_each_run<V>(min(Tile::m, g.rows - first_row), columns, [&](int m, int n) {
    const std::size_t at = shared.product.rows[m].place(g) * g.pixel + first_channel + n;
    A value[V];
    load_as<V>(value, a.x + at);
#pragma unroll
    for (int e = 0; e < V; ++e) value[e] += out.row(m)[n + e];
    store_as<V>(a.y + at, value);
  });
}

template <class Tile, int V>
void inference(const MlrmProblem& p, Ports ports, Stream stream) {
  using T = typename Tile::type;
  using A = Accumulator<T>;
  const Convolution convolution = mlrm_convolution(p);
  FusedArguments<T> a{};
  a.gather = forward_gather(ConvolutionDims(convolution));
  a.branches.count = p.branches;
  for (std::int64_t b = 0; b < p.branches; ++b) {
    const Ports in = mlrm_forward_in(ports, b);
    a.axes[b] = forward_axes(convolution.branch[static_cast<std::size_t>(b)]);
    a.branches.at[b] = {in[0].as<T>(),
                        {in[1].as<A>(), in[2].as<A>(), in[3].as<A>(), in[4].as<A>(), A(p.eps)}};
  }
  a.x = ports[0].as<T>();
  a.y = mlrm_forward_y(p, ports).as<T>();
  simt::launch("mlrm.forward_inference fused", &mlrm_fused<Tile, V>,
               {.grid = {static_cast<unsigned>(tiles_of(a.gather.rows, Tile::m)),
                         static_cast<unsigned>(tiles_of(p.c, Tile::n))},
                .block = Tile::threads,
                .shared_bytes = sizeof(FusedShared<Tile>),
                .stream = stream_of(stream)},
               a);
}

}  // namespace

void mlrm_forward_inference_fused(const MlrmProblem& p, Ports ports, Stream stream) {
  const auto in = [&](std::int64_t b) { return mlrm_forward_in(ports, b); };
  const bool vectors = in_vectors(mlrm_convolution(p), {ports[0].data, mlrm_forward_y(p, ports).data}) &&
                       all_aligned(branch_ports<const void>(p, 0, in));
  visit_small_tile(p.dtype, vectors,
                   [&](auto shape, auto vector) { inference<decltype(shape), vector>(p, ports, stream); });
}

}  // namespace fovea::SIMT_WORLD
