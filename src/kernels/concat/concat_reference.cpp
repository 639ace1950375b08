// concat, plain loops: the definition.
#include "kernels/concat/kernels.hpp"

namespace fovea {
namespace {

// Calls f(part, index in the part, index in y) for every element.
template <class F>
void for_each_element(const ConcatProblem& p, F&& f) {
  const std::int64_t total = p.total();
  std::int64_t offset = 0;
  for (std::size_t part = 0; part < static_cast<std::size_t>(p.parts); ++part) {
    const std::int64_t channels = p.channels[part];
    for (std::int64_t r = 0; r < p.rows; ++r) {
      for (std::int64_t c = 0; c < channels; ++c) f(part, r * channels + c, r * total + offset + c);
    }
    offset += channels;
  }
}

}  // namespace

void concat_forward_reference(const ConcatProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* y = ports[static_cast<std::size_t>(p.parts)].as<T>();
    for_each_element(
        p, [&](std::size_t part, std::int64_t from, std::int64_t to) { y[to] = ports[part].as<T>()[from]; });
  });
}

void concat_backward_reference(const ConcatProblem& p, Ports ports, Stream) {
  visit_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* dy = ports[0].as<T>();
    for_each_element(p, [&](std::size_t part, std::int64_t to, std::int64_t from) {
      if (T* dx = ports[part + 1].as<T>()) dx[to] = dy[from];
    });
  });
}

}  // namespace fovea
