// The wrappers of simt (async.hpp, tensor_core.hpp, hopper.hpp) against plain C++: on the host executor always, on a
// device where the build has CUDA and one answers. Integers where the result must be exact, random numbers with a
// tolerance besides. The emulations' own promises (late effects, refusals) are tested on the host.
#include "wrappers.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

namespace fovea::simt_tests {
namespace {

// ---- both worlds

struct World {
  const char* name;
  WarpRunners warp;
  HopperRunners hopper;
  GemmRunners gemm;
  friend void PrintTo(const World& world, std::ostream* out) { *out << world.name; }
};

std::vector<World> worlds() {
  std::vector<World> all{
      {"host", on_host::warp_runners(), on_host::hopper_runners(), on_host::gemm_runners()}};
#if defined(FOVEA_CUDA)
  all.push_back(
      {"device", on_device::warp_runners(), on_device::hopper_runners(), on_device::gemm_runners()});
#endif
  return all;
}

class Wrappers : public testing::TestWithParam<World> {
 protected:
  void SetUp() override { need(80); }
  void need(int architecture) {
    const int have = GetParam().warp.architecture();
    if (have == 0) GTEST_SKIP() << "no device answers";
    if (have < architecture)
      GTEST_SKIP() << "the device is sm_" << have << ", this needs sm_" << architecture;
  }
  const WarpRunners& warp() const { return GetParam().warp; }
  const HopperRunners& hopper() const { return GetParam().hopper; }
  const GemmRunners& gemm() const { return GetParam().gemm; }
};

class HopperWrappers : public Wrappers {
 protected:
  void SetUp() override { need(90); }
};

std::string world_name(const testing::TestParamInfo<World>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Worlds, Wrappers, testing::ValuesIn(worlds()), world_name);
INSTANTIATE_TEST_SUITE_P(Worlds, HopperWrappers, testing::ValuesIn(worlds()), world_name);

// ---- data

template <class T>
std::vector<T> integers(std::size_t count, int low, int high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> draw(low, high);
  std::vector<T> values(count);
  for (T& value : values) value = T(static_cast<float>(draw(random)));
  return values;
}

template <class T>
std::vector<T> reals(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
  std::vector<T> values(count);
  for (T& value : values) value = T(draw(random));
  return values;
}

std::vector<unsigned char> bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<unsigned char> values(count);
  for (unsigned char& value : values) value = static_cast<unsigned char>(random() % 251 + 1);  // none is zero
  return values;
}

// d + a b in double; b as [k][n], or as [n][k].
template <class T, class D>
std::vector<D> product(int m, int n, int k, const std::vector<T>& a, const std::vector<T>& b,
                       std::vector<D> d, bool b_transposed = false) {
  const auto at = [](int row, int columns, int column) {
    return static_cast<std::size_t>(row * columns + column);
  };
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = d[at(i, n, j)];
      for (int l = 0; l < k; ++l) {
        sum += double(a[at(i, k, l)]) * double(b_transposed ? b[at(j, k, l)] : b[at(l, n, j)]);
      }
      d[at(i, n, j)] = static_cast<D>(sum);
    }
  }
  return d;
}

template <class D>
void expect_near(const std::vector<D>& actual, const std::vector<D>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(double(actual[i]), double(expected[i]), tolerance) << "at " << i;
  }
}

template <class T>
std::vector<T> transposed(const std::vector<T>& values, std::size_t rows) {
  const std::size_t columns = values.size() / rows;
  std::vector<T> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i % columns * rows + i / columns] = values[i];
  return result;
}

// ---- ldmatrix

