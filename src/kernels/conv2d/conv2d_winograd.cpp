// conv2d by Winograd's minimal filtering F(2x2, 3x3), fp32: 3x3 filters, stride 1, any dilation, no groups.
//
// The maths (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016). With d a 4x4
// patch of the input, g a 3x3 filter and Y the 2x2 outputs over the patch,
//
//   Y = A^T [ (G g G^T) .* (B^T d B) ] A
//
//         | 1  0 -1  0 |        |  1    0   0  |          | 1  1  1  0 |
//   B^T = | 0  1  1  0 |    G = | 1/2  1/2 1/2 |    A^T = | 0  1 -1 -1 |
//         | 0 -1  1  0 |        | 1/2 -1/2 1/2 |
//         | 0  1  0 -1 |        |  0    0   1  |
//
// so that 36 products per filter and channel become 16, and the sum over channels is 16 matrix products (tiles x C)(C x K).
// Data gradient: the same with dy as the input, filters turned by 180 degrees and C, K exchanged. Weight gradient: the
// transpose, dg = G^T [ sum over tiles (A dY A^T) .* (B^T d B) ] G. A dilation of d makes d x d interleaved images of which
// each is convolved alone: a tile's pixels then lie d apart.
//
// Rounding: the transforms add at most four terms and F(2x2) keeps its factors at 1 and 1/2; sums run in chains of
// `chain` terms that are then added up, where direct kernels add all 9 C in one.
//
// The idea: tiles are taken in blocks whose transformed patches and products stay in the caches; the matrix products are a
// register-blocked loop over panels of 32 outputs. What is 4x larger than the tensors themselves is never written to memory.
// Traffic: about that of the direct form (bytes of Cost) plus the transformed filters, 16/9 of w, once.
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/parallel.hpp"
#include "kernels/cpu/sum_columns.hpp"
#include "kernels/cpu/workspace.hpp"

