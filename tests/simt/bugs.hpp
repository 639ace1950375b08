// The planted bugs: small kernels, each with one mistake that people make, and which build finds it how.
#pragma once

#include <vector>

namespace simt_bugs {

constexpr int count = 64;  // elements of x and y; x[i] is i + 1

struct Bug {
  const char* name;
  const char* mistake;
  /// Runs the kernel, with the mistake or without it.
  void (*launch)(bool fixed, const float* x, float* y);
  /// What y holds after the right kernel.
  float (*expected)(int i);
  /// How each build finds it: the Fault's name, "wrong result", "crash", "ASan", "UBSan", or "-": not at all.
  const char *forward, *random, *asan, *check;
};

const std::vector<Bug>& bugs();

}  // namespace simt_bugs
