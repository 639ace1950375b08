// Tables of text: comma-separated values as RFC 4180 has them, and what cells mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

struct TableRow {
  int line = 0;  // where the row begins in its file, counted from 1 (in a spreadsheet: the row's number)
  std::vector<std::string> cells;  // without blanks around; as many as the header has
};

/// A header and rows of text cells.
struct Table {
  std::string source;
  std::vector<std::string> header;
  std::vector<TableRow> rows;

  /// Index of a column, or -1. Error where the header names it twice.
  int find(std::string_view column) const;
};

/// Reads a CSV file: quoted cells with commas, line ends and doubled quotes in them; LF or CRLF; a UTF-8
/// byte-order mark; empty lines are skipped. Error, naming file and line: missing, larger than 256 MiB, not
/// text, no header, separated by something else than commas, an open quote, text behind a closing quote, a
/// row with more or fewer cells than the header.
Table read_csv(const std::string& path);

/// The cells of every row, of whatever length: what read_csv does before it looks at the header.
std::vector<TableRow> read_csv_rows(const std::string& path);

/// A cell for CSV output, quoted where it must be.
std::string csv_cell(std::string_view text);

std::string_view trim(std::string_view text);

/// Trimmed parts; an empty text has none.
std::vector<std::string> split_cell(std::string_view text, char separator);

/// The integer that is the whole text ("3.0" is 3), or nothing.
std::optional<std::int64_t> parse_integer(std::string_view text);

}  // namespace fovea