namespace fovea {
namespace {

#ifdef __AVX512F__
constexpr std::int64_t lanes = 16, rows_per_product = 14;
#else
constexpr std::int64_t lanes = 8, rows_per_product = 6;
#endif
constexpr std::int64_t panel = 2 * lanes;  // outputs a product keeps in registers
constexpr std::int64_t gradient_rows = 8;  // filters a product of the weight gradient keeps
constexpr std::int64_t points = 16;        // elements of a transformed tile
constexpr std::int64_t chain = 64;         // terms of a sum before it is added to the whole
constexpr std::int64_t tiles_per_block =
    70;  // transformed patches and products of a block fit the outer caches
constexpr std::int64_t chunk_bytes = 32ll << 20;  // of transformed operands of the weight gradient

typedef float Vec __attribute__((vector_size(lanes * sizeof(float)), aligned(4)));

Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }
Vec all(float value) { return value - Vec{}; }  // GCC folds it; not Vec{} + value, which turns -0 into 0

std::int64_t round_up(std::int64_t value, std::int64_t to) { return (value + to - 1) / to * to; }

// First pixels of the tiles of one axis of `size` outputs: two outputs, `dilation` apart, to a tile.
std::vector<std::int64_t> tile_origins(std::int64_t size, std::int64_t dilation) {
  std::vector<std::int64_t> origins;
  for (std::int64_t residue = 0; residue < std::min(dilation, size); ++residue) {
    for (std::int64_t at = residue; at < size; at += 2 * dilation) origins.push_back(at);
  }
  return origins;
}

// A stride-1 3x3 convolution from one image stack to another: the forward's x -> y, or the data gradient's dy -> dx.
struct Geometry {
  std::int64_t n, h, w, c;  // input
  std::int64_t p, q, k;     // output
  std::int64_t pad_h, pad_w, dilation_h, dilation_w;
  std::int64_t pitch = k;  // elements from pixel to pixel of the output
  std::vector<std::int64_t> rows = tile_origins(p, dilation_h), columns = tile_origins(q, dilation_w);
  std::int64_t tiles() const { return n * static_cast<std::int64_t>(rows.size() * columns.size()); }
};

Geometry forward_geometry(const Conv2dProblem& p) {
  return {.n = p.n,
          .h = p.h,
          .w = p.w,
          .c = p.c,
          .p = p.out_h(),
          .q = p.out_w(),
          .k = p.k,
          .pad_h = p.pad_h,
          .pad_w = p.pad_w,
          .dilation_h = p.dilation_h,
          .dilation_w = p.dilation_w,
          .pitch = p.y_slice.pitch(p.k)};
}
Geometry backward_geometry(const Conv2dProblem& p) {
  return {.n = p.n,
          .h = p.out_h(),
          .w = p.out_w(),
          .c = p.k,
          .p = p.h,
          .q = p.w,
          .k = p.c,
          .pad_h = 2 * p.dilation_h - p.pad_h,
          .pad_w = 2 * p.dilation_w - p.pad_w,
          .dilation_h = p.dilation_h,
          .dilation_w = p.dilation_w};
}

struct Tile {
  std::int64_t image, row, column;  // of the tile's first output pixel
};
Tile tile_at(const Geometry& g, std::int64_t index) {
  const auto columns = static_cast<std::int64_t>(g.columns.size());
  const std::int64_t per_image = static_cast<std::int64_t>(g.rows.size()) * columns,
                     in_image = index % per_image;
  return {index / per_image, g.rows[static_cast<std::size_t>(in_image / columns)],
          g.columns[static_cast<std::size_t>(in_image % columns)]};
}

// ---- the transforms, `lanes` channels at a time -------------------------------------------------

// B^T d B of the patch under a tile; element e of channel block i goes to out[e * point_stride + at(i)].
template <class At>
void transform_patch(const Geometry& g, const float* x, const Tile& tile, float* out,
                     std::int64_t point_stride, At&& at) {
  const float* from[4][4];
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 4; ++j) {
      const std::int64_t row = tile.row - g.pad_h + i * g.dilation_h;
      const std::int64_t column = tile.column - g.pad_w + j * g.dilation_w;
      const bool inside = row >= 0 && row < g.h && column >= 0 && column < g.w;
      from[i][j] = inside ? x + ((tile.image * g.h + row) * g.w + column) * g.c : nullptr;
    }
  }
  for (std::int64_t c = 0; c < g.c; c += lanes) {
    Vec d[4][4], t[4][4];
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) d[i][j] = from[i][j] != nullptr ? load(from[i][j] + c) : Vec{};
    }
    for (int j = 0; j < 4; ++j) {
      t[0][j] = d[0][j] - d[2][j];
      t[1][j] = d[1][j] + d[2][j];
      t[2][j] = d[2][j] - d[1][j];
      t[3][j] = d[1][j] - d[3][j];
    }
    float* to = out + at(c);
    for (int i = 0; i < 4; ++i) {
      store(to + (i * 4 + 0) * point_stride, t[i][0] - t[i][2]);
      store(to + (i * 4 + 1) * point_stride, t[i][1] + t[i][2]);
      store(to + (i * 4 + 2) * point_stride, t[i][2] - t[i][1]);
      store(to + (i * 4 + 3) * point_stride, t[i][1] - t[i][3]);
    }
  }
}

// A^T m A, bias and ReLU, to the (up to) 2x2 outputs of a tile.
void transform_product(const Geometry& g, const float* m, std::int64_t point_stride, const float* bias,
                       bool relu, const Tile& tile, float* y) {
  for (std::int64_t k = 0; k < g.k; k += lanes) {
    Vec s[2][4];
    for (int j = 0; j < 4; ++j) {
      const Vec m0 = load(m + (0 + j) * point_stride + k), m1 = load(m + (4 + j) * point_stride + k);
      const Vec m2 = load(m + (8 + j) * point_stride + k), m3 = load(m + (12 + j) * point_stride + k);
      s[0][j] = m0 + m1 + m2;
      s[1][j] = m1 - m2 - m3;
    }
    const Vec b = bias != nullptr ? load(bias + k) : Vec{};
    for (std::int64_t i = 0; i < 2 && tile.row + i * g.dilation_h < g.p; ++i) {
      const std::int64_t row = tile.row + i * g.dilation_h;
      Vec out[2] = {s[i][0] + s[i][1] + s[i][2] + b, s[i][1] - s[i][2] - s[i][3] + b};
      for (std::int64_t j = 0; j < 2 && tile.column + j * g.dilation_w < g.q; ++j) {
        if (relu) out[j] = out[j] > 0 ? out[j] : Vec{};
        store(y + ((tile.image * g.p + row) * g.q + tile.column + j * g.dilation_w) * g.pitch + k, out[j]);
      }
    }
  }
}

