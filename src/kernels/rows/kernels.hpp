// The kernels of rows, for its table, and the checks of indices that they share.
#pragma once

#include "kernels/rows/rows.hpp"

namespace fovea {

/// Error for an index outside [0, rows).
void check_row_indices(const RowsProblem& problem, const std::int64_t* indices);
/// The same, and Error for an index that occurs twice.
void check_distinct_row_indices(const RowsProblem& problem, const std::int64_t* indices);

void rows_gather_reference(const RowsProblem&, Ports, Stream);
void rows_gather_backward_reference(const RowsProblem&, Ports, Stream);
void rows_scatter_reference(const RowsProblem&, Ports, Stream);
void rows_scatter_backward_reference(const RowsProblem&, Ports, Stream);

void rows_gather_cpu(const RowsProblem&, Ports, Stream);
void rows_gather_backward_cpu(const RowsProblem&, Ports, Stream);
void rows_scatter_cpu(const RowsProblem&, Ports, Stream);
void rows_scatter_backward_cpu(const RowsProblem&, Ports, Stream);

// Hand-written CUDA (*.cu), compiled for the host executor and for a device.
FOVEA_IN_BOTH_WORLDS(                                                     //
    bool supports_rows_vector(const RowsProblem&);                        //
    void rows_gather_vector(const RowsProblem&, Ports, Stream);           //
    void rows_gather_backward_vector(const RowsProblem&, Ports, Stream);  //
    void rows_scatter_vector(const RowsProblem&, Ports, Stream);          //
    void rows_scatter_backward_vector(const RowsProblem&, Ports, Stream);)

}  // namespace fovea
