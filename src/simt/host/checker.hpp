// The checker's hooks, called by the executor. In a build without SIMT_CHECK they are empty: see checker.cpp.
//
// Order between threads comes from synchronisation objects (a barrier, a warp's collective, an mbarrier): what
// a thread did before it released an object happened before what another does after it acquired it.
#pragma once

#include <cstddef>

#include "simt/host/executor.hpp"

namespace simt::detail {

#if defined(SIMT_CHECK)
/// One launch at a time: its accesses are not locked, so this waits for launches of other OS threads; so do the
/// announcements of memory below (register, unregister, guard), which may not be made from within a kernel.
void check_launch_begin(const Job& job);
void check_launch_end();
void check_cluster_begin(Cluster& cluster);
void check_cluster_end(Cluster& cluster);
/// All threads of the block have exited: nobody may use its shared memory any more.
void check_block_exit(const Block& block);
/// These bytes of shared memory are a variable: undefined until written.
void check_shared_variable(const void* begin, std::size_t bytes, const char* name);
void check_release(const Fiber& fiber, const void* object);
void check_acquire(const Fiber& fiber, const void* object);
/// All members have arrived: everything before is ordered before everything after, for each of them.
void check_barrier(const Fiber* const* members, std::size_t count);
void check_register(const void* begin, std::size_t bytes, const char* name, bool defined);
void check_unregister(const void* begin);
void check_guard(const void* begin, std::size_t bytes, const char* name);
/// An asynchronous copy has begun: until check_arrival() nobody may read or write these bytes.
void check_in_flight(const void* to, std::size_t bytes, Site site);
void check_arrival(const void* to, std::size_t bytes);
#else
inline void check_launch_begin(const Job&) {}
inline void check_launch_end() {}
inline void check_cluster_begin(Cluster&) {}
inline void check_cluster_end(Cluster&) {}
inline void check_block_exit(const Block&) {}
inline void check_shared_variable(const void*, std::size_t, const char*) {}
inline void check_release(const Fiber&, const void*) {}
inline void check_acquire(const Fiber&, const void*) {}
inline void check_barrier(const Fiber* const*, std::size_t) {}
inline void check_register(const void*, std::size_t, const char*, bool) {}
inline void check_unregister(const void*) {}
inline void check_guard(const void*, std::size_t, const char*) {}
inline void check_in_flight(const void*, std::size_t, Site) {}
inline void check_arrival(const void*, std::size_t) {}
#endif

}  // namespace simt::detail
