// What a cluster has under way beside its threads: mbarriers with their counts, bulk copies and warpgroups'
// products. mbarrier.cpp, tma.cpp and wgmma.cpp work on it; it lives from a cluster's start to its end.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "simt/host/executor.hpp"
#include "simt/host/hopper.hpp"

namespace simt::detail {

/// An mbarrier's state; the word in shared memory only says that there is one.
struct BarrierState {
  unsigned count = 0, pending = 0;  // arrivals of a phase, and those that are missing in the current one
  long bytes = 0;                   // expected and not yet there
  unsigned parity = 0;              // of the current phase
  const Fiber* initialiser = nullptr;
  bool visible = false;  // to copies and other blocks: a fence has followed the initialisation
};

/// The rectangle of a tensor that a tiled copy moves, or plain bytes (rank 0).
struct Box {
  TensorMap map{};
  int at[5]{};
  char* global = nullptr;  // plain bytes only
  unsigned bytes = 0;      // in shared memory
};

struct PendingLoad {
  Box box;
  std::vector<std::pair<char*, Mbarrier*>> targets;  // one a block
  Fiber* owner;
  Site site;
};

struct PendingStore {
  Box box;
  const char* from;
  const Fiber* owner;
  int group;
  bool read = false;
  std::vector<char> data{};  // what was read
  Site site{};
};

/// The registers of a warpgroup that products in flight add to.
struct Accumulator {
  int half = 0;               // registers of a thread
  float* registers[128]{};    // null: the thread has not handed them over
  bool delivered[128]{};      // the thread has its result
  std::vector<float> values;  // [thread][register]
  long last = -1;             // product that adds to it
};

struct Product {
  std::shared_ptr<Accumulator> d;
  WgmmaTile a, b;
  bool accumulate;
  unsigned warps = 0;  // that have issued it
  int group = -1;
  bool done = false;
  Site site;
};

struct Warpgroup {
  std::deque<Product> products;  // those before `first` are done and delivered
  long first = 0;
  struct {
    long issued = 0, committed = 0;  // products
    int groups = 0;
    bool fenced = false;
  } warp[4];
};

struct AsyncWork {
  std::unordered_map<const void*, BarrierState> barriers;
  std::vector<PendingLoad> loads;
  std::vector<PendingStore> stores;
  std::unordered_map<const Fiber*, int> store_groups;     // committed by the thread
  std::unordered_map<const Warp*, Warpgroup> warpgroups;  // by their first warp
  std::vector<Fiber*> testers;                            // in mbarrier_test
  unsigned fruitless = 0;  // times in a row that testers got no for an answer and nothing else happened
};

/// Of the running cluster.
AsyncWork& async_work();

/// The mbarrier of this address; fails where there is none. `what` begins the sentence.
BarrierState& barrier_at(const Mbarrier* b, const char* what, Site site);
/// So many bytes have arrived.
void complete_bytes(Mbarrier* b, unsigned bytes, Site site);
/// Lets the threads in mbarrier_test have their answer; true if there were any, and patience is left.
bool answer_testers(AsyncWork& work);

/// Performs a copy that somebody waits for; false: there is none.
bool perform_awaited_load(Cluster& cluster);

/// Fail where work was started and never waited for.
void end_copies(AsyncWork& work);
void end_products(AsyncWork& work);

}  // namespace simt::detail
