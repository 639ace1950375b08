// mbarriers on the host. The counts are kept beside shared memory, by address; the word in shared memory
// holds a tag, so that one that was never initialised, or overwritten, is told from one that was.
#include "simt/host/async_work.hpp"
#include "simt/host/checker.hpp"

namespace simt::detail {
namespace {

constexpr unsigned max_count = (1u << 20) - 1;  // of arrivals, and of bytes
constexpr unsigned patience = 10000;

std::uint64_t tag_of(const Mbarrier* b) { return 0x6d62617272696572u ^ reinterpret_cast<std::uintptr_t>(b); }

void check_place(const Mbarrier* b, const char* what, Site site) {
  if (reinterpret_cast<std::uintptr_t>(b) % 8 != 0) {
    fail(Fault::misaligned, std::string(what) + ": an mbarrier is 8-byte aligned", site);
  }
  if (block_of_shared(b) != &running().block()) {
    fail(Fault::misuse, std::string(what) + ": the mbarrier is not in the block's shared memory", site);
  }
}

void check_parity(unsigned parity, const char* what, Site site) {
  if (parity > 1) {
    fail(Fault::misuse, std::string(what) + ": the parity is 0 or 1, not " + std::to_string(parity), site);
  }
}

void complete_phase_if_due(const Mbarrier* b, BarrierState& state, Site site) {
  if (state.pending != 0 || state.bytes > 0) return;
  if (state.bytes < 0) {
    fail(Fault::misuse,
         "mbarrier: " + std::to_string(-state.bytes) + " more bytes arrived than this phase expects", site);
  }
  state.pending = state.count;
  state.parity ^= 1;
  async_work().fruitless = 0;
  wake(b);
}

void expect(BarrierState& state, unsigned bytes, Site site) {
  state.bytes += bytes;
  if (state.bytes > long(max_count)) {
    fail(Fault::misuse,
         "mbarrier: a phase expects " + std::to_string(state.bytes) + " bytes; it can count to " +
             std::to_string(max_count),
         site);
  }
}

void arrive_at(Mbarrier* b, unsigned bytes, Site site) {
  BarrierState& state = barrier_at(b, "mbarrier_arrive", site);
  note_access(b, sizeof *b, true, true, site);
  if (state.pending == 0) {
    fail(Fault::misuse,
         "mbarrier: more arrivals in one phase than the count of " + std::to_string(state.count) +
             "; the phase still waits for " + std::to_string(state.bytes) + " bytes",
         site);
  }
  check_release(running(), b);
  expect(state, bytes, site);
  --state.pending;
  complete_phase_if_due(b, state, site);
}

bool is_complete(const Mbarrier* b, unsigned parity, const char* what, Site site) {
  return barrier_at(b, what, site).parity != parity;
}

}  // namespace

BarrierState& barrier_at(const Mbarrier* b, const char* what, Site site) {
  auto& barriers = async_work().barriers;
  const auto found = barriers.find(b);
  if (found == barriers.end()) {
    fail(Fault::uninitialised, std::string(what) + ": the mbarrier was not initialised", site);
  }
  if (b->state != tag_of(b)) {
    fail(Fault::misuse, std::string(what) + ": the mbarrier was overwritten by an ordinary write", site);
  }
  return found->second;
}

void complete_bytes(Mbarrier* b, unsigned bytes, Site site) {
  BarrierState& state = barrier_at(b, "a copy's completion", site);
  state.bytes -= bytes;
  complete_phase_if_due(b, state, site);
}

bool answer_testers(AsyncWork& work) {
  if (work.testers.empty() || ++work.fruitless > patience) return false;
  for (Fiber* tester : work.testers) make_ready(*tester);
  return true;
}

std::string mbarrier_state(const void* barrier) {
  const AsyncWork& work = async_work();
  const auto found = work.barriers.find(barrier);
  if (found == work.barriers.end()) return "invalidated";
  const BarrierState& state = found->second;
  std::string text = std::to_string(state.pending) + " of " + std::to_string(state.count) + " arrivals";
  if (state.bytes != 0) text += " and " + std::to_string(state.bytes) + " bytes";
  return text + " missing";
}

void mbarrier_init(Mbarrier* b, unsigned count, Site site) {
  check_place(b, "mbarrier_init", site);
  if (count == 0 || count > max_count) {
    fail(Fault::misuse,
         "mbarrier_init: the count is 1 to " + std::to_string(max_count) + ", not " + std::to_string(count),
         site);
  }
  auto& barriers = async_work().barriers;
  if (barriers.contains(b) && b->state == tag_of(b)) {
    fail(Fault::misuse, "mbarrier_init: it is initialised already; mbarrier_invalidate comes first", site);
  }
  note_access(b, sizeof *b, true, false, site);
  b->state = tag_of(b);
  barriers[b] = {.count = count, .pending = count, .initialiser = &running()};
}

void mbarrier_invalidate(Mbarrier* b, Site site) {
  check_place(b, "mbarrier_invalidate", site);
  barrier_at(b, "mbarrier_invalidate", site);
  note_access(b, sizeof *b, true, false, site);
  async_work().barriers.erase(b);
  b->state = ~std::uint64_t(0);
}

void mbarrier_fence() {
  const Fiber& me = running();
  for (auto& [address, state] : async_work().barriers) state.visible |= state.initialiser == &me;
}

void mbarrier_arrive(Mbarrier* b, unsigned bytes, Site site) {
  check_place(b, "mbarrier_arrive", site);
  arrive_at(b, bytes, site);
}

void mbarrier_arrive_remote(Mbarrier* b, unsigned rank, Site site) {
  auto* theirs = static_cast<Mbarrier*>(map_rank(b, rank, site));
  if (!barrier_at(theirs, "mbarrier_arrive_remote", site).visible) {
    fail(Fault::misuse,
         "mbarrier_arrive_remote: no fence_mbarrier_init() followed the mbarrier's initialisation", site);
  }
  arrive_at(theirs, 0, site);
}

void mbarrier_expect_tx(Mbarrier* b, unsigned bytes, Site site) {
  check_place(b, "mbarrier_expect_tx", site);
  BarrierState& state = barrier_at(b, "mbarrier_expect_tx", site);
  note_access(b, sizeof *b, true, true, site);
  expect(state, bytes, site);
}

// A thread that asks in a loop must not keep others from running: it gets its no when nothing else can run.
bool mbarrier_test(Mbarrier* b, unsigned parity, Site site) {
  check_place(b, "mbarrier_test", site);
  check_parity(parity, "mbarrier_test", site);
  if (!is_complete(b, parity, "mbarrier_test", site)) {
    async_work().testers.push_back(&running());
    wait_on(b, Wait::mbarrier, site);
    std::erase(async_work().testers, &running());
  }
  const bool complete = is_complete(b, parity, "mbarrier_test", site);
  note_access(b, sizeof *b, true, true, site);
  if (complete) check_acquire(running(), b);
  return complete;
}

void mbarrier_wait(Mbarrier* b, unsigned parity, Site site) {
  check_place(b, "mbarrier_wait", site);
  check_parity(parity, "mbarrier_wait", site);
  while (!is_complete(b, parity, "mbarrier_wait", site)) wait_on(b, Wait::mbarrier, site);
  note_access(b, sizeof *b, true, true, site);
  check_acquire(running(), b);
}

}  // namespace simt::detail
