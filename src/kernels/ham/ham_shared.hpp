// The shared memory of ham's cluster kernels: typed arrays whose sizes the problem gives, one after another,
// each 16-byte aligned. The constructor runs twice: with a CountingArena on the host, which says how many bytes
// the arrays take, and with a BlockArena in the kernel, which places them.
#pragma once

#include <cstddef>

#include "simt/world.hpp"

namespace fovea::SIMT_WORLD {

template <class U>
SIMT_BOTH std::size_t padded_bytes(int count) {
  return (static_cast<std::size_t>(count) * sizeof(U) + 15) / 16 * 16;
}

struct CountingArena {
  std::size_t bytes = 0;
  template <class U>
  SIMT_BOTH U* take(int count) {
    bytes += padded_bytes<U>(count);
    return nullptr;
  }
};

struct BlockArena {
  unsigned char* next;
  template <class U>
  SIMT_BOTH U* take(int count) {
    U* array = reinterpret_cast<U*>(next);
    next += padded_bytes<U>(count);
    return array;
  }
};

/// How an image lies in its cluster.
struct HamDims {
  int pixels, channels, hidden;
  int pixels_per_block, threads;
};

/// Images hold T, all else A.
template <class T, class A>
struct HamForwardShared {
  T* tile;  // pixels_per_block, C: this block's part of x
  A* s;     // pixels_per_block: logits, then S
  A* part;  // warps, C: channel sums
  A* sum;   // C: of this block, read by the others
  A* mean;  // C
  A* z;     // hidden: this block's slice is read by the others
  A* wgt;   // C: likewise

  template <class Arena>
  SIMT_BOTH HamForwardShared(Arena& arena, const HamDims& d)
      : tile(arena.template take<T>(d.pixels_per_block * d.channels)),
        s(arena.template take<A>(d.pixels_per_block)),
        part(arena.template take<A>(d.threads / 32 * d.channels)),
        sum(arena.template take<A>(d.channels)),
        mean(arena.template take<A>(d.channels)),
        z(arena.template take<A>(d.hidden)),
        wgt(arena.template take<A>(d.channels)) {}
};

template <class T, class A>
struct HamBackwardShared {
  T* tile;     // pixels_per_block, C: x, then d'
  A* s;        // pixels_per_block: S
  A* scale;    // pixels_per_block: of d' in the tile
  A* part;     // warps, C: channel sums; `threads` values of column_products
  A* w;        // C: the spatial weight
  A* wgt;      // C: W
  A* dwgt;     // C: of this block, read by the others; its slice then becomes dL/d(fc2's output)
  A* dw;       // C: of this block, read by the others
  A* dmean;    // C: dA/(HW); this block's slice is read by the others
  A* dz_part;  // hidden: of this block's slice of channels, read by the others
  A* dz;       // hidden
  A* ds_part;  // warps: sums of ds'
  A* ds;       // 1: of this block, read by rank 0

  template <class Arena>
  SIMT_BOTH HamBackwardShared(Arena& arena, const HamDims& d)
      : tile(arena.template take<T>(d.pixels_per_block * d.channels)),
        s(arena.template take<A>(d.pixels_per_block)),
        scale(arena.template take<A>(d.pixels_per_block)),
        part(arena.template take<A>(d.threads / 32 * (d.channels < 32 ? 32 : d.channels))),
        w(arena.template take<A>(d.channels)),
        wgt(arena.template take<A>(d.channels)),
        dwgt(arena.template take<A>(d.channels)),
        dw(arena.template take<A>(d.channels)),
        dmean(arena.template take<A>(d.channels)),
        dz_part(arena.template take<A>(d.hidden)),
        dz(arena.template take<A>(d.hidden)),
        ds_part(arena.template take<A>(d.threads / 32)),
        ds(arena.template take<A>(1)) {}
};

}  // namespace fovea::SIMT_WORLD
