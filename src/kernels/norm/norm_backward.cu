// batch_norm backward by columns: normalise.hpp's gradients of one tensor. dx may be dy: a thread writes what it alone
// has read.
//
// Traffic: Cost's bytes, and x and dy once more where they do not stay in the second-level cache; with running statistics
// Cost's bytes. Launch: see normalise.cu.
#include "kernels/cuda/normalise.hpp"
#include "kernels/norm/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

void backward(const BatchNormProblem& p, Ports ports, bool constant, Stream stream) {
  visit_element(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const ChannelInputs<A> in{ports[2].as<A>(), ports[3].as<A>(), ports[4].as<A>(), ports[5].as<A>(),
                              constant ? A(p.eps) : A(-1)};
    const bool whole = p.x_slice.begins_at_multiples(p.channels, vector_of<T>) &&
                       p.y_slice.begins_at_multiples(p.channels, vector_of<T>);
    const NormGradients<T> t{
        .at = {{p.x_slice.first_of<T>(ports[0]), p.y_slice.first_of<T>(ports[1]),
                p.x_slice.first_of<T>(ports[6]), in, ports[7].as<A>(), ports[8].as<A>()}},
        .x_pitch = p.x_slice.pitch(p.channels),
        .dy_pitch = p.y_slice.pitch(p.channels),
        .relu = p.relu != 0,
        .constant = constant,
        .accumulate = p.accumulate != 0,
        .aligned = whole && aligned_16(ports)};
    normalise_backward("batch_norm.backward columns", t, 1, p.rows, p.channels, stream);
  });
}

}  // namespace

void batch_norm_backward_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  backward(p, ports, false, stream);
}

void batch_norm_backward_inference_columns(const BatchNormProblem& p, Ports ports, Stream stream) {
  backward(p, ports, true, stream);
}

}  // namespace fovea::SIMT_WORLD
