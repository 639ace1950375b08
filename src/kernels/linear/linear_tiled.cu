// linear in all three directions ("tiled"): one product of matrices, three ways of reading its operands.
//
//   forward             y[n,o]  = act( b[o] + sum_i x[n,i] w[o,i] )     both operands along the terms of the sum
//   backward_data       dx[n,i] = sum_o dy[n,o] w[o,i]                  the second across them
//   backward_weights    dw[o,i] = sum_n dy[n,o] x[n,i]                  both across them;  db[o] = sum_n dy[n,o]
//
// Idea: a block makes 64 x 64 values, a thread 4 x 4 of them in registers; 16 terms at a time lie in shared memory as
// what sums are made in, while the next 16 are on their way into registers. A layer with few rows is expected to be
// bound by reading its weights, and has few tiles, so the sum is cut into parts that fill the device (linear_shape()), and
// a second launch adds the parts in order, in double, with bias and ReLU.
//
// Sums: 128 terms in order, then their sums in order, then the parts: no chain is long.
//
// Traffic: an operand is read once for each tile across it, so with at most 64 rows the weights are read once: Cost's
// bytes. Parts are written and read once more, at most 8.2 MiB in f32: they fit the second-level cache.
// Launch: tiles x parts blocks of 256 threads; values / 256 blocks for the merge, outputs / 32 for db.
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/scratch.hpp"
#include "kernels/linear/kernels.hpp"
#include "kernels/linear/linear_shape.hpp"

namespace fovea::SIMT_WORLD {
namespace {

constexpr int tile = LinearShape::tile, step = LinearShape::step, linear_threads = LinearShape::threads;
constexpr int side = 4;  // a thread's values are side x side
static_assert(tile / side * (tile / side) == linear_threads);

/// An operand, of which element (row, k) is data[row * stride + k] along the sum, data[k * stride + row] across it.
template <class T>
struct Operand {
  const T* data;
  std::int64_t rows, stride;
};

struct ProductDims {
  std::int64_t rows, columns, depth;
  std::int64_t depth_per_part;
  unsigned row_tiles, column_tiles;
};

/// Terms [0, step) of a tile's rows, transposed; rows of the array begin at multiples of 16 bytes.
template <class A>
struct TileShared {
  A left[2][step][tile + vector_of<A>], right[2][step][tile + vector_of<A>];
};

/// This thread's share of a tile of an operand on its way to shared memory: vectors of V elements.
template <class T, int V, bool along>
class TileShare {
 public:
  /// The terms from k on; zeros beyond `end` and beyond the rows.
  __device__ __forceinline__ void fetch(const Operand<T>& from, std::int64_t first_row, std::int64_t k,
                                        std::int64_t end) {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      const Place at(p);
      const std::int64_t row = first_row + at.row, term = k + at.k;
      if (at.inside() && row < from.rows && term < end) {
        held_[p] = simt::load<V>(from.data + (along ? row * from.stride + term : term * from.stride + row));
      } else {
#pragma unroll
        for (int e = 0; e < V; ++e) held_[p][e] = T(0.0F);
      }
    }
  }
  template <class A>
  __device__ __forceinline__ void store(A (&to)[step][tile + vector_of<A>]) const {
#pragma unroll
    for (int p = 0; p < pieces; ++p) {
      const Place at(p);
      if (!at.inside()) continue;
#pragma unroll
      for (int e = 0; e < V; ++e) to[along ? at.k + e : at.k][along ? at.row : at.row + e] = A(held_[p][e]);
    }
  }

 private:
  static constexpr int vectors = tile * step / V;
  static constexpr int pieces = (vectors + linear_threads - 1) / linear_threads;
  /// Where the p-th vector of this thread begins in the tile.
  struct Place {
    int vector, row, k;
    __device__ __forceinline__ explicit Place(int p)
        : vector(static_cast<int>(threadIdx.x) + p * linear_threads) {
      constexpr int in_line = (along ? step : tile) / V;
      const int line = vector / in_line, within = vector % in_line * V;
      row = along ? line : within;
      k = along ? within : line;
    }
    __device__ __forceinline__ bool inside() const { return vector < vectors; }
  };
  simt::Vec<T, V> held_[pieces];
};

/// side consecutive values of a line of a tile.
template <class A>
__device__ __forceinline__ void load_line(A (&to)[side], const A* from) {
  constexpr int piece = vector_of<A>;
#pragma unroll
  for (int i = 0; i < side; i += piece) {
    const simt::Vec<A, piece> values = simt::load<piece>(from + i);
#pragma unroll
    for (int e = 0; e < piece; ++e) to[i + e] = values[e];
  }
}

template <class A>
struct ThreadTile {
  A at[side][side];
  __device__ __forceinline__ ThreadTile() { clear(); }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < side; ++r) {
#pragma unroll
      for (int c = 0; c < side; ++c) at[r][c] = A(0);
    }
  }
  __device__ __forceinline__ void add(const ThreadTile& other) {
#pragma unroll
    for (int r = 0; r < side; ++r) {
#pragma unroll
      for (int c = 0; c < side; ++c) at[r][c] += other.at[r][c];
    }
  }
  /// The products of one step's terms.
  __device__ __forceinline__ void multiply(const A (&left)[step][tile + vector_of<A>],
                                           const A (&right)[step][tile + vector_of<A>], int row, int column) {
#pragma unroll
    for (int k = 0; k < step; ++k) {
      A a[side], b[side];
      load_line(a, left[k] + row);
      load_line(b, right[k] + column);
#pragma unroll
      for (int r = 0; r < side; ++r) {
#pragma unroll
        for (int c = 0; c < side; ++c) at[r][c] += a[r] * b[c];
      }
    }
  }
};

