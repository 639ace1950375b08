// add and multiply with broadcast, forward and backward.
//
//   forward    y = a (op) b over the merged loops of broadcast_loops(): 16 bytes of y to a thread where the innermost
//              loop allows it; tensors of one shape are a single loop
//   backward   an operand of y's shape: dy, or dy times the other, in one pass. Else dy (times the other) is summed:
//              columns  the innermost loop is kept (a bias of channels): as column sums (columns.hpp), for each index
//                       of the other kept loops
//              rows     the innermost loop is summed (a value for each pixel): a warp for each part of an output
//
// Idea: two steps, parts and their sum in double, so that the order is fixed and no sum of floats is long.
//
// Traffic: Cost's bytes, and in a backward with two gradients dy once more; parts are at most a few values for each
// multiprocessor's threads. Launch: elementwise as relu; column_shape(); eight warps to a block.
#include "kernels/cuda/columns.hpp"
#include "kernels/cuda/elementwise.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

// ---- y = a (op) b

struct Add {
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) {
    return a + b;
  }
};
struct Multiply {
  template <class A>
  static __device__ __forceinline__ A of(A a, A b) {
    return a * b;
  }
};
struct First {
  template <class A>
  static __device__ __forceinline__ A of(A a, A) {
    return a;
  }
};

/// Loops for the device; the outermost size is not needed.
template <class Index>
struct Loops {
  int last;
  bool a_walks, b_walks;
  Index size[Shape::max_rank], a_stride[Shape::max_rank], b_stride[Shape::max_rank];
  explicit Loops(const BroadcastLoops& loops) : last(loops.rank - 1) {
    for (std::size_t i = 0; i < Shape::max_rank; ++i) {
      size[i] = static_cast<Index>(loops.size[i]);
      a_stride[i] = static_cast<Index>(loops.a_stride[i]);
      b_stride[i] = static_cast<Index>(loops.b_stride[i]);
    }
    a_walks = loops.a_stride[static_cast<std::size_t>(last)] != 0;
    b_walks = loops.b_stride[static_cast<std::size_t>(last)] != 0;
  }
};

// N consecutive elements, or one N times.
template <int N, class T, class A>
__device__ __forceinline__ void load_operand(A (&values)[N], const T* from, bool walks) {
  if (walks) {
    load_as<N>(values, from);
  } else {
    const A held = A(*from);
#pragma unroll
    for (int e = 0; e < N; ++e) values[e] = held;
  }
}

template <class Op, class T, int V, class Index>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    combine_loops(const T* a, const T* b, Loops<Index> loops, std::int64_t count, T* y) {
  using A = Accumulator<T>;
  for_each_item(count / V, [&](std::int64_t run) {
    Index rest = static_cast<Index>(run) * V, a_at = 0, b_at = 0;
#pragma unroll
    for (int i = Shape::max_rank - 1; i > 0; --i) {
      if (i > loops.last) continue;
      const Index outer = rest / loops.size[i], index = rest - outer * loops.size[i];
      a_at += index * loops.a_stride[i];
      b_at += index * loops.b_stride[i];
      rest = outer;
    }
    A left[V], right[V];
    load_operand<V>(left, a + (a_at + rest * loops.a_stride[0]), loops.a_walks);
    load_operand<V>(right, b + (b_at + rest * loops.b_stride[0]), loops.b_walks);
#pragma unroll
    for (int e = 0; e < V; ++e) left[e] = Op::of(left[e], right[e]);
    store_as<V>(y + run * V, left);
  });
}

template <class Op, class T, int V>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    combine_alike(const T* a, const T* b, std::int64_t count, T* y) {
  using A = Accumulator<T>;
  for_each_run<V>(count, [&](std::int64_t at, auto run) {
    constexpr int N = run.value;
    A left[N], right[N];
    load_as<N>(left, a + at);
    load_as<N>(right, b + at);
#pragma unroll
    for (int e = 0; e < N; ++e) left[e] = Op::of(left[e], right[e]);
    store_as<N>(y + at, left);
  });
}

template <class Op, class T>
void combine_one_shape(const char* name, std::int64_t count, const T* a, const T* b, T* y, Stream stream) {
  constexpr int vector = vector_of<T>;
  const bool aligned = aligned_16({a, b, y});
  simt::launch(name, aligned ? &combine_alike<Op, T, vector> : &combine_alike<Op, T, 1>,
               element_launch(aligned ? (count + vector - 1) / vector : count, stream), a, b, count, y);
}

