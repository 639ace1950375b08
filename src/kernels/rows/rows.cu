// rows: gather and scatter, forward and backward.
//
//   read    (gather, scatter backward)   to[i, :] = from[indices[i], :]
//   write   (scatter, gather backward)   to[r, :] = the rows of from whose index is r: the last one, or their sum in
//                                        the order of the indices; zero where there is none
//
// Idea: threads lie along a row, 16 bytes each where rows allow it. Writing is a gather, too: each row of the result
// looks through the indices, so nobody adds to what another has written, and the order is that of the indices.
//
// Traffic: Cost's bytes; to write, each row reads all indices (from the caches): made for the rows of a batch, not for
// tables of a million. Launch: column_shape() of the result.
#include <limits>

#include "kernels/cuda/columns.hpp"
#include "kernels/rows/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

constexpr float no_number = std::numeric_limits<float>::quiet_NaN();

template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    rows_read(const T* from, const std::int64_t* indices, std::int64_t from_rows, ColumnShape s, T* to) {
  const ColumnShare<V> share(s);
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    T values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const std::int64_t index = indices[row + b * share.step];
      if (index >= 0 && index < from_rows) {
        load_values<V>(values[b], from + index * s.channels + share.channel);
      } else {
#pragma unroll
        for (T& value : values[b]) value = T(no_number);
      }
    }
#pragma unroll
    for (int b = 0; b < B; ++b)
      store_values<V>(to + (row + b * share.step) * s.channels + share.channel, values[b]);
  });
}

template <class T, int V, bool sums>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    rows_write(const T* from, const std::int64_t* indices, std::int64_t count, ColumnShape s, T* to) {
  using A = std::conditional_t<sums, double, T>;  // an index may occur many times
  const ColumnShare<V> share(s);
  for_each_rows<1>(share, [&](std::int64_t row, auto) {
    A all[V] = {};
    for (std::int64_t i = 0; i < count; ++i) {
      if (indices[i] != row) continue;
      A values[V];
      load_as<V>(values, from + i * s.channels + share.channel);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        if constexpr (sums) {
          all[v] += values[v];
        } else {
          all[v] = values[v];
        }
      }
    }
    store_as<V>(to + row * s.channels + share.channel, all);
  });
}

simt::Launch launch_of(const ColumnShape& s, Stream stream) {
  return {.grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)};
}

void read(const char* name, const RowsProblem& p, const View& from, const View& indices, const View& to,
          Stream stream) {
  visit_vector(p.dtype, p.size, aligned_16({from.data, to.data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    const ColumnShape s = column_shape(1, p.count, p.size, vector, simt::limits());
    simt::launch(name, &rows_read<T, vector>, launch_of(s, stream), from.as<T>(), indices.as<std::int64_t>(),
                 p.rows, s, to.as<T>());
  });
}

template <bool sums>
void write(const char* name, const RowsProblem& p, const View& from, const View& indices, const View& to,
           Stream stream) {
  visit_vector(p.dtype, p.size, aligned_16({from.data, to.data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    const ColumnShape s = column_shape(1, p.rows, p.size, vector, simt::limits());
    simt::launch(name, &rows_write<T, vector, sums>, launch_of(s, stream), from.as<T>(),
                 indices.as<std::int64_t>(), p.count, s, to.as<T>());
  });
}

}  // namespace

bool supports_rows_vector(const RowsProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  return p.size <= most / 64 && p.rows <= most && p.count <= most && runs_here();
}

void rows_gather_vector(const RowsProblem& p, Ports ports, Stream stream) {
  read("rows.gather vector", p, ports[0], ports[1], ports[2], stream);
}

void rows_gather_backward_vector(const RowsProblem& p, Ports ports, Stream stream) {
  write<true>("rows.gather_backward vector", p, ports[1], ports[0], ports[2], stream);
}

void rows_scatter_vector(const RowsProblem& p, Ports ports, Stream stream) {
  write<false>("rows.scatter vector", p, ports[0], ports[1], ports[2], stream);
}

void rows_scatter_backward_vector(const RowsProblem& p, Ports ports, Stream stream) {
  read("rows.scatter_backward vector", p, ports[1], ports[0], ports[2], stream);
}

}  // namespace fovea::SIMT_WORLD
