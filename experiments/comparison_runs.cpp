// See comparison_runs.hpp.
#include "comparison_runs.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "child_process.hpp"
#include "commands.hpp"
#include "comparison_progress.hpp"
#include "data/csv.hpp"
#include "interrupts.hpp"
#include "kernels/runtime/device_api.hpp"
#include "kernels/runtime/error.hpp"
#include "results.hpp"
#include "run_folder.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t bytes_per_job = std::int64_t{4} << 30;

// What Linux says can be had without swapping; 0: not known.
std::int64_t available_bytes() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("MemAvailable:")) return std::strtoll(line.c_str() + 13, nullptr, 10) * 1024;
  }
  return 0;
}

// Keys that do not change what a run is, or that the set decides.
bool may_differ(const std::string& key) {
  return may_change(key) || key == "threads" || key == "classes" || key == "class_names";
}

void check_same(const std::string& folder, const RunConfig& stored, const RunConfig& planned) {
  const auto before = all_keys(stored), now = all_keys(planned);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].second == now[i].second || may_differ(before[i].first)) continue;
    fail_usage(fmt::format(
        "{} was trained with {} = '{}', not '{}'; repeat the earlier value, or name another --output", folder,
        before[i].first, before[i].second, now[i].second));
  }
}

struct Job {
  std::size_t run;
  std::size_t place;  // among the devices
  std::unique_ptr<ChildProcess> process;
};

class Workers {
 public:
  Workers(const ComparisonPlan& plan, const RunConfig& shared, const std::vector<RunState>& states,
          const SideBySide& how, const std::string& folder, std::vector<std::string>& failures)
      : plan_(plan),
        states_(states),
        how_(how),
        folder_(folder),
        keep_(shared.keep),
        failures_(failures),
        progress_(plan, shared, states, how.jobs, folder) {
    failures_.assign(plan.runs.size(), "");
    for (std::size_t i = 0; i < plan.runs.size(); ++i) {
      if (states[i] != RunState::finished) waiting_.push_back(i);
    }
    for (std::size_t place = 0; place < static_cast<std::size_t>(how.jobs); ++place)
      free_places_.push_back(place);
  }

  bool run() {
    while (!waiting_.empty() || !jobs_.empty()) {
      if (interrupted()) return stop();
      while (!waiting_.empty() && !free_places_.empty()) start();
      for (std::size_t j = jobs_.size(); j-- > 0;) {
        if (const std::optional<int> code = jobs_[j].process->poll()) end(j, *code);
      }
      progress_.show(running());
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return true;
  }

 private:
  std::string run_folder(std::size_t i) const {
    return fmt::format("{}/runs/{}", folder_, plan_.runs[i].name);
  }
  std::string log_of(std::size_t i) const {
    std::string name = plan_.runs[i].name;
    std::replace(name.begin(), name.end(), '/', '-');
    return fmt::format("{}/logs/{}.log", folder_, name);
  }
  std::vector<std::size_t> running() const {
    std::vector<std::size_t> runs;
    for (const Job& job : jobs_) runs.push_back(job.run);
    return runs;
  }

  std::vector<std::string> arguments_of(std::size_t i) const {
    if (states_[i] == RunState::begun) return {"train", "--resume", run_folder(i), "--keep", keep_};
    std::vector<std::string> arguments{"train", "-c", folder_ + "/config.toml", "--output", run_folder(i)};
    std::vector<std::string> assignments = plan_.runs[i].assignments;
    assignments.push_back(fmt::format("threads={}", how_.threads));
    for (const std::string& assignment : assignments) {
      arguments.emplace_back("--set");
      arguments.push_back(assignment);
    }
    return arguments;
  }

  void start() {
    const std::size_t i = waiting_.front(), place = free_places_.front();
    waiting_.pop_front();
    free_places_.pop_front();
    fs::create_directories(fs::path(run_folder(i)).parent_path());
    fs::create_directories(folder_ + "/logs");
    fs::remove(log_of(i));
    std::vector<std::pair<std::string, std::string>> environment;
    if (!how_.devices.empty()) environment.emplace_back("CUDA_VISIBLE_DEVICES", how_.devices.at(place));
    jobs_.push_back({i, place, std::make_unique<ChildProcess>(arguments_of(i), environment, log_of(i))});
    progress_.started(i);
  }

  void end(std::size_t j, int code) {
    const std::size_t i = jobs_[j].run;
    free_places_.push_back(jobs_[j].place);
    jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(j));
    if (code != exit_done) {
      failures_[i] = failure_in(log_of(i));
      if (failures_[i].empty())
        failures_[i] = fmt::format("it ended with exit code {} (see {})", code, log_of(i));
    }
    progress_.ended(i, failures_[i]);
  }

