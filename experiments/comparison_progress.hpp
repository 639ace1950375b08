// How far a comparison is: on a terminal a line for each row, drawn in place; elsewhere a line when a run begins or ends,
// and now and then how long it will take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "comparison_plan.hpp"
#include "progress.hpp"
#include "run_config.hpp"

namespace fovea {

class ComparisonProgress {
 public:
  /// `states`: how far each run is, in the order of the plan.
  ComparisonProgress(const ComparisonPlan& plan, const RunConfig& shared, const std::vector<RunState>& states,
                     std::int64_t jobs, std::string folder);

  void started(std::size_t run);
  /// `failure` is empty where it went well.
  void ended(std::size_t run, const std::string& failure);
  /// Reads the logs of what runs now, where it is time to.
  void show(const std::vector<std::size_t>& running);

 private:
  struct Run {
    std::int64_t epochs_done = 0, epochs = 0;
    double seconds = 0;  // of those
    bool ended = false;
  };
  void read(std::size_t run);
  /// Seconds that the runs of a row still take, one after another; NaN where none of the row has finished an epoch.
  double left(std::size_t row) const;
  /// Of all rows, side by side; those that have not begun count as the others do on average.
  double left() const;
  std::string line_of(std::size_t row, const std::vector<std::size_t>& running) const;
  std::string total() const;

  const ComparisonPlan& plan_;
  std::int64_t jobs_;
  std::string folder_;
  std::vector<Run> runs_;
  Progress progress_{std::chrono::seconds(30)};
};

}  // namespace fovea
