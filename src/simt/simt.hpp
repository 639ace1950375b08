// simt.hpp: the one header that a kernel includes.
//
// A kernel is written once, in CUDA C++, against the names below. nvcc compiles it to the device. Any C++20
// compiler compiles the same file against the host executor (simt/host), which runs every CUDA thread as a
// fiber, checks what the hardware leaves undefined and reports it in a kernel author's words.
//
//   language       __global__ __device__ __launch_bounds__, threadIdx blockIdx blockDim gridDim
//   barriers       __syncthreads() __syncwarp(mask) simt::named_barrier(id, threads) named_barrier_arrive
//                  cluster_sync()
//   warps          __shfl_sync __shfl_xor_sync __shfl_up_sync __shfl_down_sync __ballot_sync __any_sync
//                  __all_sync __activemask(), simt::lane() simt::warp(), simt::warp_sum warp_max (reduce.hpp)
//   shared memory  auto& s = simt::shared<Smem>();   SIMT_SHARED(float, part, [32]);
//   clusters       simt::cluster_rank() cluster_size() map_shared_rank(pointer, rank)
//   vectors        simt::load<N>(pointer) simt::store(pointer, vec): one aligned access of N elements
//   atomics        atomicAdd atomicMax atomicMin atomicExch atomicCAS
//   fast maths     simt::fast_exp fast_tanh fast_sigmoid fast_divide (double: exact)
//   copies         simt::cp_async<16>(to, from, bytes) cp_async_commit() cp_async_wait<N>()   (async.hpp)
//   tensor cores   simt::ldmatrix_x4 mma_bf16_m16n8k16 mma_tf32_m16n8k8 mma_f64_m8n8k4      (tensor_core.hpp)
//   Hopper         simt::mbarrier_wait tma_load tma_store bulk_load wgmma_bf16 and more     (hopper.hpp)
//   launching      simt::launch("name", kernel<...>, {.grid, .block, .shared_bytes, .cluster, .stream}, ...)
//
// Rules that keep both worlds honest stand in docs/kernels.md. Nothing here depends on the rest of fovea.
#pragma once

#include "simt/async.hpp"
#include "simt/bf16.hpp"
#include "simt/core.hpp"
#include "simt/device_array.hpp"
#include "simt/fast_math.hpp"
#include "simt/hopper.hpp"
#include "simt/reduce.hpp"
#include "simt/tensor_core.hpp"
#include "simt/vec.hpp"