TEST_P(Wrappers, LdmatrixHandsOutRowsAndColumns) {
  std::vector<std::uint16_t> rows(32 * 8);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::uint16_t>(257 * i + 3);
  for (const int matrices : {1, 2, 4}) {
    for (const bool is_transposed : {false, true}) {
      const auto registers = warp().ldmatrix(matrices, is_transposed, rows);
      for (int lane = 0; lane < 32; ++lane) {
        for (int matrix = 0; matrix < matrices; ++matrix) {
          const auto element = [&](int row, int column) {
            if (is_transposed) std::swap(row, column);
            return std::uint32_t(rows[static_cast<std::size_t>((8 * matrix + row) * 8 + column)]);
          };
          const int g = lane / 4, t = lane % 4;
          EXPECT_EQ(registers[static_cast<std::size_t>(lane * matrices + matrix)],
                    element(g, 2 * t) | element(g, 2 * t + 1) << 16)
              << matrices << " matrices, transposed " << is_transposed << ", lane " << lane;
        }
      }
    }
  }
}

// ---- mma.sync

TEST_P(Wrappers, MmaBf16) {
  const auto a = integers<bf16>(16 * 16, -8, 8, 1), b = integers<bf16>(16 * 8, -8, 8, 2);
  const auto d = integers<float>(16 * 8, -100, 100, 3);
  EXPECT_EQ(warp().mma_bf16(a, b, d), product(16, 8, 16, a, b, d));
  const auto x = reals<bf16>(16 * 16, 4), y = reals<bf16>(16 * 8, 5);
  const auto z = reals<float>(16 * 8, 6);
  expect_near(warp().mma_bf16(x, y, z), product(16, 8, 16, x, y, z), 1e-5);
}

TEST_P(Wrappers, MmaTf32) {
  const auto a = integers<float>(16 * 8, -512, 512, 1), b = integers<float>(8 * 8, -512, 512, 2);
  const auto d = integers<float>(16 * 8, -100, 100, 3);
  EXPECT_EQ(warp().mma_tf32(a, b, d, true), product(16, 8, 8, a, b, d));
  const auto x = reals<float>(16 * 8, 4), y = reals<float>(8 * 8, 5), z = reals<float>(16 * 8, 6);
  expect_near(warp().mma_tf32(x, y, z, true), product(16, 8, 8, x, y, z), 4e-3);
}

TEST_P(Wrappers, MmaTf32IgnoresTheBitsItDoesNotHave) {
  const auto a = reals<float>(16 * 8, 4), b = reals<float>(8 * 8, 5), d = reals<float>(16 * 8, 6);
  const auto cut = [](std::vector<float> values) {
    for (float& v : values) v = std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & 0xffffe000u);
    return values;
  };
  expect_near(warp().mma_tf32(a, b, d, false), product(16, 8, 8, cut(a), cut(b), d), 1e-5);
}

TEST_P(Wrappers, MmaF64) {
  const auto a = integers<double>(8 * 4, -1000, 1000, 1), b = integers<double>(4 * 8, -1000, 1000, 2);
  const auto d = integers<double>(8 * 8, -1000, 1000, 3);
  EXPECT_EQ(warp().mma_f64(a, b, d), product(8, 8, 4, a, b, d));
  const auto x = reals<double>(8 * 4, 4), y = reals<double>(4 * 8, 5), z = reals<double>(8 * 8, 6);
  expect_near(warp().mma_f64(x, y, z), product(8, 8, 4, x, y, z), 1e-14);
}

// ---- conversions

std::vector<float> special_floats() {
  std::vector<float> values;
  for (const std::uint32_t magnitude :
       {0x00000000u, 0x00000001u, 0x00007fffu, 0x00008000u, 0x00008001u, 0x00018000u, 0x007fffffu,
        0x00800000u, 0x3f800000u, 0x3f807fffu, 0x3f808000u, 0x3f808001u, 0x3f818000u, 0x3f800fffu,
        0x3f801000u, 0x3f801001u, 0x3f803000u, 0x7f7effffu, 0x7f7f7fffu, 0x7f7f8000u, 0x7f7fefffu,
        0x7f7ff000u, 0x7f7fffffu, 0x7f800000u, 0x7f800001u, 0x7fbfffffu, 0x7fc00000u, 0x7fffffffu}) {
    for (const std::uint32_t sign : {0u, 0x80000000u})
      values.push_back(std::bit_cast<float>(sign | magnitude));
  }
  return values;
}

