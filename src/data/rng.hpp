// Random numbers as a function of what they are for: Philox-4x32-10 (Salmon et al., SC'11; Random123).
//
// A generator without state of its own: the n-th number is a pure function of (seed, purpose, a, b, n). Two
// workers, or one run resumed, that ask for the numbers of the same sample in the same epoch get the same
// ones, in whatever order they ask.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fovea {

/// What numbers are drawn for, so that streams of one seed never overlap.
enum class Purpose : std::uint32_t { shuffle = 1, augment = 2, folds = 3, synthetic = 4, bootstrap = 5 };

class PhiloxStream {
 public:
  /// The stream of (seed, purpose, a, b): key = seed, counter = (block number, purpose, a, b). At most 2^34
  /// numbers.
  PhiloxStream(std::uint64_t seed, Purpose purpose, std::uint32_t a = 0, std::uint32_t b = 0);

  std::uint32_t bits();
  double uniform();                                                                   // [0, 1), 53 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }  // [low, high)
  double normal();                       // mean 0, variance 1 (Box-Muller)
  std::uint32_t below(std::uint32_t n);  // 0..n-1 without bias; n > 0

  /// Fisher-Yates.
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[below(static_cast<std::uint32_t>(i))]);
  }

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace fovea
