// fovea gradcheck: fp64 gradient checks of every op with every kernel that has an fp64 form, and of a whole
// HM-VGG along a random direction.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cases/gradcheck_cells.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "kernels/runtime/names.hpp"
#include "models/zoo.hpp"

namespace fovea {
namespace {

using cases::CellOutcome;
using cases::CellStatus;
using cases::GradCell;

constexpr const char* whole_model = "hm-vgg";

struct Row {
  std::string op, label, kernel;
  CellOutcome outcome;
};

std::string_view name_of(CellStatus status) {
  switch (status) {
    case CellStatus::passed:
      return "passed";
    case CellStatus::failed:
      return "FAILED";
    case CellStatus::skipped:
      return "skipped";
  }
  return "";
}

// One 32 x 32 image, two modalities, training mode: every function of the model in one derivative. The step
// is small, since ReLU and max-pool have kinks that a large one would cross.
Row check_whole_model(Device device) {
  Row row{whole_model, "fundus and vf, 32 px, along a random direction", "default", {}};
  constexpr double bound = 1e-6, eps = 1e-8;
  ModelConfig config;
  config.dtype = Dtype::f64;
  config.modalities = {"fundus", "vf"};
  const auto model = make_model(config);
  model->set_training(true);
  model->to(device);
  ModelInput input;
  input.images = {cases::random_tensor({2, 32, 32, 3}, 1).to(device),
                  cases::random_tensor({2, 32, 32, 1}, 2).to(device)};
  input.present.resize(2);
  const std::vector<std::int64_t> classes{0, 2};
  const Tensor labels = Tensor::from<std::int64_t>(classes, {2}, Dtype::i64);
  std::vector<Tensor> parameters;
  for (const NamedTensor& p : model->parameters()) parameters.push_back(p.tensor);
  const auto loss = [&] { return cross_entropy(model->forward(input, {}), labels); };
  try {
    const double error = directional_check(loss, parameters, 3, eps);
    row.outcome.worst = error / bound;
    row.outcome.status = error <= bound ? CellStatus::passed : CellStatus::failed;
    row.outcome.explanation =
        error <= bound ? "" : fmt::format("relative error {:.3g}, bound {:.3g}", error, bound);
  } catch (const Error& e) {
    row.outcome = {CellStatus::failed, 0, e.what()};
  }
  return row;
}

void print_header() {
  fmt::print("{:<18} {:<42} {:<14} {:>16}  {}\n", "op", "case", "kernel", "error / bound", "result");
}

void print_row(const Row& row) {
  const bool skipped = row.outcome.status == CellStatus::skipped;
  fmt::print("{:<18} {:<42} {:<14} {:>16}  {}{}\n", row.op, row.label, row.kernel,
             skipped ? "-" : fmt::format("{:.3g}", row.outcome.worst), name_of(row.outcome.status),
             row.outcome.explanation.empty() ? "" : ": " + row.outcome.explanation);
}

// "3 skipped (2 no f64, 1 no device)".
std::string why(const std::vector<Row>& rows) {
  std::map<std::string, int> reasons;
  for (const Row& r : rows) {
    if (r.outcome.status == CellStatus::skipped) ++reasons[r.outcome.explanation];
  }
  if (reasons.empty()) return "none";
  std::vector<std::string> parts;
  for (const auto& [reason, count] : reasons) parts.push_back(fmt::format("{} {}", count, reason));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void print_json(const std::vector<Row>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& r : rows) {
    list.push_back({{"op", r.op},
                    {"case", r.label},
                    {"kernel", r.kernel},
                    {"error_over_bound", r.outcome.worst},
                    {"result", r.outcome.status == CellStatus::failed ? "failed" : name_of(r.outcome.status)},
                    {"why", r.outcome.explanation}});
  }
  fmt::print("{}\n", list.dump(2));
}

void check_op(const std::string& op) {
  std::vector<std::string> names{whole_model};
  for (const cases::GradCase& c : cases::grad_cases()) {
    if (std::find(names.begin(), names.end(), c.op) == names.end()) names.push_back(c.op);
  }
  if (!op.empty() && std::find(names.begin(), names.end(), op) == names.end()) {
    fail_usage(fmt::format("there is no op '{}' to check{}", op, nearest_hint(op, names)));
  }
}

// Whether --kernel asks for this cell; without --kernel all are wanted.
bool wanted(const GradCell& cell, const std::vector<std::string>& forced) {
  if (forced.empty()) return true;
  return std::any_of(forced.begin(), forced.end(), [&](const std::string& assignment) {
    const std::string name = assignment.substr(0, assignment.find('='));
    return name.substr(0, name.find('.')) == cell.grad_case->op &&
           assignment.substr(assignment.find('=') + 1) == cell.kernel;
  });
}

}  // namespace

int command_gradcheck(const Arguments& arguments) {
  CommandLine line(
      "gradcheck",
      "Gradients against central differences in fp64: every op, case and kernel that has an fp64 form.",
      "  fovea gradcheck                 all ops, and HM-VGG as a whole\n"
      "  fovea gradcheck conv2d\n"
      "  fovea gradcheck hm-vgg          the whole model alone\n"
      "  fovea gradcheck ham --kernel ham=reference\n");
  std::string op;
  line.positional("op", op, "one op (default: all)");
  if (!line.parse(arguments)) return exit_done;
  check_op(op);
  RunConfig config = line.config();
  apply_to_process(config, DeviceUse::single_kernels);
  const Device device = parse_device(config.device);
  std::vector<Row> rows;
  const auto finish = [&](Row row) {
    if (!line.json()) print_row(row);
    std::fflush(stdout);
    rows.push_back(std::move(row));
  };
  if (!line.json()) print_header();
  for (const GradCell& cell : cases::gradcheck_cells(op == whole_model ? "no op" : op)) {
    if (!wanted(cell, config.kernels)) continue;
    finish({cell.grad_case->op, cell.grad_case->label, cell.kernel.empty() ? "composed" : cell.kernel,
            cases::run_cell(cell, device)});
  }
  const bool whole = op == whole_model || (op.empty() && device == Device::cpu);
  if (config.kernels.empty() && whole) finish(check_whole_model(device));
  const auto count = [&](CellStatus status) {
    return std::count_if(rows.begin(), rows.end(), [&](const Row& r) { return r.outcome.status == status; });
  };
  const auto failed = count(CellStatus::failed);
  if (line.json()) print_json(rows);
  fmt::print(line.json() ? stderr : stdout, "{} cells, {} passed, {} failed, {} skipped ({})\n", rows.size(),
             count(CellStatus::passed), failed, count(CellStatus::skipped), why(rows));
  return failed > 0 ? exit_failed : exit_done;
}

}  // namespace fovea