// Any bits, and as many exact ties between two bf16.
std::vector<float> a_million_floats() {
  std::mt19937 random(7);
  std::vector<float> values = special_floats();
  while (values.size() < 1000000) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random());
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>((bits & 0xffff0000u) | 0x8000u));
  }
  return values;
}

// Among the two neighbours the nearer, of a tie the even one, by arithmetic on values and not on bits.
std::uint16_t expected_bf16(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto below = static_cast<std::uint16_t>(bits >> 16), above = static_cast<std::uint16_t>(below + 1);
  if ((bits & 0xffffu) == 0) return below;
  const auto widen = [](std::uint16_t b) { return double(std::bit_cast<float>(std::uint32_t(b) << 16)); };
  // Past the largest finite bf16 the next one would be 2^128, and that rounds to infinity.
  const double upper = std::isinf(widen(above)) ? std::copysign(std::ldexp(1.0, 128), value) : widen(above);
  const double to_below = std::abs(double(value) - widen(below)), to_above = std::abs(upper - double(value));
  if (to_below != to_above) return to_below < to_above ? below : above;
  return below % 2 == 0 ? below : above;
}

TEST_P(Wrappers, Bf16RoundsToNearestEven) {
  const std::vector<float> values = a_million_floats();
  const auto rounded = warp().to_bf16(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(rounded[i], expected_bf16(values[i])) << std::hex << std::bit_cast<std::uint32_t>(values[i]);
  }
}

TEST(Bf16, EveryValueWidensAndComesBack) {
  for (unsigned i = 0; i < 65536; ++i) {
    bf16 value;
    value.bits = static_cast<std::uint16_t>(i);
    const float wide = value;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide), i << 16);
    ASSERT_EQ(bf16(wide).bits, std::isnan(wide) ? 0x7fffu : i);
  }
}

#if defined(FOVEA_CUDA)
// Runs on the CPU: cuda_bf16.h's functions have a host half.
TEST(Bf16, IsWhatCudaMakesOfIt) {
  const std::vector<float> values = a_million_floats();
  const auto theirs = on_device::warp_runners().cuda_to_bf16(values);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(bf16(values[i]).bits, theirs[i]) << values[i];
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  const auto wide = on_device::warp_runners().cuda_from_bf16(all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    bf16 value;
    value.bits = all[i];
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::bit_cast<std::uint32_t>(float(value)));
  }
}
#endif

TEST_P(Wrappers, ToTf32RoundsToNearestTiesAway) {
  std::vector<float> values = a_million_floats();
  values.resize(100000);
  const auto rounded = warp().to_tf32(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float value = values[i], result = std::bit_cast<float>(rounded[i] & 0xffffe000u);
    if (!std::isfinite(value)) {
      ASSERT_EQ(std::isnan(result), std::isnan(value)) << i;
      if (!std::isnan(value)) {
        ASSERT_EQ(result, value);
      }
      continue;
    }
    // In units of the last of 10 fraction bits; subnormals have those of the smallest exponent.
    int exponent = 0;
    std::frexp(value, &exponent);
    const int unit = std::max(exponent, -125) - 11;
    const double expected = std::ldexp(std::round(std::ldexp(double(value), -unit)), unit);
    ASSERT_EQ(result, static_cast<float>(expected)) << value;
  }
}

// ---- cp.async, named barriers

TEST_P(Wrappers, CpAsyncCopiesAndFillsWithZeros) {
  for (const int width : {4, 8, 16}) {
    const auto from = bytes(static_cast<std::size_t>(64 * width), 1);
    std::vector<int> counts;
    for (int i = 0; i < 64; ++i) counts.push_back(i % (width + 1));
    std::vector<unsigned char> expected = from;
    for (int i = 0; i < 64; ++i) {
      for (int j = counts[static_cast<std::size_t>(i)]; j < width; ++j) {
        expected[static_cast<std::size_t>(i * width + j)] = 0;
      }
    }
    EXPECT_EQ(warp().cp_async(width, from, counts), expected) << width;
  }
}

