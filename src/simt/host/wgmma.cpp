// wgmma on the host. A product is issued warp by warp; it is computed when a thread waits for its group and
// all four warps have issued it. From the issue until its own wait a thread's accumulator holds NaN.
#include <bit>
#include <cstring>

#include "simt/host/async_work.hpp"
#include "simt/host/checker.hpp"

namespace simt::detail {
namespace {

constexpr int depth = 16;  // of a product

// ---- who

unsigned warp_in_block(const Fiber& f) { return unsigned(f.warp - &*f.block().first_warp); }
unsigned warp_in_group(const Fiber& f) { return warp_in_block(f) % 4; }
unsigned thread_in_group(const Fiber& f) { return warp_in_group(f) * 32 + f.lane; }

Warpgroup& group_of(const Fiber& f) { return async_work().warpgroups[f.warp - warp_in_group(f)]; }

struct Call {
  float* d;
  int columns;
  const WgmmaTile *a, *b;
  bool accumulate;
  Site site;
};

void check_lanes(std::uint32_t lanes, void* const* operands) {
  const Site site = static_cast<Call*>(operands[__builtin_ctz(lanes)])->site;
  const Fiber& me = running();
  const unsigned last = warp_in_block(me) / 4 * 4 + 4;
  if (me.block().threads < last * 32) {
    fail(Fault::misuse,
         "wgmma takes a warpgroup, four whole warps from a multiple of four on; the block has " +
             std::to_string(me.block().threads) + " threads",
         site);
  }
  if (lanes == ~0u) return;
  fail(Fault::mask,
       "wgmma with " + std::to_string(__builtin_popcount(lanes)) +
           " lanes: all 32 of each warp take part, and some have exited",
       site);
}

void together(WarpLeader leader, Call call) { warp_collective(~0u, WarpOp::wgmma, &call, leader, call.site); }

// ---- where the operands are

// Element (row, k) of an operand whose tiles are swizzled by 128 bytes.
std::uintptr_t address_of(const WgmmaTile& tile, int row, int k) {
  const auto begin = reinterpret_cast<std::uintptr_t>(tile.begin);
  const std::uintptr_t linear =
      tile.major == Major::k
          ? begin + std::uintptr_t(row / 8) * tile.stride + std::uintptr_t(row % 8 * 128 + k * 2)
          : begin + std::uintptr_t(row / 64) * tile.stride + std::uintptr_t(k * 128 + row % 64 * 2);
  return linear ^ (linear >> 7 & 7) << 4;
}

void check_operand(const WgmmaTile& tile, int rows, const char* name, Site site) {
  const auto refuse = [&](Fault fault, const std::string& why) {
    fail(fault, std::string("wgmma: operand ") + name + why, site);
  };
  if (block_of_shared(tile.begin) != &running().block()) {
    refuse(Fault::misuse, " is not in the block's shared memory");
  }
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(tile.begin) % 1024;
  const bool k_major = tile.major == Major::k;
  if (k_major && (begin >= 128 || begin % 32 != 0)) {
    refuse(Fault::misaligned,
           " begins " + std::to_string(begin) +
               " bytes into the 1024 that the swizzle repeats after; K-major it is 0, 32, 64 or 96");
  }
  if (!k_major && (begin != 0 || tile.stride % 1024 != 0)) {
    refuse(Fault::misaligned, ": MN-major the begin and the stride are multiples of 1024 bytes");
  }
  if (!k_major && rows > 64 && tile.stride == 0) {
    refuse(Fault::misuse, ": MN-major with more than 64 columns, so wgmma_mn_major needs a stride");
  }
  for (int row = 0; row < rows; row += k_major ? 8 : 64) {
    const std::uintptr_t part = address_of(tile, row, 0) / 1024 * 1024;
    check_range(reinterpret_cast<const void*>(part), k_major ? 1024 : 2048, "wgmma reads", site);
  }
}

// ---- issuing

// The accumulator in flight that these 32 threads have handed over, if they have.
std::shared_ptr<Accumulator> in_flight(const Warpgroup& group, unsigned first_thread, const float* d) {
  for (auto p = group.products.rbegin(); p != group.products.rend(); ++p) {
    if (p->d != nullptr && p->d->registers[first_thread] == d && !p->d->delivered[first_thread]) return p->d;
  }
  return nullptr;
}

void hand_over(Accumulator& accumulator, std::size_t thread, float* d) {
  const auto half = std::size_t(accumulator.half);
  accumulator.registers[thread] = d;
  std::memcpy(&accumulator.values[thread * half], d, half * sizeof(float));
  std::memset(d, 0xFF, half * sizeof(float));
}

Product& open_product(Warpgroup& group, long number, const Call& call, unsigned first_thread) {
  const long index = number - group.first;
  if (index < long(group.products.size())) return group.products[std::size_t(index)];
  std::shared_ptr<Accumulator> d = in_flight(group, first_thread, call.d);
  if (d == nullptr) {
    d = std::make_shared<Accumulator>();
    d->half = call.columns / 2;
    d->values.resize(std::size_t(128 * d->half));
  }
  group.products.push_back(
      {.d = d, .a = *call.a, .b = *call.b, .accumulate = call.accumulate, .site = call.site});
  return group.products.back();
}

void check_same(const Product& product, const Call& call) {
  if (product.a == *call.a && product.b == *call.b && product.accumulate == call.accumulate) return;
  fail(Fault::misuse, "wgmma: threads of one warpgroup gave different operands", call.site);
}

void issue_leader(std::uint32_t lanes, void* const* operands) {
  check_lanes(lanes, operands);
  const Fiber& me = running();
  Warpgroup& group = group_of(me);
  auto& warp = group.warp[warp_in_group(me)];
  const unsigned first_thread = warp_in_group(me) * 32;
  const Call& first = *static_cast<Call*>(operands[0]);
  const long number = warp.issued++;
  Product& product = open_product(group, number, first, first_thread);
  Accumulator& accumulator = *product.d;
  if (accumulator.half * 2 != first.columns) {
    fail(Fault::misuse, "wgmma: products of different widths share an accumulator that is in flight",
         first.site);
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    const Call& call = *static_cast<Call*>(operands[lane]);
    check_same(product, call);
    if (accumulator.registers[first_thread + lane] != nullptr) continue;
    if (!warp.fenced) {
      fail(Fault::misuse,
           "wgmma: no wgmma_fence() since the accumulator was last in the hands of ordinary instructions",
           call.site);
    }
    hand_over(accumulator, first_thread + lane, call.d);
  }
  accumulator.last = number;
  if (++product.warps == 4) wake(&group);
}

// ---- groups

void fence_leader(std::uint32_t lanes, void* const* operands) {
  check_lanes(lanes, operands);
  group_of(running()).warp[warp_in_group(running())].fenced = true;
}

void commit_leader(std::uint32_t lanes, void* const* operands) {
  check_lanes(lanes, operands);
  Warpgroup& group = group_of(running());
  auto& warp = group.warp[warp_in_group(running())];
  for (long number = warp.committed; number < warp.issued; ++number) {
    Product& product = group.products[std::size_t(number - group.first)];
    if (product.group >= 0 && product.group != warp.groups) {
      fail(Fault::divergence, "wgmma_commit: the warps of a warpgroup make different groups",
           static_cast<Call*>(operands[0])->site);
    }
    product.group = warp.groups;
  }
  warp.committed = warp.issued;
  ++warp.groups;
}

void meet_leader(std::uint32_t lanes, void* const* operands) { check_lanes(lanes, operands); }

// ---- computing

float load_element(std::uintptr_t address) {
  std::uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(address), 2);
  return std::bit_cast<float>(std::uint32_t(bits) << 16);
}

void note_reads(const WgmmaTile& tile, int rows, Site site) {
  const int k_step = tile.major == Major::k ? 8 : 1, row_step = tile.major == Major::k ? 1 : 8;
  for (int row = 0; row < rows; row += row_step) {
    for (int k = 0; k < depth; k += k_step) {
      note_access(reinterpret_cast<const void*>(address_of(tile, row, k)), 16, false, false, site);
    }
  }
}

// An operand as [k][row], so that inner loops run along rows.
struct Dense {
  float at[depth][256];
};

void gather(Dense& dense, const WgmmaTile& tile, int rows, Site site) {
  note_reads(tile, rows, site);
  for (int row = 0; row < rows; ++row) {
    for (int k = 0; k < depth; ++k) dense.at[k][row] = load_element(address_of(tile, row, k));
  }
}

// Where element (row, column) of D is among the threads' registers.
std::size_t register_of(int row, int column, int half) {
  const int thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
  return std::size_t(thread * half + column / 8 * 4 + row % 16 / 8 * 2 + column % 2);
}

void compute(Product& product) {
  if (product.done) return;
  Accumulator& d = *product.d;
  const int columns = 2 * d.half;
  static thread_local Dense a, b;  // too large for a fiber's stack
  gather(a, product.a, 64, product.site);
  gather(b, product.b, columns, product.site);
  for (int row = 0; row < 64; ++row) {
    float sums[256];
    for (int c = 0; c < columns; ++c) {
      sums[c] = product.accumulate ? d.values[register_of(row, c, d.half)] : 0.0f;
    }
    for (int k = 0; k < depth; ++k) {
      for (int c = 0; c < columns; ++c) sums[c] += a.at[k][row] * b.at[k][c];
    }
    for (int c = 0; c < columns; ++c) d.values[register_of(row, c, d.half)] = sums[c];
  }
  product.done = true;
}

// The thread's registers get what all products up to this one made of them.
void deliver(Accumulator& d, std::size_t thread) {
  const auto half = std::size_t(d.half);
  if (d.delivered[thread]) return;
  std::memcpy(d.registers[thread], &d.values[thread * half], half * sizeof(float));
  d.delivered[thread] = true;
}

bool everybody_has(const Accumulator& d) {
  for (const bool delivered : d.delivered) {
    if (!delivered) return false;
  }
  return true;
}

void forget_delivered(Warpgroup& group) {
  while (!group.products.empty()) {
    const Product& oldest = group.products.front();
    if (!oldest.done || !everybody_has(*oldest.d)) return;
    group.products.pop_front();
    ++group.first;
  }
}

// The products of all groups of this warp but the latest `groups_left`.
long due_products(const Warpgroup& group, unsigned warp, int groups_left) {
  const int groups = group.warp[warp].groups - groups_left;
  long due = group.first;
  while (due < group.warp[warp].committed && group.products[std::size_t(due - group.first)].group < groups)
    ++due;
  return due;
}

}  // namespace

