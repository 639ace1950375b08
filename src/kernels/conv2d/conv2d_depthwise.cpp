// Depthwise convolution (as many groups as channels, one filter each) for the CPU, fp32: any filter, stride and dilation.
//
//   y[n,p,q,c] = act( b[c] + sum_{r,s} x[n, p stride - pad + r dilation, ..., c] w[c,r,s] )
//
// There is no sum over channels, so a vector of channels is a lane each and pixels are what a product is blocked by. For
// filters of 3, 5 or 7 columns, adjacent ones at stride 1, a strip of outputs of one row lies in registers: a vector of x is
// loaded once for each row of the filter and multiplied by all its columns (for 7 columns and 14 outputs 98 products for 27
// loads). Other filters are summed pixel by pixel.
//
// Data gradient: the same with dy as the input and filters turned by 180 degrees; at a larger stride the taps of a pixel are
// those that reach an output. Weight gradient: a strip of dy lies in registers instead, and the products of a row of the
// filter are its sums. Rows of images are cut into parts and channels into groups, numbers fixed by the problem; a unit sums
// about 512 products in a row, those sums in a second row of sums, and parts are merged in order in double. The bias gradient
// rides along.
//
// Where channels are no multiple of the vector, the last vector begins earlier, so that some are computed twice, alike.
// Traffic: that of Cost where the rows of x that a row of y needs stay in the second cache; filters once more, reordered.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/conv2d/conv2d_depthwise_shape.hpp"
#include "kernels/conv2d/kernels.hpp"
#include "kernels/cpu/parallel.hpp"