// A dY A^T of a tile's outputs; element e of channel block k goes to out[e * point_stride + at(k)].
template <class At>
void transform_gradient(const Geometry& g, const float* dy, const Tile& tile, float* out,
                        std::int64_t point_stride, At&& at) {
  for (std::int64_t k = 0; k < g.k; k += gradient_rows) {
    typedef float Half __attribute__((vector_size(gradient_rows * sizeof(float)), aligned(4)));
    Half d[2][2], t[4][2];
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t j = 0; j < 2; ++j) {
        const std::int64_t row = tile.row + i * g.dilation_h, column = tile.column + j * g.dilation_w;
        const bool inside = row < g.p && column < g.q;
        const float* from = dy + ((tile.image * g.p + row) * g.q + column) * g.k + k;
        d[i][j] = inside ? *reinterpret_cast<const Half*>(from) : Half{};
      }
    }
    for (int j = 0; j < 2; ++j) {
      t[0][j] = d[0][j];
      t[1][j] = d[0][j] + d[1][j];
      t[2][j] = d[0][j] - d[1][j];
      t[3][j] = -d[1][j];
    }
    float* to = out + at(k);
    const auto put = [&](int e, Half value) { *reinterpret_cast<Half*>(to + e * point_stride) = value; };
    for (int i = 0; i < 4; ++i) {
      put(i * 4 + 0, t[i][0]);
      put(i * 4 + 1, t[i][0] + t[i][1]);
      put(i * 4 + 2, t[i][0] - t[i][1]);
      put(i * 4 + 3, -t[i][1]);
    }
  }
}

// G g G^T of `lanes` 3x3 filters at once.
void transform_filter(const Vec (&g)[9], Vec (&u)[points]) {
  Vec t[4][3];
  for (int s = 0; s < 3; ++s) {
    t[0][s] = g[s];
    t[1][s] = 0.5f * (g[s] + g[3 + s] + g[6 + s]);
    t[2][s] = 0.5f * (g[s] - g[3 + s] + g[6 + s]);
    t[3][s] = g[6 + s];
  }
  for (int i = 0; i < 4; ++i) {
    u[i * 4 + 0] = t[i][0];
    u[i * 4 + 1] = 0.5f * (t[i][0] + t[i][1] + t[i][2]);
    u[i * 4 + 2] = 0.5f * (t[i][0] - t[i][1] + t[i][2]);
    u[i * 4 + 3] = t[i][2];
  }
}

// The forward's transformed filters: [point][panel of filters][channel][filter in the panel]. Channels are
// contiguous in w, so a lane is a channel, and a panel is turned from [filter][channel] to [channel][filter]
// in a small buffer.
void transform_filters(const float* w, std::int64_t filters, std::int64_t channels, float* u) {
  const std::int64_t point_stride = filters * channels;
  parallel_for(filters / panel, [&](std::int64_t pi) {
    std::vector<float> buffer(static_cast<std::size_t>(points * panel * lanes));
    for (std::int64_t c = 0; c < channels; c += lanes) {
      for (std::int64_t k = 0; k < panel; ++k) {
        Vec g[9], point[points];
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          g[tap] = load(w + ((pi * panel + k) * 9 + tap) * channels + c);
        }
        transform_filter(g, point);
        for (std::int64_t e = 0; e < points; ++e) store(buffer.data() + (e * panel + k) * lanes, point[e]);
      }
      for (std::int64_t e = 0; e < points; ++e) {
        const float* from = buffer.data() + e * panel * lanes;
        float* to = u + e * point_stride + (pi * channels + c) * panel;
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
          for (std::int64_t k = 0; k < panel; ++k) to[lane * panel + k] = from[k * lanes + lane];
        }
      }
    }
  });
}

// The data gradient's: outputs are the filters' channels, taps are turned by 180 degrees.
void transform_turned_filters(const float* w, std::int64_t filters, std::int64_t channels, float* u) {
  const std::int64_t point_stride = filters * channels;
  parallel_for(channels / panel, [&](std::int64_t pi) {
    for (std::int64_t k = 0; k < filters; ++k) {
      for (std::int64_t o = 0; o < panel; o += lanes) {
        Vec g[9], point[points];
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          g[tap] = load(w + (k * 9 + 8 - tap) * channels + pi * panel + o);
        }
        transform_filter(g, point);
        float* to = u + (pi * filters + k) * panel + o;
        for (std::int64_t e = 0; e < points; ++e) store(to + e * point_stride, point[e]);
      }
    }
  });
}

// ---- the products -------------------------------------------------------------------------------

