// See graph_plan.hpp.
#include "kernels/cuda/graph_plan.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "kernels/cuda/library.hpp"

namespace fovea {

GraphPlans::GraphPlans(GraphApi& api, std::function<std::uint64_t()> generation, GraphRoom room)
    : api_(api), generation_(std::move(generation)), room_(room) {}

GraphPlans::~GraphPlans() {
  while (!executables_.empty()) remove(executables_.begin());
  destroy_aside();
}

void GraphPlans::run(const GraphKey& key, std::span<void* const> addresses, Stream stream, const Work& work) {
  if (!api_.can_capture(stream)) return work(stream);
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::uint64_t now = generation_();
  if (const auto ran = ran_.find(key); ran == ran_.end() || ran->second != now) {
    work(stream);
    ran_[key] = generation_();
    return;
  }
  Place known = find(key, addresses);
  if (known == executables_.end() || known->generation != now) {
    const auto destroy = [&](void* graph) { api_.destroy_graph(graph); };
    std::unique_ptr<void, decltype(destroy)> graph(api_.capture(work), destroy);
    void* const made = executable(known == executables_.end() ? replaceable(key) : known, graph.get());
    executables_.push_front({key, {addresses.begin(), addresses.end()}, now, made, graph.release()});
    known = executables_.begin();
  }
  executables_.splice(executables_.begin(), executables_, known);
  api_.launch(known->handle, stream);
}

GraphPlans::Place GraphPlans::find(const GraphKey& key, std::span<void* const> addresses) {
  return std::find_if(executables_.begin(), executables_.end(), [&](const Executable& e) {
    return std::equal(e.addresses.begin(), e.addresses.end(), addresses.begin(), addresses.end()) &&
           e.key == key;
  });
}

GraphPlans::Place GraphPlans::replaceable(const GraphKey& key) {
  std::size_t count = 0;
  Place last = executables_.end();
  for (Place e = executables_.begin(); e != executables_.end(); ++e) {
    if (!(e->key == key)) continue;
    ++count;
    last = e;
  }
  return count < room_.per_problem ? executables_.end() : last;
}

// Takes `old` out of the list, where it is in it: the caller puts what this returns there.
void* GraphPlans::executable(Place old, void* graph) {
  if (old != executables_.end()) {
    void *const handle = old->handle, *const before = old->graph;
    if (api_.update(handle, graph)) {
      executables_.erase(old);
      put_aside(nullptr, before);
      return handle;
    }
    remove(old);
  }
  while (!executables_.empty() && executables_.size() >= room_.all) remove(std::prev(executables_.end()));
  return api_.instantiate(graph);
}

void GraphPlans::remove(Place place) {
  const Executable gone = *place;
  executables_.erase(place);
  put_aside(gone.handle, gone.graph);
}

void GraphPlans::put_aside(void* handle, void* graph) {
  aside_.emplace_back(handle, graph);
  if (aside_.size() >= room_.aside) destroy_aside();
}

void GraphPlans::destroy_aside() {
  if (aside_.empty()) return;
  api_.wait();
  for (const auto& [handle, graph] : std::exchange(aside_, {})) {
    if (handle != nullptr) api_.destroy(handle);
    api_.destroy_graph(graph);
  }
}

void run_as_graph(const char* primitive, std::span<const std::int64_t> problem, Ports ports, Stream stream,
                  const GraphPlans::Work& work) {
  // Never destroyed: the driver may be gone before static objects are.
  static GraphPlans* const plans = new GraphPlans(device_graphs(), &library::choice_generation);
  std::vector<void*> addresses;
  for (const View& port : ports) addresses.push_back(port.data);
  plans->run({primitive, {problem.begin(), problem.end()}, plan_limits()}, addresses, stream, work);
}

}  // namespace fovea
