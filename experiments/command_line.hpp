// CommandLine: the flags of one command, with the errors and the help that all commands share.
//
// A thin layer over CLI11 that adds what program.md promises: an unknown flag names the nearest, every error
// is one sentence with a hint, and every key of the run's configuration is a flag where the command wants it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "run_config.hpp"

namespace fovea {

class CommandLine {
 public:
  /// `summary` is one sentence; `examples` are lines for the end of --help.
  CommandLine(std::string_view command, std::string_view summary, std::string_view examples);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  void option(const std::string& flags, std::string& target, const std::string& value,
              const std::string& help);
  void option(const std::string& flags, std::int64_t& target, const std::string& value,
              const std::string& help);
  void option(const std::string& flags, double& target, const std::string& value, const std::string& help);
  /// May be repeated.
  void options(const std::string& flags, std::vector<std::string>& target, const std::string& value,
               const std::string& help);
  void flag(const std::string& flags, bool& target, const std::string& help);
  void positional(const std::string& name, std::string& target, const std::string& help);
  void positionals(const std::string& name, std::vector<std::string>& target, const std::string& help);
  /// Flags for the keys of this group (those of KeyGroup::everywhere are always there).
  void config_flags(KeyGroup group);
  /// The flag of one key, with other words for what it means here.
  void config_flag(std::string_view key, const std::string& help);

  /// False where --help was asked for and printed. UsageError for whatever is wrong.
  bool parse(const std::vector<std::string>& arguments);

  bool given(const std::string& flag) const;
  /// `base` with the file, the flags and the --set of this command line laid over it, not yet resolved.
  RunConfig config(RunConfig base = {}) const;
  bool json() const;
  /// UsageError with this command's hint.
  [[noreturn]] void usage(const std::string& sentence) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fovea