// out[i][0..panel) (+)= sum over d of a[i * row_stride + d * depth_stride] b[d][0..panel), for i < rows.
template <std::int64_t rows>
void multiply_panel(const float* a, std::int64_t row_stride, std::int64_t depth_stride, const float* b,
                    std::int64_t depth, bool add, float* out, std::int64_t out_stride) {
  Vec acc[rows][2] = {};
  for (std::int64_t d = 0; d < depth; ++d) {
    const Vec b0 = load(b + d * panel), b1 = load(b + d * panel + lanes);
#pragma GCC unroll 16
    for (std::int64_t i = 0; i < rows; ++i) {
      const Vec ai = all(a[i * row_stride + d * depth_stride]);
      acc[i][0] += ai * b0;
      acc[i][1] += ai * b1;
    }
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t half = 0; half < 2; ++half) {
      float* to = out + i * out_stride + half * lanes;
      store(to, add ? load(to) + acc[i][half] : acc[i][half]);
    }
  }
}

// ---- a convolution: forward and data gradient ---------------------------------------------------

void convolve(const Geometry& g, const float* x, const float* w, bool turned, const float* bias, bool relu,
              float* y) {
  const std::int64_t threads = omp_get_max_threads();
  const std::int64_t panels = g.k / panel;
  const std::int64_t blocks = round_up((g.tiles() + tiles_per_block - 1) / tiles_per_block, threads);
  const std::int64_t block = round_up((g.tiles() + blocks - 1) / blocks, rows_per_product);
  const std::int64_t v_stride = g.c + 16;  // not a power of two: rows would share cache sets
  const auto bytes = [](std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); };
  const std::size_t u_bytes = bytes(points * g.k * g.c), v_bytes = bytes(points * block * v_stride);
  const std::size_t m_bytes = bytes(points * block * g.k);
  Workspace workspace = Workspace::take(Workspace::rounded(u_bytes) +
                                        static_cast<std::size_t>(threads) *
                                            (Workspace::rounded(v_bytes) + Workspace::rounded(m_bytes)));
  float* u = static_cast<float*>(workspace.next(u_bytes));
  std::vector<std::pair<float*, float*>> scratch;
  for (std::int64_t i = 0; i < threads; ++i) {
    float* v = static_cast<float*>(workspace.next(v_bytes));
    scratch.emplace_back(v, static_cast<float*>(workspace.next(m_bytes)));
  }
  if (turned) {
    transform_turned_filters(w, g.c, g.k, u);
  } else {
    transform_filters(w, g.k, g.c, u);
  }

  parallel_for((g.tiles() + block - 1) / block, [&](std::int64_t index) {
    const auto [v, m] = scratch[static_cast<std::size_t>(omp_get_thread_num())];
    const std::int64_t begin = index * block, count = std::min(block, g.tiles() - begin);
    const std::int64_t rows = round_up(count, rows_per_product);
    for (std::int64_t t = 0; t < count; ++t) {
      transform_patch(g, x, tile_at(g, begin + t), v + t * v_stride, block * v_stride,
                      [](std::int64_t c) { return c; });
    }
    for (std::int64_t e = 0; e < points; ++e) {
      for (std::int64_t t = count; t < rows; ++t) std::fill_n(v + (e * block + t) * v_stride, g.c, 0.0f);
      for (std::int64_t pi = 0; pi < panels; ++pi) {
        const float* b = u + (e * panels + pi) * g.c * panel;
        for (std::int64_t t = 0; t < rows; t += rows_per_product) {
          const float* a = v + (e * block + t) * v_stride;
          float* out = m + (e * block + t) * g.k + pi * panel;
          for (std::int64_t c = 0; c < g.c; c += chain) {
            multiply_panel<rows_per_product>(a + c, v_stride, 1, b + c * panel, std::min(chain, g.c - c),
                                             c > 0, out, g.k);
          }
        }
      }
    }
    for (std::int64_t t = 0; t < count; ++t) {
      transform_product(g, m + t * g.k, block * g.k, bias, relu, tile_at(g, begin + t), y);
    }
  });
}

// ---- the weight gradient ------------------------------------------------------------------------

// dw[k][tap][c] = (G^T s G)[tap], s = sums[point][k][c].
void transform_sums(const float* sums, std::int64_t filters, std::int64_t channels, float* dw) {
  parallel_for(filters, [&](std::int64_t k) {
    for (std::int64_t c = 0; c < channels; c += lanes) {
      Vec t[3][4];
      for (int j = 0; j < 4; ++j) {
        Vec s[4];
        for (int i = 0; i < 4; ++i) s[i] = load(sums + ((i * 4 + j) * filters + k) * channels + c);
        t[0][j] = s[0] + 0.5f * (s[1] + s[2]);
        t[1][j] = 0.5f * (s[1] - s[2]);
        t[2][j] = 0.5f * (s[1] + s[2]) + s[3];
      }
      for (int i = 0; i < 3; ++i) {
        float* to = dw + (k * 9 + i * 3) * channels + c;
        store(to, t[i][0] + 0.5f * (t[i][1] + t[i][2]));
        store(to + channels, 0.5f * (t[i][1] - t[i][2]));
        store(to + 2 * channels, 0.5f * (t[i][1] + t[i][2]) + t[i][3]);
      }
    }
  });
}