void wgmma(float* d, int columns, const WgmmaTile& a, const WgmmaTile& b, bool accumulate, Site site) {
  check_operand(a, 64, "A", site);
  check_operand(b, columns, "B", site);
  together(&issue_leader, {d, columns, &a, &b, accumulate, site});
}

void wgmma_fence(Site site) { together(&fence_leader, {nullptr, 0, nullptr, nullptr, false, site}); }
void wgmma_commit(Site site) { together(&commit_leader, {nullptr, 0, nullptr, nullptr, false, site}); }

void wgmma_wait(int groups_left, Site site) {
  together(&meet_leader, {nullptr, 0, nullptr, nullptr, false, site});
  const Fiber& me = running();
  Warpgroup& group = group_of(me);
  const unsigned warp = warp_in_group(me);
  const auto at = [&](long number) -> Product& { return group.products[std::size_t(number - group.first)]; };
  const long due = due_products(group, warp, groups_left);
  for (long number = group.first; number < due; ++number) {
    while (at(number).warps < 4) wait_on(&group, Wait::warpgroup, site);
    if (at(number).done) continue;
    compute(at(number));
    check_release(me, &group);
  }
  check_acquire(me, &group);  // whoever waited knows that the operands have been read
  for (long number = group.first; number < due; ++number) {
    if (at(number).d->last < due) deliver(*at(number).d, thread_in_group(me));
  }
  group.warp[warp].fenced = false;
  forget_delivered(group);
}

void end_products(AsyncWork& work) {
  for (const auto& [warp, group] : work.warpgroups) {
    if (group.products.empty()) continue;
    fail(Fault::misuse, "the block ends with a wgmma that not all of its threads waited for, started",
         group.products.front().site);
  }
}

}  // namespace simt::detail
