// The plan cache: what a library offered for every problem it was asked for, what each plan took, and which one is
// taken. One JSON file for each device and version of the libraries, to be read, shared, compared and edited:
//
//   ${FOVEA_PLAN_CACHE:-~/.cache/fovea}/plans-NVIDIA-H200-cudnn-9.19.0-cublaslt-13.1.0.json
//
// A plan with "pinned": true is taken whatever else the file says. The file is written whole or not at all. One that is
// damaged, too large or made by other versions is put aside under the name with .bad after it, and measuring begins
// anew.
//
// Which plan is taken is a function of the entry and of today's limits, so a limit that changes throws nothing away.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/planned.hpp"

namespace fovea {

/// Microseconds of one run.
struct PlanTime {
  double median_us = 0, p10_us = 0, p90_us = 0;
  bool operator==(const PlanTime&) const = default;
};

struct PlanRecord {
  PlanInfo info;
  std::optional<PlanTime> time;  // none: not measured, since the limits of the time left it out
  std::string failure;           // of building or running it; such a plan is not tried again
  bool pinned = false;
  bool operator==(const PlanRecord&) const = default;
};

struct PlanEntry {
  std::string op;       // "conv2d.forward"
  std::string problem;  // canonical text of all that determines the work
  double flops = 0, bytes = 0;
  std::vector<PlanRecord> plans;
  std::string refusal = {};  // where there is no plan: why, in the library's words
  bool operator==(const PlanEntry&) const = default;
};

/// What a user allows.
struct PlanLimits {
  std::int64_t workspace = std::int64_t{1} << 30;
  bool deterministic = true;  // only plans that repeat bit by bit
  bool tf32 = false;          // also plans that multiply f32 in TF32
  bool measure =
      true;  // false: of what was never measured, the library's first allowed plan that can be built
  bool operator==(const PlanLimits&) const = default;
};

/// Of the process; set before anything runs.
const PlanLimits& plan_limits();
void set_plan_limits(const PlanLimits& limits);

/// Empty, or why the limits leave this plan out: "needs 2.0 GiB of workspace", "not deterministic", "TF32",
/// "approximate".
std::string why_left_out(const PlanInfo& plan, const PlanLimits& limits);

/// The plan to take: a pinned one, else the fastest that the limits allow. None where none was measured.
std::optional<std::size_t> chosen_plan(const PlanEntry& entry, const PlanLimits& limits);

/// Whether a plan is allowed, not known to fail, and not measured; never where one is pinned.
bool must_measure(const PlanEntry& entry, const PlanLimits& limits);

/// Measures plans, of which `plan` is the number in the entry.
class PlanTimer {
 public:
  virtual ~PlanTimer() = default;
  /// Builds a plan and runs it once. Throws Error where the plan cannot do that.
  virtual void try_out(std::size_t plan) = 0;
  /// Throws where the device itself no longer works, so that an Error of try_out() says nothing about the plan.
  virtual void check_device() = 0;
  /// Of a plan that was tried out.
  virtual PlanTime time(std::size_t plan) = 0;
};

/// Measures every plan of the entry that must be. One that cannot be built or run is noted as failed, for good; one for
/// which memory ran out, or whose timing went wrong, stays unmeasured. The last such Error, if there was one, is for the
/// caller who is left without a plan. What the device says once it is lost is thrown.
std::exception_ptr measure_plans(PlanEntry& entry, const PlanLimits& limits, PlanTimer& timer);

/// The entry with the plans that the library offers now, in its order: times, failures and pins of those it had before
/// are kept, plans that are gone are dropped. Throws Error where a pinned plan is gone.
PlanEntry with_plans(PlanEntry entry, std::span<const PlanInfo> offered);

/// Of whom a file is.
struct PlanFileHeader {
  std::string device, cudnn, cublaslt;
  bool operator==(const PlanFileHeader&) const = default;
};

/// Rates of the device, for floors: of plain copies (read and write), and of products, as kernel_bench has them.
struct DeviceRates {
  double copy_bytes_per_s = 0;  // 0: not measured
  double bf16_flops = 790e12, f32_flops = 67e12;
};

/// The least microseconds of a problem: its bytes at the copy rate or its operations, whichever takes longer. 0 where
/// neither is known: parts of a kernel have no floor of their own.
double floor_us(const PlanEntry& entry, const DeviceRates& rates);

class PlanFile {
 public:
  /// Reads the file where there is one. Throws Error with one sentence where it cannot be used: damaged, a key or a
  /// problem twice, too large, nested too deep, of another format, or of another device or version than `header`.
  PlanFile(std::string path, PlanFileHeader header);

  /// As the constructor; a file that cannot be used is renamed to PATH.bad, `complaint` gets the sentence, and the
  /// result is empty.
  static PlanFile open(const std::string& path, const PlanFileHeader& header, std::string& complaint);
  /// Whatever header it has: for those who only read.
  static PlanFile read(const std::string& path);

  const std::string& path() const { return path_; }
  const PlanFileHeader& header() const { return header_; }
  const std::vector<PlanEntry>& entries() const { return entries_; }
  /// What kernel_bench read on the device; 0: not known.
  double copy_bytes_per_s() const { return copy_bytes_per_s_; }
  void set_copy_rate(double bytes_per_s) { copy_bytes_per_s_ = bytes_per_s; }
  const PlanEntry* find(std::string_view op, std::string_view problem) const;
  void put(const PlanEntry& entry);
  /// Reads the file again, and keeps what was put here since the last save. Pins are as they stand on the disk, and so is
  /// what another process has measured. The result is empty, or why what lies there cannot be used; then it is put aside
  /// as open() does.
  std::string reload();
  /// Writes the file, after a reload() with whose result it answers; one writer at a time.
  std::string save();

  static constexpr std::size_t most_bytes = std::size_t{64} << 20;

 private:
  PlanFile() = default;
  void load(bool any_header);

  std::string path_;
  PlanFileHeader header_;
  std::vector<PlanEntry> entries_;
  std::vector<PlanEntry> put_;  // since the last save
  double copy_bytes_per_s_ = 0;
};

/// ${FOVEA_PLAN_CACHE}, else cache_folder() (machine.hpp); Error where there is neither.
std::string plan_folder();
/// PLAN_FOLDER/plans-DEVICE-cudnn-VERSION-cublaslt-VERSION.json
std::string plan_path(const PlanFileHeader& header);

}  // namespace fovea
