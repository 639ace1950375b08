// cast, a plain loop: the definition.
#include "kernels/cast/kernels.hpp"

namespace fovea {

void cast_forward_reference(const CastProblem& p, Ports ports, Stream) {
  visit_any(p.from, [&](auto from) {
    visit_any(p.dtype, [&](auto to) {
      const auto* x = ports[0].as<decltype(from)>();
      auto* y = ports[1].as<decltype(to)>();
      for (std::int64_t i = 0; i < p.count; ++i) y[i] = static_cast<decltype(to)>(x[i]);
    });
  });
}

}  // namespace fovea