namespace fovea {
namespace {

#ifdef __AVX512F__
constexpr std::int64_t lanes = 16;
constexpr int wide_strip = 14;
#else
constexpr std::int64_t lanes = 8;
constexpr int wide_strip = 7;
#endif
constexpr int narrow_strip = 7;
constexpr std::int64_t chain = 512;           // products of a sum before it is added to the whole
constexpr std::int64_t vectors_of_group = 6;  // channels that a unit of the weight gradient takes, in vectors
constexpr std::int64_t units = 32;            // of the weight gradient, about

typedef float Vec __attribute__((vector_size(lanes * sizeof(float)), aligned(4)));

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Vectors of channels. With fewer channels than lanes there is one, in part.
struct Channels {
  std::int64_t count;
  std::int64_t vectors() const { return (count + lanes - 1) / lanes; }
  std::int64_t first(std::int64_t vector) const {
    return std::max<std::int64_t>(0, std::min(vector * lanes, count - lanes));
  }
  bool whole() const { return count >= lanes; }
};

template <bool whole>
Vec load(const float* from, std::int64_t count) {
  if constexpr (whole) {
    return *reinterpret_cast<const Vec*>(from);
  } else {
    Vec value{};
    std::memcpy(&value, from, size(count) * sizeof(float));
    return value;
  }
}
template <bool whole>
void store(float* to, Vec value, std::int64_t count) {
  if constexpr (whole) {
    *reinterpret_cast<Vec*>(to) = value;
  } else {
    std::memcpy(to, &value, size(count) * sizeof(float));
  }
}
Vec load(const float* from) { return load<true>(from, lanes); }
void store(float* to, Vec value) { store<true>(to, value, lanes); }

// ---- which taps of the filter meet which inputs

struct Tap {
  std::int64_t tap, at;  // of the filter; of the input
};
/// Of each output of an axis.
using Axis = std::vector<std::vector<Tap>>;

using Map = DepthwiseMap<std::int64_t>;

Axis axis_of(const DepthwiseAxis<std::int64_t>& a) {
  Axis axis(size(a.out));
  for (std::int64_t o = 0; o < a.out; ++o) {
    for (std::int64_t t = 0; t < a.taps; ++t) {
      if (const std::int64_t at = a.input_of(o, t); at >= 0) axis[size(o)].push_back({t, at});
    }
  }
  return axis;
}

// f(values of x, output of a strip of Q, tap) for each meeting of the strip with a row of the filter, of S columns, whose
// first value is column `first` of the row of inputs; a value is loaded once for all taps.
template <int S, int Q, bool whole, bool inside, class F>
void for_each_meeting(const float* row, std::int64_t first, std::int64_t width, std::int64_t channels,
                      std::int64_t count, F&& f) {
#pragma GCC unroll 32
  for (int j = 0; j < Q + S - 1; ++j) {
    const std::int64_t column = first + j;
    if (!inside && (column < 0 || column >= width)) continue;
    const Vec value = load<whole>(row + column * channels, count);
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) {
      if (j >= s && j - s < Q) f(value, j - s, s);
    }
  }
}

// ---- forward and data gradient

/// Filters as [vector of channels][tap][lane]; lanes without a channel hold zeros.
std::vector<float> reorder(const float* w, const Channels& channels, std::int64_t taps, bool turned) {
  std::vector<float> panels(size(channels.vectors() * taps * lanes));
  parallel_for(channels.vectors(), [&](std::int64_t vector) {
    for (std::int64_t lane = 0; lane < std::min(lanes, channels.count); ++lane) {
      const float* from = w + (channels.first(vector) + lane) * taps;
      for (std::int64_t tap = 0; tap < taps; ++tap)
        panels[size((vector * taps + tap) * lanes + lane)] = from[turned ? taps - 1 - tap : tap];
    }
  });
  return panels;
}

/// One row of outputs and one vector of channels.
struct RowOfOutputs {
  const std::vector<Tap>& rows;
  const Axis& columns;
  const float* x;  // the image, from the first channel on
  const float* w;  // the vector's filters
  std::int64_t width, c, taps,
      shift;  // of the input; channels; columns of the filter; input of output 0 and tap 0
  Vec bias;
  bool relu;
  float* y;            // the row, from the first channel on
  std::int64_t count;  // of channels
};

template <bool whole>
void finish(const RowOfOutputs& o, std::int64_t q, Vec sum) {
  if (o.relu) sum = sum < 0 ? Vec{} : sum;  // NaN passes
  store<whole>(o.y + q * o.c, sum, o.count);
}

template <int S, int Q, bool whole, bool inside>
void add_row(const float* row, const float* w, const RowOfOutputs& o, std::int64_t first, Vec (&sum)[Q]) {
  Vec filter[S];
#pragma GCC unroll 16
  for (int s = 0; s < S; ++s) filter[s] = load(w + s * lanes);
  for_each_meeting<S, Q, whole, inside>(
      row, first, o.width, o.c,
      o.count, [&](const Vec& value, int i, int tap) __attribute__((always_inline)) {
        sum[i] += value * filter[tap];
      });
}

template <int S, int Q, bool whole>
void strip(const RowOfOutputs& o, std::int64_t q) {
  Vec sum[Q];
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i) sum[i] = o.bias;
  const std::int64_t first = q + o.shift;
  const bool inside = first >= 0 && first + Q + S - 1 <= o.width;
  for (const Tap& r : o.rows) {
    const float *row = o.x + r.at * o.width * o.c, *w = o.w + r.tap * S * lanes;
    if (inside) {
      add_row<S, Q, whole, true>(row, w, o, first, sum);
    } else {
      add_row<S, Q, whole, false>(row, w, o, first, sum);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i) finish<whole>(o, q + i, sum[i]);
}

template <int S, bool whole>
void row_of_strips(const RowOfOutputs& o) {
  const auto outputs = static_cast<std::int64_t>(o.columns.size());
  std::int64_t q = 0;
  for (; q + wide_strip <= outputs; q += wide_strip) strip<S, wide_strip, whole>(o, q);
  for (; q + narrow_strip <= outputs; q += narrow_strip) strip<S, narrow_strip, whole>(o, q);
  for (; q < outputs; ++q) strip<S, 1, whole>(o, q);
}

template <bool whole>
void row_of_pixels(const RowOfOutputs& o) {
  for (std::size_t q = 0; q < o.columns.size(); ++q) {
    Vec sum = o.bias;
    for (const Tap& r : o.rows) {
      const float *row = o.x + r.at * o.width * o.c, *w = o.w + r.tap * o.taps * lanes;
      for (const Tap& s : o.columns[q])
        sum += load<whole>(row + s.at * o.c, o.count) * load(w + s.tap * lanes);
    }
    finish<whole>(o, static_cast<std::int64_t>(q), sum);
  }
}

template <bool whole>
void row_of_outputs(const RowOfOutputs& o, bool adjacent) {
  if (adjacent && o.taps == 7) return row_of_strips<7, whole>(o);
  if (adjacent && o.taps == 5) return row_of_strips<5, whole>(o);
  if (adjacent && o.taps == 3) return row_of_strips<3, whole>(o);
  row_of_pixels<whole>(o);
}

void convolve(const Map& m, std::int64_t images, const float* x, const float* w, const float* bias, bool relu,
              float* y) {
  const Channels channels{m.channels};
  const std::int64_t taps = m.rows.taps * m.columns.taps;
  const Axis rows = axis_of(m.rows), columns = axis_of(m.columns);
  const std::vector<float> panels = reorder(w, channels, taps, m.turned);
  parallel_for(images * m.rows.out, [&](std::int64_t index) {
    const std::int64_t n = index / m.rows.out, p = index % m.rows.out;
    for (std::int64_t vector = 0; vector < channels.vectors(); ++vector) {
      const std::int64_t first = channels.first(vector), count = std::min(lanes, m.channels);
      const float* own_bias = bias == nullptr ? nullptr : bias + first;
      RowOfOutputs row{.rows = rows[size(p)],
                       .columns = columns,
                       .x = x + n * m.rows.in * m.columns.in * m.channels + first,
                       .w = panels.data() + vector * taps * lanes,
                       .width = m.columns.in,
                       .c = m.channels,
                       .taps = m.columns.taps,
                       .shift = -m.columns.pad,
                       .bias = Vec{},
                       .relu = relu,
                       .y = y + index * m.columns.out * m.channels + first,
                       .count = count};
      if (channels.whole()) {
        if (own_bias != nullptr) row.bias = load(own_bias);
        row_of_outputs<true>(row, m.adjacent());
      } else {
        if (own_bias != nullptr) row.bias = load<false>(own_bias, count);
        row_of_outputs<false>(row, m.adjacent());
      }
    }
  });
}

// ---- weight gradient

/// One row of dy and one vector of channels.
struct RowOfGradients {
  const std::vector<Tap>& rows;
  const Axis& columns;
  const float *x, *dy;  // the image and the row, from the first channel on
  std::int64_t width, c, taps, shift;
  float* sums;  // [tap][lane], then the bias's
  float* bias_sums;
  std::int64_t count;
};

template <int S, int Q, bool whole>
void strip_gradient(const RowOfGradients& o, std::int64_t q) {
  Vec gradient[Q], bias = load(o.bias_sums);
#pragma GCC unroll 16
  for (int i = 0; i < Q; ++i) {
    gradient[i] = load<whole>(o.dy + (q + i) * o.c, o.count);
    bias += gradient[i];
  }
  store(o.bias_sums, bias);
  const std::int64_t first = q + o.shift;
  for (const Tap& r : o.rows) {
    const float* row = o.x + r.at * o.width * o.c;
    float* sums = o.sums + r.tap * S * lanes;
    Vec sum[S];
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) sum[s] = load(sums + s * lanes);
    for_each_meeting<S, Q, whole, false>(
        row, first, o.width, o.c,
        o.count, [&](const Vec& value, int i, int tap) __attribute__((always_inline)) {
          sum[tap] += value * gradient[i];
        });
#pragma GCC unroll 16
    for (int s = 0; s < S; ++s) store(sums + s * lanes, sum[s]);
  }
}