TEST_P(Wrappers, NamedBarriersPassASlotBackAndForth) {
  const auto read = warp().named_barriers(5);
  for (int i = 0; i < 5 * 32; ++i) EXPECT_EQ(read[static_cast<std::size_t>(i)], 100 * (i / 32) + 31 - i % 32);
}

// ---- mbarriers

TEST_P(HopperWrappers, MbarrierPhases) {
  for (const bool polling : {false, true}) {
    const auto read = hopper().mbarrier_phases(5, polling);
    for (int i = 0; i < 5 * 64; ++i) {
      EXPECT_EQ(read[static_cast<std::size_t>(i)], 1000 * (i / 64) + (i % 64 + 33) % 64);
    }
  }
}

TEST_P(HopperWrappers, MbarrierAcrossTheCluster) {
  const auto read = hopper().mbarrier_remote(5);
  for (int i = 0; i < 5 * 32; ++i) EXPECT_EQ(read[static_cast<std::size_t>(i)], 10 * (i / 32) + 31 - i % 32);
}

// ---- TMA

std::size_t side(const std::vector<int>& sizes, std::size_t i) { return static_cast<std::size_t>(sizes[i]); }

std::size_t elements(const std::vector<int>& sizes) {
  std::size_t count = 1;
  for (const int size : sizes) count *= static_cast<std::size_t>(size);
  return count;
}

std::size_t tensor_bytes(const TileCase& tile) {
  const std::size_t row = side(tile.extents, 0) * static_cast<std::size_t>(tile.element_bytes);
  return elements(tile.extents) / side(tile.extents, 0) * (row + static_cast<std::size_t>(tile.row_padding));
}

// Calls f(byte in the swizzled tile, byte in the tensor or -1) for each element of the box.
template <class F>
void for_each_element(const TileCase& tile, F&& f) {
  const std::size_t element = static_cast<std::size_t>(tile.element_bytes), rank = tile.box.size();
  for (std::size_t i = 0; i < elements(tile.box); ++i) {
    std::size_t rest = i;
    long from = 0, stride = tile.element_bytes;
    bool inside = true;
    for (std::size_t s = 0; s < rank; ++s) {
      const long at = tile.at[s] + long(rest % side(tile.box, s));
      rest /= side(tile.box, s);
      inside = inside && at >= 0 && at < tile.extents[s];
      from += at * stride;
      stride = s == 0 ? tile.extents[0] * tile.element_bytes + tile.row_padding : stride * tile.extents[s];
    }
    const auto dense = static_cast<std::uint32_t>(i * element);
    const std::uint32_t to =
        tile.swizzle == simt::Swizzle::bytes128  ? simt::swizzled<simt::Swizzle::bytes128>(dense)
        : tile.swizzle == simt::Swizzle::bytes64 ? simt::swizzled<simt::Swizzle::bytes64>(dense)
        : tile.swizzle == simt::Swizzle::bytes32 ? simt::swizzled<simt::Swizzle::bytes32>(dense)
                                                 : dense;
    f(to, inside ? from : -1L, element);
  }
}

