// concat forward and backward: copies.
//
// Idea: threads lie along the channels of y, 16 bytes each where every tensor's channels allow it; a thread finds the
// tensor to which its channels belong once and goes down the rows. Sums of any kind are absent.
//
// Traffic: Cost's bytes, of tensors that are there. Launch: column_shape() of y.
#include "kernels/concat/kernels.hpp"
#include "kernels/cuda/columns.hpp"

namespace fovea::SIMT_WORLD {
namespace {

/// The tensors beside each other, and where the channels of each end in y.
template <class T>
struct ConcatParts {
  T* data[ConcatProblem::max_parts];
  std::int64_t begin[ConcatProblem::max_parts + 1];
};

template <class T>
struct ConcatPlace {
  T* data;  // null where the tensor is absent
  std::int64_t channels;
  // Of the tensor that has y's channel; data points to that channel of its first row.
  __device__ __forceinline__ ConcatPlace(const ConcatParts<T>& parts, std::int64_t channel)
      : data(parts.data[0]), channels(parts.begin[1]) {
    std::int64_t begin = 0;
#pragma unroll
    for (int i = 1; i < ConcatProblem::max_parts; ++i) {
      if (channel < parts.begin[i]) continue;
      data = parts.data[i];
      begin = parts.begin[i];
      channels = parts.begin[i + 1] - begin;
    }
    if (data != nullptr) data += channel - begin;
  }
};

template <class T, int V, bool forward>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    concat_copy(ConcatParts<T> parts, ColumnShape s, T* y) {
  const ColumnShare<V> share(s);
  if (!share.active) return;  // there is no barrier
  const ConcatPlace<T> place(parts, share.channel);
  if (place.data == nullptr) return;
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    T values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const std::int64_t at = row + b * share.step;
      load_values<V>(values[b],
                     forward ? place.data + at * place.channels : y + at * s.channels + share.channel);
    }
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const std::int64_t at = row + b * share.step;
      store_values<V>(forward ? y + at * s.channels + share.channel : place.data + at * place.channels,
                      values[b]);
    }
  });
}

template <bool forward>
void copy_all(const ConcatProblem& p, Ports parts, const View& y, Stream stream) {
  bool whole = aligned_16({y.data});
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int vector = vector_of<T>;
    ConcatParts<T> all{};
    for (std::int64_t i = 0; i < ConcatProblem::max_parts; ++i) {
      const auto at = static_cast<std::size_t>(i);
      all.data[i] = i < p.parts ? parts[at].template as<T>() : nullptr;
      all.begin[i + 1] = all.begin[i] + (i < p.parts ? p.channels[at] : 0);
      whole = whole && aligned_16({all.data[i]}) && all.begin[i + 1] % vector == 0;
    }
    const ColumnShape s = column_shape(1, p.rows, p.total(), whole ? vector : 1, simt::limits());
    simt::launch(
        forward ? "concat.forward vector" : "concat.backward vector",
        whole ? &concat_copy<T, vector, forward> : &concat_copy<T, 1, forward>,
        {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)},
        all, s, y.as<T>());
  });
}

}  // namespace

bool supports_concat_vector(const ConcatProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.total() <= most / 64 && p.rows <= most && runs_here();
}

void concat_forward_vector(const ConcatProblem& p, Ports ports, Stream stream) {
  const auto parts = static_cast<std::size_t>(p.parts);
  copy_all<true>(p, ports.first(parts), ports[parts], stream);
}

void concat_backward_vector(const ConcatProblem& p, Ports ports, Stream stream) {
  copy_all<false>(p, ports.subspan(1), ports[0], stream);
}

}  // namespace fovea::SIMT_WORLD
