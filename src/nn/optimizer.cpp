// Optimizer: one table of all tensors that have a gradient, one pass for the norm and one for the update. See
// optimizer.hpp and kernels/optim/optim.hpp.
//
// Clipping is torch.nn.utils.clip_grad_norm_: gradients are multiplied by min(1, clip_norm / (norm + 1e-6)),
// here on their way into the update instead of in a pass of its own. The norm, and the scale made from it, stay on
// the parameters' device.
#include "nn/optimizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/optim/optim.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

void check_value(const char* name, double value, bool fits, const char* range) {
  if (!fits || !std::isfinite(value))
    fail_usage(fmt::format("optimizer: {} {} must be {}", name, value, range));
}

void check_options(const OptimizerOptions& o) {
  const std::vector<std::string> known{"adam", "adamw", "sgd"};
  if (std::find(known.begin(), known.end(), o.name) == known.end()) {
    fail_usage(fmt::format("there is no optimizer '{}'{}", o.name, nearest_hint(o.name, known)));
  }
  check_value("weight decay", o.weight_decay, o.weight_decay >= 0, "at least 0");
  check_value("beta1", o.beta1, o.beta1 >= 0 && o.beta1 < 1, "in [0, 1)");
  check_value("beta2", o.beta2, o.beta2 >= 0 && o.beta2 < 1, "in [0, 1)");
  check_value("eps", o.eps, o.eps >= 0, "at least 0");
  check_value("momentum", o.momentum, o.momentum >= 0, "at least 0");
  check_value("clip norm", o.clip_norm, o.clip_norm >= 0, "at least 0 (0: no clipping)");
}

void check_parameters(const std::vector<NamedTensor>& parameters) {
  std::set<std::string> names;
  for (const NamedTensor& p : parameters) {
    if (!names.insert(p.name).second) fail(fmt::format("optimizer: two parameters are called '{}'", p.name));
    const Dtype dtype = p.tensor.dtype();
    if ((dtype != Dtype::f32 && dtype != Dtype::f64) || dtype != parameters[0].tensor.dtype()) {
      fail(fmt::format("optimizer: parameter '{}' holds {}, '{}' holds {}; all must be of one floating type",
                       p.name, name_of(dtype), parameters[0].name, name_of(parameters[0].tensor.dtype())));
    }
  }
}

std::int64_t address(const Tensor& tensor) {
  return tensor ? static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(tensor.view().data)) : 0;
}

// The rows as a tensor, where the kernels read them.
Tensor table_of(const std::vector<TensorRow>& rows, Device device) {
  std::vector<std::int64_t> values;
  for (const TensorRow& r : rows)
    values.insert(values.end(), {r.param, r.grad, r.first, r.second, r.count, r.step, r.shadow});
  return Tensor::from<std::int64_t>(values, {static_cast<std::int64_t>(rows.size()), TensorRow::columns},
                                    Dtype::i64, device);
}

bool all_finite(const Tensor& tensor) {
  const std::vector<double> values = tensor.to_doubles();
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

[[noreturn]] void fail_norm(const std::vector<NamedTensor>& parameters, double norm, std::int64_t step) {
  for (const NamedTensor& p : parameters) {
    if (p.tensor.grad() && !all_finite(p.tensor.grad())) {
      fail(fmt::format(
          "step {}: the gradient of '{}' holds NaN or infinity; try a lower learning rate or clipping", step,
          p.name));
    }
  }
  fail(fmt::format("step {}: the gradient norm is {}; try a lower learning rate or clipping", step, norm));
}

NamedTensor state_entry(const NamedTensor& parameter, const char* what, const Tensor& tensor) {
  return {parameter.name + "/" + what, tensor, parameter.layout, false};
}

NamedTensor count_entry(const std::string& name, std::int64_t count) {
  return {name, Tensor::from<std::int64_t>(std::span<const std::int64_t>(&count, 1), {}, Dtype::i64),
          Layout::plain, false};
}

}  // namespace

Optimizer::Optimizer(std::vector<NamedTensor> parameters, const OptimizerOptions& options)
    : parameters_(std::move(parameters)), options_(options), updates_(parameters_.size(), 0) {
  check_options(options_);
  check_parameters(parameters_);
  const bool is_sgd = options_.name == "sgd";
  for (const NamedTensor& p : parameters_) {
    const auto moment = [&](bool wanted) {
      return wanted ? Tensor::zeros(p.tensor.shape(), p.tensor.dtype(), p.tensor.device()) : Tensor{};
    };
    first_.push_back(moment(!is_sgd || options_.momentum > 0));
    second_.push_back(moment(!is_sgd));
  }
}

double Optimizer::step(double learning_rate) {
  const std::vector<std::size_t> updated = with_gradient();
  const double norm = std::sqrt(update(updated, learning_rate).item());
  if (!std::isfinite(norm)) fail_norm(parameters_, norm, steps_ + 1);
  count(updated);
  return norm;
}

Tensor Optimizer::start_step(double learning_rate) {
  const std::vector<std::size_t> updated = with_gradient();
  Tensor squares = update(updated, learning_rate);
  count(updated);
  return squares;
}

void Optimizer::check_norm(double squares, std::int64_t step) {
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) fail_norm({}, norm, step);
}