std::vector<TileCase> tile_cases() {
  using simt::Swizzle;
  std::vector<TileCase> cases{
      {2, {40}, {16}, {0}},
      {4, {37 * 4}, {256}, {-100}},
      {8, {64}, {16}, {57}},
      {2, {40, 9}, {8, 4}, {8, 2}},
      {2, {40, 9}, {16, 8}, {-3, -5}},
      {2, {40, 9}, {16, 8}, {35, 6}},
      {4, {20, 7}, {8, 8}, {-1, 3}, Swizzle::none, 16},
      {2, {40, 9}, {16, 8}, {100, 100}},  // all outside
      {2, {40, 9}, {16, 8}, {-16, -8}},
      {8, {10, 5}, {4, 3}, {8, -1}},
      {2, {24, 5, 6}, {8, 3, 4}, {-2, 3, -1}},
      {4, {8, 5, 6, 3}, {4, 2, 3, 2}, {6, -1, 4, 2}},
      {2, {16, 3, 4, 3, 5}, {8, 2, 3, 2, 2}, {9, 2, -1, 1, 4}},
      {4, {8, 3, 2, 3, 2}, {8, 2, 2, 3, 2}, {0, -1, 0, 1, -1}},
  };
  for (const int bytes : {2, 4, 8}) {
    for (const auto& [swizzle, span] : {std::pair(Swizzle::bytes32, 32), std::pair(Swizzle::bytes64, 64),
                                        std::pair(Swizzle::bytes128, 128)}) {
      const int inner = span / bytes;
      cases.push_back({bytes, {3 * inner, 50}, {inner, 40}, {inner, 5}, swizzle});
      cases.push_back({bytes, {3 * inner, 50}, {inner, 24}, {-inner / 2 - 1, 37}, swizzle});
      cases.push_back({bytes, {2 * inner, 5, 7}, {inner, 3, 5}, {inner + 3, -1, 4}, swizzle});
    }
  }
  return cases;
}

std::string describe(const TileCase& tile) {
  std::string text = std::to_string(tile.element_bytes) + " bytes, box";
  for (const int size : tile.box) text += " " + std::to_string(size);
  text += ", at";
  for (std::size_t i = 0; i < tile.box.size(); ++i) text += " " + std::to_string(tile.at[i]);
  return text + ", swizzle " + std::to_string(static_cast<int>(tile.swizzle));
}

TEST_P(HopperWrappers, TmaLoadsTilesAndFillsOutsideWithZeros) {
  for (const TileCase& tile : tile_cases()) {
    const auto tensor = bytes(tensor_bytes(tile), 1);
    std::vector<unsigned char> expected(elements(tile.box) * static_cast<std::size_t>(tile.element_bytes));
    for_each_element(tile, [&](std::uint32_t to, long from, std::size_t count) {
      if (from >= 0) std::memcpy(&expected[to], &tensor[static_cast<std::size_t>(from)], count);
    });
    EXPECT_EQ(hopper().tma_load(tile, tensor), expected) << describe(tile);
  }
}

TEST_P(HopperWrappers, TmaStoresTilesAndLeavesTheOutside) {
  for (const TileCase& tile : tile_cases()) {
    const auto tensor = bytes(tensor_bytes(tile), 1);
    const auto shared = bytes(elements(tile.box) * static_cast<std::size_t>(tile.element_bytes), 2);
    std::vector<unsigned char> expected = tensor;
    for_each_element(tile, [&](std::uint32_t from, long to, std::size_t count) {
      if (to >= 0) std::memcpy(&expected[static_cast<std::size_t>(to)], &shared[from], count);
    });
    for (const bool read_only : {false, true}) {
      EXPECT_EQ(hopper().tma_store(tile, shared, tensor, read_only), expected) << describe(tile);
    }
  }
}

TEST_P(HopperWrappers, TmaMulticastReachesEveryBlock) {
  const auto tensor = integers<float>(256, -1000, 1000, 1);
  std::vector<float> expected = tensor;
  expected.insert(expected.end(), tensor.begin(), tensor.end());
  EXPECT_EQ(hopper().tma_multicast(tensor), expected);
}

TEST_P(HopperWrappers, BulkCopiesThereAndBack) {
  const auto values = integers<float>(512, -1000, 1000, 1);
  std::vector<float> expected = values;
  for (float& value : expected) value *= 2;
  EXPECT_EQ(hopper().bulk_copy(values), expected);
}

// ---- wgmma

TEST_P(HopperWrappers, Wgmma) {
  for (const int n : {64, 128, 256}) {
    const std::size_t columns = static_cast<std::size_t>(n);
    const auto a = integers<bf16>(64 * 64, -8, 8, 1), b = integers<bf16>(64 * columns, -8, 8, 2);
    const auto x = reals<bf16>(64 * 64, 3), y = reals<bf16>(64 * columns, 4);
    const std::vector<float> zero(64 * columns);
    for (const bool a_k_major : {true, false}) {
      for (const bool b_k_major : {true, false}) {
        const auto run = [&](const std::vector<bf16>& left, const std::vector<bf16>& right) {
          return hopper().wgmma(n, a_k_major, b_k_major, a_k_major ? left : transposed(left, 64),
                                b_k_major ? transposed(right, 64) : right);
        };
        EXPECT_EQ(run(a, b), product(64, n, 64, a, b, zero)) << n << ", " << a_k_major << b_k_major;
        expect_near(run(x, y), product(64, n, 64, x, y, zero), 1e-4);
      }
    }
  }
}

