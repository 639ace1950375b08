// Manifests: from columns to samples. See manifest.hpp.
#include "data/manifest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "data/csv.hpp"
#include "data/dataset_rules.hpp"
#include "data/oct.hpp"
#include "data/visual_field.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/names.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

Eye parse_eye(const std::string& cell) {
  const std::string name = lower(cell);
  if (name.empty()) return Eye::unknown;
  if (name == "od" || name == "r" || name == "re" || name == "right") return Eye::right;
  if (name == "os" || name == "l" || name == "le" || name == "left") return Eye::left;
  fail(fmt::format("the eye '{}' is neither OD (R, right) nor OS (L, left)", cell));
}

std::string parse_split(const std::string& cell) {
  const std::string name = lower(cell);
  if (name.empty() || name == "train" || name == "val" || name == "test") return name;
  if (name == "training") return "train";
  if (name == "valid" || name == "validation") return "val";
  if (name == "testing") return "test";
  fail(fmt::format("the split '{}' is none of train, val, test", cell));
}

int parse_number(std::string_view column, const std::string& cell, std::int64_t least) {
  const auto value = parse_integer(cell);
  if (!value || *value < least || *value > 1'000'000'000)
    fail(fmt::format("the {} '{}' is not an integer from {}", column, cell, least));
  return static_cast<int>(*value);
}

double parse_place(std::string_view column, const std::string& cell) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc{} || end != cell.data() + cell.size() || !(value >= 0 && value <= 1e9))
    fail(fmt::format("the {} '{}' is not a number from 0", column, cell));
  return value;
}

// One field in a file of its own: a header with a field's columns and one row, or thresholds alone.
std::vector<float> read_field_file(const std::string& path, bool left_eye) {
  try {
    const auto rows = read_csv_rows(path);
    if (rows.empty()) fail("the file is empty");
    const auto columns = find_field_columns(rows[0].cells);
    std::vector<std::string> cells;
    if (columns.empty()) {
      for (const TableRow& row : rows) cells.insert(cells.end(), row.cells.begin(), row.cells.end());
      return parse_field(cells, left_eye);
    }
    if (rows.size() != 2) fail(fmt::format("{} fields where one is expected", rows.size() - 1));
    if (rows[1].cells.size() != rows[0].cells.size()) fail("the row and the header differ in length");
    for (const int column : columns) cells.push_back(rows[1].cells[static_cast<std::size_t>(column)]);
    return parse_field(cells, left_eye);
  } catch (const Error& error) {
    const std::string message = error.what();
    fail(message.starts_with(path) ? message : fmt::format("{}: {}", path, message));
  }
}

class Manifest {
 public:
  Manifest(const std::string& path, const DatasetOptions& options)
      : options_(options), table_(read_csv(path)) {
    folder_ = fs::path(path).parent_path();
    find_columns();
  }

  Dataset read() {
    Dataset dataset{table_.source, {}, {}};
    for (const TableRow& row : table_.rows) {
      try {
        dataset.samples.push_back(read_sample(row));
      } catch (const Error& error) {
        report_problem(options_, fmt::format("{}, row {}: {}", table_.source, row.line, error.what()));
      }
    }
    finish_dataset(dataset, class_names_, options_);
    return dataset;
  }