std::vector<std::size_t> Optimizer::with_gradient() const {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].tensor.grad()) all.push_back(i);
  }
  return all;
}

// Where the norm is not finite, neither is the scale, and the update changes nothing.
Tensor Optimizer::update(const std::vector<std::size_t>& updated, double learning_rate) {
  check_value("learning rate", learning_rate, learning_rate >= 0, "at least 0");
  if (updated.empty()) return Tensor::zeros({}, Dtype::f64);
  std::vector<TensorRow> rows;
  std::int64_t count = 0;
  for (const std::size_t i : updated) {
    const Tensor& param = parameters_[i].tensor;
    rows.push_back({.param = address(param),
                    .grad = address(param.grad()),
                    .first = address(first_[i]),
                    .second = address(second_[i]),
                    .count = param.numel(),
                    .step = updates_[i] + 1,
                    .shadow = address(param.kept_shadow())});
    count += param.numel();
  }
  const Device device = parameters_[0].tensor.device();
  const Dtype dtype = parameters_[0].tensor.dtype();
  const Tensor table = table_of(rows, device);
  const auto tensors = static_cast<std::int64_t>(rows.size());
  Tensor squares = Tensor::empty({}, Dtype::f64, device), scale = Tensor::empty({}, Dtype::f64, device);
  dispatch(sum_of_squares, {.dtype = dtype, .count = count, .tensors = tensors},
           {table.view(), squares.view()});
  dispatch(clip_scale, {.clip_norm = options_.clip_norm}, {squares.view(), scale.view()});
  if (options_.name == "sgd") {
    const SgdProblem problem{.dtype = dtype,
                             .count = count,
                             .tensors = tensors,
                             .learning_rate = learning_rate,
                             .momentum = options_.momentum,
                             .weight_decay = options_.weight_decay};
    dispatch(sgd, problem, {table.view(), scale.view()});
  } else {
    const AdamProblem problem{.dtype = dtype,
                              .decoupled = options_.name == "adamw",
                              .count = count,
                              .tensors = tensors,
                              .learning_rate = learning_rate,
                              .beta1 = options_.beta1,
                              .beta2 = options_.beta2,
                              .eps = options_.eps,
                              .weight_decay = options_.weight_decay};
    dispatch(adam, problem, {table.view(), scale.view()});
  }
  return squares;
}

void Optimizer::count(const std::vector<std::size_t>& updated) {
  for (const std::size_t i : updated) {
    ++updates_[i];
    for (const Tensor* changed : {&parameters_[i].tensor, &first_[i], &second_[i]}) {
      if (*changed) ++changed->storage()->version;
    }
    parameters_[i].tensor.mark_shadow_fresh();
  }
  ++steps_;
}

void Optimizer::zero_grad() {
  for (NamedTensor& p : parameters_) p.tensor.zero_grad();
}

std::vector<NamedTensor> Optimizer::state() const {
  std::vector<NamedTensor> all;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (options_.name == "sgd") {
      if (first_[i]) all.push_back(state_entry(parameters_[i], "momentum", first_[i]));
      continue;
    }
    all.push_back(state_entry(parameters_[i], "exp_avg", first_[i]));
    all.push_back(state_entry(parameters_[i], "exp_avg_sq", second_[i]));
    all.push_back(count_entry(parameters_[i].name + "/step", updates_[i]));
  }
  all.push_back(count_entry("steps", steps_));
  return all;
}

void Optimizer::load_state(const std::vector<NamedTensor>& state) {
  std::map<std::string, Tensor> given;
  for (const NamedTensor& s : state) given[s.name] = s.tensor;
  std::vector<std::string> wrong;
  for (const NamedTensor& wanted : this->state()) {
    const auto it = given.find(wanted.name);
    if (it == given.end()) {
      wrong.push_back(fmt::format("'{}' is missing", wanted.name));
    } else if (it->second.shape() != wanted.tensor.shape() || it->second.dtype() != wanted.tensor.dtype()) {
      wrong.push_back(fmt::format("'{}' is {} of {}, needs {} of {}", wanted.name,
                                  to_string(it->second.shape()), name_of(it->second.dtype()),
                                  to_string(wanted.tensor.shape()), name_of(wanted.tensor.dtype())));
    } else if (wanted.tensor.dtype() == Dtype::i64 && *it->second.data<std::int64_t>() < 0) {
      wrong.push_back(
          fmt::format("'{}' is {}, must be at least 0", wanted.name, *it->second.data<std::int64_t>()));
    }
  }
  if (!wrong.empty()) {
    std::string all = fmt::format("this state does not fit the {} optimizer of this model", options_.name);
    for (const std::string& w : wrong) all += "; " + w;
    fail(all);
  }
  const bool is_sgd = options_.name == "sgd";
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    if (first_[i]) first_[i].copy_from(given.at(name + (is_sgd ? "/momentum" : "/exp_avg")));
    if (is_sgd) continue;
    second_[i].copy_from(given.at(name + "/exp_avg_sq"));
    updates_[i] = *given.at(name + "/step").data<std::int64_t>();
  }
  steps_ = *given.at("steps").data<std::int64_t>();
}

}  // namespace fovea