// ---- whole products

TEST_P(Wrappers, GemmBf16) {
  const auto a = integers<bf16>(128 * 80, -4, 4, 1), b = integers<bf16>(80 * 64, -4, 4, 2);
  EXPECT_EQ(gemm().bf16_mma(128, 64, 80, a, b), product(128, 64, 80, a, b, std::vector<float>(128 * 64)));
  const auto x = reals<bf16>(64 * 128, 3), y = reals<bf16>(128 * 128, 4);
  expect_near(gemm().bf16_mma(64, 128, 128, x, y), product(64, 128, 128, x, y, std::vector<float>(64 * 128)),
              1e-4);
}

TEST_P(Wrappers, GemmTf32) {
  const auto a = integers<float>(45 * 37, -30, 30, 1), b = integers<float>(37 * 50, -30, 30, 2);
  EXPECT_EQ(gemm().tf32_mma(45, 50, 37, a, b), product(45, 50, 37, a, b, std::vector<float>(45 * 50)));
  const auto x = reals<float>(64 * 64, 3), y = reals<float>(64 * 32, 4);
  expect_near(gemm().tf32_mma(64, 32, 64, x, y), product(64, 32, 64, x, y, std::vector<float>(64 * 32)),
              2e-2);
}

TEST_P(HopperWrappers, GemmWgmma) {
  const auto a = integers<bf16>(136 * 328, -4, 4, 1), b = integers<bf16>(144 * 328, -4, 4, 2);
  EXPECT_EQ(gemm().bf16_wgmma(136, 144, 328, a, b),
            product(136, 144, 328, a, b, std::vector<float>(136 * 144), true));
  const auto x = reals<bf16>(128 * 64, 3), y = reals<bf16>(128 * 64, 4);
  expect_near(gemm().bf16_wgmma(128, 128, 64, x, y),
              product(128, 128, 64, x, y, std::vector<float>(128 * 128), true), 1e-4);
}

// ---- what the emulation promises

TEST(Emulation, HoldsNaNUntilTheWait) {
#if defined(SIMT_CHECK)
  const bool tile_too = false;  // the checker refuses to read it
#else
  const bool tile_too = true;
#endif
  const auto seen = on_host::misuse_runners().early(tile_too);
  if (tile_too) {
    EXPECT_TRUE(std::isnan(seen[0])) << "a tile before its mbarrier was waited for";
  }
  EXPECT_EQ(seen[1], 1.0f);
  EXPECT_TRUE(std::isnan(seen[2])) << "an accumulator before its group was waited for";
  EXPECT_EQ(seen[3], 16.0f);
}

#if defined(SIMT_CHECK)
TEST(Emulation, TheCheckerNamesTheCopyThatWasNotWaitedFor) {
  try {
    on_host::misuse_runners().early(true);
    ADD_FAILURE() << "not refused";
  } catch (const simt::Error& error) {
    EXPECT_EQ(error.fault, simt::Fault::race);
    EXPECT_NE(std::string(error.what()).find("has not been waited for"), std::string::npos) << error.what();
  }
}
#endif

struct Refusal {
  Misuse which;
  simt::Fault fault;
  const char* sentence;
};