template <class Op, class T>
void combine(const char* name, const BroadcastProblem& p, const T* a, const T* b, T* y, Stream stream) {
  const std::int64_t count = p.y_shape().numel();
  if (count == 0) return;
  const BroadcastLoops loops = broadcast_loops(p);
  if (loops.rank == 1 && loops.a_stride[0] == 1 && loops.b_stride[0] == 1)
    return combine_one_shape<Op>(name, count, a, b, y, stream);
  const std::int64_t length = loops.size[static_cast<std::size_t>(loops.rank - 1)];
  const bool aligned = aligned_16({a, b, y});
  visit_vector(p.dtype, length, aligned, [&](auto zero, auto vector) {
    if constexpr (std::is_same_v<decltype(zero), T>) {
      const simt::Launch launch = element_launch(count / vector, stream);
      if (count <= 0x7fffffff) {
        simt::launch(name, &combine_loops<Op, T, vector, unsigned>, launch, a, b, Loops<unsigned>(loops),
                     count, y);
      } else {
        simt::launch(name, &combine_loops<Op, T, vector, std::int64_t>, launch, a, b,
                     Loops<std::int64_t>(loops), count, y);
      }
    }
  });
}

// ---- sums over the dimensions in which an operand is held

/// dy, and the other operand or null.
template <class T>
struct Terms {
  const T *dy, *other;
  bool other_walks;
};

// The shape's matrices are the kept loops, its rows the summed ones.
template <class T, int V>
__global__ void __launch_bounds__(column_threads, column_blocks_at_once)
    sum_columns(Terms<T> t, BroadcastOffsets kept, BroadcastOffsets summed, ColumnShape s,
                Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const ColumnShare<V> share(s);
  const BroadcastPlace matrix = kept.behind({}, share.matrix);
  ColumnSums<1, V, A> sums;
  for_each_rows(share, [&](std::int64_t row, auto batch) {
    constexpr int B = batch.value;
    A values[B][V];
#pragma unroll
    for (int b = 0; b < B; ++b) {
      const BroadcastPlace at = summed.behind(matrix, row + b * share.step - share.matrix * s.rows);
      load_as<V>(values[b], t.dy + at.y + share.channel);
      if (t.other == nullptr) continue;
      A other[V];
      load_operand<V>(other, t.other + at.other + (t.other_walks ? share.channel : 0), t.other_walks);
#pragma unroll
      for (int v = 0; v < V; ++v) values[b][v] *= other[v];
    }
    sums.template add<B>(0, values);
  });
  merge_row_lanes(sums, share.lanes);
  store_partial(sums, share, s, partials);
}

/// Outputs, each the sum of `parts` parts of `per_part` elements; the last part may have fewer.
struct RowParts {
  std::int64_t outputs, elements, per_part, parts;
};

constexpr int warps_of_block = element_threads / 32;

// Partials are [part][output]. What is held along the innermost loop has the other operand walk it.
template <class T>
__global__ void __launch_bounds__(element_threads, element_blocks_at_once)
    sum_rows_of(Terms<T> t, BroadcastOffsets kept, BroadcastOffsets summed, std::int64_t length, RowParts p,
                Accumulator<T>* partials) {
  using A = Accumulator<T>;
  const std::int64_t units = p.outputs * p.parts;
  for (std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * warps_of_block + simt::warp();
       unit < units; unit += static_cast<std::int64_t>(gridDim.x) * warps_of_block) {
    const std::int64_t output = unit % p.outputs, first = unit / p.outputs * p.per_part;
    const std::int64_t end = min(p.elements, first + p.per_part);
    const BroadcastPlace base = kept.behind({}, output);
    A sum = A(0);
    for (std::int64_t i = first + simt::lane(); i < end; i += 32) {
      const std::int64_t row = summed.rank > 0 ? i / length : 0, column = i - row * length;
      const BroadcastPlace at = summed.behind(base, row);
      const A value = A(t.dy[at.y + column]);
      sum += t.other == nullptr ? value : value * A(t.other[at.other + column]);
    }
    sum = simt::warp_sum(sum);
    if (simt::lane() == 0) partials[unit] = sum;
  }
}

