// rows: the checks, the ports, the costs and the kernel tables. See rows.hpp.
#include "kernels/rows/rows.hpp"

#include <fmt/format.h>

#include <vector>

#include "kernels/rows/kernels.hpp"

namespace fovea {

void RowsProblem::check() const {
  if (rows < 0 || count < 0 || size < 0) {
    fail(
        fmt::format("rows: {} rows of {} elements and {} indices must all be at least 0", rows, size, count));
  }
}

void check_row_indices(const RowsProblem& p, const std::int64_t* indices) {
  for (std::int64_t i = 0; i < p.count; ++i) {
    if (indices[i] < 0 || indices[i] >= p.rows) {
      fail(fmt::format("rows: index {} at position {} lies outside 0..{}", indices[i], i, p.rows - 1));
    }
  }
}

void check_distinct_row_indices(const RowsProblem& p, const std::int64_t* indices) {
  check_row_indices(p, indices);
  std::vector<bool> seen(static_cast<std::size_t>(p.rows));
  for (std::int64_t i = 0; i < p.count; ++i) {
    const auto at = static_cast<std::size_t>(indices[i]);
    if (seen[at]) {
      fail(fmt::format("rows: index {} occurs twice, at position {} again; a scatter needs distinct indices",
                       indices[i], i));
    }
    seen[at] = true;
  }
}

namespace {

PortSpec whole(const RowsProblem& p, const char* name, Role role) {
  return {name, role, {p.rows, p.size}, p.dtype};
}
PortSpec picked(const RowsProblem& p, const char* name, Role role) {
  return {name, role, {p.count, p.size}, p.dtype};
}
PortSpec indices(const RowsProblem& p) { return {"indices", Role::input, {p.count}, Dtype::i64}; }

PortList gather_ports(const RowsProblem& p) {
  return {whole(p, "x", Role::input), indices(p), picked(p, "y", Role::output)};
}
PortList gather_backward_ports(const RowsProblem& p) {
  return {indices(p), picked(p, "dy", Role::input), whole(p, "dx", Role::output)};
}
PortList scatter_ports(const RowsProblem& p) {
  return {picked(p, "x", Role::input), indices(p), whole(p, "y", Role::output)};
}
PortList scatter_backward_ports(const RowsProblem& p) {
  return {indices(p), whole(p, "dy", Role::input), picked(p, "dx", Role::output)};
}

// Only the rows that indices name are read; where rows are written, all are.
Cost read_cost(const RowsProblem& p) {
  return {
      0, 2.0 * static_cast<double>(p.count * p.size * size_of(p.dtype)) + 8.0 * static_cast<double>(p.count)};
}
Cost write_cost(const RowsProblem& p) {
  return {0, static_cast<double>((p.count + p.rows) * p.size * size_of(p.dtype)) +
                 8.0 * static_cast<double>(p.count)};
}

using P = RowsProblem;
constexpr Kernel gather_kernels[] = {
    FOVEA_CUDA_ROW("vector", rows_gather_vector, supports_rows_vector),
    kernel<&rows_gather_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&rows_gather_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", rows_gather_vector, supports_rows_vector),
};
constexpr Kernel gather_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", rows_gather_backward_vector, supports_rows_vector),
    kernel<&rows_gather_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&rows_gather_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", rows_gather_backward_vector, supports_rows_vector),
};
constexpr Kernel scatter_kernels[] = {
    FOVEA_CUDA_ROW("vector", rows_scatter_vector, supports_rows_vector),
    kernel<&rows_scatter_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&rows_scatter_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", rows_scatter_vector, supports_rows_vector),
};
constexpr Kernel scatter_backward_kernels[] = {
    FOVEA_CUDA_ROW("vector", rows_scatter_backward_vector, supports_rows_vector),
    kernel<&rows_scatter_backward_cpu, &supports_f32_f64<P>>("cpu", Backend::cpu),
    kernel<&rows_scatter_backward_reference, &supports_f32_f64<P>>("reference", Backend::reference),
    FOVEA_SIMT_ROW("vector", rows_scatter_backward_vector, supports_rows_vector),
};

}  // namespace

constexpr PrimitiveOf<P> rows_gather = primitive<P, &gather_ports, &read_cost>("rows.gather", gather_kernels);
constexpr PrimitiveOf<P> rows_gather_backward =
    primitive<P, &gather_backward_ports, &write_cost>("rows.gather_backward", gather_backward_kernels);
constexpr PrimitiveOf<P> rows_scatter =
    primitive<P, &scatter_ports, &write_cost>("rows.scatter", scatter_kernels);
constexpr PrimitiveOf<P> rows_scatter_backward =
    primitive<P, &scatter_backward_ports, &read_cost>("rows.scatter_backward", scatter_backward_kernels);

}  // namespace fovea