template <int S, bool whole>
void strips_gradient(const RowOfGradients& o) {
  const auto outputs = static_cast<std::int64_t>(o.columns.size());
  std::int64_t q = 0;
  for (; q + wide_strip <= outputs; q += wide_strip) strip_gradient<S, wide_strip, whole>(o, q);
  for (; q + narrow_strip <= outputs; q += narrow_strip) strip_gradient<S, narrow_strip, whole>(o, q);
  for (; q < outputs; ++q) strip_gradient<S, 1, whole>(o, q);
}

template <bool whole>
void pixels_gradient(const RowOfGradients& o) {
  for (std::size_t q = 0; q < o.columns.size(); ++q) {
    const Vec gradient = load<whole>(o.dy + static_cast<std::int64_t>(q) * o.c, o.count);
    store(o.bias_sums, load(o.bias_sums) + gradient);
    for (const Tap& r : o.rows) {
      const float* row = o.x + r.at * o.width * o.c;
      for (const Tap& s : o.columns[q]) {
        float* sums = o.sums + (r.tap * o.taps + s.tap) * lanes;
        store(sums, load(sums) + load<whole>(row + s.at * o.c, o.count) * gradient);
      }
    }
  }
}

template <bool whole>
void row_of_gradients(const RowOfGradients& o, bool adjacent) {
  if (adjacent && o.taps == 7) return strips_gradient<7, whole>(o);
  if (adjacent && o.taps == 5) return strips_gradient<5, whole>(o);
  if (adjacent && o.taps == 3) return strips_gradient<3, whole>(o);
  pixels_gradient<whole>(o);
}

