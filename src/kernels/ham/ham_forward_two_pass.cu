// ham forward in two passes over the image: the form for any size, and for devices without clusters.
//
//   reduce   S of each pixel, and the channel sums of a part of an image; x is read
//   gate     A, Z and W of an image from the sums of its parts
//   apply    y = x sigmoid( x S + x W ), scse: x (S + W); x is read again, y written
//
// Idea: images go through the three kernels in groups that fit a window of the second-level cache
// (ham_two_pass_shape()), so that apply finds x there; y is written with streaming stores, which do not push it
// out. Any C: a warp takes 512 channels at a time.
//
// Traffic: Cost's bytes as long as the window holds, one more read of x from memory where one image alone is
// larger. Scratch: C values for each part of an image (a few thousandths of x), written and read once.
// Launch: parts x images blocks of 256 threads for reduce and apply, one block per image for gate. All sums in a
// fixed order.
#include "kernels/cuda/scratch.hpp"
#include "kernels/ham/ham_two_pass.hpp"

namespace fovea::SIMT_WORLD {
namespace {

template <class T, int V>
__global__ void __launch_bounds__(two_pass_threads, blocks_at_once<T>)
    ham_forward_reduce(HamForward<T, Accumulator<T>> t, PartDims d, Accumulator<T>* part_sums) {
  using A = Accumulator<T>;
  constexpr int batch = sizeof(A) == 8 ? 2 : 4;
  auto& shared = simt::shared<WarpSums<A>>();
  const PartShare share(d);
  const WarpShare warp(share.size);
  const std::size_t pixel = share.image * d.pixels + share.begin + warp.begin;
  for (int first = 0; first < d.channels; first += panel_channels) {
    const Panel panel(d.channels, first);
    A sum[lane_channels];
    project_panel<V, batch>(t.x + pixel * d.channels, warp.size(), panel, t.spatial_weight, t.spatial_bias[0],
                            t.s + pixel, sum, [](int) {});
    store_panel<V>(shared.part[simt::warp()], sum, panel);
    __syncthreads();
    A* out = part_sums + share.row * d.channels + first;
    sum_warps(shared.part[0], panel_channels, panel.count, [&](int c, A total) { out[c] = total; });
    __syncthreads();
  }
}

// The block reads what it wrote to a, z and wgt itself: a barrier orders that.
template <class T, class A>
__global__ void __launch_bounds__(gate_threads, 1)
    ham_forward_gate(HamForward<T, A> t, PartDims d, const A* part_sums) {
  const std::size_t image = d.first_image + blockIdx.x;
  A *a = t.a + image * d.channels, *z = t.z + image * d.hidden, *wgt = t.wgt + image * d.channels;
  const A* rows = part_sums + image * d.parts * d.channels;
  for (int c = static_cast<int>(threadIdx.x); c < d.channels; c += static_cast<int>(blockDim.x))
    a[c] = sum_rows(rows + c, d.parts, d.channels) / A(d.pixels);
  __syncthreads();
  row_products<1>(t.fc1_weight, d.channels, a, 1, 0, d.hidden, [&](int, int j, A dot) {
    const A v = dot + t.fc1_bias[j];
    z[j] = v < A(0) ? A(0) : v;  // NaN stays
  });
  __syncthreads();
  row_products<1, 8>(t.fc2_weight, d.hidden, z, 1, 0, d.channels,
                     [&](int, int c, A dot) { wgt[c] = simt::fast_sigmoid(dot + t.fc2_bias[c]); });
}

template <class T, int V>
__global__ void __launch_bounds__(two_pass_threads, blocks_at_once<T>)
    ham_forward_apply(HamForward<T, Accumulator<T>> t, PartDims d, bool scse) {
  const PartShare share(d);
  const WarpShare warp(share.size);
  const std::size_t pixel = share.image * d.pixels + share.begin + warp.begin;
  const T* x = t.x + pixel * d.channels;
  T* y = t.y + pixel * d.channels;
  const auto* wgt = t.wgt + share.image * d.channels;
  if (scse) {
    apply_gate<V, true>(x, warp.size(), d.channels, t.s + pixel, wgt, y);
  } else {
    apply_gate<V, false>(x, warp.size(), d.channels, t.s + pixel, wgt, y);
  }
}

template <class T, int V>
void forward(const HamProblem& p, const HamForward<T, Accumulator<T>>& t, Stream stream) {
  using A = Accumulator<T>;
  const HamTwoPassShape shape = ham_two_pass_shape(p, simt::limits(), HamDirection::forward);
  const Scratch<A> part_sums(p.n * shape.parts * p.c, stream, "channel sums of the parts");
  for_each_group(p, shape, [&](const PartDims& d, unsigned images) {
    simt::launch("ham.forward two_pass, reduce", &ham_forward_reduce<T, V>,
                 pass_launch(shape, images, sizeof(WarpSums<A>), stream), t, d, part_sums.data());
    simt::launch("ham.forward two_pass, gate", &ham_forward_gate<T, A>, gate_launch(images, 0, stream), t, d,
                 part_sums.data());
    simt::launch("ham.forward two_pass, apply", &ham_forward_apply<T, V>,
                 pass_launch(shape, images, 0, stream), t, d, p.scse != 0);
  });
}

}  // namespace

// Both directions: sizes that 32-bit counts within an image hold.
bool supports_ham_two_pass(const HamProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.pixels() <= most && p.c <= most / 2 && p.hidden <= most / 2 &&
         on_this_machine([](const simt::Limits&) { return std::optional(true); }).has_value();
}

void ham_forward_two_pass(const HamProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[7].data, ports[11].data});
  visit_vector(p.dtype, p.c, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    forward<T, vector>(p, HamForward<T, Accumulator<T>>(ports), stream);
  });
}

}  // namespace fovea::SIMT_WORLD
