// See library.hpp.
#include "kernels/cuda/library.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/device_pool.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/timing.hpp"

namespace fovea::library {
namespace {

struct State {
  Source* source = nullptr;
  std::uint64_t generation = 1;
  std::uint64_t choices = 0;
  TimePlan timer;
  std::optional<PlanFile> file;
};

State& state() {
  static State* const instance = new State;  // outlives whatever runs at the end of the process
  return *instance;
}

void say(const std::string& complaint) {
  if (!complaint.empty()) fmt::print(stderr, "{}\n", complaint);
}

PlanFile& file() {
  State& s = state();
  if (!s.file) {
    const PlanFileHeader header = source().header();
    std::string complaint;
    s.file = PlanFile::open(plan_path(header), header, complaint);
    say(complaint);
  }
  return *s.file;
}

void save(PlanFile& plans) {
  try {
    say(plans.save());
  } catch (const Error& error) {  // measured all the same
    static bool said = false;
    if (!std::exchange(said, true)) fmt::print(stderr, "plans are not kept: {}\n", error.what());
  }
}

// ---- measuring

// Copies of all tensors, so many that together they do not fit the second-level cache; what a run writes is never the
// caller's. Then the graph of many runs that docs/performance.md asks for.
class DeviceTimer : public PlanTimer {
 public:
  DeviceTimer(PlannedOp& op, const std::vector<Port>& ports, std::span<void* const> tensors, Stream stream)
      : op_(op) {
    std::int64_t bytes = 1;
    for (const Port& p : ports) bytes += p.bytes;
    const std::int64_t cache = device_info().l2_bytes;
    const auto sets = static_cast<std::size_t>(std::clamp<std::int64_t>(3 * cache / bytes + 1, 1, copies));
    for (std::size_t s = 0; s < sets; ++s) {
      std::vector<void*> set;
      for (std::size_t i = 0; i < ports.size(); ++i) {
        owned_.push_back(std::make_unique<Storage>(ports[i].bytes, stream.device));
        const View to{owned_.back()->data(), {ports[i].bytes}, Dtype::u8, stream.device};
        if (!ports[i].is_output && tensors[i] != nullptr)
          copy(to, {tensors[i], to.shape, Dtype::u8, to.device}, stream);
        set.push_back(to.data);
      }
      sets_.push_back(std::move(set));
    }
    synchronize(stream);
  }

  void try_out(std::size_t plan) override {
    workspace_.reset();
    op_.build(plan);
    const std::int64_t bytes = op_.plans()[plan].workspace;
    if (bytes > 0) workspace_.emplace(bytes, Device::cuda);
    run(plan, 0);
    synchronize(current_stream(Device::cuda));
  }

  void check_device() override { synchronize(Device::cuda); }

  PlanTime time(std::size_t plan) override {
    const auto run = [&](int i) { this->run(plan, i); };
    // A few runs tell whether it is worth more: most of some seventy plans are far behind.
    Timing t = time_runs(Device::cuda, run, {.copies = 5, .replays = 5, .warm_up = 1, .limit_s = 0.05});
    if (t.median_us < 1.5 * best_us_) {
      t = time_runs(Device::cuda, run, {.copies = copies, .replays = 50, .warm_up = 2, .limit_s = 0.25});
      best_us_ = std::min(best_us_, t.median_us);
    }
    return {t.median_us, t.p10_us, t.p90_us};
  }

 private:
  void run(std::size_t plan, int i) {
    const std::vector<void*>& set = sets_[static_cast<std::size_t>(i) % sets_.size()];
    op_.run(plan, set, workspace_ ? workspace_->data() : nullptr, current_stream(Device::cuda));
  }