template <class T>
void sum_by_columns(const char* name, const BroadcastSum& sum, const Terms<T>& terms, T* out, Stream stream) {
  using A = Accumulator<T>;
  constexpr int vector = vector_of<T>;
  const bool whole = sum.length % vector == 0 && aligned_16({terms.dy, terms.other});
  const ColumnShape s =
      column_shape(sum.kept.count, sum.summed.count, sum.length, whole ? vector : 1, simt::limits());
  const Scratch<A> partials(partial_count(s, 1), stream, "sums of the parts");
  const simt::Launch launch{
      .grid = static_cast<unsigned>(s.blocks()), .block = column_threads, .stream = stream_of(stream)};
  simt::launch(name, whole ? &sum_columns<T, vector> : &sum_columns<T, 1>, launch, terms, sum.kept,
               sum.summed, s, partials.data());
  simt::launch(name, &column_sums_merge<T, A>, merge_launch(s, stream), partials.data(), s, 1.0, out);
}

// A part is at most 4096 elements, 128 of a lane, and smaller where there are too few outputs for the machine.
RowParts row_parts(const BroadcastSum& sum) {
  RowParts p{.outputs = sum.kept.count, .elements = sum.summed.count * sum.length, .per_part = 1, .parts = 1};
  const std::int64_t warps = std::int64_t{32} * simt::limits().multiprocessors;
  const std::int64_t wanted = std::max<std::int64_t>(1, warps / p.outputs);
  p.per_part = std::clamp<std::int64_t>((p.elements + wanted - 1) / wanted, 128, 4096);
  p.parts = std::max<std::int64_t>(1, (p.elements + p.per_part - 1) / p.per_part);
  return p;
}

template <class T>
void sum_by_rows(const char* name, const BroadcastSum& sum, const Terms<T>& terms, T* out, Stream stream) {
  using A = Accumulator<T>;
  const RowParts p = row_parts(sum);
  const ColumnShape merge{.channels = p.outputs, .parts = static_cast<int>(p.parts)};
  const Scratch<A> partials(partial_count(merge, 1), stream, "sums of the parts");
  simt::launch(name, &sum_rows_of<T>, element_launch(p.outputs * p.parts * 32, stream), terms, sum.kept,
               sum.summed, sum.length, p, partials.data());
  simt::launch(name, &column_sums_merge<T, A>, merge_launch(merge, stream), partials.data(), merge, 1.0, out);
}

// The gradient of a (of_a) or b; `other` is null for an addition.
template <class T>
void operand_gradient(const char* name, const BroadcastProblem& p, bool of_a, const T* dy, const T* other,
                      T* out, Stream stream) {
  const Shape y = p.y_shape();
  const Shape &own = of_a ? p.a : p.b, &others = of_a ? p.b : p.a;
  if (own.numel() == 0) return;
  if (own.numel() == y.numel()) {
    if (other == nullptr) return combine_one_shape<First>(name, y.numel(), dy, dy, out, stream);
    return combine<Multiply>(name, {p.dtype, y, others}, dy, other, out, stream);
  }
  const BroadcastSum sum = broadcast_sum(broadcast_loops(p), of_a);
  const Terms<T> terms{dy, other, sum.other_walks};
  if (sum.inner_kept) {
    sum_by_columns(name, sum, terms, out, stream);
  } else {
    sum_by_rows(name, sum, terms, out, stream);
  }
}

}  // namespace

// Sums whose outputs and rows 32 bits count, on grids that can be launched.
bool supports_broadcast_vector(const BroadcastProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  const bool sums = p.a.numel() != p.b.numel() || p.a.numel() != p.y_shape().numel();
  return (!sums || p.y_shape().numel() <= most) && runs_here();
}

void add_forward_vector(const BroadcastProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    combine<Add, T>("add.forward vector", p, ports[0].as<T>(), ports[1].as<T>(), ports[2].as<T>(), stream);
  });
}

void multiply_forward_vector(const BroadcastProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    combine<Multiply, T>("multiply.forward vector", p, ports[0].as<T>(), ports[1].as<T>(), ports[2].as<T>(),
                         stream);
  });
}

void add_backward_vector(const BroadcastProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *dy = ports[0].as<T>(), *none = nullptr;
    if (ports[1]) operand_gradient("add.backward vector, da", p, true, dy, none, ports[1].as<T>(), stream);
    if (ports[2]) operand_gradient("add.backward vector, db", p, false, dy, none, ports[2].as<T>(), stream);
  });
}

void multiply_backward_vector(const BroadcastProblem& p, Ports ports, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *a = ports[0].as<T>(), *b = ports[1].as<T>(), *dy = ports[2].as<T>();
    if (ports[3]) operand_gradient("multiply.backward vector, da", p, true, dy, b, ports[3].as<T>(), stream);
    if (ports[4]) operand_gradient("multiply.backward vector, db", p, false, dy, a, ports[4].as<T>(), stream);
  });
}

}  // namespace fovea::SIMT_WORLD
