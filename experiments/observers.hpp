// Observers of a run, and what they saw as tables, JSON and CSV: A/B of kernels (--ab) and the ledger of rounding errors
// (--ledger). The measures are those of kernels/runtime/{difference,shadow,ledger}.hpp.
#pragma once

#include <string>

#include "run_config.hpp"
#include "run_folder.hpp"

namespace fovea {

/// After apply_to_process(), before any dispatch. UsageError for what cannot be observed.
void start_observers(const RunConfig& config);

/// Whether --ab-stop asks the run to end.
bool stopped_by_bound(const RunConfig& config);

/// Tables for people; empty where nothing was observed.
std::string observations_text();
/// {"ab": [...], "ledger": {...}}, each where it was asked for.
std::string observations_json();
/// ab.json, ledger.json and ledger.csv, each where it was asked for.
void write_observations(const RunFolder& folder);

}  // namespace fovea
