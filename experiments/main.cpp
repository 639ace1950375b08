// fovea: the program. Finds the command, turns errors into one line on stderr and an exit code.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "commands.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"
#include "version.hpp"

namespace fovea {
namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Arguments&);
};

constexpr std::array commands{
    Command{"train", "train a model on a set, validate each epoch, evaluate at the end", &command_train},
    Command{"evaluate", "metrics of a trained run, with intervals", &command_evaluate},
    Command{"predict", "class probabilities of images, as CSV", &command_predict},
    Command{"cam", "class activation maps: where the network looked", &command_cam},
    Command{"compare", "train and evaluate many models alike, and make one table of them", &command_compare},
    Command{"data", "check a set, write a synthetic one, show what the network sees", &command_data},
    Command{"export", "a trained model as ONNX or safetensors, for other programs", &command_export},
    Command{"probe", "one forward and backward on given arrays", &command_probe},
    Command{"gradcheck", "gradients against central differences, in fp64", &command_gradcheck},
    Command{"kernels", "every primitive, its kernels, and which one runs", &command_kernels},
    Command{"profile", "where the time of a step goes, against measured ceilings", &command_profile},
    Command{"peaks", "the measured ceilings of this machine", &command_peaks},
    Command{"bench", "records of times: show one, compare two", &command_bench},
    Command{"plan", "the memory of a step before it is run, and the largest batch that fits", &command_plan},
};

std::string overview() {
  std::string text =
      "fovea: glaucoma grading from fundus photographs, OCT and visual fields with HM-VGG.\n\n"
      "usage: fovea COMMAND [options]\n\ncommands:\n";
  for (const Command& c : commands) text += fmt::format("  {:<11}{}\n", c.name, c.summary);
  text +=
      "\nfovea COMMAND --help says more about each. To begin with:\n"
      "  fovea data synth eyes                       write a small synthetic set\n"
      "  fovea train --data eyes --model hm-vgg --image-size 64 --epochs 10 --output runs/first\n"
      "  fovea evaluate --run runs/first             metrics with 95 % intervals\n";
  return text;
}

const Command* find_command(const std::string& name) {
  const auto it =
      std::find_if(commands.begin(), commands.end(), [&](const Command& c) { return name == c.name; });
  return it == commands.end() ? nullptr : &*it;
}

int run(Arguments arguments) {
  if (arguments.empty()) {
    fmt::print(stderr, "{}", overview());
    return exit_usage;
  }
  // Options may stand before the command, as in `fovea --threads 2 train`: the command then moves to the
  // front.
  if (arguments[0].starts_with("-")) {
    const auto at = std::find_if(arguments.begin(), arguments.end(),
                                 [](const std::string& a) { return find_command(a) != nullptr; });
    if (at != arguments.end()) {
      std::rotate(arguments.begin(), at, at + 1);
    } else if (arguments[0] == "--help" || arguments[0] == "-h") {
      fmt::print("{}", overview());
      return exit_done;
    } else if (arguments[0] == "--version") {
      fmt::print("fovea {} ({})\n", version(), commit());
      return exit_done;
    } else {
      fail_usage(fmt::format("'{}' comes before a command; see 'fovea --help'", arguments[0]));
    }
  }
  if (arguments[0] == "help") arguments = {arguments.size() > 1 ? arguments[1] : "", "--help"};
  if (arguments[0].empty()) {
    fmt::print("{}", overview());
    return exit_done;
  }
  const Command* command = find_command(arguments[0]);
  if (command == nullptr) {
    std::vector<std::string> names;
    for (const Command& c : commands) names.emplace_back(c.name);
    fail_usage(fmt::format("there is no command '{}'{}", arguments[0], nearest_hint(arguments[0], names)));
  }
  try {
    return command->run({arguments.begin() + 1, arguments.end()});
  } catch (const UsageError& error) {
    const std::string what = error.what();
    const bool hinted = what.find("did you mean") != std::string::npos ||
                        what.find("; ") != std::string::npos || what.find("--help") != std::string::npos;
    fail_usage(hinted ? what : fmt::format("{} (see 'fovea {} --help')", what, command->name));
  }
}

// Errors are one line, whatever was thrown.
int complain(const std::string& what, int code) {
  std::string line = what;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  fmt::print(stderr, "fovea: {}\n", line);
  return code;
}

}  // namespace
}  // namespace fovea

int main(int argc, char** argv) {
  using namespace fovea;
  try {
    const int code = run({argv + 1, argv + argc});
    if (std::fflush(stdout) != 0) return complain("could not write to standard output", exit_failed);
    return code;
  } catch (const UsageError& e) {
    return complain(e.what(), exit_usage);
  } catch (const std::bad_alloc&) {
    return complain("out of memory; try a smaller --batch or --image-size", exit_failed);
  } catch (const std::exception& e) {
    return complain(e.what(), exit_failed);
  }
}