/// What becomes of a finished sum.
template <class A, class Out>
struct Finish {
  Out* out;
  const A* bias;  // of the columns; null: none
  bool relu;
  __device__ __forceinline__ void operator()(std::int64_t i, std::int64_t column, A sum) const {
    if (bias != nullptr) sum += bias[column];
    out[i] = Out(relu && sum < A(0) ? A(0) : sum);  // NaN stays
  }
};

/// Which values a block makes, and of which terms.
struct BlockTile {
  std::int64_t row, column, begin, end, part;
  __device__ __forceinline__ explicit BlockTile(const ProductDims& d)
      : row(std::int64_t{blockIdx.x % d.row_tiles} * tile),
        column(std::int64_t{blockIdx.x / d.row_tiles % d.column_tiles} * tile),
        part(blockIdx.x / d.row_tiles / d.column_tiles) {
    begin = part * d.depth_per_part;
    end = begin + d.depth_per_part < d.depth ? begin + d.depth_per_part : d.depth;
  }
};

/// parts: rows x columns sums for each part; null where there is one part, whose sums are finished here.
template <class T, int V, bool left_along, bool right_along, class A, class Out>
__global__ void __launch_bounds__(linear_threads, sizeof(A) == 8 ? 1 : 2)
    linear_product(Operand<T> left, Operand<T> right, ProductDims d, A* parts, Finish<A, Out> finish) {
  auto& shared = simt::shared<TileShared<A>>();
  const BlockTile block(d);
  const int row = static_cast<int>(threadIdx.x) / (tile / side) * side;
  const int column = static_cast<int>(threadIdx.x) % (tile / side) * side;
  TileShare<T, V, left_along> left_share;
  TileShare<T, V, right_along> right_share;
  ThreadTile<A> sums, chain;
  left_share.fetch(left, block.row, block.begin, block.end);
  right_share.fetch(right, block.column, block.begin, block.end);
  int buffer = 0, terms = 0;
  for (std::int64_t k = block.begin; k < block.end; k += step, buffer ^= 1) {
    left_share.store(shared.left[buffer]);
    right_share.store(shared.right[buffer]);
    __syncthreads();  // also: all have read the other buffer, which the next turn fills
    left_share.fetch(left, block.row, k + step, block.end);
    right_share.fetch(right, block.column, k + step, block.end);
    chain.multiply(shared.left[buffer], shared.right[buffer], row, column);
    terms += step;
    if (terms == LinearShape::chain) {
      sums.add(chain);
      chain.clear();
      terms = 0;
    }
  }
  sums.add(chain);
#pragma unroll
  for (int r = 0; r < side; ++r) {
#pragma unroll
    for (int c = 0; c < side; ++c) {
      const std::int64_t y = block.row + row + r, x = block.column + column + c;
      if (y >= d.rows || x >= d.columns) continue;
      const std::int64_t i = y * d.columns + x;
      if (parts != nullptr) {
        parts[block.part * d.rows * d.columns + i] = sums.at[r][c];
      } else {
        finish(i, x, sums.at[r][c]);
      }
    }
  }
}

template <class A, class Out>
__global__ void __launch_bounds__(linear_threads)
    linear_merge(const A* parts, int count, ProductDims d, Finish<A, Out> finish) {
  const std::int64_t values = d.rows * d.columns;
  const std::int64_t i = std::int64_t{blockIdx.x} * linear_threads + threadIdx.x;
  if (i >= values) return;  // no barrier below
  double sum = 0;
  for (int p = 0; p < count; ++p) sum += double(parts[p * values + i]);
  finish(i, i % d.columns, A(sum));
}

constexpr int bias_warps = linear_threads / 32;

