// ldmatrix and mma.sync on the host: the last lane of the warp gathers the fragments into small matrices,
// computes, and scatters the result. See tensor_core.hpp for the layouts.
#include "simt/host/tensor_core.hpp"

#include <cstring>

#include "simt/host/executor.hpp"

namespace simt::detail {
namespace {

void check_whole_warp(std::uint32_t lanes, const char* what, Site site) {
  if (lanes == ~0u) return;
  fail(Fault::mask,
       std::string(what) + " with " + std::to_string(__builtin_popcount(lanes)) +
           " lanes: all 32 take part, and some have exited or do not exist",
       site);
}

// ---- ldmatrix

struct LoadMatrix {
  const void* row;
  std::uint32_t* registers;
  int matrices;
  bool transposed;
  Site site;
};

void ldmatrix_leader(std::uint32_t lanes, void* const* operands) {
  const auto of = [&](int lane) -> const LoadMatrix& { return *static_cast<LoadMatrix*>(operands[lane]); };
  const LoadMatrix& any = of(__builtin_ctz(lanes));
  check_whole_warp(lanes, "ldmatrix", any.site);
  for (int matrix = 0; matrix < any.matrices; ++matrix) {
    std::uint16_t at[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(at[r], of(8 * matrix + r).row, sizeof at[r]);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, c = lane % 4 * 2;
      const std::uint32_t lower = any.transposed ? at[c][g] : at[g][c];
      const std::uint32_t upper = any.transposed ? at[c + 1][g] : at[g][c + 1];
      of(lane).registers[matrix] = lower | upper << 16;
    }
  }
}

void check_row(const void* row, Site site) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) {
    fail(Fault::misaligned, "ldmatrix: the row that a lane points at is not 16-byte aligned", site);
  }
  if (block_of_shared(row) != &running().block()) {
    fail(Fault::misuse, "ldmatrix: the row that a lane points at is not in the block's shared memory", site);
  }
  check_range(row, 16, "ldmatrix reads", site);
  note_access(row, 16, false, false, site);
}

// ---- mma

// d(m x n) += a(m x k) b(k x n)
template <class T, int m, int n, int k>
void multiply_add(T (&d)[m][n], const T (&a)[m][k], const T (&b)[k][n]) {
  for (int i = 0; i < m; ++i) {
    for (int l = 0; l < k; ++l) {
      for (int j = 0; j < n; ++j) d[i][j] += a[i][l] * b[l][j];
    }
  }
}

struct Multiply {
  float* d;
  const std::uint32_t* a;
  std::uint32_t b[2];
  Site site;
};

float lower_bf16(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float upper_bf16(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }
// The hardware ignores the bits that tf32 does not have.
float from_tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

// The accumulators of all lanes to the 16 x 8 matrix and back.
template <class F>
void for_each_accumulator(void* const* operands, float (&d)[16][8], F&& f) {
  for (int lane = 0; lane < 32; ++lane) {
    const Multiply& mine = *static_cast<Multiply*>(operands[lane]);
    for (int i = 0; i < 4; ++i) f(mine.d[i], d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
  }
}

template <int k, class Scatter>
void multiply_fragments(void* const* operands, Scatter&& scatter) {
  float a[16][k], b[k][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    scatter(*static_cast<Multiply*>(operands[lane]), lane / 4, lane % 4, a, b);
  }
  for_each_accumulator(operands, d, [](float& mine, float& element) { element = mine; });
  multiply_add(d, a, b);
  for_each_accumulator(operands, d, [](float& mine, float& element) { mine = element; });
}

Site site_of(std::uint32_t lanes, void* const* operands) {
  return static_cast<Multiply*>(operands[__builtin_ctz(lanes)])->site;
}

void bf16_leader(std::uint32_t lanes, void* const* operands) {
  check_whole_warp(lanes, "mma.sync", site_of(lanes, operands));
  multiply_fragments<16>(operands,
                         [](const Multiply& mine, int g, int t, float(&a)[16][16], float(&b)[16][8]) {
                           for (int i = 0; i < 4; ++i) {
                             a[g + i % 2 * 8][2 * t + i / 2 * 8] = lower_bf16(mine.a[i]);
                             a[g + i % 2 * 8][2 * t + i / 2 * 8 + 1] = upper_bf16(mine.a[i]);
                           }
                           for (int i = 0; i < 2; ++i) {
                             b[2 * t + i * 8][g] = lower_bf16(mine.b[i]);
                             b[2 * t + i * 8 + 1][g] = upper_bf16(mine.b[i]);
                           }
                         });
}

void tf32_leader(std::uint32_t lanes, void* const* operands) {
  check_whole_warp(lanes, "mma.sync", site_of(lanes, operands));
  multiply_fragments<8>(operands, [](const Multiply& mine, int g, int t, float(&a)[16][8], float(&b)[8][8]) {
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = from_tf32(mine.a[i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = from_tf32(mine.b[i]);
  });
}

struct MultiplyDouble {
  double* d;
  double a, b;
  Site site;
};

void f64_leader(std::uint32_t lanes, void* const* operands) {
  const auto of = [&](int lane) -> MultiplyDouble& { return *static_cast<MultiplyDouble*>(operands[lane]); };
  check_whole_warp(lanes, "mma.sync", of(__builtin_ctz(lanes)).site);
  double a[8][4], b[4][8], d[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    a[g][t] = of(lane).a;
    b[t][g] = of(lane).b;
    for (int i = 0; i < 2; ++i) d[g][2 * t + i] = of(lane).d[i];
  }
  multiply_add(d, a, b);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 2; ++i) of(lane).d[i] = d[lane / 4][lane % 4 * 2 + i];
  }
}

void multiply(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, WarpLeader leader,
              Site site) {
  Multiply operand{d, a, {b0, b1}, site};
  warp_collective(~0u, WarpOp::mma, &operand, leader, site);
}

}  // namespace

void ldmatrix(std::uint32_t* registers, int matrices, bool transposed, const void* row, Site site) {
  if (running().lane < unsigned(8 * matrices)) check_row(row, site);
  LoadMatrix operand{row, registers, matrices, transposed, site};
  warp_collective(~0u, WarpOp::ldmatrix, &operand, &ldmatrix_leader, site);
}

void mma_bf16(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site) {
  multiply(d, a, b0, b1, &bf16_leader, site);
}
void mma_tf32(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site) {
  multiply(d, a, b0, b1, &tf32_leader, site);
}
void mma_f64(double* d, double a, double b, Site site) {
  MultiplyDouble operand{d, a, b, site};
  warp_collective(~0u, WarpOp::mma, &operand, &f64_leader, site);
}

}  // namespace simt::detail
