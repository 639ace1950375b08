// CSV as a machine of three states: between cells, in a bare cell, in a quoted cell. See csv.hpp.
#include "data/csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t max_csv_bytes = 256u << 20;

std::string read_text(const std::string& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) fail(fmt::format("{}: no such file", path));
  if (!fs::is_regular_file(status)) fail(fmt::format("{}: is not a file", path));
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail(fmt::format("{}: {}", path, error.message()));
  if (size > max_csv_bytes)
    fail(fmt::format("{}: {} bytes is more than a CSV file may have ({})", path, size, max_csv_bytes));
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (size > 0) text << file.rdbuf();
  if (!file || text.str().size() != size) fail(fmt::format("{}: cannot be read", path));
  return std::move(text).str();
}

class CsvParser {
 public:
  CsvParser(const std::string& path, std::string_view text) : path_(path), text_(text) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
    if (text_.starts_with("\xff\xfe") || text_.starts_with("\xfe\xff") || text_.find('\0') != text_.npos)
      fail(fmt::format("{}: is not a text file in UTF-8; save it as CSV (UTF-8)", path_));
  }

  std::vector<TableRow> parse() {
    std::vector<TableRow> rows;
    while (at_ < text_.size()) {
      TableRow row{line_, {}};
      bool more = true;
      while (more) more = read_cell(row.cells);
      const bool empty = row.cells.size() == 1 && row.cells[0].empty();
      if (!empty) rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  [[noreturn]] void fail_here(int line, std::string_view what) const {
    fail(fmt::format("{}, line {}: {}", path_, line, what));
  }

  // Reads one cell and what ends it; true where another cell of the row follows.
  bool read_cell(std::vector<std::string>& cells) {
    std::size_t start = at_;
    while (start < text_.size() && (text_[start] == ' ' || text_[start] == '\t')) ++start;
    if (start < text_.size() && text_[start] == '"') {
      at_ = start + 1;
      cells.push_back(read_quoted());
    } else {
      const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      cells.emplace_back(trim(text_.substr(at_, end - at_)));
      at_ = end;
    }
    return end_cell();
  }

  std::string read_quoted() {
    const int opened = line_;
    std::string cell;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') {
          ++at_;
          return cell;
        }
        ++at_;
      }
      if (text_[at_] == '\n') ++line_;
      cell += text_[at_];
    }
    fail_here(opened, "a quote is opened and never closed");
  }

  bool end_cell() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    if (c == ',') return true;
    if (c == '\r' && at_ < text_.size() && text_[at_] == '\n') ++at_;
    if (c != '\n' && c != '\r') fail_here(line_, "text follows a closing quote");
    ++line_;
    return false;
  }

  const std::string& path_;
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

void check_separator(const std::string& path, const std::vector<std::string>& header) {
  if (header.size() != 1) return;
  for (const char other : {';', '\t'})
    if (header[0].find(other) != std::string::npos)
      fail(fmt::format("{}: its cells are separated by {}, not by commas; save it with commas", path,
                       other == ';' ? "semicolons" : "tabs"));
}

}  // namespace

std::string_view trim(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blank);
  return first == text.npos ? std::string_view{}
                            : text.substr(first, text.find_last_not_of(blank) - first + 1);
}

std::vector<std::string> split_cell(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (trim(text).empty()) return parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(trim(text.substr(0, end)));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  text = trim(text);
  if (const std::size_t point = text.find('.'); point != text.npos && point > 0) {
    if (text.find_first_not_of('0', point + 1) != text.npos) return std::nullopt;
    text = text.substr(0, point);
  }
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos && trim(text) == text) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

int Table::find(std::string_view column) const {
  const auto found = std::find(header.begin(), header.end(), column);
  if (found == header.end()) return -1;
  if (std::find(found + 1, header.end(), column) != header.end())
    fail(fmt::format("{}: the column '{}' is there twice", source, column));
  return static_cast<int>(found - header.begin());
}

std::vector<TableRow> read_csv_rows(const std::string& path) {
  const std::string text = read_text(path);
  return CsvParser(path, text).parse();
}

Table read_csv(const std::string& path) {
  Table table{path, {}, read_csv_rows(path)};
  if (table.rows.empty())
    fail(fmt::format("{}: the file is empty; the first line must name the columns", path));
  table.header = std::move(table.rows.front().cells);
  table.rows.erase(table.rows.begin());
  check_separator(path, table.header);
  for (const TableRow& row : table.rows)
    if (row.cells.size() != table.header.size())
      fail(fmt::format("{}, row {}: {} cells where the header has {} columns", path, row.line,
                       row.cells.size(), table.header.size()));
  return table;
}

}  // namespace fovea