  // Every training saves its state and ends.
  bool stop() {
    for (const Job& job : jobs_) job.process->interrupt();
    jobs_.clear();
    return false;
  }

  const ComparisonPlan& plan_;
  const std::vector<RunState>& states_;
  const SideBySide& how_;
  const std::string folder_, keep_;
  std::vector<std::string>& failures_;
  std::deque<std::size_t> waiting_, free_places_;
  std::vector<Job> jobs_;
  ComparisonProgress progress_;
};

}  // namespace

SideBySide decide_side_by_side(std::int64_t jobs, std::int64_t threads, std::int64_t processors,
                               std::int64_t free_bytes, std::int64_t cuda_devices,
                               const std::string& visible_devices) {
  SideBySide how;
  if (cuda_devices > 0) {
    const std::vector<std::string> names = split_cell(visible_devices, ',');
    how.jobs = jobs > 0 ? std::min(jobs, cuda_devices) : cuda_devices;
    for (std::int64_t i = 0; i < how.jobs; ++i) {
      const auto place = static_cast<std::size_t>(i);
      how.devices.push_back(place < names.size() ? names[place] : fmt::format("{}", i));
    }
  } else if (jobs > 0) {
    how.jobs = jobs;
  } else {
    how.jobs = std::max<std::int64_t>(1, processors / 2);
    if (free_bytes > 0) how.jobs = std::clamp<std::int64_t>(free_bytes / bytes_per_job, 1, how.jobs);
  }
  how.threads = threads > 0 ? threads : std::max<std::int64_t>(1, processors / how.jobs);
  return how;
}

SideBySide side_by_side(std::int64_t jobs, std::int64_t threads, bool cuda) {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return decide_side_by_side(jobs, threads, ::sysconf(_SC_NPROCESSORS_ONLN), available_bytes(),
                             cuda && !device_api::is_emulated() ? device_api::ask_driver().devices : 0,
                             visible == nullptr ? "" : visible);
}

RunConfig config_of(const RunConfig& shared, const PlannedRun& run) {
  RunConfig config = shared;
  for (const std::string& assignment : run.assignments) set_assignment(config, assignment);
  resolve(config);
  return config;
}

std::vector<RunState> states_of(const ComparisonPlan& plan, const RunConfig& shared,
                                const std::string& folder) {
  std::vector<RunState> states;
  for (const PlannedRun& planned : plan.runs) {
    const RunFolder run(fmt::format("{}/runs/{}", folder, planned.name));
    states.push_back(RunState::fresh);
    if (!run.has("config.toml")) continue;
    RunConfig stored = run.config();
    resolve(stored);
    check_same(run.path(), stored, config_of(shared, planned));
    states.back() = run.has(last_of_results) ? RunState::finished : RunState::begun;
  }
  return states;
}

std::string failure_in(const std::string& log) {
  std::ifstream in(log);
  std::string last;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("fovea: ")) last = line.substr(7);
  }
  return last;
}

bool train_all(const ComparisonPlan& plan, const RunConfig& shared, const std::vector<RunState>& states,
               const SideBySide& how, const std::string& folder, std::vector<std::string>& failures) {
  return Workers(plan, shared, states, how, folder, failures).run();
}

}  // namespace fovea
