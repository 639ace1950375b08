// Cases of rows: repeated, reversed and absent rows, one row, no index at all, rows longer than a block.
#pragma once

#include "autograd/functions.hpp"
#include "cases/case.hpp"
#include "kernels/rows/rows.hpp"

namespace fovea::cases {

inline Tensor row_indices(const std::vector<std::int64_t>& values) {
  return Tensor::from<std::int64_t>(values, {static_cast<std::int64_t>(values.size())}, Dtype::i64);
}

inline void rows_cases(std::vector<PrimitiveCase>& cases) {
  struct Picked {
    const char* label;
    std::int64_t rows, size;
    std::vector<std::int64_t> indices;
    bool distinct = true;
  };
  const std::vector<Picked> all{
      {"one of one", 1, 1, {0}},
      {"all in order", 3, 7, {0, 1, 2}},
      {"some, reversed", 5, 11, {4, 2, 0}},
      {"none", 3, 4, {}},
      {"long rows", 4, 9001, {3, 1}},
      {"repeated", 3, 5, {2, 2, 0, 2}, false},
      {"repeated, long rows", 2, 9001, {1, 1, 1, 0}, false},
      {"whole vectors", 40, 64, {39, 0, 17, 3, 22, 21, 20, 19, 18, 5, 4, 38, 1}},
  };
  for (const Picked& picked : all) {
    const RowsProblem p{
        .rows = picked.rows, .count = static_cast<std::int64_t>(picked.indices.size()), .size = picked.size};
    // `port` is where the primitive takes the indices.
    const auto with_indices = [&](std::size_t port) {
      return std::function<void(const RowsProblem&, PortTensors&)>(
          [indices = picked.indices, port](const RowsProblem&, PortTensors& ports) {
            ports[port] = row_indices(indices);
          });
    };
    cases.push_back(make_case(rows_gather, picked.label, p, with_indices(1)));
    cases.push_back(make_case(rows_gather_backward, picked.label, p, with_indices(0)));
    cases.push_back(make_case(rows_scatter_backward, picked.label, p, with_indices(0)));
    if (picked.distinct) cases.push_back(make_case(rows_scatter, picked.label, p, with_indices(1)));
  }
}

inline void rows_grad_cases(std::vector<GradCase>& cases) {
  const auto x = [] { return std::vector<Tensor>{random_tensor({3, 2, 2}, 1)}; };
  cases.push_back({"rows", "gather, repeated", x, [](const std::vector<Tensor>& in) {
                     return gather_rows(in[0], row_indices({2, 0, 2, 2}));
                   }});
  cases.push_back({"rows", "gather, some", x,
                   [](const std::vector<Tensor>& in) { return gather_rows(in[0], row_indices({1})); }});
  cases.push_back({"rows", "scatter", x, [](const std::vector<Tensor>& in) {
                     return scatter_rows(in[0], row_indices({4, 0, 3}), 6);
                   }});
}

}  // namespace fovea::cases
