// Ledger: how far the kernels of a run are from exact arithmetic, sampled over its steps (`--ledger`).
//
// Every K-th step one dispatch of each primitive and problem runs once more after the kernel: its reference in fp64 on the
// host, on fp64 copies of the same inputs. What differs is the kernel's own rounding at that place of the run: errors
// that earlier kernels made are in the inputs, so they do not add up.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernels/runtime/difference.hpp"
#include "kernels/runtime/observed.hpp"

namespace fovea {

class Ledger {
 public:
  struct Sample {
    std::int64_t step = 0;
    std::string primitive, kernel, problem, port;  // the port that is furthest off
    Difference difference;                         // the largest of each measure over the outputs
  };

  /// Samples step 1 and every `every`-th after it.
  void start(std::int64_t every);
  void clear();
  bool on() const { return every_ > 0; }
  std::int64_t every() const { return every_; }

  void begin_step(std::int64_t step);
  void end_step() { sampling_ = false; }
  /// Whether this dispatch is to be sampled: asked once, then no more in this step.
  bool due(const Dispatched& dispatched);

  void add(Sample sample) { samples_.push_back(std::move(sample)); }
  const std::vector<Sample>& samples() const { return samples_; }
  /// Primitives that were not sampled, and why.
  const std::map<std::string, std::string>& left_out() const { return left_out_; }
  double seconds() const { return seconds_; }
  void add_seconds(double seconds) { seconds_ += seconds; }

 private:
  std::int64_t every_ = 0;
  bool sampling_ = false;
  std::set<std::string> seen_;  // in this step
  std::vector<Sample> samples_;
  std::map<std::string, std::string> left_out_;
  double seconds_ = 0;
};

/// Of the process.
Ledger& ledger();

/// The reference of one dispatch.
class LedgerRun {
 public:
  /// Before the kernel, which may overwrite its inputs.
  explicit LedgerRun(const Dispatched& dispatched);
  /// After it.
  void compare();

 private:
  const Dispatched& d_;
  std::shared_ptr<const void> problem_;
  PortList specs_;
  std::vector<std::unique_ptr<Storage>> storage_;
  std::vector<View> views_;
  double seconds_ = 0;
};

}  // namespace fovea
