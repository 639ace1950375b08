// See shadow.hpp.
#include "kernels/runtime/shadow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/runtime/debug.hpp"
#include "kernels/runtime/host_bytes.hpp"
#include "kernels/runtime/launch.hpp"
#include "kernels/runtime/running.hpp"
#include "kernels/runtime/timing.hpp"

namespace fovea {
namespace {

const Kernel* find_kernel(const Primitive& primitive, std::string_view name, const void* problem,
                          Device device) {
  const auto it = std::find_if(primitive.kernels.begin(), primitive.kernels.end(), [&](const Kernel& k) {
    return name == k.name && device_of(k.backend) == device && k.supports(problem);
  });
  return it == primitive.kernels.end() ? nullptr : &*it;
}

bool has_row(const Primitive& primitive, std::string_view name, Device device) {
  return std::any_of(primitive.kernels.begin(), primitive.kernels.end(),
                     [&](const Kernel& k) { return name == k.name && device_of(k.backend) == device; });
}

[[noreturn]] void fail_pair(const Primitive& primitive, std::string_view name, const void* problem,
                            Device device) {
  if (!has_row(primitive, name, device)) {
    fail(fmt::format("{}: kernel '{}' of --ab does not run on {}; name another, or use --device {}",
                     primitive.name, name, name_of(device),
                     name_of(device == Device::cpu ? Device::cuda : Device::cpu)));
  }
  fail(fmt::format("{}: kernel '{}' of --ab does not support this {} problem on {}; name another",
                   primitive.name, name, name_of(primitive.dtype(problem)), name_of(device)));
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.1), quantile(values, 0.5), quantile(values, 0.9)};
}

Spread Shadows::Row::ratio() const {
  return spread_of({ratios.begin() + (ratios.size() > 1 ? 1 : 0), ratios.end()});
}

Shadows& shadows() {
  static Shadows instance;
  return instance;
}

void Shadows::pair(const Primitive& primitive, std::string_view first, std::string_view second) {
  if (std::any_of(pairs_.begin(), pairs_.end(), [&](const Pair& p) { return p.primitive == &primitive; })) {
    fail_usage(fmt::format("{} stands in two --ab; leave one of them out", primitive.name));
  }
  const std::string_view forced = selection().forced_for(primitive);
  if (!forced.empty() && forced != first) {
    fail_usage(
        fmt::format("{}: the run cannot use '{}', which --ab names first, and '{}', which is forced; "
                    "name that first",
                    primitive.name, first, forced));
  }
  selection().force(primitive, second);  // is there such a kernel?
  selection().force(primitive, first);
  pairs_.push_back({&primitive, std::string(first), std::string(second)});
  update_observing();
}

void Shadows::clear() {
  *this = {};
  update_observing();
}

void Shadows::check(const Primitive& primitive, const PortList& specs, const void* problem,
                    Device device) const {
  for (const Pair& pair : pairs_) {
    if (pair.primitive != &primitive) continue;
    for (const PortSpec& spec : specs) {
      if (!spec.addresses) continue;
      fail(
          fmt::format("{}: --ab cannot copy the tensors behind its port '{}', a table of addresses; leave "
                      "this op out",
                      primitive.name, spec.name));
    }
    for (const std::string& name : {pair.first, pair.second}) {
      if (find_kernel(primitive, name, problem, device) == nullptr)
        fail_pair(primitive, name, problem, device);
    }
  }
}

Shadows::Pair* Shadows::due(const Primitive& primitive) {
  if (options_.every > 1 && (observed_step() - 1) % options_.every != 0) return nullptr;
  const auto it =
      std::find_if(pairs_.begin(), pairs_.end(), [&](const Pair& p) { return p.primitive == &primitive; });
  return it == pairs_.end() ? nullptr : &*it;
}

std::vector<Shadows::Row> Shadows::rows() const {
  std::vector<Row> rows;
  for (const auto& row : rows_) rows.push_back(*row);
  return rows;
}

Shadows::Row& Shadows::row_of(const Pair& pair, const Dispatched& d) {
  Row*& row = by_key_[problem_key(d)];
  if (row == nullptr) {
    row = rows_.emplace_back(std::make_unique<Row>()).get();
    row->primitive = d.primitive.name;
    row->first = pair.first;
    row->second = pair.second;
    row->problem = shapes_text(d.specs, d.ports);
  }
  return *row;
}

void Shadows::note_passing(Row& row, const Difference& d) {
  if (options_.bound <= 0 || d.largest() <= options_.bound || row.passed_at > 0) return;
  row.passed_at = std::max<std::int64_t>(observed_step(), 1);
  const std::string sentence = fmt::format(
      "step {}: {}: '{}' differs from '{}' by {:.3g}, more than the bound of {:g}: port '{}' at {}: {:g} "
      "against {:g} ({})",
      row.passed_at, row.primitive, row.second, row.first, d.largest(), options_.bound, row.port, row.index,
      d.a, d.b, row.problem);
  if (first_passing_.empty()) first_passing_ = sentence;
  if (options_.report) options_.report(sentence);
}

ShadowRun::ShadowRun(const Dispatched& d, const Shadows::Pair& pair)
    : d_(d),
      kernel_(*find_kernel(d.primitive, pair.second, d.problem, d.stream.device)),
      row_(shadows().row_of(pair, d)),
      copies_(d.specs, d.ports),
      watch_of_first_(d.stream),
      watch_of_second_(d.stream),
      goes_first_(row_.runs % 2 == 1) {}

void ShadowRun::run() {
  const UnseenScope unseen;
  const DispatchScope running(d_.primitive, kernel_, d_.specs, copies_.views());
  std::optional<DebugRun> debugged;
  if (debug()) debugged.emplace(d_.primitive, kernel_, d_.specs, copies_.views());
  watch_of_second_.start();
  launch(kernel_, d_.problem, copies_.views(), d_.stream);
  watch_of_second_.stop();
  if (debugged) debugged->after_run();
}

void ShadowRun::compare() {
  const std::optional<double> first = watch_of_first_.seconds(), second = watch_of_second_.seconds();
  if (first && second) row_.ratios.push_back(*second / std::max(*first, 1e-9));
  ++row_.runs;
  Difference worst;
  for (std::size_t i = 0; i < d_.specs.size(); ++i) {
    if (!d_.ports[i] || d_.specs[i].role == Role::input) continue;
    const HostBytes shadow(copies_.views()[i]), run(d_.ports[i]);
    const Difference d = difference_of(shadow.view(), run.view());
    if (d.largest() > std::max(row_.difference.largest(), worst.largest())) {
      row_.port = d_.specs[i].name;
      row_.index = index_text(d_.ports[i].shape, d.worst);
      row_.worst_step = observed_step();
    }
    if (d.largest() > worst.largest()) worst = d;
    row_.difference.keep_largest(d);
  }
  shadows().note_passing(row_, worst);
}

}  // namespace fovea