  static constexpr int copies = 20;
  PlannedOp& op_;
  std::optional<Storage> workspace_;  // of the plan that was tried out last
  std::vector<std::unique_ptr<Storage>> owned_;
  std::vector<std::vector<void*>> sets_;
  double best_us_ = std::numeric_limits<double>::infinity();
};

class GivenTimer : public PlanTimer {
 public:
  GivenTimer(PlannedOp& op, const TimePlan& time) : op_(op), time_(time) {}
  void try_out(std::size_t plan) override { op_.build(plan); }
  void check_device() override {}
  PlanTime time(std::size_t plan) override { return time_(op_, plan); }

 private:
  PlannedOp& op_;
  const TimePlan& time_;
};

}  // namespace

void set_source(Source* given) {
  state().source = given;
  ++state().generation;
  state().file.reset();
}
void set_timer(TimePlan timer) { state().timer = std::move(timer); }

Source& build_source();  // library_cuda.cpp, or library_none.cpp

Source& source() { return state().source != nullptr ? *state().source : build_source(); }

std::uint64_t choice_generation() { return state().generation + state().choices; }

void keep_copy_rate(double bytes_per_s) {
  if (!source().why_unusable().empty()) return;
  file().set_copy_rate(bytes_per_s);
  save(file());
}

Operation::Operation(const GraphSpec& spec)
    : op_(spec.primitive()),
      problem_(spec.text()),
      cost_(spec.cost()),
      make_([spec] { return source().plan(spec); }) {
  for (const GraphTensor* t : spec.ports()) ports_.push_back({t->bytes(), t->role == GraphRole::output});
}

Operation::Operation(const MatmulSpec& spec)
    : op_(spec.primitive),
      problem_(spec.text()),
      cost_(spec.cost),
      make_([spec] { return source().plan(spec); }) {
  ports_.push_back({spec.m * spec.k * size_of(spec.in), false});
  ports_.push_back({spec.k * spec.n * size_of(spec.in), false});
  ports_.push_back({spec.m * spec.n * size_of(spec.out), true});
  if (spec.has_bias()) ports_.push_back({spec.bias_size() * size_of(spec.out), spec.writes_bias()});
  if (spec.has_aux()) ports_.push_back({spec.aux_bytes(), spec.writes_aux()});
}

void Operation::plan() {
  if (generation_ == state().generation) return;
  generation_ = state().generation;
  failure_.clear();
  planned_.reset();
  taken_.reset();
  supported_.reset();
  entry_ = {};
  failure_ = source().why_unusable();
  if (!failure_.empty()) return;
  try {
    planned_ = make_();
    entry_ = known_entry();
    if (entry_.plans.empty()) note_refusal();
  } catch (const Error& error) {
    failure_ = error.what();
  }
}

// For the ledger, too: a graph that no engine takes leaves no other trace.
void Operation::note_refusal() {
  const std::string words = planned_->refusal();
  failure_ = fmt::format("{}: the library has no plan for {}{}", op_, problem_,
                         words.empty() ? "" : fmt::format(" ({})", words));
  if (words.empty() || words == entry_.refusal || !plan_limits().measure) return;
  entry_.refusal = words;
  file().put(entry_);
  save(file());
}

PlanEntry Operation::known_entry() const {
  const PlanEntry* known = file().find(op_, problem_);
  return with_plans(known != nullptr ? *known : PlanEntry{op_, problem_, cost_.flops, cost_.bytes, {}},
                    planned_->plans());
}

bool Operation::is_supported() {
  plan();
  const PlanLimits& limits = plan_limits();
  if (!supported_ || supported_under_ != limits) {
    supported_ = failure_.empty() && (chosen_plan(entry_, limits) || must_measure(entry_, limits));
    supported_under_ = limits;
  }
  return *supported_;
}

void Operation::measure(std::span<void* const> tensors, Stream stream) {
  if (device_pool::is_capturing()) {
    fail(fmt::format(
        "{}: the plans for this problem have not been measured, which cannot be done inside a graph "
        "capture; run it once before",
        op_));
  }
  if (debug()) {
    fail(fmt::format(
        "{}: plans are not measured in debug mode, which graph captures have none of; run it once without "
        "--debug before",
        op_));
  }
  say(file().reload());  // another process may have measured this problem since the file was read
  entry_ = known_entry();
  if (!must_measure(entry_, plan_limits())) return;
  std::exception_ptr passing;
  if (state().timer) {
    GivenTimer timer(*planned_, state().timer);
    passing = measure_plans(entry_, plan_limits(), timer);
  } else {
    const PeakScope not_of_the_step(stream.device);
    DeviceTimer timer(*planned_, ports_, tensors, stream);
    passing = measure_plans(entry_, plan_limits(), timer);
  }
  file().put(entry_);
  save(file());
  if (passing && !chosen_plan(entry_, plan_limits())) std::rethrow_exception(passing);
}

std::optional<std::size_t> Operation::first_that_builds() {
  for (std::size_t i = 0; i < entry_.plans.size(); ++i) {
    if (!entry_.plans[i].failure.empty() || !why_left_out(entry_.plans[i].info, plan_limits()).empty())
      continue;
    try {
      planned_->build(i);
      return i;
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& error) {
      entry_.plans[i].failure = error.what();
    }
  }
  return {};
}

void Operation::choose(std::span<void* const> tensors, Stream stream) {
  const PlanLimits limits = plan_limits();
  supported_.reset();  // what fails now counts from now on
  if (limits.measure && must_measure(entry_, limits)) measure(tensors, stream);
  taken_ = chosen_plan(entry_, limits);
  if (!taken_ && !limits.measure) taken_ = first_that_builds();
  taken_under_ = limits;
  ++state().choices;
  if (!taken_) {
    std::string why;
    for (const PlanRecord& p : entry_.plans) {
      why = !p.failure.empty() ? p.failure : why_left_out(p.info, limits);
      if (!why.empty()) break;
    }
    fail(fmt::format("{}: none of the library's {} plans can be taken ({})", op_, entry_.plans.size(), why));
  }
  planned_->build(*taken_);
}

void Operation::prepare(std::span<void* const> tensors, Stream stream) {
  plan();
  if (!failure_.empty()) fail(failure_);
  if (tensors.size() != ports_.size()) {
    fail(fmt::format("{}: got {} tensors, the plan needs {}", op_, tensors.size(), ports_.size()));
  }
  if (!taken_ || taken_under_ != plan_limits()) choose(tensors, stream);
}

std::optional<double> Operation::taken_us() const {
  if (!taken_ || !entry_.plans[*taken_].time) return {};
  return entry_.plans[*taken_].time->median_us;
}

void Operation::run(std::span<void* const> tensors, Stream stream) {
  const StreamScope scope(stream);  // the workspace goes back in the order of the plan's stream
  prepare(tensors, stream);
  const std::int64_t bytes = entry_.plans[*taken_].info.workspace;
  std::optional<Storage> workspace;
  if (bytes > 0) workspace.emplace(bytes, stream.device);
  planned_->run(*taken_, tensors, workspace ? workspace->data() : nullptr, stream);
}

void Operation::run(std::initializer_list<View> tensors, Stream stream) {
  std::vector<void*> pointers;
  for (const View& view : tensors) pointers.push_back(view.data);
  run(pointers, stream);
}

Call call(Operation& operation, std::initializer_list<View> tensors) {
  Call made{operation, {}};
  for (const View& view : tensors) made.tensors.push_back(view.data);
  return made;
}

bool is_faster(const Call& one, std::initializer_list<Call> several, Stream stream) {
  if (!one.operation.is_supported()) return false;
  const StreamScope scope(stream);
  double others = 0;
  try {
    one.operation.prepare(one.tensors, stream);
    for (const Call& c : several) {
      c.operation.prepare(c.tensors, stream);
      const std::optional<double> us = c.operation.taken_us();
      if (!us) return false;
      others += *us;
    }
  } catch (const Error&) {
    return false;  // what is then run says why it cannot
  }
  const std::optional<double> us = one.operation.taken_us();
  return us && *us < others;
}

}  // namespace fovea::library
