// hopper_types.hpp: what both halves of hopper.hpp share: swizzles, sizes, the mbarrier, a tensor's shape and
// the rules for it.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <string>

#include "simt/bf16.hpp"
#include "simt/core.hpp"

namespace simt {

/// How 16-byte pieces change places within a tile: not, or within 32, 64 or 128 bytes.
enum class Swizzle : std::uint8_t { none, bytes32, bytes64, bytes128 };

/// Where byte `offset` of a dense tile lies in the swizzled one.
template <Swizzle swizzle>
SIMT_BOTH constexpr std::uint32_t swizzled(std::uint32_t offset) {
  constexpr std::uint32_t mask = (1u << static_cast<int>(swizzle)) - 1;
  return offset ^ (offset >> 7 & mask) << 4;
}

/// One to five sizes, innermost first.
struct Sizes {
  std::array<std::uint64_t, 5> at{};
  int count = 0;
  Sizes() = default;
  template <std::integral... Size>
  requires(sizeof...(Size) >= 1 && sizeof...(Size) <= 5) Sizes(Size... sizes)
      : at{static_cast<std::uint64_t>(sizes)...}, count(sizeof...(Size)) {}
};

/// In shared memory; only the functions below look into it.
struct alignas(8) Mbarrier {
  std::uint64_t state;
};

/// Along which side of a wgmma operand the elements are contiguous.
enum class Major : std::uint8_t { k, mn };

namespace detail {

/// The rules of cuTensorMapEncodeTiled, and this layer's own on swizzles, for both worlds.
struct TensorShape {
  const void* data;
  std::uint32_t element_bytes;
  Sizes extents, box, strides;  // strides in bytes, of all but the innermost
  Swizzle swizzle;

  void fill_strides() {
    if (strides.count != 0) return;
    std::uint64_t stride = element_bytes;
    for (int i = 0; i + 1 < extents.count; ++i) {
      strides.at[static_cast<std::size_t>(i)] = stride *= extents.at[static_cast<std::size_t>(i)];
    }
    strides.count = extents.count - 1;
  }

  void check() const {
    const auto refuse = [](Fault fault, const std::string& why) {
      throw Error(fault, "make_tensor_map: " + why);
    };
    if (box.count != extents.count || strides.count != extents.count - 1) {
      refuse(Fault::misuse, "a tensor of rank " + std::to_string(extents.count) + " has a box of rank " +
                                std::to_string(box.count) + " and " + std::to_string(strides.count) +
                                " strides");
    }
    if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0) {
      refuse(Fault::misaligned, "the data is not 16-byte aligned");
    }
    for (std::size_t i = 0; i < std::size_t(extents.count); ++i) {
      const std::string side = " of side " + std::to_string(i);
      if (extents.at[i] == 0 || extents.at[i] > std::uint64_t(1) << 32) {
        refuse(Fault::misuse, "the extent" + side + " is not between 1 and 2^32");
      }
      if (box.at[i] == 0 || box.at[i] > 256) {
        refuse(Fault::misuse, "the box" + side + " is not between 1 and 256 elements");
      }
      if (i + 1 == std::size_t(extents.count)) break;
      if (strides.at[i] % 16 != 0 || strides.at[i] >= std::uint64_t(1) << 40) {
        refuse(Fault::misaligned, "the stride of side " + std::to_string(i + 1) + ", " +
                                      std::to_string(strides.at[i]) +
                                      " bytes, is not a multiple of 16 below 2^40");
      }
    }
    const std::uint64_t inner = box.at[0] * element_bytes;
    if (inner % 16 != 0) {
      refuse(Fault::misaligned,
             "the box's innermost side, " + std::to_string(inner) + " bytes, is not a multiple of 16");
    }
    const std::uint64_t span = std::uint64_t(16) << static_cast<int>(swizzle);
    if (swizzle != Swizzle::none && inner != span) {
      refuse(Fault::misuse, "the box's innermost side is " + std::to_string(inner) +
                                " bytes, the swizzle's " + std::to_string(span));
    }
  }
};

}  // namespace detail
}  // namespace simt
