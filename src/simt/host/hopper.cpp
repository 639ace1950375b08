// Work of a cluster that runs beside its threads, as the executor sees it: what is due when nothing else can
// run, and what must not be left at the end.
#include "simt/host/async_work.hpp"

namespace simt::detail {

AsyncWork& async_work() {
  std::shared_ptr<AsyncWork>& work = current_cluster->async;
  if (work == nullptr) work = std::make_shared<AsyncWork>();
  return *work;
}

bool complete_pending(Cluster& cluster) {
  if (cluster.async == nullptr) return false;
  const auto any_ready = [&] {
    for (const Warp& warp : cluster.warps) {
      if (warp.ready != 0) return true;
    }
    return false;
  };
  while (perform_awaited_load(cluster)) {
    if (any_ready()) return true;
  }
  return answer_testers(*cluster.async);
}

void async_end(Cluster& cluster) {
  const std::shared_ptr<AsyncWork> work = std::move(cluster.async);
  cluster.async = nullptr;
  if (work == nullptr || cluster.error != nullptr) return;
  end_copies(*work);
  end_products(*work);
}

}  // namespace simt::detail
