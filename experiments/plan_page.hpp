// The page of `fovea plan --html`: bytes over a step's allocations, and how long its largest tensors live.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "memory_plan.hpp"

namespace fovea {

/// One HTML file that needs nothing else (eval/html.hpp). `budget` in bytes, 0: none.
std::string plan_page(const std::string& title, const MemoryPlan& plan, const MemoryReplay& replay,
                      std::int64_t budget, std::span<const std::string> notes);

}  // namespace fovea