 private:
  void find_columns() {
    const int file = table_.find("file"), fundus = table_.find("fundus");
    if (file >= 0 && fundus >= 0)
      fail(
          fmt::format("{}: has both a column file and a column fundus; the photograph belongs in one of them",
                      table_.source));
    fundus_ = std::max(file, fundus);
    oct_ = table_.find("oct");
    vf_ = table_.find("vf");
    find_field();
    if (fundus_ < 0 && oct_ < 0 && vf_ < 0 && field_.empty())
      fail(fmt::format("{}: no column names the data: file (or fundus), oct, vf; its columns are {}",
                       table_.source, columns()));
    label_ = table_.find(options_.label_column);
    if (label_ < 0 && options_.labels_required)
      fail(fmt::format("{}: no column '{}' for the label{}; its columns are {}", table_.source,
                       options_.label_column, nearest_hint(options_.label_column, candidates()), columns()));
    label_name_ = options_.label_column == "label" ? table_.find("label_name") : -1;
    id_ = table_.find("id");
    subject_ = table_.find("subject");
    eye_ = table_.find("eye");
    split_ = table_.find("split");
    fold_ = table_.find("fold");
    roi_ = find_together("a box", roi_names);
    disc_ = find_together("the box of the disc", disc_names);
    fovea_ = find_together("the fovea", fovea_names);
  }

  void find_field() {
    try {
      field_ = find_field_columns(table_.header);
    } catch (const Error& error) {
      fail(fmt::format("{}: {}", table_.source, error.what()));
    }
  }

  // Columns that mean something together alone.
  template <std::size_t N>
  std::array<int, N> find_together(const char* what, const std::array<std::string_view, N>& names) const {
    std::array<int, N> columns;
    std::size_t found = 0;
    for (std::size_t i = 0; i < N; ++i) {
      columns[i] = table_.find(names[i]);
      found += columns[i] >= 0;
    }
    if (found != 0 && found != N)
      fail(fmt::format("{}: {} needs all of the columns {}", table_.source, what, fmt::join(names, ", ")));
    return columns;
  }

  // Columns that a message lists: those of a visual field as one.
  std::vector<std::string> candidates() const {
    std::vector<std::string> names;
    for (int i = 0; i < static_cast<int>(table_.header.size()); ++i)
      if (std::find(field_.begin(), field_.end(), i) == field_.end())
        names.push_back(table_.header[static_cast<std::size_t>(i)]);
    return names;
  }

  std::string columns() const {
    const std::string list = fmt::format("{}", fmt::join(candidates(), ", "));
    return field_.empty() ? list : fmt::format("{}, and {} of a visual field", list, field_.size());
  }

  static const std::string& cell(const TableRow& row, int column) {
    static const std::string none;
    return column < 0 ? none : row.cells[static_cast<std::size_t>(column)];
  }

  std::string path_of(const std::string& name) const { return (folder_ / name).string(); }

  std::string existing(const std::string& name) const {
    const std::string path = path_of(name);
    std::error_code error;
    if (!fs::is_regular_file(path, error)) fail(fmt::format("no such file: {}", path));
    return path;
  }

  Sample read_sample(const TableRow& row) {
    Sample sample;
    sample.row = row.line;
    sample.eye = parse_eye(cell(row, eye_));
    if (const auto& name = cell(row, fundus_); !name.empty()) sample.fundus = existing(name);
    sample.oct = read_oct(cell(row, oct_));
    sample.field = read_field(row, sample.eye == Eye::left);
    if (!sample.has(Modality::fundus) && !sample.has(Modality::oct) && !sample.has(Modality::vf))
      fail("the sample has no photograph, no OCT and no visual field");
    sample.roi = read_box(row, "the box", roi_, roi_names);
    sample.disc = read_box(row, "the box of the disc", disc_, disc_names);
    sample.fovea = read_fovea(row);
    sample.split = parse_split(cell(row, split_));
    if (const auto& fold = cell(row, fold_); !fold.empty()) sample.fold = parse_number("fold", fold, 0);
    sample.id = read_id(row, sample);
    const auto& subject = cell(row, subject_);
    sample.subject = subject.empty() ? sample.id : subject;
    read_label(row, sample);
    return sample;
  }

  std::vector<std::string> read_oct(const std::string& text) const {
    std::error_code error;
    if (text.empty()) return {};
    if (text.find(';') == text.npos && fs::is_directory(path_of(text), error))
      return list_slices(path_of(text));
    std::vector<std::string> slices;
    for (const std::string& name : split_cell(text, ';')) {
      if (name.empty()) fail("the list of OCT slices has an empty name in it");
      slices.push_back(existing(name));
    }
    return slices;
  }

