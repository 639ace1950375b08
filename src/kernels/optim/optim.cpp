// optim: the checks, the ports, the costs and the kernel tables. See optim.hpp.
#include "kernels/optim/optim.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "kernels/optim/kernels.hpp"

namespace fovea {
namespace {

void check_size(const char* name, std::int64_t count, std::int64_t tensors) {
  if (count < 0 || tensors < 0) {
    fail(fmt::format("{}: {} elements in {} tensors must be at least 0", name, count, tensors));
  }
}

void check_at_least_zero(const char* op, const char* name, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    fail(fmt::format("{}: {} {} must be finite and at least 0", op, name, value));
  }
}

void check_beta(const char* name, double value) {
  if (!(value >= 0 && value < 1)) fail(fmt::format("adam: {} {} must lie in [0, 1)", name, value));
}

}  // namespace

void AdamProblem::check() const {
  check_size("adam", count, tensors);
  check_at_least_zero("adam", "learning rate", learning_rate);
  check_at_least_zero("adam", "eps", eps);
  check_at_least_zero("adam", "weight decay", weight_decay);
  check_at_least_zero("adam", "gradient scale", grad_scale);
  check_beta("beta1", beta1);
  check_beta("beta2", beta2);
  if (step < 1) fail(fmt::format("adam: step {} must be at least 1", step));
}

void SgdProblem::check() const {
  check_size("sgd", count, tensors);
  check_at_least_zero("sgd", "learning rate", learning_rate);
  check_at_least_zero("sgd", "momentum", momentum);
  check_at_least_zero("sgd", "weight decay", weight_decay);
  check_at_least_zero("sgd", "gradient scale", grad_scale);
}

void SumOfSquaresProblem::check() const { check_size("sum_of_squares", count, tensors); }

void ClipScaleProblem::check() const { check_at_least_zero("clip_scale", "norm", clip_norm); }

namespace {

PortSpec table_port(std::int64_t tensors) {
  return {"table", Role::input, {tensors, TensorRow::columns}, Dtype::i64, false, true};
}

constexpr PortSpec scale_spec{"scale", Role::input, {}, Dtype::f64, true};

PortSpec shadow_port(std::int64_t count) { return {"shadow", Role::update, {count}, Dtype::bf16, true}; }

PortList adam_ports(const AdamProblem& p) {
  if (p.tensors > 0) return {table_port(p.tensors), scale_spec};
  return {{"param", Role::update, {p.count}, p.dtype},
          {"grad", Role::input, {p.count}, p.dtype},
          {"exp_avg", Role::update, {p.count}, p.dtype},
          {"exp_avg_sq", Role::update, {p.count}, p.dtype},
          scale_spec,
          shadow_port(p.count)};
}

PortList sgd_ports(const SgdProblem& p) {
  if (p.tensors > 0) return {table_port(p.tensors), scale_spec};
  return {{"param", Role::update, {p.count}, p.dtype},
          {"grad", Role::input, {p.count}, p.dtype},
          {"momentum", Role::update, {p.count}, p.dtype, p.momentum == 0},
          scale_spec,
          shadow_port(p.count)};
}

PortList sum_ports(const SumOfSquaresProblem& p) {
  const PortSpec result{"result", Role::output, {}, Dtype::f64};
  if (p.tensors > 0) return {table_port(p.tensors), result};
  return {{"x", Role::input, {p.count}, p.dtype}, result};
}

PortList clip_ports(const ClipScaleProblem&) {
  return {{"sum", Role::input, {}, Dtype::f64}, {"scale", Role::output, {}, Dtype::f64}};
}

std::int64_t address(const View& view) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(view.data));
}

std::vector<TensorRow> listed(const View& table) {
  std::vector<TensorRow> rows(static_cast<std::size_t>(table.shape[0]));
  std::memcpy(rows.data(), table.data, rows.size() * sizeof(TensorRow));
  return rows;
}

// Reads and writes per element; the addresses in a table hide them from bytes_of().
template <class P>
Cost traffic(const P& p, double flops, int arrays) {
  const auto count = static_cast<double>(p.count);
  return {flops * count, count * arrays * static_cast<double>(size_of(p.dtype))};
}
Cost adam_cost(const AdamProblem& p) { return traffic(p, 14, 7); }
Cost sgd_cost(const SgdProblem& p) { return traffic(p, 7, p.momentum == 0 ? 3 : 5); }
Cost sum_cost(const SumOfSquaresProblem& p) { return traffic(p, 2, 1); }
Cost clip_cost(const ClipScaleProblem& p) { return {4, bytes_of(clip_ports(p))}; }

