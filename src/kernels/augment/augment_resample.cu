// augment forward ("resample").
//
//   levels     the normalised value of each of the 256 levels of each channel, in double, rounded once
//   resample   a thread per 16 bytes of the result: source pixel, bilinear level, the table's value
//
// Idea: the result is N,H,W,C, so 16 bytes are a few neighbouring pixels whatever C is. A thread works out the
// source of a pixel where the pixel begins within its elements; what neighbours read of the image overlaps and
// comes from the first-level cache. The two divisions in double per value would cost more than all else: they are
// made for each level, by a launch of its own before, and not for each value.
//
// Traffic: Cost's bytes: the images of the batch read once, the result written once with streaming stores; the
// table (256 C values) stays in the caches.
// Launch: C blocks of 256 threads, then n x (image / 256 vectors) blocks of 256. Nothing is summed.
#include "kernels/augment/kernels.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"

namespace fovea::SIMT_WORLD {
namespace {

constexpr int augment_threads = 256;
constexpr int levels = 256;

struct AugmentDims {
  std::int64_t images;
  int height, width, channels;
  int size;  // elements of an image
  int blocks_per_image;
};

template <class T>
struct AugmentArrays {
  const std::uint8_t* images;
  const std::int64_t* index;
  const ResampleParameters* params;
  const double* normalise;
  T* x;
  explicit AugmentArrays(Ports p)
      : images(p[0].as<const std::uint8_t>()),
        index(p[1].as<const std::int64_t>()),
        params(resample_rows(p[2])),
        normalise(p[3].as<const double>()),
        x(p[4].as<T>()) {}
};

template <class A>
__global__ void __launch_bounds__(levels) augment_levels(const double* normalise, A* table) {
  const unsigned level = threadIdx.x, channel = blockIdx.x;
  table[channel * levels + level] =
      A(normalised(static_cast<int>(level), normalise[2 * channel], normalise[2 * channel + 1]));
}

/// V elements of the result from `first` on, of one image.
template <int V, class T, class A>
__device__ __forceinline__ simt::Vec<T, V> resample_elements(const AugmentDims& d, const std::uint8_t* image,
                                                             const ResampleParameters& map, const A* table,
                                                             int first) {
  const float gain = static_cast<float>(map.gain), offset = static_cast<float>(map.offset);
  int pixel = first / d.channels, channel = first - pixel * d.channels;
  auto from = source_of<int>(map, pixel % d.width, pixel / d.width, d.height, d.width, d.channels);
  simt::Vec<T, V> values;
#pragma unroll
  for (int e = 0; e < V; ++e) {
    if (channel == d.channels) {
      channel = 0;
      ++pixel;
      from = source_of<int>(map, pixel % d.width, pixel / d.width, d.height, d.width, d.channels);
    }
    values[e] = T(table[channel * levels + level_of(image, from, channel, gain, offset)]);
    ++channel;
  }
  return values;
}

template <class T, int V>
__global__ void __launch_bounds__(augment_threads)
    augment_resample(AugmentArrays<T> t, AugmentDims d, const Accumulator<T>* table) {
  const auto sample = static_cast<std::int64_t>(blockIdx.x / static_cast<unsigned>(d.blocks_per_image));
  const int block = static_cast<int>(blockIdx.x % static_cast<unsigned>(d.blocks_per_image));
  const std::int64_t first = (std::int64_t{block} * augment_threads + threadIdx.x) * V;
  if (first >= d.size) return;  // no barrier below
  const std::int64_t index = t.index[sample];
  simt::Vec<T, V> values;
  if (index >= 0 && index < d.images) {
    values = resample_elements<V, T>(d, t.images + index * d.size, t.params[sample], table,
                                     static_cast<int>(first));
  } else {
    const float fill = index == -1 ? 0.0F : NAN;
#pragma unroll
    for (int e = 0; e < V; ++e) values[e] = T(fill);
  }
  simt::store_streaming(t.x + sample * d.size + first, values);
}

std::int64_t blocks_per_image(const AugmentProblem& p) {  // of the scalar form
  return blocks_for(p.h * p.w * p.c, augment_threads);
}

}  // namespace

bool supports_augment_forward_resample(const AugmentProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.n * blocks_per_image(p) <= most && p.c <= most / levels && runs_here();
}

void augment_forward_resample(const AugmentProblem& p, Ports ports, Stream stream) {
  const auto size = static_cast<int>(p.h * p.w * p.c);
  visit_vector(p.dtype, size, aligned_16({ports[4].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const AugmentArrays<T> t(ports);
    const Scratch<A> table(p.c * levels, stream, "values of the levels");
    simt::launch("augment.forward resample, levels", &augment_levels<A>,
                 {.grid = static_cast<unsigned>(p.c), .block = levels, .stream = stream_of(stream)},
                 t.normalise, table.data());
    const AugmentDims d{p.images,
                        static_cast<int>(p.h),
                        static_cast<int>(p.w),
                        static_cast<int>(p.c),
                        size,
                        static_cast<int>(blocks_for(size, augment_threads * vector))};
    simt::launch("augment.forward resample", &augment_resample<T, vector>,
                 {.grid = static_cast<unsigned>(p.n) * static_cast<unsigned>(d.blocks_per_image),
                  .block = augment_threads,
                  .stream = stream_of(stream)},
                 t, d, table.data());
  });
}

}  // namespace fovea::SIMT_WORLD
