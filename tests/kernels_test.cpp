// Every kernel of every primitive on every case: against the fp64 reference, with poisoned outputs and guard
// bands, and twice, bitwise, where the kernel says it is deterministic. Kernels for a device are counted as
// skipped where there is none.
#include <gtest/gtest.h>

#include <set>

#include "harness.hpp"
#include "kernels/runtime/device.hpp"

namespace fovea {
namespace {

using cases::PrimitiveCase;
using testing::KernelRun;

class EveryKernel : public ::testing::TestWithParam<const Primitive*> {};

const Kernel* reference_of(const Primitive& primitive) {
  for (const Kernel& k : primitive.kernels) {
    if (std::string_view(k.name) == "reference") return &k;
  }
  return nullptr;
}

void expect_close(const PrimitiveCase& c, const KernelRun& got, const KernelRun& expected, Dtype dtype) {
  const auto problem = c.problem(dtype);
  const PortList specs = c.primitive->ports(problem.get());
  for (std::size_t i = 0; i < got.outputs.size(); ++i) {
    if (got.outputs[i].empty()) continue;
    const bool exact = specs[i].dtype == Dtype::u8 || specs[i].dtype == Dtype::i64;
    const double epsilon = specs[i].dtype == Dtype::f64 ? 1e-13
                           : specs[i].dtype == Dtype::bf16
                               ? 4e-3  // half a unit in the last place, of the norm
                               : 2e-6;
    const double error = testing::relative_error(got.outputs[i], expected.outputs[i]);
    EXPECT_LE(error, exact ? 0 : epsilon * c.tolerance) << "port '" << specs[i].name << "'";
  }
}

TEST_P(EveryKernel, AgreesWithTheReferenceInDouble) {
  const Primitive& primitive = *GetParam();
  const Kernel* reference = reference_of(primitive);
  ASSERT_NE(reference, nullptr) << primitive.name << " has no reference kernel";
  int cases_seen = 0;
  std::set<std::string> ran;
  for (const PrimitiveCase& c : cases::primitive_cases()) {
    if (c.primitive != &primitive) continue;
    ++cases_seen;
    SCOPED_TRACE(primitive.name + std::string(", ") + c.label);
    const cases::PortTensors ports = testing::make_ports(c);
    c.primitive->check(c.problem(Dtype::f64).get());
    const KernelRun expected = testing::run_kernel(c, *reference, ports, Dtype::f64);
    EXPECT_EQ(expected.damage, "");
    // In bf16 the inputs themselves are coarse: the reference then gets the rounded ones.
    const cases::PortTensors coarse = testing::rounded_to(c, ports, Dtype::bf16);
    const KernelRun coarse_expected = testing::run_kernel(c, *reference, coarse, Dtype::f64);
    for (const Kernel& kernel : primitive.kernels) {
      if (device_of(kernel.backend) != Device::cpu) continue;
      for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::bf16}) {
        if (!kernel.supports(c.problem(dtype).get())) continue;
        SCOPED_TRACE(std::string(kernel.name) + ", " + std::string(name_of(dtype)));
        ran.insert(kernel.name);
        const KernelRun once = testing::run_kernel(c, kernel, ports, dtype);
        EXPECT_EQ(once.damage, "");
        expect_close(c, once, dtype == Dtype::bf16 ? coarse_expected : expected, dtype);
        if (!kernel.deterministic) continue;
        EXPECT_EQ(once.raw, testing::run_kernel(c, kernel, ports, dtype).raw) << "two runs differ";
      }
    }
  }
  EXPECT_GT(cases_seen, 0) << primitive.name << " has no cases";
  for (const Kernel& kernel : primitive.kernels) {
    if (device_of(kernel.backend) == Device::cpu) {
      EXPECT_TRUE(ran.contains(kernel.name))
          << primitive.name << ": no case ran kernel '" << kernel.name << "'";
    }
  }
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
