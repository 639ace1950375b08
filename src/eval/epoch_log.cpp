// metrics.jsonl: appended with one write(2) a row, repaired atomically.
#include "eval/epoch_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/runtime/atomic_file.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Line {
  std::string text;  // without its end
  EpochRow row;
};

struct Log {
  std::vector<Line> lines;
  bool whole = true;  // ends with a line end, nothing torn
};

double number(const nlohmann::json& json, const char* key) {
  const nlohmann::json& value = json.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::optional<EpochRow> parse(const std::string& text) {
  try {
    if (text.size() > 65536) return std::nullopt;  // no row of ours; bounds the parser's work
    const auto json = nlohmann::json::parse(text);
    if (!json.at("epoch").is_number_integer() || !json.at("step").is_number_integer()) return std::nullopt;
    return EpochRow{.epoch = json.at("epoch").get<int>(),
                    .step = json.at("step").get<std::int64_t>(),
                    .lr = number(json, "lr"),
                    .train_loss = number(json, "train_loss"),
                    .val_loss = number(json, "val_loss"),
                    .val_accuracy = number(json, "val_accuracy"),
                    .images_per_s = number(json, "images_per_s"),
                    .seconds = number(json, "seconds")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

Log read_log(const std::string& path) {
  Log log;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return log;
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(fmt::format("cannot open {}; check that you may read it", path));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (std::size_t first = 0, number = 1; first < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', first), text.size());
    const bool last = end + 1 >= text.size();
    const std::string line = text.substr(first, end - first);
    if (const auto row = parse(line)) {
      log.lines.push_back({line, *row});
      log.whole = end < text.size();
    } else if (last) {
      log.whole = false;
    } else {
      fail(
          fmt::format("{}, line {} is not a row of a training log; restore the file, or start the run afresh",
                      path, number));
    }
    first = end + 1;
  }
  return log;
}

void write_log(const std::string& path, const Log& log, int last_epoch) {
  std::string text;
  for (const Line& line : log.lines) {
    if (line.row.epoch <= last_epoch) text += line.text + '\n';
  }
  write_file_atomically(path, text);
}

}  // namespace

std::string epoch_line(const EpochRow& row) {
  nlohmann::ordered_json json;
  json["epoch"] = row.epoch;
  json["step"] = row.step;
  json["lr"] = row.lr;
  json["train_loss"] = row.train_loss;
  json["val_loss"] = row.val_loss;
  json["val_accuracy"] = row.val_accuracy;
  json["images_per_s"] = row.images_per_s;
  json["seconds"] = row.seconds;
  return json.dump();
}

void append_epoch(const std::string& path, const EpochRow& row) {
  const Log log = read_log(path);
  if (!log.whole) write_log(path, log, std::numeric_limits<int>::max());
  const std::string line = epoch_line(row) + '\n';
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) fail(fmt::format("cannot write {}: {}; check the folder", path, std::strerror(errno)));
  std::size_t done = 0;
  int error = 0;
  while (done < line.size() && error == 0) {
    const ssize_t written = ::write(file, line.data() + done, line.size() - done);
    if (written >= 0) done += static_cast<std::size_t>(written);
    if (written < 0 && errno != EINTR) error = errno;
  }
  if (error == 0 && ::fsync(file) < 0 && errno != EINVAL && errno != EINTR) error = errno;
  ::close(file);
  if (error != 0)
    fail(fmt::format("cannot write {}: {}; see to the disk and resume the run", path, std::strerror(error)));
}

std::vector<EpochRow> read_epoch_log(const std::string& path) {
  std::vector<EpochRow> rows;
  for (const Line& line : read_log(path).lines) rows.push_back(line.row);
  return rows;
}

void truncate_epoch_log(const std::string& path, int last_epoch) {
  const Log log = read_log(path);
  bool right = log.whole;
  for (const Line& line : log.lines) right = right && line.row.epoch <= last_epoch;
  if (!right) write_log(path, log, last_epoch);
}

}  // namespace fovea
