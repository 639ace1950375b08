// Initial values: Kaiming, Xavier and PyTorch's defaults, drawn from a counter-based generator.
//
// Element i of a parameter is a pure function of (seed, full name of the parameter, i): Philox-4x32-10
// (Salmon et al., SC'11; Random123) with the seed as key and a 64-bit FNV-1a hash of the name in the counter.
// So neither the order of construction nor the number of threads nor the dtype (f32 gets the double, rounded)
// changes a model's start.
//
// Bounds and deviations are those of torch.nn.init: Kaiming (He et al. 2015) std = gain / sqrt(fan), Xavier
// (Glorot and Bengio 2010) std = gain sqrt(2 / (fan_in + fan_out)); a uniform of the same deviation has the
// bound sqrt(3) std.
#pragma once

#include <cstdint>
#include <numbers>
#include <string>

#include "autograd/tensor.hpp"

namespace fovea {

/// Which random numbers: the parameter's full name, as "fundus.features.0.weight".
struct InitKey {
  std::uint64_t seed = 0;
  std::string name;
};

enum class Fan : std::uint8_t { in, out };

/// Inputs that feed one output and outputs that one input feeds, of a filter K,R,S,C/groups or a matrix
/// out,in (the fans of a grouped filter are torch's: K R S going out). Error for another rank.
struct Fans {
  std::int64_t in = 1, out = 1;
};
Fans fans_of(const Shape& weight);

inline constexpr double relu_gain = std::numbers::sqrt2;

void normal_(Tensor tensor, double std, const InitKey& key);     // mean 0
void uniform_(Tensor tensor, double bound, const InitKey& key);  // [-bound, bound)

void kaiming_normal_(Tensor weight, Fan fan, const InitKey& key, double gain = relu_gain);
void kaiming_uniform_(Tensor weight, Fan fan, const InitKey& key, double gain = relu_gain);
void xavier_normal_(Tensor weight, const InitKey& key, double gain = 1);
void xavier_uniform_(Tensor weight, const InitKey& key, double gain = 1);

/// torch.nn.Conv2d's and Linear's own: weight and bias uniform within 1 / sqrt(fan_in of the weight).
void pytorch_default_(Tensor tensor, std::int64_t fan_in, const InitKey& key);

}  // namespace fovea
