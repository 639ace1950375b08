// See comparison_progress.hpp. What a run's own process has done is read from its metrics.jsonl.
#include "comparison_progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "comparison_runs.hpp"
#include "eval/epoch_log.hpp"
#include "eval/table_text.hpp"

namespace fovea {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ComparisonProgress::ComparisonProgress(const ComparisonPlan& plan, const RunConfig& shared,
                                       const std::vector<RunState>& states, std::int64_t jobs,
                                       std::string folder)
    : plan_(plan), jobs_(jobs), folder_(std::move(folder)), runs_(plan.runs.size()) {
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    runs_[i].epochs = config_of(shared, plan.runs[i]).epochs;
    runs_[i].ended = states[i] == RunState::finished;
    read(i);
  }
}

void ComparisonProgress::read(std::size_t run) {
  Run& r = runs_[run];
  r.epochs_done = 0;
  r.seconds = 0;
  for (const EpochRow& row :
       read_epoch_log(fmt::format("{}/runs/{}/metrics.jsonl", folder_, plan_.runs[run].name))) {
    ++r.epochs_done;
    r.seconds += row.seconds;
  }
}

double ComparisonProgress::left(std::size_t row) const {
  double seconds = 0, epochs = 0, epochs_left = 0;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (plan_.runs[i].row != row) continue;
    seconds += runs_[i].seconds;
    epochs += static_cast<double>(runs_[i].epochs_done);
    if (!runs_[i].ended) epochs_left += static_cast<double>(runs_[i].epochs - runs_[i].epochs_done);
  }
  if (epochs_left == 0) return 0;
  return epochs > 0 ? seconds / epochs * epochs_left : unknown;
}

double ComparisonProgress::left() const {
  double sum = 0, known = 0;
  for (std::size_t row = 0; row < plan_.rows.size(); ++row) {
    const double seconds = left(row);
    if (std::isnan(seconds)) continue;
    sum += seconds;
    known += 1;
  }
  if (known == 0) return unknown;
  return sum / known * static_cast<double>(plan_.rows.size()) / static_cast<double>(jobs_);
}

std::string ComparisonProgress::total() const {
  const auto done = std::count_if(runs_.begin(), runs_.end(), [](const Run& r) { return r.ended; });
  const double seconds = left();
  return fmt::format(
      "{} of {} trainings done{}", done, runs_.size(),
      std::isnan(seconds) || seconds == 0 ? "" : fmt::format(", about {} left", clock_text(seconds)));
}

std::string ComparisonProgress::line_of(std::size_t row, const std::vector<std::size_t>& running) const {
  std::size_t done = 0, all = 0, width = 0;
  for (const ComparedRow& r : plan_.rows) width = std::max(width, width_of(r.name));
  std::string now;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    if (plan_.runs[i].row != row) continue;
    ++all;
    done += runs_[i].ended;
    if (std::find(running.begin(), running.end(), i) == running.end()) continue;
    now += fmt::format("  fold {} seed {}: epoch {}/{}", plan_.runs[i].fold, plan_.runs[i].seed,
                       runs_[i].epochs_done, runs_[i].epochs);
  }
  const double seconds = left(row);
  const std::string time = seconds == 0          ? ""
                           : std::isnan(seconds) ? "  left ?"
                                                 : "  left " + clock_text(seconds);
  return fmt::format("{}  {}/{}{}{}", padded(plan_.rows[row].name, width), done, all, time, now);
}

void ComparisonProgress::started(std::size_t run) {
  if (progress_.on_terminal()) return;
  const PlannedRun& r = plan_.runs[run];
  progress_.note(
      fmt::format("{}, fold {}, seed {}: training ({})", plan_.rows[r.row].name, r.fold, r.seed, total()));
}

void ComparisonProgress::ended(std::size_t run, const std::string& failure) {
  read(run);
  runs_[run].ended = true;
  const PlannedRun& r = plan_.runs[run];
  const std::string name = fmt::format("{}, fold {}, seed {}", plan_.rows[r.row].name, r.fold, r.seed);
  if (!failure.empty()) {
    progress_.note(fmt::format("{}: failed: {}", name, failure));
  } else if (!progress_.on_terminal()) {
    progress_.note(fmt::format("{}: done in {} ({})", name, clock_text(runs_[run].seconds), total()));
  }
}

void ComparisonProgress::show(const std::vector<std::size_t>& running) {
  if (!progress_.due()) return;
  for (const std::size_t run : running) read(run);
  std::vector<std::string> lines;
  for (std::size_t row = 0; row < plan_.rows.size(); ++row) {
    const bool here =
        std::any_of(running.begin(), running.end(), [&](std::size_t i) { return plan_.runs[i].row == row; });
    if (progress_.on_terminal() || here) lines.push_back(line_of(row, running));
  }
  lines.push_back(total());
  progress_.update(lines);
}

}  // namespace fovea
