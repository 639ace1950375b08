// async.hpp: cp.async, copies from global to shared memory that run beside the thread (sm_80).
//
//   simt::cp_async<16>(&s.tile[i], &x[i]);       // or 4, 8; a third argument reads fewer bytes and fills zeros
//   simt::cp_async_commit();
//   simt::cp_async_wait<0>();  __syncthreads();
#pragma once

#include "simt/world.hpp"

#if defined(SIMT_DEVICE)
#include "simt/device/async.hpp"
#else
#include "simt/host/async.hpp"
#endif
