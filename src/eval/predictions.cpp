// predictions.csv: writer and reader (RFC 4180; numbers by fmt and from_chars, which know no locale).
#include "eval/predictions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>

#include "eval/table_text.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

struct Row {
  std::size_t line;  // where it begins, 1 = header
  std::vector<std::string> fields;
};

/// CSV text -> rows; a quoted field may hold commas, quotes (doubled) and line ends.
class CsvReader {
 public:
  CsvReader(const std::string& path, std::string_view text) : path_(path), text_(text) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }

  std::optional<Row> next() {
    if (at_ >= text_.size()) return std::nullopt;
    Row row{line_, {}};
    do {
      row.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_field() : plain_field());
    } while (take(','));
    if (take('\r') && (at_ >= text_.size() || text_[at_] != '\n')) stray(row.line);
    if (!take('\n') && at_ < text_.size()) stray(row.line);
    return row;
  }

 private:
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    if (c == '\n') ++line_;
    ++at_;
    return true;
  }

  std::string plain_field() {
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string quoted_field() {
    const std::size_t first = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        field += text_[at_++];
      } else {
        ++at_;
        return field;
      }
    }
    fail(fmt::format("{}, row {}: a quote is not closed; write the file again", path_, first));
  }

  [[noreturn]] void stray(std::size_t line) const {
    fail(fmt::format(
        "{}, row {}: something stands between a closing quote and the comma; write the file again", path_,
        line));
  }

  const std::string& path_;
  std::string_view text_;
  std::size_t at_ = 0, line_ = 1;
};

class PredictionReader {
 public:
  PredictionReader(const std::string& path, const Row& header) : path_(path) {
    const auto& names = header.fields;
    full_ = names.size() > 1 && names[1] == "subject";
    const std::vector<std::string> expected =
        full_ ? std::vector<std::string>{"id", "subject", "label", "predicted"}
              : std::vector<std::string>{"id", "predicted"};
    leading_ = expected.size();
    bool right = names.size() > leading_ && std::equal(expected.begin(), expected.end(), names.begin());
    for (std::size_t k = leading_; right && k < names.size(); ++k)
      right = names[k] == fmt::format("p{}", k - leading_);
    if (!right) {
      fail(fmt::format(
          "{}, row 1: the columns are not id,subject,label,predicted,p0,p1,...; name a predictions.csv",
          path));
    }
    classes_ = static_cast<int>(names.size() - leading_);
  }

  Prediction read(const Row& row) const {
    if (row.fields.size() != leading_ + static_cast<std::size_t>(classes_)) {
      bad(row, fmt::format("it has {} columns and the header {}", row.fields.size(), leading_ + classes_));
    }
    Prediction result;
    result.id = row.fields[0];
    if (full_) {
      result.subject = row.fields[1];
      result.label = number<int>(row, 2, -1, classes_ - 1);
    }
    result.predicted = number<int>(row, leading_ - 1, 0, classes_ - 1);
    for (int k = 0; k < classes_; ++k)
      result.probabilities.push_back(number<double>(row, leading_ + k, 0, 1));
    return result;
  }

 private:
  [[noreturn]] void bad(const Row& row, const std::string& what) const {
    fail(fmt::format("{}, row {}: {}; write the file again", path_, row.line, what));
  }

  template <class T>
  T number(const Row& row, std::size_t column, T low, T high) const {
    const std::string& text = row.fields[column];
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      bad(row, fmt::format("'{}' is not a number", text));
    if (!(value >= low && value <= high))
      bad(row, fmt::format("{} is not between {} and {}", text, low, high));
    return value;
  }

  const std::string& path_;
  bool full_ = false;
  std::size_t leading_ = 0;
  int classes_ = 0;
};

}  // namespace

int most_likely(std::span<const double> probabilities) {
  if (probabilities.empty()) fail("a prediction without probabilities has no most likely class");
  std::size_t best = 0;
  for (std::size_t k = 1; k < probabilities.size(); ++k) {
    if (probabilities[k] > probabilities[best] ||
        (std::isnan(probabilities[best]) && !std::isnan(probabilities[k])))
      best = k;
  }
  return static_cast<int>(best);
}

std::vector<double> softmax(std::span<const double> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const double z : logits) sum += p.emplace_back(std::exp(z - most));
  for (double& v : p) v /= sum;
  return p;
}

std::string predictions_csv(std::span<const Prediction> predictions, PredictionColumns columns) {
  const bool full = columns == PredictionColumns::all;
  const std::size_t classes = predictions.empty() ? 0 : predictions.front().probabilities.size();
  std::string text = full ? "id,subject,label,predicted" : "id,predicted";
  for (std::size_t k = 0; k < classes; ++k) text += fmt::format(",p{}", k);
  text += '\n';
  for (const Prediction& row : predictions) {
    if (row.probabilities.size() != classes) {
      fail(fmt::format("sample '{}' has {} probabilities and the first one has {}", row.id,
                       row.probabilities.size(), classes));
    }
    text += csv_field(row.id);
    text += full ? fmt::format(",{},{},{}", csv_field(row.subject), row.label, row.predicted)
                 : fmt::format(",{}", row.predicted);
    for (const double p : row.probabilities) text += fmt::format(",{}", p);
    text += '\n';
  }
  return text;
}

std::vector<Prediction> read_predictions(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(fmt::format("cannot open {}; check the path", path));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CsvReader csv(path, text);
  const std::optional<Row> header = csv.next();
  if (!header) fail(fmt::format("{} is empty; name a predictions.csv", path));
  const PredictionReader reader(path, *header);
  std::vector<Prediction> predictions;
  while (const std::optional<Row> row = csv.next()) predictions.push_back(reader.read(*row));
  return predictions;
}

}  // namespace fovea
