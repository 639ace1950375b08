// async.hpp: cp.async, copies from global to shared memory that run beside the thread (sm_80).
//
// [PTX ISA, "Data movement and conversion instructions: cp.async", "cp.async.commit_group",
// "cp.async.wait_group"]
//
//   simt::cp_async<16>(&s.tile[i], &x[i]);       // or 4, 8 bytes, to which both addresses are aligned
//   simt::cp_async_commit();                     // a group: what this thread started since the last one
//   simt::cp_async_wait<0>();  __syncthreads();  // wait<1>: all groups but the latest
//
// A third argument says how many of the bytes are read; the rest is filled with zeros, at an edge for example.
// Groups count per thread: each waits for its own copies, then the barrier makes them everybody's. A copy that
// no commit has followed belongs to the next group, and no wait covers it before.
#pragma once

#include "simt/world.hpp"

#if defined(SIMT_DEVICE)
#include "simt/device/async.hpp"
#else
#include "simt/host/async.hpp"
#endif
