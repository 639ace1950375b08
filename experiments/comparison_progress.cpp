// See comparison_progress.hpp. What a run's own process has done is read from its metrics.jsonl.
#include "comparison_progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "comparison_runs.hpp"
#include "eval/epoch_log.hpp"
#include "eval/table_text.hpp"
#include "progress.hpp"

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ComparisonProgress::ComparisonProgress(const ComparisonPlan& plan, const RunConfig& shared, std::int64_t jobs,
                                       std::string folder)
    : plan_(plan),
      jobs_(jobs),
      folder_(std::move(folder)),
      runs_(plan.runs.size()),
      terminal_(isatty(STDERR_FILENO) == 1),
      last_(Clock::now()) {
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const RunConfig config = config_of(shared, plan.runs[i]);
    runs_[i].epochs = config.epochs;
    read(i);
    runs_[i].ended =
        state_of_run(fmt::format("{}/runs/{}", folder_, plan.runs[i].name), config) == RunState::finished;
  }
}

ComparisonProgress::~ComparisonProgress() { clear(); }

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
  if (terminal_) return;
  const PlannedRun& r = plan_.runs[run];
  note(fmt::format("{}, fold {}, seed {}: training ({})", plan_.rows[r.row].name, r.fold, r.seed, total()));
}

void ComparisonProgress::ended(std::size_t run, const std::string& failure) {
  read(run);
  runs_[run].ended = true;
  const PlannedRun& r = plan_.runs[run];
  const std::string name = fmt::format("{}, fold {}, seed {}", plan_.rows[r.row].name, r.fold, r.seed);
  if (!failure.empty()) {
    note(fmt::format("{}: failed: {}", name, failure));
  } else if (!terminal_) {
    note(fmt::format("{}: done in {} ({})", name, clock_text(runs_[run].seconds), total()));
  }
}

void ComparisonProgress::show(const std::vector<std::size_t>& running) {
  if (Clock::now() - last_ < (terminal_ ? std::chrono::milliseconds(500) : std::chrono::milliseconds(30000)))
    return;
  last_ = Clock::now();
  for (const std::size_t run : running) read(run);
  std::vector<std::string> lines;
  for (std::size_t row = 0; row < plan_.rows.size(); ++row) {
    const bool here =
        std::any_of(running.begin(), running.end(), [&](std::size_t i) { return plan_.runs[i].row == row; });
    if (terminal_ || here) lines.push_back(line_of(row, running));
  }
  lines.push_back(total());
  draw(lines);
}

void ComparisonProgress::draw(const std::vector<std::string>& lines) {
  clear();
  winsize size{};
  const bool known =
      terminal_ && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && size.ws_row > 1;
  // More lines than the terminal has cannot be drawn over; the last ones say most.
  const std::size_t first = known && lines.size() >= size.ws_row ? lines.size() - size.ws_row + 1 : 0;
  for (std::size_t i = first; i < lines.size(); ++i)
    fmt::print(stderr, "{}\n", known ? lines[i].substr(0, size.ws_col - 1u) : lines[i]);
  std::fflush(stderr);
  drawn_ = terminal_ ? lines.size() - first : 0;
}

void ComparisonProgress::note(const std::string& line) {
  clear();
  fmt::print(stderr, "{}\n", line);
}

void ComparisonProgress::clear() {
  for (; drawn_ > 0; --drawn_) fmt::print(stderr, "\x1b[A\x1b[2K");
}

}  // namespace fovea
