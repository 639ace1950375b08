// A profile for people and for programs: a table on a terminal, JSON, and a section of a report page with the roofline
// and the time line of a step. What the columns mean: docs/profile.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/runtime/profile.hpp"

namespace fovea {

/// What was profiled.
struct ProfileFacts {
  std::string model, device, dtype, mode;  // mode: "training" | "inference"
  std::int64_t batch = 0, height = 0, width = 0;
  int threads = 0, warm_up = 0;
  std::int64_t memory_peak = 0;  // bytes of tensors
};

/// A profile with what it is read against.
struct ProfileView {
  const Profile& profile;
  const Peaks& peaks;
  const ProfileFacts& facts;
  ProfileBy by = ProfileBy::kernel;
  Dtype dtype = Dtype::f32;  // whose ceiling the step is held against
};

/// Achieved operations per second of the step, as a share of the type's ceiling.
double utilisation(const ProfileView& view);

/// The step, its parts, and at most `most` rows, the rest of them summed up in one.
std::string profile_table(const ProfileView& view, std::size_t most);

/// step_seconds, ops[] with name kernel calls self_seconds flops bytes floor_share, and what was measured around them.
std::string profile_json(const ProfileView& view);

/// HTML for within a page: facts, roofline, time line, table.
std::string profile_section(const ProfileView& view);

/// That section as a page.
std::string profile_page(const ProfileView& view);

}  // namespace fovea
