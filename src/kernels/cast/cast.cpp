// cast: the check, the ports, the cost and the kernel table. See cast.hpp.
#include "kernels/cast/cast.hpp"

#include <fmt/format.h>

#include "kernels/cast/kernels.hpp"

namespace fovea {

void CastProblem::check() const {
  if (count < 0) fail(fmt::format("cast: {} elements must be at least 0", count));
  if (!is_floating(dtype) || !is_floating(from)) {
    fail(fmt::format("cast: {} to {} is not between floating types", name_of(from), name_of(dtype)));
  }
}

namespace {

PortList ports_of(const CastProblem& p) {
  return {{"x", Role::input, {p.count}, p.from}, {"y", Role::output, {p.count}, p.dtype}};
}

Cost cost(const CastProblem& p) { return {0, bytes_of(ports_of(p))}; }

using P = CastProblem;
constexpr bool supports_all(const P&) { return true; }

constexpr Kernel forward_kernels[] = {
    FOVEA_CUDA_ROW("vector", cast_forward_vector, supports_cast_vector),
    kernel<&cast_forward_cpu, &supports_all>("cpu", Backend::cpu),
    kernel<&cast_forward_reference, &supports_all>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", cast_forward_vector, supports_cast_vector),
};

}  // namespace

constexpr PrimitiveOf<P> cast_forward = primitive<P, &ports_of, &cost>("cast.forward", forward_kernels);

}  // namespace fovea
