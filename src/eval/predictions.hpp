// Predictions of a set, and the CSV that holds them: `id,subject,label,predicted,p0,p1,...`.
//
// Probabilities are printed with the fewest digits that read back to the same double, so metrics of the file
// and of what was in memory are equal. Quoting as in RFC 4180, both ways.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

struct Prediction {
  std::string id, subject;
  int label = -1;  // -1: not labelled
  int predicted = 0;
  std::vector<double> probabilities;  // one for each class
};

/// The first of the largest; NaN never wins over a number. Error for an empty list.
int most_likely(std::span<const double> probabilities);

/// Probabilities of logits, at least one.
std::vector<double> softmax(std::span<const double> logits);

enum class PredictionColumns {
  all,   // id,subject,label,predicted,p0,... : predictions.csv of a run
  bare,  // id,predicted,p0,... : what `fovea predict` prints
};
std::string predictions_csv(std::span<const Prediction> predictions,
                            PredictionColumns columns = PredictionColumns::all);

/// Reads either form; Error naming file and row for anything else: wrong header or number of columns, what is
/// no number, label or prediction that no column stands for, a probability outside [0, 1], a quote that does
/// not close.
std::vector<Prediction> read_predictions(const std::string& path);

}  // namespace fovea
