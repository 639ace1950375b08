// world.hpp: which of the two worlds a file is compiled for.
//
// nvcc compiles a kernel file to the device, any C++20 compiler compiles the same file for the host executor.
// SIMT_WORLD names the namespace in which a kernel file defines its launchers, so that one program can hold
// both:
//
//   namespace my::SIMT_WORLD { void ham_forward(...) { simt::launch(...); } }   // my::on_device, my::on_host
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