/// What a unit sums: some of the rows of all images, some of the vectors of channels.
struct Units {
  std::int64_t rows, vectors, groups, parts;
  Units(std::int64_t all_rows, std::int64_t all_vectors)
      : rows(all_rows),
        vectors(all_vectors),
        groups((all_vectors + vectors_of_group - 1) / vectors_of_group),
        parts(std::clamp<std::int64_t>(units / groups, 1, all_rows)) {}
};

void weight_gradient(const Conv2dProblem& p, const float* x, const float* dy, float* dw, float* db) {
  const Map m = depthwise_forward_map<std::int64_t>(p);
  const Channels channels{p.c};
  const std::int64_t taps = p.r * p.s, sums_of_vector = (taps + 1) * lanes;
  const Axis rows = axis_of(m.rows), columns = axis_of(m.columns);
  const Units u(p.n * p.out_h(), channels.vectors());
  const std::int64_t block = std::max<std::int64_t>(1, chain / p.out_w());
  std::vector<float> totals(
      size(u.parts * u.vectors * sums_of_vector));  // [part][vector][tap, then bias][lane]
  parallel_for(u.parts * u.groups, [&](std::int64_t unit) {
    const std::int64_t part = unit / u.groups, group = unit % u.groups;
    const std::int64_t begin = part * u.rows / u.parts, end = (part + 1) * u.rows / u.parts;
    const std::int64_t first_vector = group * vectors_of_group,
                       last_vector = std::min(u.vectors, first_vector + vectors_of_group);
    std::vector<float> sums(size((last_vector - first_vector) * sums_of_vector));
    float* total = totals.data() + (part * u.vectors + first_vector) * sums_of_vector;
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t n = index / p.out_h(), row = index % p.out_h();
      for (std::int64_t vector = first_vector; vector < last_vector; ++vector) {
        const std::int64_t first = channels.first(vector);
        float* own = sums.data() + (vector - first_vector) * sums_of_vector;
        const RowOfGradients gradients{.rows = rows[size(row)],
                                       .columns = columns,
                                       .x = x + n * p.h * p.w * p.c + first,
                                       .dy = dy + index * p.out_w() * p.c + first,
                                       .width = p.w,
                                       .c = p.c,
                                       .taps = p.s,
                                       .shift = -p.pad_w,
                                       .sums = own,
                                       .bias_sums = own + taps * lanes,
                                       .count = std::min(lanes, p.c)};
        if (channels.whole()) {
          row_of_gradients<true>(gradients, m.adjacent());
        } else {
          row_of_gradients<false>(gradients, m.adjacent());
        }
      }
      if ((index + 1 - begin) % block == 0 || index + 1 == end) {
        for (std::size_t i = 0; i < sums.size(); ++i) {
          total[i] += sums[i];
          sums[i] = 0;
        }
      }
    }
  });
  parallel_for(u.vectors, [&](std::int64_t vector) {
    const std::int64_t own =
        vector * lanes - channels.first(vector);  // lanes before it are the last vector's
    for (std::int64_t tap = 0; tap <= taps; ++tap) {
      for (std::int64_t lane = own; lane < std::min(lanes, p.c); ++lane) {
        double sum = 0;
        for (std::int64_t part = 0; part < u.parts; ++part)
          sum += double(totals[size((part * u.vectors + vector) * sums_of_vector + tap * lanes + lane)]);
        const std::int64_t channel = channels.first(vector) + lane;
        if (tap < taps) {
          dw[channel * taps + tap] = static_cast<float>(sum);
        } else if (db != nullptr) {
          db[channel] = static_cast<float>(sum);
        }
      }
    }
  });
}

}  // namespace

bool conv2d_depthwise_supports(const Conv2dProblem& p) {
  return p.dtype == Dtype::f32 && p.c > 1 && p.groups == p.c && p.k == p.c && p.y_slice.is_whole();
}

void conv2d_forward_depthwise(const Conv2dProblem& p, Ports ports, Stream) {
  convolve(depthwise_forward_map<std::int64_t>(p), p.n, ports[0].as<float>(), ports[1].as<float>(),
           ports[2].as<float>(), p.relu != 0, ports[3].as<float>());
}

void conv2d_backward_data_depthwise(const Conv2dProblem& p, Ports ports, Stream) {
  convolve(depthwise_backward_map<std::int64_t>(p), p.n, ports[0].as<float>(), ports[1].as<float>(), nullptr,
           false, ports[2].as<float>());
}

void conv2d_backward_weights_depthwise(const Conv2dProblem& p, Ports ports, Stream) {
  weight_gradient(p, ports[0].as<float>(), ports[1].as<float>(), ports[2].as<float>(), ports[3].as<float>());
}

}  // namespace fovea
