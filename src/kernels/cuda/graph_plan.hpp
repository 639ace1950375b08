// A composed kernel as one CUDA graph: captured once for its problem and its tensors' addresses, then launched with one
// call, so that the host pays for one launch in place of some ten, and the device for shorter gaps between them.
//
//   run_as_graph(ham_forward, key_of(p), p, ports, stream, &ham_forward_composed_cudnn);
//
// A call goes one of four ways:
//
//   plain      where nothing can be captured (inside somebody else's capture, in debug mode, on the host), and the first
//              time for a problem under today's limits, or after a library chose other plans: then plans are measured,
//              which a capture does not allow
//   launch     the executable of these addresses is there
//   update     other addresses, and the problem has as many executables as it may have: the one that was used longest ago
//              gets the work of a new capture (cudaGraphExecUpdate); where the driver refuses, a new one takes its place
//   new        other addresses, and there is room: captured and instantiated; beyond all room, the executable that was used
//              longest ago, of whatever problem, is destroyed
//
// Scratch and workspaces that the work takes while it is captured are memory nodes of its graph (runtime/graph_api.hpp):
// they live as long as the executable, launches of one executable run one after the other, and the driver gives two
// executables the same memory only where they cannot run at once. So no replay uses memory that was freed or that another
// replay is in. It counts in a run's memory where it is captured, not at every launch.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cuda/plan_cache.hpp"
#include "kernels/runtime/graph_api.hpp"
#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// Whether this row captures its work and launches it as one graph, unless it runs inside another capture: rows that stand
/// on run_as_graph() have this one name.
inline bool launches_graph(const Kernel& kernel) {
  return kernel.backend == Backend::cudnn && kernel.name == std::string_view("composed_graph");
}

/// Which work a graph holds, apart from the addresses.
struct GraphKey {
  std::string primitive;              // "ham.forward"
  std::vector<std::int64_t> problem;  // all that determines the work, the dtype included
  PlanLimits limits;

  auto tied() const {
    return std::tie(primitive, problem, limits.workspace, limits.deterministic, limits.tf32, limits.measure);
  }
  bool operator==(const GraphKey& other) const { return tied() == other.tied(); }
  bool operator<(const GraphKey& other) const { return tied() < other.tied(); }
};

/// How many executables are kept. As many of one problem as kernel_bench rotates buffers. What is no longer needed may still
/// be running, so it is put aside, and destroyed `aside` at a time once the device has come to rest.
struct GraphRoom {
  std::size_t all = 64, per_problem = 20, aside = 16;
};

class GraphPlans {
 public:
  using Work = std::function<void(Stream)>;

  /// `generation` counts the choices of plans: what was captured under another one is captured again.
  GraphPlans(GraphApi& api, std::function<std::uint64_t()> generation, GraphRoom room = {});
  ~GraphPlans();
  GraphPlans(const GraphPlans&) = delete;
  GraphPlans& operator=(const GraphPlans&) = delete;

  /// `work` queues the kernel on the stream it is given. Throws what it throws; a capture that failed leaves nothing.
  void run(const GraphKey& key, std::span<void* const> addresses, Stream stream, const Work& work);

 private:
  struct Executable {
    GraphKey key;
    std::vector<void*> addresses;
    std::uint64_t generation = 0;
    void* handle = nullptr;
    void* graph = nullptr;  // whose memory nodes hold the addresses of its scratch
  };
  using Place = std::list<Executable>::iterator;

  Place find(const GraphKey& key, std::span<void* const> addresses);
  Place replaceable(const GraphKey& key);  // end() where there is room for one more of the problem
  void* executable(Place old, void* graph);
  void put_aside(void* handle, void* graph);
  void remove(Place place);
  void destroy_aside();

  GraphApi& api_;
  std::function<std::uint64_t()> generation_;
  GraphRoom room_;
  std::mutex mutex_;
  std::map<GraphKey, std::uint64_t> ran_;       // the generation after a problem ran plainly
  std::list<Executable> executables_;           // the one used last is the first
  std::vector<std::pair<void*, void*>> aside_;  // an executable, or none, and a graph
};

/// On the device, with the executables that all kernels of the process share. `problem` is all of it.
void run_as_graph(const char* primitive, std::span<const std::int64_t> problem, Ports ports, Stream stream,
                  const GraphPlans::Work& work);

/// The row as one graph of `work`, the composed kernel that is a row itself; `key` is all of the problem.
template <class P>
void run_as_graph(const PrimitiveOf<P>& primitive, std::span<const std::int64_t> key, const P& problem,
                  Ports ports, Stream stream, void (*work)(const P&, Ports, Stream)) {
  run_as_graph(primitive.name, key, ports, stream, [&](Stream s) { work(problem, ports, s); });
}

}  // namespace fovea
