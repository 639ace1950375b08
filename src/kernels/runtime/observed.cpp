// See observed.hpp.
#include "kernels/runtime/observed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/ledger.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/shadow.hpp"
#include "kernels/runtime/trace.hpp"

namespace fovea {
namespace {

thread_local bool unseen = false;
thread_local double taken = 0;
std::int64_t step = 0;
SharedScratch scratch;

// Adds its life to what observers took.
struct Taking {
  const double begin = now_s();
  Taking() = default;
  ~Taking() { taken += now_s() - begin; }
  Taking(const Taking&) = delete;
  Taking& operator=(const Taking&) = delete;
};

// The observers of one dispatch, in the order of their work.
struct Observation {
  ObserverMemory host{Device::cpu};
  std::optional<ObserverMemory> device;
  std::optional<LedgerRun> ledger;
  std::optional<ShadowRun> shadow;

  void prepare(const Dispatched& d, Shadows::Pair* pair, bool sampled) {
    const Taking taking;
    if (d.stream.device != Device::cpu) device.emplace(d.stream.device);
    if (sampled) ledger.emplace(d);
    if (pair != nullptr) shadow.emplace(d, *pair);
    if (shadow && shadow->goes_first()) shadow->run();
    host.begin_run();
    if (device) device->begin_run();
  }
  void run(const std::function<void()>& run_kernel) {
    if (shadow) shadow->watch().start();
    run_kernel();
    if (shadow) shadow->watch().stop();
  }
  void conclude() {
    const Taking taking;
    host.end_run();
    if (device) device->end_run();
    if (shadow && !shadow->goes_first()) shadow->run();
    if (shadow) shadow->compare();
    if (ledger) ledger->compare();
  }
};

[[noreturn]] void fail_out_of_memory(const OutOfMemory& error, const Dispatched& d, bool shadowed) {
  const char* const flag = shadowed ? "--ab" : "--ledger";
  fail(
      fmt::format("{}; {} keeps a copy of the ports of {} beside the run: raise --memory-limit, lower "
                  "--batch, or leave out {}",
                  sentence_of(error.request()), flag, d.primitive.name, flag));
}

}  // namespace

void update_observing() { detail::observing = shadows().on() || ledger().on(); }

void check_observed(const Primitive& primitive, const PortList& specs, const void* problem, Device device) {
  shadows().check(primitive, specs, problem, device);
}

void run_observed(const Dispatched& d, const std::function<void()>& run) {
  if (unseen || device_pool::is_capturing()) return run();
  Shadows::Pair* const pair = shadows().due(d.primitive);
  const bool sampled = ledger().due(d);
  if (pair == nullptr && !sampled) return run();
  try {
    Observation observation;
    observation.prepare(d, pair, sampled);
    observation.run(run);
    observation.conclude();
  } catch (const OutOfMemory& error) {
    fail_out_of_memory(error, d, pair != nullptr);
  }
}

double observers_seconds() { return taken; }

void begin_observed_step(std::int64_t number) {
  step = number;
  ledger().begin_step(number);
}
void end_observed_step() { ledger().end_step(); }
std::int64_t observed_step() { return step; }

void set_shared_scratch(const SharedScratch& shared) { scratch = shared; }

UnseenScope::UnseenScope()
    : outer_(std::exchange(unseen, true)),
      sink_(set_trace_sink(nullptr)),
      scratch_(scratch.size != nullptr ? scratch.size() : 0) {}
UnseenScope::~UnseenScope() {
  if (scratch.restore != nullptr) scratch.restore(scratch_);
  set_trace_sink(sink_);
  unseen = outer_;
}

// ---- copies

PortCopies::PortCopies(const PortList& specs, Ports ports) {
  std::vector<bool> filled(specs.size(), false);
  const auto same = [&](std::size_t i, std::size_t j) {
    return ports[i].data == ports[j].data && ports[i].bytes() == ports[j].bytes() && ports[i].numel() > 0;
  };
  for (std::size_t i = 0; i < specs.size(); ++i) {
    View& view = views_.emplace_back(ports[i]);
    if (!ports[i]) continue;
    std::size_t owner = 0;
    while (owner < i && !(ports[owner] && same(i, owner))) ++owner;
    if (owner < i) {
      view.data = views_[owner].data;
    } else {
      storage_.push_back(std::make_unique<Storage>(view.shape, view.dtype, view.device));
      view.data = storage_.back()->data();
    }
    if (specs[i].role != Role::output && !filled[owner]) {
      copy(view, ports[i]);
      filled[owner] = true;
    }
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!ports[i]) continue;
    std::size_t owner = 0;
    while (!(ports[owner] && (owner == i || same(i, owner)))) ++owner;
    if (!filled[owner]) poison(views_[i]);
  }
}

// ---- time

Stopwatch::Stopwatch(Stream stream) : stream_(stream), begin_(stream.device), end_(stream.device) {}
void Stopwatch::start() {
  observers_ = taken;
  begin_.record(stream_);
}
void Stopwatch::stop() {
  end_.record(stream_);
  observers_ = taken - observers_;
}
std::optional<double> Stopwatch::seconds() const {
  if (stream_.device != Device::cpu && observers_ > 0) return std::nullopt;
  return Event::elapsed_ms(begin_, end_) * 1e-3 - observers_;
}

std::string problem_key(const Dispatched& d) {
  std::string key = d.primitive.name;
  for (const View& port : d.ports) {
    key += port ? fmt::format(";{}{}", name_of(port.dtype), to_string(port.shape)) : ";";
  }
  return key;
}

}  // namespace fovea