void weight_gradient(const Geometry& g, const float* x, const float* dy, float* dw) {
  const std::int64_t at_most = std::max<std::int64_t>(64, chunk_bytes / (points * 4 * (g.c + g.k)));
  const std::int64_t chunks = (g.tiles() + at_most - 1) / at_most, chunk = (g.tiles() + chunks - 1) / chunks;
  const auto bytes = [](std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); };
  const std::size_t v_bytes = bytes(points * chunk * g.c), m_bytes = bytes(points * chunk * g.k);
  const std::size_t sum_bytes = bytes(points * g.k * g.c);
  Workspace workspace = Workspace::take(Workspace::rounded(v_bytes) + Workspace::rounded(m_bytes) +
                                        Workspace::rounded(sum_bytes));
  float* v = static_cast<float*>(workspace.next(v_bytes));
  float* m = static_cast<float*>(workspace.next(m_bytes));
  float* sums = static_cast<float*>(workspace.next(sum_bytes));
  std::memset(sums, 0, sum_bytes);

  for (std::int64_t begin = 0; begin < g.tiles(); begin += chunk) {
    const std::int64_t count = std::min(chunk, g.tiles() - begin);
    parallel_for(
        count, [&](std::int64_t t) {  // v: [point][panel of c][t][panel], m: [point][group of k][t][group]
          const Tile tile = tile_at(g, begin + t);
          transform_patch(g, x, tile, v, chunk * g.c,
                          [&](std::int64_t c) { return (c / panel * chunk + t) * panel + c % panel; });
          transform_gradient(g, dy, tile, m, chunk * g.k,
                             [&](std::int64_t k) { return (k / gradient_rows * chunk + t) * gradient_rows; });
        });
    const std::int64_t c_panels = g.c / panel, k_groups = g.k / gradient_rows;
    parallel_for(points * c_panels, [&](std::int64_t index) {
      const std::int64_t e = index / c_panels, ci = index % c_panels;
      const float* b = v + e * chunk * g.c + ci * chunk * panel;
      for (std::int64_t ki = 0; ki < k_groups; ++ki) {
        const float* a = m + e * chunk * g.k + ki * chunk * gradient_rows;
        float* out = sums + (e * g.k + ki * gradient_rows) * g.c + ci * panel;
        for (std::int64_t t = 0; t < count; t += chain) {
          multiply_panel<gradient_rows>(a + t * gradient_rows, 1, gradient_rows, b + t * panel,
                                        std::min(chain, count - t), true, out, g.c);
        }
      }
    });
  }
  transform_sums(sums, g.k, g.c, dw);
}

}  // namespace

// Whole panels of channels only: products and transforms then have no remainders.
bool conv2d_winograd_supports(const Conv2dProblem& p) {
  return p.dtype == Dtype::f32 && p.r == 3 && p.s == 3 && p.stride_h == 1 && p.stride_w == 1 &&
         p.groups == 1 && p.pad_h <= 2 * p.dilation_h && p.pad_w <= 2 * p.dilation_w && p.c % panel == 0 &&
         p.k % panel == 0;
}

void conv2d_forward_winograd(const Conv2dProblem& p, Ports ports, Stream) {
  convolve(forward_geometry(p), ports[0].as<float>(), ports[1].as<float>(), false, ports[2].as<float>(),
           p.relu != 0, p.y_slice.first_of<float>(ports[3]));
}

void conv2d_backward_data_winograd(const Conv2dProblem& p, Ports ports, Stream) {
  convolve(backward_geometry(p), ports[0].as<float>(), ports[1].as<float>(), true, nullptr, false,
           ports[2].as<float>());
}

void conv2d_backward_weights_winograd(const Conv2dProblem& p, Ports ports, Stream) {
  weight_gradient(forward_geometry(p), ports[0].as<float>(), ports[1].as<float>(), ports[2].as<float>());
  if (ports[3]) sum_columns(ports[1].as<float>(), p.y_shape().numel() / p.k, p.k, ports[3].as<float>());
}

}  // namespace fovea
