// Initial values from Philox: block j of a parameter gives elements 2j and 2j+1, as two uniforms of 53 bits
// or, by Box-Muller, two normals. See init.hpp.
#include "nn/init.hpp"

#include <Random123/philox.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "kernels/cpu/parallel.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

std::uint64_t fnv1a(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

double uniform_53(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>((static_cast<std::uint64_t>(high >> 6) << 27) | (low >> 5)) * 0x1p-53;
}

// Two uniforms in [0, 1).
std::array<double, 2> uniform_pair(std::uint64_t seed, std::uint64_t hash, std::int64_t j) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
  const r123::Philox4x32 philox;
  const auto block = philox({{low(static_cast<std::uint64_t>(j)), low(static_cast<std::uint64_t>(j) >> 32),
                              low(hash), low(hash >> 32)}},
                            {{low(seed), low(seed >> 32)}});
  return {uniform_53(block[0], block[1]), uniform_53(block[2], block[3])};
}

std::array<double, 2> normal_pair(std::array<double, 2> uniforms) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniforms[0]));
  const double angle = 2.0 * std::numbers::pi * uniforms[1];
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

template <class Values>
void fill(Tensor& tensor, const InitKey& key, Values&& values) {
  const std::uint64_t hash = fnv1a(key.name);
  const std::int64_t count = tensor.numel();
  const Tensor on_host =
      tensor.device() == Device::cpu ? tensor : Tensor::empty(tensor.shape(), tensor.dtype());
  visit_float(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* data = on_host.data<T>();
    parallel_blocks((count + 1) / 2, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        const std::array<double, 2> pair = values(uniform_pair(key.seed, hash, j));
        data[2 * j] = static_cast<T>(pair[0]);
        if (2 * j + 1 < count) data[2 * j + 1] = static_cast<T>(pair[1]);
      }
    });
  });
  if (tensor.device() == Device::cpu) {
    ++tensor.storage()->version;
  } else {
    tensor.copy_from(on_host);
  }
}

double kaiming_std(const Tensor& weight, Fan fan, double gain) {
  const Fans fans = fans_of(weight.shape());
  return gain / std::sqrt(static_cast<double>(fan == Fan::in ? fans.in : fans.out));
}

double xavier_std(const Tensor& weight, double gain) {
  const Fans fans = fans_of(weight.shape());
  return gain * std::sqrt(2.0 / static_cast<double>(fans.in + fans.out));
}

}  // namespace

Fans fans_of(const Shape& s) {
  if (s.rank() == 2) return {.in = s[1], .out = s[0]};
  if (s.rank() == 4) return {.in = s[1] * s[2] * s[3], .out = s[0] * s[1] * s[2]};
  fail(fmt::format("a tensor of {} is neither a filter nor a matrix, so it has no fans", to_string(s)));
}

void normal_(Tensor tensor, double std, const InitKey& key) {
  fill(tensor, key, [std](std::array<double, 2> u) {
    const auto n = normal_pair(u);
    return std::array<double, 2>{std * n[0], std * n[1]};
  });
}

void uniform_(Tensor tensor, double bound, const InitKey& key) {
  fill(tensor, key, [bound](std::array<double, 2> u) {
    return std::array<double, 2>{bound * (2 * u[0] - 1), bound * (2 * u[1] - 1)};
  });
}

void kaiming_normal_(Tensor weight, Fan fan, const InitKey& key, double gain) {
  normal_(weight, kaiming_std(weight, fan, gain), key);
}

void kaiming_uniform_(Tensor weight, Fan fan, const InitKey& key, double gain) {
  uniform_(weight, std::numbers::sqrt3 * kaiming_std(weight, fan, gain), key);
}

void xavier_normal_(Tensor weight, const InitKey& key, double gain) {
  normal_(weight, xavier_std(weight, gain), key);
}

void xavier_uniform_(Tensor weight, const InitKey& key, double gain) {
  uniform_(weight, std::numbers::sqrt3 * xavier_std(weight, gain), key);
}

void pytorch_default_(Tensor tensor, std::int64_t fan_in, const InitKey& key) {
  uniform_(tensor, 1 / std::sqrt(static_cast<double>(fan_in)), key);
}

}  // namespace fovea
