// ham forward, one thread-block cluster per image, the image kept in its distributed shared memory.
//
//   S[p] = sigmoid( sum_c x[p,c] w[c] + b )     A[c] = mean_p x[p,c]     W = sigmoid( fc2 relu( fc1 A ) )
//   y = x sigmoid( x S + x W )     scse: x (S + W)
//
// Idea: the gate needs the whole image before the first output; a cluster's shared memory holds one (1.6 MB in
// bf16 at 56x56x256: 8 blocks of 200,704 bytes). All loads are started at once as asynchronous 16-byte copies;
// each warp takes logits and channel sums of its pixels as they arrive. Channel sums are added over distributed
// shared memory, each block computes a slice of the hidden units and of W, and all gather them. The gate is
// applied from shared memory, with streaming stores.
//
// Traffic: x once, y once, the small tensors once; that is Cost's bytes. The weights of the fully connected
// layers are read once per image, from the second-level cache.
// Launch: N clusters of ham_cluster_shape() blocks of 128 to 512 threads. All sums in a fixed order.
#include "kernels/ham/ham_cluster.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <int V, class T, class A>
__device__ __forceinline__ void reduce_tile(const HamForward<T, A>& t, const HamDims& d,
                                            const BlockShare& block, const HamForwardShared<T, A>& shared) {
  constexpr int batch = sizeof(A) == 8 ? 2 : 4;
  const WarpShare warp(block.size);
  const T* x = t.x + (block.image * d.pixels + block.begin + warp.begin) * d.channels;
  T* tile = shared.tile + warp.begin * d.channels;
  WarpTile<V, T> loading(tile, x, warp.size(), d.channels);
  A* part = shared.part + simt::warp() * d.channels;
  for (int first = 0; first < d.channels; first += panel_channels) {
    const Panel panel(d.channels, first);
    A sum[lane_channels];
    project_panel<V, batch>(tile, warp.size(), panel, t.spatial_weight, t.spatial_bias[0],
                            shared.s + warp.begin, sum, [&](int needed) { loading.wait_for(needed); });
    store_panel<V>(part + first, sum, panel);
  }
}

// A, then Z and W slice by slice; every block ends with all of W.
template <class T, class A>
__device__ __forceinline__ void excite(const HamForward<T, A>& t, const HamDims& d, const BlockShare& block,
                                       const HamForwardShared<T, A>& shared) {
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const Slice units(d.hidden, block), channels(d.channels, block);
  sum_warps(shared.part, d.channels, d.channels, [&](int c, A sum) { shared.sum[c] = sum; });
  simt::cluster_sync();
  for (int c = thread; c < d.channels; c += threads) {
    const A mean = sum_over_cluster(shared.sum, c, block) / A(d.pixels);
    shared.mean[c] = mean;
    if (c >= channels.begin && c < channels.end) t.a[block.image * d.channels + c] = mean;
  }
  __syncthreads();
  row_products<1>(t.fc1_weight, d.channels, shared.mean, 1, units.begin, units.end, [&](int, int j, A dot) {
    const A v = dot + t.fc1_bias[j];
    shared.z[j] = v < A(0) ? A(0) : v;  // NaN stays
    t.z[block.image * d.hidden + j] = shared.z[j];
  });
  simt::cluster_sync();
  gather_slices(shared.z, d.hidden, block);
  __syncthreads();
  row_products<1, 8>(t.fc2_weight, d.hidden, shared.z, 1, channels.begin, channels.end,
                     [&](int, int c, A dot) {
                       shared.wgt[c] = simt::fast_sigmoid(dot + t.fc2_bias[c]);
                       t.wgt[block.image * d.channels + c] = shared.wgt[c];
                     });
  simt::cluster_sync();
  gather_slices(shared.wgt, d.channels, block);
  __syncthreads();
}

template <class T, int V>
__global__ void __launch_bounds__(512, 1)
    ham_forward_kernel(HamForward<T, Accumulator<T>> t, HamDims d, bool scse) {
  using A = Accumulator<T>;
  const auto shared = shared_arrays<HamForwardShared<T, A>>(d);
  const BlockShare block(d);
  reduce_tile<V>(t, d, block, shared);
  __syncthreads();
  excite(t, d, block, shared);

  const std::size_t pixel = block.image * d.pixels + block.begin;
  for (int p = static_cast<int>(threadIdx.x); p < block.size; p += static_cast<int>(blockDim.x))
    t.s[pixel + p] = shared.s[p];
  const WarpShare warp(block.size);
  const T* tile = shared.tile + warp.begin * d.channels;
  T* y = t.y + (pixel + warp.begin) * d.channels;
  if (scse) {
    apply_gate<V, true>(tile, warp.size(), d.channels, shared.s + warp.begin, shared.wgt, y);
  } else {
    apply_gate<V, false>(tile, warp.size(), d.channels, shared.s + warp.begin, shared.wgt, y);
  }
  simt::cluster_sync();  // others may still gather this block's slice of W
}

}  // namespace

bool supports_ham_forward_cluster(const HamProblem& p) {
  return on_this_machine(
             [&](const simt::Limits& limits) { return ham_cluster_shape(p, limits, HamDirection::forward); })
      .has_value();
}

void ham_forward_cluster(const HamProblem& p, Ports ports, Stream stream) {
  const HamClusterShape shape = ham_cluster_shape(p, simt::limits(), HamDirection::forward).value();
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[7].data});
  visit_vector(p.dtype, p.c, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    simt::launch("ham.forward cluster", &ham_forward_kernel<T, vector>, launch_of(p, shape, stream),
                 HamForward<T, Accumulator<T>>(ports), dims_of(p, shape), p.scse != 0);
  });
}

}  // namespace fovea::SIMT_WORLD