/// db: 32 outputs to a block; a warp adds every eighth row, then the warps' sums are added in order, all in double.
template <class T, class A>
__global__ void __launch_bounds__(linear_threads)
    linear_bias_gradient(const T* dy, std::int64_t rows, std::int64_t outputs, A* db) {
  SIMT_SHARED(double, part, [bias_warps][32]);
  const int lane = static_cast<int>(simt::lane()), warp = static_cast<int>(simt::warp());
  const std::int64_t output = std::int64_t{blockIdx.x} * 32 + lane;
  double sum = 0;
  if (output < outputs) {
    for (std::int64_t n = warp; n < rows; n += bias_warps) sum += double(dy[n * outputs + output]);
  }
  part[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || output >= outputs) return;
  for (int w = 1; w < bias_warps; ++w) sum += part[w][lane];
  db[output] = A(sum);
}

// ---- launching

template <bool left_along, bool right_along, class T, int V, class A, class Out>
void launch_product(const simt::LaunchName& name, const Operand<T>& left, const Operand<T>& right,
                    std::int64_t depth, const Finish<A, Out>& finish, Stream stream) {
  const LinearShape shape = linear_shape(left.rows, right.rows, depth, simt::limits());
  const ProductDims d{left.rows,
                      right.rows,
                      depth,
                      shape.depth_per_part,
                      static_cast<unsigned>(shape.row_tiles),
                      static_cast<unsigned>(shape.column_tiles)};
  const std::int64_t values = left.rows * right.rows;
  const Scratch<A> parts(shape.parts > 1 ? shape.parts * values : 0, stream, "sums of the parts");
  simt::launch(name, &linear_product<T, V, left_along, right_along, A, Out>,
               {.grid = static_cast<unsigned>(shape.blocks()),
                .block = linear_threads,
                .shared_bytes = sizeof(TileShared<A>),
                .stream = stream_of(stream)},
               left, right, d, shape.parts > 1 ? parts.data() : nullptr, finish);
  if (shape.parts == 1) return;
  simt::launch(
      "linear tiled, merge", &linear_merge<A, Out>,
      {.grid = blocks_for(values, linear_threads), .block = linear_threads, .stream = stream_of(stream)},
      parts.data(), static_cast<int>(shape.parts), d, finish);
}

/// f(zero, vector): vectors where the lines of both operands, of these lengths, are made of them.
template <class F>
void visit_lines(const LinearProblem& p, std::int64_t line, std::int64_t other_line,
                 std::initializer_list<const void*> operands, F&& f) {
  visit_vector(p.dtype, line, aligned_16(operands), [&](auto zero, auto vector) {
    if (other_line % vector == 0) {
      f(zero, vector);
    } else {
      f(zero, std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace

bool supports_linear_tiled(const LinearProblem& p) {
  constexpr std::int64_t most = 0x7fffffff;
  if (p.n > most || p.in > most || p.out > most) return false;
  const auto fits = [&](std::int64_t rows, std::int64_t columns) {
    return rows * columns <= most * linear_threads;  // blocks of the merge; those of the tiles are fewer
  };
  return fits(p.n, p.out) && fits(p.n, p.in) && fits(p.out, p.in) && runs_here();
}

void linear_forward_tiled(const LinearProblem& p, Ports ports, Stream stream) {
  visit_lines(p, p.in, p.in, {ports[0].data, ports[1].data}, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    launch_product<true, true, T, vector>(
        "linear.forward tiled", Operand<T>{ports[0].as<const T>(), p.n, p.in},
        Operand<T>{ports[1].as<const T>(), p.out, p.in}, p.in,
        Finish<A, T>{ports[3].as<T>(), ports[2].as<const A>(), p.relu != 0}, stream);
  });
}

void linear_backward_data_tiled(const LinearProblem& p, Ports ports, Stream stream) {
  visit_lines(p, p.out, p.in, {ports[0].data, ports[1].data}, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    launch_product<true, false, T, vector>("linear.backward_data tiled",
                                           Operand<T>{ports[0].as<const T>(), p.n, p.out},
                                           Operand<T>{ports[1].as<const T>(), p.in, p.in}, p.out,
                                           Finish<A, T>{ports[2].as<T>(), nullptr, false}, stream);
  });
}

void linear_backward_weights_tiled(const LinearProblem& p, Ports ports, Stream stream) {
  visit_lines(p, p.out, p.in, {ports[0].data, ports[1].data}, [&](auto zero, auto vector) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const T* dy = ports[1].as<const T>();
    launch_product<false, false, T, vector>("linear.backward_weights tiled", Operand<T>{dy, p.out, p.out},
                                            Operand<T>{ports[0].as<const T>(), p.in, p.in}, p.n,
                                            Finish<A, A>{ports[2].as<A>(), nullptr, false}, stream);
    if (!ports[3]) return;
    simt::launch("linear.backward_weights tiled, db", &linear_bias_gradient<T, A>,
                 {.grid = blocks_for(p.out, 32), .block = linear_threads, .stream = stream_of(stream)}, dy,
                 p.n, p.out, ports[3].as<A>());
  });
}

}  // namespace fovea::SIMT_WORLD
