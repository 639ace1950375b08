// concat, row by row: each row of each part is one contiguous copy, so y (or dy) is walked once, in order.
#include <algorithm>
#include <cstring>

#include "kernels/concat/kernels.hpp"
#include "kernels/cpu/parallel.hpp"

namespace fovea {
namespace {

std::byte* at(const View& view, std::int64_t bytes) { return static_cast<std::byte*>(view.data) + bytes; }

// Calls copy(part, offset in the part, offset in y, bytes) for every row of every part, in parallel over
// rows.
template <class F>
void for_each_piece(const ConcatProblem& p, F&& copy) {
  const std::int64_t size = size_of(p.dtype), row_bytes = p.total() * size;
  const std::int64_t block = std::max<std::int64_t>(1, 65536 / row_bytes);
  parallel_blocks(p.rows, block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::int64_t offset = r * row_bytes;
      for (std::size_t part = 0; part < static_cast<std::size_t>(p.parts); ++part) {
        const std::int64_t bytes = p.channels[part] * size;
        copy(part, r * bytes, offset, static_cast<std::size_t>(bytes));
        offset += bytes;
      }
    }
  });
}

}  // namespace

void concat_forward_cpu(const ConcatProblem& p, Ports ports, Stream) {
  const View& y = ports[static_cast<std::size_t>(p.parts)];
  for_each_piece(p, [&](std::size_t part, std::int64_t from, std::int64_t to, std::size_t bytes) {
    std::memcpy(at(y, to), at(ports[part], from), bytes);
  });
}

void concat_backward_cpu(const ConcatProblem& p, Ports ports, Stream) {
  const View& dy = ports[0];
  for_each_piece(p, [&](std::size_t part, std::int64_t to, std::int64_t from, std::size_t bytes) {
    const View& dx = ports[part + 1];
    if (dx) std::memcpy(at(dx, to), at(dy, from), bytes);
  });
}

}  // namespace fovea
