// See run_folder.hpp.
#include "run_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "kernels/runtime/error.hpp"
#include "nn/safetensors.hpp"
#include "nn/state.hpp"
#include "tensor_io.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr const char* weights_name = "last.safetensors";
constexpr const char* state_name = "last.state.safetensors";
constexpr const char* next_weights_name = "last.next.safetensors";
constexpr const char* next_state_name = "last.state.next.safetensors";
constexpr const char* position_key = "position";

using Metadata = std::map<std::string, std::string>;

std::string position_of(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto it = file.metadata().find(position_key);
  return it == file.metadata().end() ? "" : it->second;
}

void rename_file(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    fail(fmt::format("{}: could not be renamed to {}: {}", from, to, std::strerror(errno)));
  }
}

// So that the new names survive a power cut.
void sync_folder(const std::string& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

// fmt prints the shortest digits that read back to the same double.
Metadata metadata_of(const Position& p) {
  return {{position_key, p.text()},
          {"epoch", fmt::format("{}", p.epoch)},
          {"batch", fmt::format("{}", p.batch)},
          {"step", fmt::format("{}", p.step)},
          {"loss_sum", fmt::format("{}", p.loss_sum)},
          {"samples", fmt::format("{}", p.samples)},
          {"seconds", fmt::format("{}", p.seconds)},
          {"best_epoch", fmt::format("{}", p.best_epoch)},
          {"best_accuracy", fmt::format("{}", p.best_accuracy)},
          {"best_loss", fmt::format("{}", p.best_loss)},
          {"data", p.data}};
}

template <class T>
T number_at(const SafetensorsFile& file, const std::string& key) {
  T value{};
  const auto it = file.metadata().find(key);
  if (it != file.metadata().end()) {
    const char* end = it->second.data() + it->second.size();
    const auto [stop, error] = std::from_chars(it->second.data(), end, value);
    if (error == std::errc{} && stop == end) return value;
  }
  fail(fmt::format("{}: its '{}' is missing or no number; the file is not a training state", file.path(),
                   key));
}

Position read_position(const SafetensorsFile& file) {
  Position p;
  p.epoch = number_at<int>(file, "epoch");
  p.batch = number_at<int>(file, "batch");
  p.step = number_at<std::int64_t>(file, "step");
  p.loss_sum = number_at<double>(file, "loss_sum");
  p.samples = number_at<std::int64_t>(file, "samples");
  p.seconds = number_at<double>(file, "seconds");
  p.best_epoch = number_at<int>(file, "best_epoch");
  p.best_accuracy = number_at<double>(file, "best_accuracy");
  p.best_loss = number_at<double>(file, "best_loss");
  p.data = file.metadata().at("data");
  return p;
}

}  // namespace

std::string Position::text() const { return fmt::format("{}:{}", epoch, batch); }

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
}

bool RunFolder::has(const std::string& name) const {
  std::error_code error;
  return fs::exists(file(name), error);
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) fail(fmt::format("{}: the folder could not be made: {}", path_, error.message()));
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") && name.ends_with(".tmp")) continue;
    fail_usage(has("config.toml")
                   ? fmt::format(
                         "{} holds a run already; --resume {} goes on with it, --output takes another folder",
                         path_, path_)
                   : fmt::format("{} is not empty (it holds '{}'); --output takes an empty or a new folder",
                                 path_, name));
  }
  if (error) fail(fmt::format("{}: the folder could not be read: {}", path_, error.message()));
}

RunConfig RunFolder::config() const {
  if (!has("config.toml")) {
    fail_usage(fmt::format("{} is not the folder of a run: it has no config.toml", path_));
  }
  RunConfig config;
  read_config(config, file("config.toml"));
  return config;
}

void RunFolder::save(const Model& model, const Optimizer& optimizer, const Position& position) const {
  save_weights(file(next_weights_name), model, {{position_key, position.text()}});
  std::vector<SafetensorsEntry> entries;
  for (const NamedTensor& named : optimizer.state())
    entries.push_back(entry_of("optimizer/" + named.name, named.tensor));
  write_safetensors(file(next_state_name), entries, metadata_of(position));
  rename_file(file(next_weights_name), file(weights_name));
  rename_file(file(next_state_name), file(state_name));
  sync_folder(path_);
}

void RunFolder::recover() const {
  if (has(next_state_name)) {
    // Both files of the new pair were whole before the first took its name.
    const std::string next = position_of(file(next_state_name));
    if (has(next_weights_name) && position_of(file(next_weights_name)) == next) {
      rename_file(file(next_weights_name), file(weights_name));
    }
    if (has(weights_name) && position_of(file(weights_name)) == next) {
      rename_file(file(next_state_name), file(state_name));
    }
  }
  std::error_code ignored;
  fs::remove(file(next_weights_name), ignored);
  fs::remove(file(next_state_name), ignored);
  sync_folder(path_);
}

bool RunFolder::load(Model& model, Optimizer& optimizer, Position& position) const {
  recover();
  if (!has(state_name) && !has(weights_name)) return false;
  if (!has(state_name))
    fail(fmt::format("{} is finished and kept its weights alone (keep = \"evaluated\"); begin a new run",
                     path_));
  const SafetensorsFile state = SafetensorsFile::open(file(state_name));
  position = read_position(state);
  if (position_of(file(weights_name)) != position.text()) {
    fail(fmt::format("{} and {} in {} are of different steps; begin a new run", weights_name, state_name,
                     path_));
  }
  load_weights(file(weights_name), model, true);
  std::vector<NamedTensor> tensors;
  for (const SafetensorsEntry& e : state.entries()) {
    if (!e.name.starts_with("optimizer/")) continue;
    tensors.push_back({.name = e.name.substr(10), .tensor = tensor_of(e, model.config().dtype)});
  }
  optimizer.load_state(tensors);
  return true;
}

void RunFolder::keep_only(const std::string& checkpoint) const {
  std::error_code ignored;  // what cannot be removed only takes room
  fs::remove(file(state_name), ignored);
  for (const char* const other : {"best", "last"})
    if (checkpoint != other) fs::remove(file(fmt::format("{}.safetensors", other)), ignored);
}

std::string RunFolder::checkpoint_to_read(const std::string& asked) const {
  if (!asked.empty() && asked != "auto") return asked;
  return has("best.safetensors") || !has(weights_name) ? "best" : "last";
}

void RunFolder::load_checkpoint(Model& model, const std::string& checkpoint) const {
  const std::string name = checkpoint + ".safetensors";
  if (!has(name)) {
    const std::string other = checkpoint == "best" ? "last" : "best";
    if (has(other + ".safetensors") && has("metrics.json"))
      fail(fmt::format("{} kept no {}; --checkpoint {} reads what it has", path_, name, other));
    fail(fmt::format("{} has no {} yet; 'fovea train --resume {}' goes on with it", path_, name, path_));
  }
  load_weights(file(name), model, true);
}

}  // namespace fovea
