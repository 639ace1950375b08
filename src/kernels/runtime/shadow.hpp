// Shadows: A/B of two kernels inside a real run (`--ab ham.backward=fused,composed`).
//
// At a dispatch of a paired primitive the first kernel runs, and its outputs are the run's; the second, its shadow, runs on
// copies of the same inputs. Their outputs are compared (difference.hpp) and so are their times. Which of the two
// goes first alternates from call to call, so that a warm cache favours neither. The first call of a problem makes plans
// and touches new memory: where there were others, its times do not count.
//
// One row per primitive and problem, which is its shapes and dtypes.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/runtime/difference.hpp"
#include "kernels/runtime/observed.hpp"

namespace fovea {

struct ShadowOptions {
  std::int64_t every = 1;  // steps
  double bound = 0;        // of Difference::largest(); 0: none
  /// Gets a sentence once for each row that passes the bound.
  std::function<void(const std::string&)> report = {};
};

/// The median of ratios and what lies around it; zeros of none.
struct Spread {
  double p10 = 0, median = 0, p90 = 0;
};
Spread spread_of(std::vector<double> values);

class Shadows {
 public:
  struct Row {
    std::string primitive, first, second, problem;
    std::int64_t runs = 0;
    Difference difference;        // the largest of each measure over all calls; `a` is the second kernel's
    std::string port, index;      // where `relative` (of integers `share`) was largest
    std::int64_t worst_step = 0;  // and when
    std::vector<double> ratios;   // time of the second over that of the first, per call
    std::int64_t passed_at = 0;   // the first step at which the bound was passed; 0: never
    Spread ratio() const;         // without the first call, where there are others
  };
  struct Pair {
    const Primitive* primitive;
    std::string first, second;
  };

  void set(ShadowOptions options) { options_ = std::move(options); }
  void report_to(std::function<void(const std::string&)> report) { options_.report = std::move(report); }
  const ShadowOptions& options() const { return options_; }
  /// "ham=fused,composed": every direction that has both; "ham.forward=fused,composed". Forces the first. UsageError for
  /// what is unknown, and where another kernel is forced already. Defined above the ops, in kernels/selection.cpp.
  void pair(std::string_view assignment);
  void pair(const Primitive& primitive, std::string_view first, std::string_view second);
  void clear();
  bool on() const { return !pairs_.empty(); }

  /// Error where one of the two does not run this problem on this device.
  void check(const Primitive& primitive, const PortList& specs, const void* problem, Device device) const;
  /// The pair of this primitive, where this step is one of those that are compared.
  Pair* due(const Primitive& primitive);

  std::vector<Row> rows() const;  // in the order of their first calls
  /// What was reported first; empty where the bound was never passed.
  const std::string& first_passing() const { return first_passing_; }

  /// Of ShadowRun.
  Row& row_of(const Pair& pair, const Dispatched& dispatched);
  void note_passing(Row& row, const Difference& difference);

 private:
  ShadowOptions options_;
  std::vector<Pair> pairs_;
  std::vector<std::unique_ptr<Row>> rows_;
  std::map<std::string, Row*> by_key_;
  std::string first_passing_;
};

/// Of the process.
Shadows& shadows();

/// The shadow of one dispatch.
class ShadowRun {
 public:
  ShadowRun(const Dispatched& dispatched, const Shadows::Pair& pair);
  bool goes_first() const { return goes_first_; }
  void run();
  Stopwatch& watch() { return watch_of_first_; }
  /// After both.
  void compare();

 private:
  const Dispatched& d_;
  const Kernel& kernel_;
  Shadows::Row& row_;
  PortCopies copies_;
  Stopwatch watch_of_first_, watch_of_second_;
  bool goes_first_;
};

}  // namespace fovea
