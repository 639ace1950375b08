// Every kernel of every primitive on every case and dtype: against the fp64 reference, with poisoned outputs and
// guard bands, and twice, bitwise, where the kernel says it is deterministic. Kernels of a device run where there
// is one. Every cell is counted, with the reason of those that were skipped: grid_file.hpp.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "grid_file.hpp"
#include "harness.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/runtime/device.hpp"

namespace fovea {
namespace {

using cases::PortTensors;
using cases::PrimitiveCase;
using testing::KernelRun;

class EveryKernel : public ::testing::TestWithParam<const Primitive*> {};

// Plans of libraries are not compared here: hundreds of problems would be measured, each with dozens of plans. Nor does
// what the user's cache knows or pins decide what is tested.
[[maybe_unused]] const bool unmeasured = [] {
  const std::string folder = "fovea-kernels-" + std::to_string(::getpid());
  ::setenv("FOVEA_PLAN_CACHE", (std::filesystem::temp_directory_path() / folder).c_str(), 1);
  set_plan_limits({.measure = false});
  return true;
}();

constexpr Dtype dtypes[] = {Dtype::f32, Dtype::f64, Dtype::bf16};

const Kernel* reference_of(const Primitive& primitive) {
  for (const Kernel& k : primitive.kernels) {
    if (std::string_view(k.name) == "reference") return &k;
  }
  return nullptr;
}

std::vector<const PrimitiveCase*> cases_of(const Primitive& primitive) {
  std::vector<const PrimitiveCase*> found;
  for (const PrimitiveCase& c : cases::primitive_cases()) {
    if (c.primitive == &primitive) found.push_back(&c);
  }
  return found;
}

/// What a port of this dtype may be off by, of its norm: bf16 by its own rounding, whatever the op's conditioning.
/// A device's special functions in place of exact ones show in what a bf16 problem computes in f32, and so do the tensors
/// that a composition of library calls keeps in bf16 on the way.
double allowed_error(const PrimitiveCase& c, Dtype problem, Dtype port, Backend backend) {
  if (!is_floating(port)) return 0;
  if (port == Dtype::f64) return 1e-13 * c.tolerance;
  if (problem != Dtype::bf16) return 2e-6 * c.tolerance;
  const double f32 = (device_of(backend) != Device::cpu ? 5e-4 : 2e-6 * c.tolerance) + c.bf16_error +
                     (backend == Backend::cudnn ? 0x1p-7 : 0);
  return port == Dtype::bf16 ? 0x1p-8 + f32 : f32;
}

/// Empty, or which port is how far off.
std::string compare(const PrimitiveCase& c, const KernelRun& got, const KernelRun& expected, Dtype dtype,
                    Backend backend) {
  const PortList specs = c.primitive->ports(c.problem(dtype).get());
  std::string text;
  for (std::size_t i = 0; i < got.outputs.size(); ++i) {
    if (got.outputs[i].empty()) continue;
    const double error = testing::relative_error(got.outputs[i], expected.outputs[i]);
    const double allowed = allowed_error(c, dtype, specs[i].dtype, backend);
    if (!(error <= allowed))
      text += fmt::format("port '{}' is off by {:.3g}, {:.3g} is allowed. ", specs[i].name, error, allowed);
  }
  return text;
}

/// One cell: empty, or what is wrong.
std::string run_cell(const PrimitiveCase& c, const Kernel& kernel, const PortTensors& ports,
                     const KernelRun& expected, Dtype dtype) {
  try {
    const KernelRun once = testing::run_kernel(c, kernel, ports, dtype);
    std::string text = once.damage + compare(c, once, expected, dtype, kernel.backend);
    if (kernel.deterministic && once.raw != testing::run_kernel(c, kernel, ports, dtype).raw)
      text += "two runs differ";
    return text;
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// "f32, f64 only": the dtypes in which the kernel supports any case.
std::string only_dtypes(const Kernel& kernel, const std::vector<const PrimitiveCase*>& all) {
  std::string names;
  for (const Dtype dtype : dtypes) {
    const bool any = std::any_of(all.begin(), all.end(), [&](const PrimitiveCase* c) {
      return kernel.supports(c->problem(dtype).get());
    });
    if (any) names += (names.empty() ? "" : ", ") + std::string(name_of(dtype));
  }
  return names;
}

/// Where only the executor's kernels are of interest: under its checker, and in orders of threads asked for.
bool only_executor() {
#if defined(SIMT_CHECK)
  return true;
#else
  return std::getenv("SIMT_SCHEDULE") != nullptr;
#endif
}

/// Why the kernel does not run this cell here, or empty.
std::string why_skipped(const Kernel& kernel, const PrimitiveCase& c, Dtype dtype, const std::string& only) {
  if (device_of(kernel.backend) != Device::cpu && !cuda_available()) return "no device";
  if (only_executor() && kernel.backend != Backend::simt) return "only the executor's kernels here";
  if (kernel.backend == Backend::simt && c.large) return "too large for the executor";
  if (kernel.supports(c.problem(dtype).get())) return "";
  return only.find(name_of(dtype)) == std::string::npos ? only + " only" : "not for this problem";
}

TEST_P(EveryKernel, AgreesWithTheReferenceInDouble) {
  const Primitive& primitive = *GetParam();
  const Kernel* reference = reference_of(primitive);
  ASSERT_NE(reference, nullptr) << primitive.name << " has no reference kernel";
  const std::vector<const PrimitiveCase*> all = cases_of(primitive);
  EXPECT_FALSE(all.empty()) << primitive.name << " has no cases";
  testing::GridCounts counts;
  std::set<const Kernel*> ran;
  for (const PrimitiveCase* c : all) {
    const PortTensors ports = testing::make_ports(*c);
    primitive.check(c->problem(Dtype::f64).get());
    const KernelRun expected = testing::run_kernel(*c, *reference, ports, Dtype::f64);
    EXPECT_EQ(expected.damage, "") << primitive.name << ", " << c->label;
    const PortTensors rounded = testing::rounded_ports(*c, ports, Dtype::bf16);
    KernelRun expected_of_rounded;
    for (const Kernel& kernel : primitive.kernels) {
      for (const Dtype dtype : dtypes) {
        if (std::string why = why_skipped(kernel, *c, dtype, only_dtypes(kernel, all)); !why.empty()) {
          ++counts.skipped[why];
          continue;
        }
        const bool bf16 = dtype == Dtype::bf16;
        if (bf16 && expected_of_rounded.outputs.empty())
          expected_of_rounded = testing::run_kernel(*c, *reference, rounded, Dtype::f64);
        const std::string wrong =
            run_cell(*c, kernel, bf16 ? rounded : ports, bf16 ? expected_of_rounded : expected, dtype);
        ran.insert(&kernel);
        ++(wrong.empty() ? counts.passed : counts.failed);
        EXPECT_EQ(wrong, "") << primitive.name << ", " << c->label << ", " << kernel.name << " ("
                             << name_of(kernel.backend) << "), " << name_of(dtype);
      }
    }
  }
  for (const Kernel& kernel : primitive.kernels) {
    const bool here = only_executor() ? kernel.backend == Backend::simt
                                      : device_of(kernel.backend) == Device::cpu || cuda_available();
    EXPECT_TRUE(!here || ran.contains(&kernel))
        << primitive.name << ": no case ran kernel '" << kernel.name << "'";
  }
  counts.append(primitive.name);
}

std::string test_name(const ::testing::TestParamInfo<const Primitive*>& info) {
  std::string name = info.param->name;
  for (char& ch : name) {
    if (ch == '.') ch = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Primitives, EveryKernel,
                         ::testing::ValuesIn(all_primitives().begin(), all_primitives().end()), test_name);

}  // namespace
}  // namespace fovea
