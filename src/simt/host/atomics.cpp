// Atomics of the kernels: of the host's, since several OS threads run clusters of one launch.
#include <atomic>

#include "simt/host/executor.hpp"

namespace simt::detail {

template <class T>
T atomic(AtomicOp op, T* pointer, T value, Site site) {
  check_aligned(pointer, sizeof(T), site);
  if (op != AtomicOp::exchange) note_access(pointer, sizeof(T), false, true, site);
  note_access(pointer, sizeof(T), true, true, site);
  std::atomic_ref<T> target(*pointer);
  if (op == AtomicOp::exchange) return target.exchange(value);
  T before = target.load();
  T after{};
  do {
    after = op == AtomicOp::add   ? T(before + value)
            : op == AtomicOp::min ? std::min(before, value)
                                  : std::max(before, value);
  } while (!target.compare_exchange_weak(before, after));
  return before;
}

template <class T>
T atomic_compare_and_swap(T* pointer, T expected, T desired, Site site) {
  check_aligned(pointer, sizeof(T), site);
  note_access(pointer, sizeof(T), false, true, site);
  note_access(pointer, sizeof(T), true, true, site);
  std::atomic_ref<T>(*pointer).compare_exchange_strong(expected, desired);
  return expected;
}

template int atomic(AtomicOp, int*, int, Site);
template unsigned atomic(AtomicOp, unsigned*, unsigned, Site);
template unsigned long long atomic(AtomicOp, unsigned long long*, unsigned long long, Site);
template float atomic(AtomicOp, float*, float, Site);
template double atomic(AtomicOp, double*, double, Site);
template int atomic_compare_and_swap(int*, int, int, Site);
template unsigned atomic_compare_and_swap(unsigned*, unsigned, unsigned, Site);
template unsigned long long atomic_compare_and_swap(unsigned long long*, unsigned long long,
                                                    unsigned long long, Site);

}  // namespace simt::detail
