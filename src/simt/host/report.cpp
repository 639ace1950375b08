// The words of reports: who, where, what they wait for.
#include <map>

#include "simt/host/executor.hpp"

namespace simt::detail {

std::string to_string(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string to_string(Site site) {
  if (site.file == nullptr) return "an unknown line";
  const std::string path = site.file;
  const std::size_t slash = path.rfind('/');
  return (slash == std::string::npos ? path : path.substr(slash + 1)) + ":" + std::to_string(site.line);
}

std::string thread_name(const Fiber& fiber) {
  return "thread " + to_string(fiber.thread) + " of block " + to_string(fiber.block().index);
}

const char* name_of(WarpOp op) {
  switch (op) {
    case WarpOp::syncwarp:
      return "__syncwarp";
    case WarpOp::shuffle:
      return "a warp shuffle";
    case WarpOp::vote:
      return "a warp vote";
    case WarpOp::ldmatrix:
      return "ldmatrix";
    case WarpOp::mma:
      return "mma.sync";
    case WarpOp::wgmma:
      return "a wgmma instruction";
  }
  return "a warp collective";
}

std::string describe_wait(const Fiber& fiber) {
  const std::string at = " at " + to_string(fiber.site);
  switch (fiber.wait) {
    case Wait::nothing:
      return "can run, last seen" + at;
    case Wait::warp: {
      char mask[16];
      std::snprintf(mask, sizeof mask, "0x%08x", fiber.mask);
      return std::string("wait in ") + name_of(fiber.op) + " (mask " + mask + ")" + at;
    }
    case Wait::block:
      return "wait in __syncthreads()" + at;
    case Wait::cluster:
      return "wait in cluster_sync()" + at;
    case Wait::named:
      return "wait in a named barrier" + at;
    case Wait::mbarrier:
      return "wait for an mbarrier (" + mbarrier_state(fiber.wait_object) + ")" + at;
    case Wait::warpgroup:
      return "wait for the other warps of a warpgroup" + at;
    case Wait::exited:
      return "have exited";
  }
  return "are lost";
}

std::string full_report(const std::string& what, Site site) {
  const Cluster* cluster = current_cluster;
  if (cluster == nullptr) return what;
  std::string text = "kernel '" + std::string(cluster->job->name.text) + "': " + what;
  if (site.file != nullptr) text += ", at " + to_string(site);
  if (cluster->running != nullptr) text += ", by " + thread_name(*cluster->running);
  return text;
}

std::string deadlock_report(const Cluster& cluster) {
  struct Group {
    unsigned count = 0;
    std::string first;
  };
  std::map<std::string, Group> groups;
  for (const Fiber& f : cluster.fibers) {
    Group& group = groups[describe_wait(f)];
    if (group.count++ == 0) group.first = thread_name(f);
  }
  std::string text = "kernel '" + std::string(cluster.job->name.text) + "': deadlock, " +
                     std::to_string(cluster.live) + " of " + std::to_string(cluster.fibers.size()) +
                     " threads wait for what will never happen:";
  for (const auto& [what, group] : groups) {
    text += "\n  " + std::to_string(group.count) + " " + what + " (the first is " + group.first + ")";
  }
  return text;
}

}  // namespace simt::detail
