// The checker's hooks, called by the executor. In a build without SIMT_CHECK they are empty: see checker.cpp.
//
// Order between threads comes from synchronisation objects (a barrier, a warp's collective, an mbarrier): what
// a thread did before it released an object happened before what another does after it acquired it.
#pragma once

#include <cstddef>

#include "simt/host/executor.hpp"

namespace simt::detail {

#if defined(SIMT_CHECK)
void check_launch_begin(const Job& job);
void check_cluster_begin(Cluster& cluster);
void check_cluster_end(Cluster& cluster);
/// These bytes of shared memory are a variable: undefined until written.
void check_shared_variable(const void* begin, std::size_t bytes);
void check_release(const Fiber& fiber, const void* object);
void check_acquire(const Fiber& fiber, const void* object);
/// All members have arrived: everything before is ordered before everything after, for each of them.
void check_barrier(const Fiber* const* members, std::size_t count);
void check_register(const void* begin, std::size_t bytes, const char* name, bool defined);
void check_unregister(const void* begin);
#else
inline void check_launch_begin(const Job&) {}
inline void check_cluster_begin(Cluster&) {}
inline void check_cluster_end(Cluster&) {}
inline void check_shared_variable(const void*, std::size_t) {}
inline void check_release(const Fiber&, const void*) {}
inline void check_acquire(const Fiber&, const void*) {}
inline void check_barrier(const Fiber* const*, std::size_t) {}
inline void check_register(const void*, std::size_t, const char*, bool) {}
inline void check_unregister(const void*) {}
#endif

}  // namespace simt::detail
