// Launchers of executor.cu, one a kernel, for executor_test.cpp.
#pragma once

#include "simt/simt.hpp"

namespace simt_tests {

/// y[i] = x[n - 1 - i] within a block, through shared memory.
void reverse(const simt::Launch& shape, const float* x, float* y);
/// y[0..11] of a full warp: what the shuffles give lane by lane, 32 values each.
void shuffles(float* y);
/// Votes of a warp whose lanes below 20 say yes.
void votes(unsigned* y);
/// Lanes below 8 have exited, 8 to 15 shuffle among themselves, the rest sums.
void partial_masks(float* y);
/// Each thread writes its place in the grid: linear thread, warp, lane, linear block.
void places(const simt::Launch& shape, unsigned* y);
/// Every block sums x over all ranks of its cluster.
void cluster_sum(unsigned clusters, unsigned size, const float* x, float* y);
/// The sum, least and greatest of i over all threads, and a count by compare-and-swap.
void atomics(const simt::Launch& shape, unsigned* y);
/// Two static variables, one of them in a device function called twice.
void statics(unsigned grid, float* y);
/// The order in which threads reach the second half of the kernel.
void order(unsigned* y, unsigned* next);
/// Producer and consumer warps that meet at named barriers; blocks of `threads`.
void named(unsigned threads, float* y);
/// `rounds` barriers and nothing else.
void barriers(unsigned threads, int rounds);
/// `rounds` __syncwarp() of each warp and nothing else.
void syncwarps(int rounds);
/// Neighbouring bytes and half words, each written by a thread of its own.
void neighbours(unsigned char* bytes, simt::bf16* halves);
/// A launch within a launch.
void nested();
/// Thread 3 reads shared memory out of bounds of its launch.
void fails();
/// Copies three elements of large static variables to y, after writing 1 to them or without.
void large_static(bool write, float* y);
/// A shuffle of width 3.
void wrong_width(float* y);

}  // namespace simt_tests