  std::vector<float> read_field(const TableRow& row, bool left_eye) const {
    const std::string& text = cell(row, vf_);
    if (text.find(';') != text.npos) return parse_field(split_cell(text, ';'), left_eye);
    if (!text.empty()) return read_field_file(existing(text), left_eye);
    if (field_.empty()) return {};
    std::vector<std::string> cells;
    for (const int column : field_) cells.push_back(cell(row, column));
    return parse_field(cells, left_eye);
  }

  static Box read_box(const TableRow& row, const char* what, const std::array<int, 4>& columns,
                      const std::array<std::string_view, 4>& names) {
    std::array<std::string, 4> cells;
    int filled = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      cells[i] = cell(row, columns[i]);
      filled += !cells[i].empty();
    }
    if (filled == 0) return {};
    if (filled != 4) fail(fmt::format("{} is given in part; fill all four of its cells or none", what));
    return {parse_number(names[0], cells[0], 0), parse_number(names[1], cells[1], 0),
            parse_number(names[2], cells[2], 1), parse_number(names[3], cells[3], 1)};
  }

  std::optional<Point> read_fovea(const TableRow& row) const {
    const std::string &x = cell(row, fovea_[0]), &y = cell(row, fovea_[1]);
    if (x.empty() && y.empty()) return {};
    if (x.empty() || y.empty()) fail("the fovea is given in part; fill both of its cells or none");
    return Point{parse_place(fovea_names[0], x), parse_place(fovea_names[1], y)};
  }

  std::string read_id(const TableRow& row, const Sample& sample) const {
    if (const auto& id = cell(row, id_); !id.empty()) return id;
    if (!sample.fundus.empty()) return fs::path(sample.fundus).stem().string();
    if (const auto& oct = cell(row, oct_); !oct.empty())
      return fs::path(split_cell(oct, ';').front()).stem().string();
    if (const auto& vf = cell(row, vf_); !vf.empty() && vf.find(';') == vf.npos)
      return fs::path(vf).stem().string();
    return fmt::format("row{}", row.line);
  }

  void read_label(const TableRow& row, Sample& sample) {
    const std::string& text = cell(row, label_);
    if (text.empty()) {
      if (options_.labels_required)
        fail(fmt::format("the column {} is empty; every sample needs a label", options_.label_column));
      return;
    }
    sample.label = parse_label(text);
    const std::string& name = cell(row, label_name_);
    if (name.empty()) return;
    const auto [known, is_new] = class_names_.emplace(sample.label, name);
    if (!is_new && known->second != name)
      fail(fmt::format("label {} is called '{}' here and '{}' above", sample.label, name, known->second));
    for (const auto& [label, other] : class_names_)
      if (other == name && label != sample.label)
        fail(fmt::format("the labels {} and {} are both called '{}'", label, sample.label, name));
  }

  static constexpr std::array<std::string_view, 4> roi_names{"roi_x", "roi_y", "roi_w", "roi_h"},
      disc_names{"disc_x", "disc_y", "disc_width", "disc_height"};
  static constexpr std::array<std::string_view, 2> fovea_names{"fovea_x", "fovea_y"};

  const DatasetOptions& options_;
  Table table_;
  fs::path folder_;
  int fundus_ = -1, oct_ = -1, vf_ = -1, label_ = -1, label_name_ = -1;
  int id_ = -1, subject_ = -1, eye_ = -1, split_ = -1, fold_ = -1;
  std::array<int, 4> roi_{}, disc_{};
  std::array<int, 2> fovea_{};
  std::vector<int> field_;
  std::map<int, std::string> class_names_;
};

}  // namespace

Dataset open_manifest(const std::string& path, const DatasetOptions& options) {
  return Manifest(path, options).read();
}

}  // namespace fovea
