// world.hpp: which of the two worlds a file is compiled for.
//
// nvcc compiles a kernel file to the device, any C++20 compiler compiles the same file for the host executor.
// SIMT_WORLD names the namespace in which a kernel file defines its launchers, so that one program can hold
// both:
//
//   namespace my::SIMT_WORLD { void ham_forward(...) { simt::launch(...); } }   // my::on_device, my::on_host
//
// The layer's own functions of the same name and parameters differ between the worlds, so the linker must tell
// them apart: those of the device live in an inline namespace. Types without code of their own are shared.
#pragma once

#if defined(__CUDACC__)
#define SIMT_DEVICE 1
#define SIMT_WORLD on_device
#define SIMT_BOTH __host__ __device__ __forceinline__
#else
#define SIMT_HOST 1
#define SIMT_WORLD on_host
#define SIMT_BOTH inline
#endif

#if defined(SIMT_DEVICE)
// Before any other `detail`: what reopens simt::detail extends this one.
namespace simt {
inline namespace on_device {
namespace detail {}
}  // namespace on_device
}  // namespace simt
#endif
