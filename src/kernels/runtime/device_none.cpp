// A build without CUDA.
#include "kernels/runtime/device_memory.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {

void* allocate_device(std::int64_t) { fail(why_no_device()); }
void free_device(void*) {}
std::string why_no_device() { return "this build has no CUDA backend; configure with the 'cuda' preset"; }

}  // namespace fovea