TEST(Emulation, RefusesMisuse) {
  using simt::Fault;
  const Refusal refusals[] = {
      {Misuse::ldmatrix_misaligned, Fault::misaligned,
       "ldmatrix: the row that a lane points at is not 16-byte"},
      {Misuse::ldmatrix_global, Fault::misuse, "is not in the block's shared memory"},
      {Misuse::ldmatrix_partial_warp, Fault::mask, "ldmatrix with 30 lanes: all 32 take part"},
      {Misuse::ldmatrix_divergent, Fault::divergence, "is at ldmatrix"},
      {Misuse::mma_partial_warp, Fault::mask, "mma.sync with 30 lanes: all 32 take part"},
      {Misuse::cp_async_misaligned, Fault::misaligned, "is no multiple of the access's 16 bytes"},
      {Misuse::cp_async_bytes, Fault::misuse, "cp.async of 5 bytes into 4"},
      {Misuse::cp_async_global, Fault::misuse, "not in shared memory"},
      {Misuse::cp_async_never_waited, Fault::misuse, "cp.async copies that it never waited for"},
      {Misuse::named_barrier_id, Fault::misuse, "named barrier 16 does not exist"},
      {Misuse::named_barrier_count, Fault::misuse, "asked to wait for 40 threads"},
      {Misuse::named_barrier_mismatch, Fault::misuse, "threads expected at"},
      {Misuse::named_barrier_starved, Fault::deadlock, "wait in a named barrier"},
      {Misuse::mbarrier_uninitialised, Fault::uninitialised,
       "mbarrier_arrive: the mbarrier was not initialised"},
      {Misuse::mbarrier_overwritten, Fault::misuse, "overwritten by an ordinary write"},
      {Misuse::mbarrier_misaligned, Fault::misaligned, "an mbarrier is 8-byte aligned"},
      {Misuse::mbarrier_global, Fault::misuse, "the mbarrier is not in the block's shared memory"},
      {Misuse::mbarrier_zero, Fault::misuse, "the count is 1 to 1048575, not 0"},
      {Misuse::mbarrier_twice, Fault::misuse, "initialised already"},
      {Misuse::mbarrier_too_many_arrivals, Fault::misuse, "more arrivals in one phase than the count of 1"},
      {Misuse::mbarrier_parity, Fault::misuse, "the parity is 0 or 1, not 2"},
      {Misuse::mbarrier_starved, Fault::deadlock, "1 of 1 arrivals and 64 bytes missing"},
      {Misuse::mbarrier_polled_forever, Fault::deadlock, "1 of 1 arrivals missing"},
      {Misuse::mbarrier_too_many_bytes, Fault::misuse, "16 more bytes arrived than this phase expects"},
      {Misuse::mbarrier_expects_too_much, Fault::misuse, "a phase expects 1048576 bytes"},
      {Misuse::mbarrier_invalidated, Fault::uninitialised, "mbarrier_wait: the mbarrier was not initialised"},
      {Misuse::mbarrier_remote_unfenced, Fault::misuse, "mbarrier_arrive_remote: no fence_mbarrier_init()"},
      {Misuse::tma_rank, Fault::misuse, "3 coordinates for a tensor map of rank 2"},
      {Misuse::tma_misaligned, Fault::misaligned, "not aligned to 128 bytes"},
      {Misuse::tma_swizzle_misaligned, Fault::misaligned, "not aligned to 1024 bytes, as the map's swizzle"},
      {Misuse::tma_global_tile, Fault::misuse, "the tile is not in the block's shared memory"},
      {Misuse::tma_unfenced, Fault::misuse, "no fence_mbarrier_init() has followed"},
      {Misuse::tma_never_waited, Fault::misuse, "a copy into its shared memory that nobody waited for"},
      {Misuse::tma_overlap, Fault::race, "still writes; nobody has waited"},
      {Misuse::tma_bytes_short, Fault::deadlock, "0 of 1 arrivals and 8192 bytes missing"},
      {Misuse::tma_no_block, Fault::misuse, "tma_load_multicast to no block"},
      {Misuse::tma_no_such_rank, Fault::misuse, "to rank 1 in a cluster of 1"},
      {Misuse::tma_store_never_waited, Fault::misuse, "a bulk store that it never waited for"},
      {Misuse::tma_overwrites_store, Fault::race, "still reads; bulk_wait_read comes first"},
      {Misuse::bulk_misaligned, Fault::misaligned, "the address in global memory is not 16-byte aligned"},
      {Misuse::bulk_size, Fault::misuse, "bulk_store of 24 bytes; it moves a multiple of 16"},
      {Misuse::wgmma_small_block, Fault::misuse, "the block has 96 threads"},
      {Misuse::wgmma_exited_lanes, Fault::mask, "wgmma with 31 lanes"},
      {Misuse::wgmma_misaligned, Fault::misaligned, "operand B begins 128 bytes into the 1024"},
      {Misuse::wgmma_mn_misaligned, Fault::misaligned, "operand B: MN-major the begin and the stride"},
      {Misuse::wgmma_no_stride, Fault::misuse, "wgmma_mn_major needs a stride"},
      {Misuse::wgmma_global, Fault::misuse, "operand A is not in the block's shared memory"},
      {Misuse::wgmma_different_operands, Fault::misuse, "threads of one warpgroup gave different operands"},
      {Misuse::wgmma_different_accumulate, Fault::misuse, "threads of one warpgroup gave different operands"},
      {Misuse::wgmma_no_fence, Fault::misuse, "no wgmma_fence() since"},
      {Misuse::wgmma_no_fence_again, Fault::misuse, "no wgmma_fence() since"},
      {Misuse::wgmma_widths, Fault::misuse, "products of different widths"},
      {Misuse::wgmma_never_waited, Fault::misuse, "a wgmma that not all of its threads waited for"},
      {Misuse::wgmma_missing_warp, Fault::deadlock, "wait for the other warps of a warpgroup"},
  };
  std::size_t count = 0;
  for (const Refusal& refusal : refusals) {
    ASSERT_EQ(static_cast<std::size_t>(refusal.which), count++) << "the list has every case, in order";
    try {
      on_host::misuse_runners().run(refusal.which);
      ADD_FAILURE() << "not refused: " << refusal.sentence;
    } catch (const simt::Error& error) {
      EXPECT_EQ(error.fault, refusal.fault) << error.what();
      EXPECT_NE(std::string(error.what()).find(refusal.sentence), std::string::npos)
          << "'" << refusal.sentence << "' is not in: " << error.what();
      EXPECT_NE(std::string(error.what()).find("wrappers_misuse.cu:"), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(count, static_cast<std::size_t>(Misuse::wgmma_missing_warp) + 1);
}

TEST(Emulation, TensorMapsAreChecked) {
  alignas(16) static float data[64];
  using simt::Swizzle;
  const auto refused = [](const float* from, const simt::Sizes& extents, const simt::Sizes& box,
                          Swizzle swizzle, const simt::Sizes& strides, const std::string& sentence) {
    try {
      simt::make_tensor_map(from, extents, box, swizzle, strides);
      ADD_FAILURE() << "not refused: " << sentence;
    } catch (const simt::Error& error) {
      EXPECT_NE(std::string(error.what()).find(sentence), std::string::npos) << error.what();
    }
  };
  refused(data + 1, {8, 8}, {4, 4}, Swizzle::none, {}, "the data is not 16-byte aligned");
  refused(data, {8, 8}, {4}, Swizzle::none, {}, "a tensor of rank 2 has a box of rank 1");
  refused(data, {8, 8}, {4, 4}, Swizzle::none, {32, 64}, "and 2 strides");
  refused(data, {8, 0}, {4, 4}, Swizzle::none, {}, "the extent of side 1");
  refused(data, {8, 8}, {4, 257}, Swizzle::none, {}, "the box of side 1");
  refused(data, {9, 7}, {4, 4}, Swizzle::none, {}, "the stride of side 1, 36 bytes");
  refused(data, {8, 8}, {3, 4}, Swizzle::none, {}, "innermost side, 12 bytes, is not a multiple of 16");
  refused(data, {8, 8}, {4, 4}, Swizzle::bytes32, {}, "innermost side is 16 bytes, the swizzle's 32");
}

}  // namespace
}  // namespace fovea::simt_tests
