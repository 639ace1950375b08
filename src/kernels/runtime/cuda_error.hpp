// The one check of every CUDA call, for .cpp and .cu files alike:
//
//   FOVEA_CHECK_CUDA(cudaLaunchKernelExC(&config, kernel, arguments));
//
// throws Error with what was running (see running.hpp), the call's name, the driver's words and the place:
//   ham.forward (cuda kernel 'cluster', x 32x56x56x256 bf16): cudaLaunchKernelExC failed: invalid argument
//   [ham_cluster.cu:123]
#pragma once

#include <string>

namespace fovea {

struct CudaFailure {
  int status = 0;
  const char* call = "";  // the call as written; its arguments are left out of the message
  const char* file = "";
  int line = 0;
};

/// The sentence, from the driver's words and from what this thread runs and ran.
std::string sentence_of(const CudaFailure& failure, const std::string& driver_text);

[[noreturn]] void fail_cuda(const CudaFailure& failure);

inline void check_cuda(int status, const char* call, const char* file, int line) {
  if (status != 0) fail_cuda({status, call, file, line});
}

}  // namespace fovea

#define FOVEA_CHECK_CUDA(call) ::fovea::check_cuda(static_cast<int>(call), #call, __FILE__, __LINE__)
