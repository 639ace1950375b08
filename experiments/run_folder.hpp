// A run's folder: its files, and checkpoints that survive being killed at any moment.
//
// last.safetensors (parameters and buffers) and last.state.safetensors (all else) belong together: both name
// the position they are of. A new pair is first written whole under other names (.next), then renamed one
// after the other; so at every moment either the old pair is there, or the new one, or a half-renamed new
// one, which recover() completes.
#pragma once

#include <cstdint>
#include <string>

#include "models/zoo.hpp"
#include "nn/optimizer.hpp"
#include "run_config.hpp"

namespace fovea {

/// How far a training has come. Batches and augmentation are functions of (seed, epoch, sample), dropout of
/// (seed, step): so this is all the random state there is.
struct Position {
  int epoch = 0;          // epochs done
  int batch = 0;          // batches done of the next one
  std::int64_t step = 0;  // optimizer steps
  double loss_sum = 0;    // of the samples of the epoch under way
  std::int64_t samples = 0;
  double seconds = 0;  // spent on the epoch under way
  int best_epoch = 0;  // counted from 1; 0: none yet
  double best_accuracy = 0, best_loss = 0;
  std::string data;  // fingerprint of the set and its split

  std::string text() const;  // "epoch:batch", what a pair is named by
};

class RunFolder {
 public:
  explicit RunFolder(std::string path);

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  bool has(const std::string& name) const;

  /// Makes the folder. UsageError where it holds anything (but what a killed writer left).
  void create() const;
  /// UsageError where there is no run.
  RunConfig config() const;

  void save(const Model& model, const Optimizer& optimizer, const Position& position) const;
  /// False where nothing was saved yet. Error where the files do not fit the model or each other.
  bool load(Model& model, Optimizer& optimizer, Position& position) const;

  /// Of a finished run: the state goes, and the other checkpoint; load() cannot go on with it any more.
  void keep_only(const std::string& checkpoint) const;

  /// "best" or "last"; where neither is asked for ("" or "auto") best, or what there is of the two.
  std::string checkpoint_to_read(const std::string& asked) const;
  /// "best" or "last". Error where there is none.
  void load_checkpoint(Model& model, const std::string& checkpoint) const;

 private:
  void recover() const;
  std::string path_;
};

}  // namespace fovea
