// The cells of a gradient check: every gradient case of an op x every kernel name that its primitives have on
// this machine. One cell forces that kernel wherever the op has it; the rest of the graph takes the default.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "autograd/gradcheck.hpp"
#include "cases/case.hpp"
#include "kernels/primitives.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::cases {

struct GradCell {
  const GradCase* grad_case = nullptr;
  std::string kernel;  // as in --kernel OP=NAME; empty: the op has no primitive of its own (reshape)
};

enum class CellStatus { passed, failed, skipped };

struct CellOutcome {
  CellStatus status = CellStatus::passed;
  double worst = 0;         // of the bound; above 1 fails
  std::string explanation;  // of a failure or a skip
};

/// Of the op of this name; empty: of all; without the kernels that a case names as not for it. A kernel of a device is a cell too, skipped where there is none.
inline std::vector<GradCell> gradcheck_cells(const std::string& op = "") {
  std::vector<GradCell> cells;
  for (const GradCase& c : grad_cases()) {
    if (!op.empty() && c.op != op) continue;
    std::set<std::string> kernels;
    for (const Primitive* p : all_primitives()) {
      if (p->op() != c.op) continue;
      for (const Kernel& k : p->kernels) kernels.insert(k.name);
    }
    if (kernels.empty()) kernels.insert("");
    for (const std::string& kernel : c.not_by) kernels.erase(kernel);
    for (const std::string& kernel : kernels) cells.push_back({&c, kernel});
  }
  return cells;
}

/// Why no primitive of the op can run `kernel` in fp64 on the device, or empty. Kernels of single precision only
/// cannot be checked by differences; the kernel tests hold them to the fp64 reference instead.
inline std::string why_skipped(const GradCell& cell, Device device) {
  if (cell.kernel.empty()) return device == Device::cpu ? "" : "not on the device";
  std::string why =
      device == Device::cpu ? "no device" : "not on the device";  // until a row is found that is
  for (const Primitive* p : all_primitives()) {
    if (p->op() != cell.grad_case->op) continue;
    for (const Kernel& k : p->kernels) {
      if (cell.kernel != k.name || device_of(k.backend) != device) continue;
      why = "no f64";
      for (const PrimitiveCase& c : primitive_cases()) {
        if (c.primitive == p && k.supports(c.problem(Dtype::f64).get())) return "";
      }
    }
  }
  return why;
}

inline CellOutcome run_cell(const GradCell& cell, Device device = Device::cpu) {
  if (std::string why = why_skipped(cell, device); !why.empty())
    return {CellStatus::skipped, 0, std::move(why)};
  SelectionScope scope;
  if (!cell.kernel.empty()) selection().force(cell.grad_case->op + "=" + cell.kernel);
  try {
    const GradcheckResult result =
        gradcheck(cell.grad_case->run, cell.grad_case->inputs(), {.device = device});
    return {result.passed ? CellStatus::passed : CellStatus::failed, result.worst, result.explanation};
  } catch (const Error& error) {
    return {CellStatus::failed, 0, error.what()};
  }
}

}  // namespace fovea::cases
