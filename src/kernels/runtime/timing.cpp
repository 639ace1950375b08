// See timing.hpp.
#include "kernels/runtime/timing.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/storage.hpp"
#include "kernels/runtime/stream.hpp"

namespace fovea {
namespace {

// `queue` puts all copies on the stream.
template <class Queue>
Timing time_copies(Stream stream, Queue&& queue, const TimingOptions& options) {
  const auto sample_us = [&] {
    Event begin(stream.device), end(stream.device);
    begin.record(stream);
    queue();
    end.record(stream);
    return Event::elapsed_ms(begin, end) * 1e3 / options.copies;
  };
  for (int i = 0; i < options.warm_up; ++i) sample_us();
  const double once_s = sample_us() * options.copies * 1e-6;
  const int affordable = std::max(5, static_cast<int>(options.limit_s / std::max(once_s, 1e-9)));
  std::vector<double> samples;
  for (int i = 0; i < std::min(options.replays, affordable); ++i) samples.push_back(sample_us());
  std::sort(samples.begin(), samples.end());
  return {quantile(samples, 0.5), quantile(samples, 0.1), quantile(samples, 0.9), options.copies,
          static_cast<int>(samples.size())};
}

}  // namespace

double quantile(std::span<const double> sorted, double q) {
  return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
}

Timing time_runs(Device device, const std::function<void(int)>& run, const TimingOptions& options) {
  const Graph graph(device, [&] {
    for (int i = 0; i < options.copies; ++i) run(i);
  });
  const OwnedStream stream(device);
  return time_copies(
      stream.get(), [&] { graph.replay(stream.get()); }, options);
}

Timing time_launches(Device device, const std::function<void(int)>& run, const TimingOptions& options) {
  synchronize(device);  // what the work reads is there
  const OwnedStream stream(device);
  const StreamScope scope(stream.get());
  const auto all = [&] {
    for (int i = 0; i < options.copies; ++i) run(i);
  };
  return time_copies(stream.get(), all, options);
}

double copy_ceiling(Device device, std::size_t bytes) {
  const auto count = static_cast<std::int64_t>(bytes);
  const Storage from(count, device), to(count, device);
  const View source{from.data(), {count}, Dtype::u8, device}, target{to.data(), {count}, Dtype::u8, device};
  fill_bytes(source, 0x3C);
  const Timing t = time_runs(device, [&](int) { copy(target, source, current_stream(device)); },
                             {.copies = 4, .replays = 20});
  return 2.0 * static_cast<double>(bytes) / (t.p10_us * 1e-6);
}

}  // namespace fovea
