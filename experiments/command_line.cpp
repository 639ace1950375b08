// See command_line.hpp.
#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>

#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {

struct CommandLine::Impl {
  Impl(std::string_view command, std::string_view summary) : name(command), app(std::string(summary)) {}

  std::string name;
  CLI::App app;
  bool json = false;
  std::string config_file;
  std::vector<std::string> sets;
  // What was typed for the keys of the config; a deque, since CLI11 keeps pointers to the places.
  struct Typed {
    const ConfigKey* key;
    std::vector<std::string> values;
    bool on = false;
    CLI::Option* option = nullptr;
  };
  std::deque<Typed> typed;

  CLI::Option* add(const ConfigKey& key, const std::string& help) {
    Typed& place = typed.emplace_back();
    place.key = &key;
    if (key.is_switch) return place.option = app.add_flag(key.flags, place.on, help);
    place.option = app.add_option(key.flags, place.values, help)->type_name(key.value);
    place.option->allow_extra_args(false);
    if (!key.is_list) place.option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    return place.option;
  }
};

namespace {

// "--batch: 1 required INT missing" and its like, as a sentence.
std::string sentence_of(const CLI::ParseError& error) {
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  if (const auto at = text.find(": 1 required"); at != std::string::npos)
    return text.substr(0, at) + " needs a value";
  return text;
}

std::vector<std::string> known_flags(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
  }
  return flags;
}

}  // namespace

CommandLine::CommandLine(std::string_view command, std::string_view summary, std::string_view examples)
    : impl_(std::make_unique<Impl>(command, summary)) {
  CLI::App& app = impl_->app;
  app.name("fovea " + impl_->name);
  app.footer("\nexamples:\n" + std::string(examples));
  app.allow_extras();
  app.get_formatter()->column_width(34);
  app.set_help_flag("-h,--help", "print this and leave");
  app.add_option("-c,--config", impl_->config_file,
                 "a TOML file with keys of the configuration, such as a run's config.toml")
      ->type_name("FILE")
      ->group("everywhere");
  app.add_option("--set", impl_->sets,
                 "set any key of the configuration, as in --set mlrm.rates=1,3,5 (repeatable)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->group("everywhere");
  app.add_flag("--json", impl_->json, "tables as JSON")->group("everywhere");
  config_flags(KeyGroup::everywhere);
}

CommandLine::~CommandLine() = default;

void CommandLine::option(const std::string& flags, std::string& target, const std::string& value,
                         const std::string& help) {
  impl_->app.add_option(flags, target, help)->type_name(value);
}
void CommandLine::option(const std::string& flags, std::int64_t& target, const std::string& value,
                         const std::string& help) {
  impl_->app.add_option(flags, target, help)->type_name(value);
}
void CommandLine::option(const std::string& flags, double& target, const std::string& value,
                         const std::string& help) {
  impl_->app.add_option(flags, target, help)->type_name(value);
}
void CommandLine::options(const std::string& flags, std::vector<std::string>& target,
                          const std::string& value, const std::string& help) {
  impl_->app.add_option(flags, target, help)->type_name(value)->allow_extra_args(false);
}
void CommandLine::flag(const std::string& flags, bool& target, const std::string& help) {
  impl_->app.add_flag(flags, target, help);
}
void CommandLine::positional(const std::string& name, std::string& target, const std::string& help) {
  impl_->app.add_option(name, target, help)->type_name(" ");
}
void CommandLine::positionals(const std::string& name, std::vector<std::string>& target,
                              const std::string& help) {
  impl_->app.add_option(name, target, help)->type_name(" ");
}

void CommandLine::config_flags(KeyGroup group) {
  const char* const heading = group == KeyGroup::everywhere  ? "everywhere"
                              : group == KeyGroup::model     ? "model"
                              : group == KeyGroup::observers ? "beside the run"
                                                             : "training";
  for (const ConfigKey& key : config_keys()) {
    if (key.group == group && !key.flags.empty()) impl_->add(key, key.help)->group(heading);
  }
}

void CommandLine::config_flag(std::string_view key, const std::string& help) {
  for (const ConfigKey& known : config_keys()) {
    if (known.name == key) impl_->add(known, help);
  }
}

bool CommandLine::parse(const std::vector<std::string>& arguments) {
  CLI::App& app = impl_->app;
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    usage(sentence_of(error));
  }
  const std::vector<std::string> extras = app.remaining();
  if (extras.empty()) return true;
  const auto flag =
      std::find_if(extras.begin(), extras.end(), [](const std::string& e) { return e.starts_with("-"); });
  if (flag == extras.end()) usage(fmt::format("'{}' is one argument too many", extras[0]));
  const std::string name = flag->substr(0, flag->find('='));
  usage(fmt::format("there is no flag {}{}", name, nearest_hint(name, known_flags(app))));
}

bool CommandLine::given(const std::string& flag) const { return impl_->app.count(flag) > 0; }
bool CommandLine::json() const { return impl_->json; }

RunConfig CommandLine::config(RunConfig base) const {
  if (!impl_->config_file.empty()) read_config(base, impl_->config_file);
  for (const Impl::Typed& typed : impl_->typed) {
    if (typed.option->count() == 0) continue;
    std::string value = typed.key->is_switch ? (typed.on ? "true" : "false")
                                             : fmt::format("{}", fmt::join(typed.values, ","));
    set_key(base, typed.key->name, value);
  }
  for (const std::string& assignment : impl_->sets) set_assignment(base, assignment);
  return base;
}

void CommandLine::usage(const std::string& sentence) const {
  const bool hinted = sentence.find("did you mean") != std::string::npos;
  fail_usage(
      fmt::format("{}{}", sentence, hinted ? "" : fmt::format(" (see 'fovea {} --help')", impl_->name)));
}

}  // namespace fovea
