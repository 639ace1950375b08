// metrics.jsonl: one JSON object a line, one line an epoch; the source of truth about how a training went.
//
// Rows are appended and synced one at a time. A process killed while it wrote leaves at most a torn last
// line, which reading passes over and the next append or truncation removes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea {

struct EpochRow {
  int epoch = 0;
  std::int64_t step = 0;  // optimizer steps since the start
  double lr = 0, train_loss = 0, val_loss = 0, val_accuracy = 0;
  double images_per_s = 0, seconds = 0;
};

/// The line without its end: keys in the order above, numbers with the fewest digits that read back the same;
/// NaN and infinity, which JSON has not, as null.
std::string epoch_line(const EpochRow& row);

/// Makes the file where there is none. Error naming the file where it cannot be written.
void append_epoch(const std::string& path, const EpochRow& row);

/// All rows; none where there is no file. null is read as NaN, further keys are passed over. A damaged line
/// that is not the last is an Error naming file and line.
std::vector<EpochRow> read_epoch_log(const std::string& path);

/// Keeps the rows up to and including `last_epoch` as they are, drops those after it and a torn last line;
/// atomically.
void truncate_epoch_log(const std::string& path, int last_epoch);

}  // namespace fovea
