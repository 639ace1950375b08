// Tables as text: for a terminal, for Markdown, for CSV.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

struct TextTable {
  struct Column {
    std::string title;
    bool number = true;  // set to the right
  };
  std::vector<Column> header;
  std::vector<std::vector<std::string>> rows;  // as many cells as columns
};

/// Columns wide enough for what is in them, two spaces between; numbers to the right.
std::string terminal_table(const TextTable& table);
/// GitHub's form; cells are escaped.
std::string markdown_table(const TextTable& table);

/// What Markdown would take as markup, and line ends, made harmless.
std::string markdown_escaped(std::string_view text);
/// A cell of RFC 4180: quoted where it has a comma, a quote, a line end, or a space at an end.
std::string csv_field(std::string_view text);
std::string csv_line(std::span<const std::string> cells);

/// Columns on a terminal: code points, which is right for all but wide and combining letters.
std::size_t width_of(std::string_view text);
/// Spaces after it, to so many columns.
std::string padded(std::string_view text, std::size_t width);
/// Lines, indented by two, of at most `width` columns, broken at spaces.
std::string wrapped(std::string_view text, std::size_t width);

}  // namespace fovea