// A scalar in, a scalar out, both f64: the problem's dtype says nothing.
bool supports_any(const ClipScaleProblem&) { return true; }

constexpr Kernel adam_kernels[] = {
    FOVEA_CUDA_ROW("multi_tensor", adam_multi_tensor, supports_adam_multi_tensor),
    kernel<&adam_cpu, &supports_f32_f64<AdamProblem>>("cpu", Backend::cpu),
    kernel<&adam_reference, &supports_f32_f64<AdamProblem>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("multi_tensor", adam_multi_tensor, supports_adam_multi_tensor),
};
constexpr Kernel sgd_kernels[] = {
    FOVEA_CUDA_ROW("multi_tensor", sgd_multi_tensor, supports_sgd_multi_tensor),
    kernel<&sgd_cpu, &supports_f32_f64<SgdProblem>>("cpu", Backend::cpu),
    kernel<&sgd_reference, &supports_f32_f64<SgdProblem>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("multi_tensor", sgd_multi_tensor, supports_sgd_multi_tensor),
};
constexpr Kernel sum_kernels[] = {
    FOVEA_CUDA_ROW("multi_tensor", sum_of_squares_multi_tensor, supports_sum_of_squares_multi_tensor),
    kernel<&sum_of_squares_cpu, &supports_f32_f64<SumOfSquaresProblem>>("cpu", Backend::cpu),
    kernel<&sum_of_squares_reference, &supports_f32_f64<SumOfSquaresProblem>>("reference",
                                                                              Backend::reference),
    FOVEA_SIMT_ROW("multi_tensor", sum_of_squares_multi_tensor, supports_sum_of_squares_multi_tensor),
};
constexpr Kernel clip_kernels[] = {
    FOVEA_CUDA_ROW("scalar", clip_scale_scalar, supports_clip_scale_scalar),
    kernel<&clip_scale_reference, &supports_any>("reference", Backend::reference),
    FOVEA_SIMT_ROW("scalar", clip_scale_scalar, supports_clip_scale_scalar),
};

}  // namespace

TensorRow flat_row(const AdamProblem& p, Ports ports) {
  return {address(ports[0]), address(ports[1]), address(ports[2]), address(ports[3]), p.count, p.step,
          address(ports[5])};
}
TensorRow flat_row(const SgdProblem& p, Ports ports) {
  return {address(ports[0]), address(ports[1]), address(ports[2]), 0, p.count, 1, address(ports[4])};
}
TensorRow flat_row(const SumOfSquaresProblem& p, Ports ports) {
  return {.grad = address(ports[0]), .count = p.count};
}

std::vector<TensorRow> tensor_rows(const AdamProblem& p, Ports ports) {
  return p.tensors > 0 ? listed(ports[0]) : std::vector{flat_row(p, ports)};
}
std::vector<TensorRow> tensor_rows(const SgdProblem& p, Ports ports) {
  return p.tensors > 0 ? listed(ports[0]) : std::vector{flat_row(p, ports)};
}
std::vector<TensorRow> tensor_rows(const SumOfSquaresProblem& p, Ports ports) {
  return p.tensors > 0 ? listed(ports[0]) : std::vector{flat_row(p, ports)};
}

constexpr PrimitiveOf<AdamProblem> adam =
    primitive<AdamProblem, &adam_ports, &adam_cost>("adam.update", adam_kernels);
constexpr PrimitiveOf<SgdProblem> sgd =
    primitive<SgdProblem, &sgd_ports, &sgd_cost>("sgd.update", sgd_kernels);
constexpr PrimitiveOf<SumOfSquaresProblem> sum_of_squares =
    primitive<SumOfSquaresProblem, &sum_ports, &sum_cost>("sum_of_squares.forward", sum_kernels);
constexpr PrimitiveOf<ClipScaleProblem> clip_scale =
    primitive<ClipScaleProblem, &clip_ports, &clip_cost>("clip_scale.forward", clip_kernels);

}  // namespace fovea
