// See ledger.hpp.
#include "kernels/runtime/ledger.hpp"

#include <algorithm>

#include "kernels/runtime/clock.hpp"
#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/host_bytes.hpp"
#include "kernels/runtime/launch.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {
namespace {

const Kernel* reference_of(const Primitive& primitive, const void* problem) {
  const auto it = std::find_if(primitive.kernels.begin(), primitive.kernels.end(), [&](const Kernel& k) {
    return k.backend == Backend::reference && k.supports(problem);
  });
  return it == primitive.kernels.end() ? nullptr : &*it;
}

// Empty where the reference can take this dispatch in fp64.
std::string why_left_out(const Dispatched& d) {
  const std::shared_ptr<const void> problem = d.primitive.with_dtype(d.problem, Dtype::f64);
  if (reference_of(d.primitive, problem.get()) == nullptr) return "has no reference in f64";
  const PortList specs = d.primitive.ports(problem.get());
  bool writes = false;
  for (std::size_t i = 0; i < d.ports.size(); ++i) {
    if (specs[i].addresses) return "works on tensors behind a table of addresses";
    if (d.ports[i] && specs[i].shape != d.ports[i].shape) return "has other shapes in f64";
    writes |= d.ports[i] && specs[i].role != Role::input;
  }
  return writes ? "" : "has no outputs";
}

// `from` on any device, as the dtype of `to` on the host.
void widen(const View& to, const View& from) {
  if (to.dtype == from.dtype) return copy(to, from);
  const HostBytes host(from);
  visit_any(from.dtype, [&](auto zero) {
    const auto* values = host.view().as<decltype(zero)>();
    double* wide = to.as<double>();
    for (std::int64_t i = 0; i < to.numel(); ++i) wide[i] = static_cast<double>(values[i]);
  });
}

}  // namespace

Ledger& ledger() {
  static Ledger instance;
  return instance;
}

void Ledger::start(std::int64_t every) {
  every_ = every;
  update_observing();
}

void Ledger::clear() {
  *this = {};
  update_observing();
}

void Ledger::begin_step(std::int64_t step) {
  sampling_ = on() && (step - 1) % every_ == 0;
  seen_.clear();
}

bool Ledger::due(const Dispatched& d) {
  if (!sampling_ || !seen_.insert(problem_key(d)).second) return false;
  std::string why = why_left_out(d);
  if (why.empty()) return true;
  left_out_.insert_or_assign(d.primitive.name, std::move(why));
  return false;
}

LedgerRun::LedgerRun(const Dispatched& d)
    : d_(d),
      problem_(d.primitive.with_dtype(d.problem, Dtype::f64)),
      specs_(d.primitive.ports(problem_.get())) {
  const double begin = now_s();
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    View& view = views_.emplace_back();
    if (!d.ports[i]) continue;
    storage_.push_back(std::make_unique<Storage>(specs_[i].shape, specs_[i].dtype, Device::cpu));
    view = {storage_.back()->data(), specs_[i].shape, specs_[i].dtype, Device::cpu};
    if (specs_[i].role == Role::output) {
      poison(view);
    } else {
      widen(view, d.ports[i]);
    }
  }
  seconds_ = now_s() - begin;
}

void LedgerRun::compare() {
  const double begin = now_s();
  {
    const UnseenScope unseen;
    const Kernel& reference = *reference_of(d_.primitive, problem_.get());
    const DispatchScope running(d_.primitive, reference, specs_, views_);
    launch(reference, problem_.get(), views_, Stream{});
  }
  Ledger::Sample sample{.step = observed_step(),
                        .primitive = d_.primitive.name,
                        .kernel = d_.kernel.name,
                        .problem = shapes_text(d_.specs, d_.ports),
                        .port = "",
                        .difference = {}};
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (!d_.ports[i] || specs_[i].role == Role::input) continue;
    const HostBytes run(d_.ports[i]);
    const Difference d = difference_of(run.view(), views_[i]);
    if (sample.port.empty() || d.largest() > sample.difference.largest()) sample.port = specs_[i].name;
    sample.difference.keep_largest(d);
  }
  ledger().add(std::move(sample));
  ledger().add_seconds(seconds_ + now_s() - begin);
}

}  // namespace fovea
