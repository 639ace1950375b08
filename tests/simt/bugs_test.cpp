// Which planted bug each build finds, and how; that the right twins pass everywhere; and that docs/kernels.md
// says the same. Each kernel runs in a process of its own, since a sanitizer's report ends it:
//
//   bugs_test --run NAME broken|fixed forward|random    runs one; prints what happened
//   bugs_test --table                                   prints the table of docs/kernels.md
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "simt/bugs.hpp"
#include "simt/simt.hpp"

namespace simt_bugs {
namespace {

#if defined(SIMT_CHECK)
constexpr const char* modes[] = {"check"};
#elif defined(__SANITIZE_ADDRESS__)
constexpr const char* modes[] = {"asan"};
#else
constexpr const char* modes[] = {"forward", "random"};
#endif
constexpr std::uint64_t random_orders = 8;

std::string program;

// ---- one kernel, in this process

const char* name_of(simt::Fault fault) {
  constexpr const char* names[] = {"launch",        "deadlock", "divergence", "exited", "mask",   "bounds",
                                   "uninitialised", "race",     "misaligned", "misuse", "runtime"};
  return names[static_cast<std::size_t>(fault)];
}

// "right", "wrong result", or the Fault's name; the report goes to stderr.
std::string run_once(const Bug& bug, bool fixed) {
  std::vector<float> input(count);
  for (int i = 0; i < count; ++i) input[std::size_t(i)] = float(i + 1);
  simt::DeviceArray<float> x(input, "x"), y(count, "y");
  try {
    bug.launch(fixed, x.data(), y.data());
  } catch (const simt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return name_of(error.fault);
  }
  const std::vector<float> result = y.to_host();
  for (int i = 0; i < count; ++i) {
    const float value = result[std::size_t(i)], expected = bug.expected(i);
    const bool untouched = expected == -1.0f && std::isnan(value);
    if (untouched || std::abs(value - expected) <= 1e-5f * std::abs(expected)) continue;
    std::fprintf(stderr, "y[%d] is %g, expected %g\n", i, double(value), double(expected));
    return "wrong result";
  }
  return "right";
}

std::string run(const Bug& bug, bool fixed, bool random) {
  if (!random) return run_once(bug, fixed);
  for (std::uint64_t seed = 1; seed <= random_orders; ++seed) {
    simt::set_schedule({simt::Order::random, seed});
    const std::string outcome = run_once(bug, fixed);
    if (outcome != "right") return outcome;
  }
  return "right";
}

// ---- one kernel, in another process

struct Outcome {
  std::string kind, output;
};

Outcome run_apart(const Bug& bug, bool fixed, const std::string& mode) {
  const std::string command = "SIMT_WORKERS=1 SIMT_SCHEDULE=forward '" + program + "' --run " + bug.name +
                              (fixed ? " fixed " : " broken ") + (mode == "random" ? "random" : "forward") +
                              " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {"no process", ""};
  char part[4096];
  while (std::fgets(part, sizeof part, pipe) != nullptr) outcome.output += part;
  pclose(pipe);
  const auto says = [&](const char* words) { return outcome.output.find(words) != std::string::npos; };
  const std::string mark = "outcome: ";
  if (says("ERROR: AddressSanitizer")) {
    outcome.kind = "ASan";
  } else if (says("runtime error: ")) {
    outcome.kind = "UBSan";
  } else if (says("simt: kernel '") && says("segmentation fault")) {
    outcome.kind = "crash";
  } else if (const std::size_t at = outcome.output.rfind(mark); at != std::string::npos) {
    outcome.kind = outcome.output.substr(at + mark.size());
    outcome.kind.resize(outcome.kind.find('\n'));
  } else {
    outcome.kind = "no answer";
  }
  if (outcome.kind == "right") outcome.kind = "-";
  return outcome;
}

const char* expected_kind(const Bug& bug, const std::string& mode) {
  return mode == "forward"  ? bug.forward
         : mode == "random" ? bug.random
         : mode == "asan"   ? bug.asan
                            : bug.check;
}

std::string table() {
  std::string text = "| Bug | Mistake | forward | random | asan | check |\n|---|---|---|---|---|---|\n";
  for (const Bug& bug : bugs()) {
    for (const char* cell : {bug.name, bug.mistake, bug.forward, bug.random, bug.asan, bug.check}) {
      text += std::string("| ") + cell + " ";
    }
    text += "|\n";
  }
  return text;
}

// ---- tests

class PlantedBug : public ::testing::TestWithParam<Bug> {};

TEST_P(PlantedBug, IsFoundAsTheTableSays) {
  for (const char* mode : modes) {
    const Outcome outcome = run_apart(GetParam(), false, mode);
    EXPECT_EQ(outcome.kind, expected_kind(GetParam(), mode)) << "in mode " << mode << ":\n" << outcome.output;
  }
}

TEST_P(PlantedBug, RightTwinPasses) {
  for (const char* mode : modes) {
    const Outcome outcome = run_apart(GetParam(), true, mode);
    EXPECT_EQ(outcome.kind, "-") << "in mode " << mode << ":\n" << outcome.output;
  }
}

TEST_P(PlantedBug, SomeBuildFindsIt) {
  const Bug& bug = GetParam();
  int found = 0;
  for (const char* kind : {bug.forward, bug.random, bug.asan, bug.check})
    found += std::strcmp(kind, "-") != 0;
  EXPECT_GT(found, 0);
}

INSTANTIATE_TEST_SUITE_P(Simt, PlantedBug, ::testing::ValuesIn(bugs()),
                         [](const auto& info) { return std::string(info.param.name); });

std::string document() {
  std::ifstream file(FOVEA_SOURCE_DIR "/docs/kernels.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(PlantedBugs, DocumentHoldsTheTable) {
  EXPECT_NE(document().find(table()), std::string::npos)
      << "docs/kernels.md lacks this table (bugs_test --table):\n"
      << table();
}

#if defined(SIMT_CHECK)
TEST(PlantedBugs, DocumentShowsRealReports) {
  std::stringstream lines(document());
  int shown = 0;
  for (std::string line; std::getline(lines, line);) {
    for (const Bug& bug : bugs()) {
      if (line.find("    kernel '" + std::string(bug.name) + "': ") != 0) continue;
      ++shown;
      const std::string output = run_apart(bug, false, "check").output;
      EXPECT_NE(output.find(line.substr(4)), std::string::npos) << line << "\nis in truth\n" << output;
    }
  }
  EXPECT_GE(shown, 5);
}
#endif

int run_from_command_line(const std::string& name, bool fixed, bool random) {
  for (const Bug& bug : bugs()) {
    if (name != bug.name) continue;
    std::printf("outcome: %s\n", run(bug, fixed, random).c_str());
    return 0;
  }
  std::fprintf(stderr, "no planted bug is called '%s'\n", name.c_str());
  return 2;
}

}  // namespace
}  // namespace simt_bugs

int main(int argc, char** argv) {
  using namespace simt_bugs;
  if (argc == 5 && std::strcmp(argv[1], "--run") == 0) {
    return run_from_command_line(argv[2], std::strcmp(argv[3], "fixed") == 0,
                                 std::strcmp(argv[4], "random") == 0);
  }
  if (argc == 2 && std::strcmp(argv[1], "--table") == 0) {
    std::fputs(table().c_str(), stdout);
    return 0;
  }
  program = argv[0];
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
