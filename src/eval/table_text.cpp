// See table_text.hpp.
#include "eval/table_text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace fovea {
namespace {

std::string to_the_right(std::string_view text, std::size_t width) {
  return fmt::format("{}{}", std::string(width - std::min(width, width_of(text)), ' '), text);
}

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    std::size_t width = width_of(table.header[c].title);
    for (const auto& row : table.rows) width = std::max(width, width_of(row.at(c)));
    widths.push_back(width);
  }
  return widths;
}

}  // namespace

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(std::string_view text, std::size_t width) {
  return fmt::format("{}{}", text, std::string(width - std::min(width, width_of(text)), ' '));
}

std::string wrapped(std::string_view text, std::size_t width) {
  std::string lines;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > width) {
      const std::size_t space = text.rfind(' ', width);
      end = space == std::string_view::npos ? std::min(text.find(' '), text.size()) : space;
    }
    lines += fmt::format("  {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string terminal_table(const TextTable& table) {
  const std::vector<std::size_t> widths = widths_of(table);
  const auto line = [&](const auto& cell_of) {
    std::string text = " ";
    for (std::size_t c = 0; c < widths.size(); ++c) {
      text += table.header[c].number ? " " + to_the_right(cell_of(c), widths[c])
                                     : " " + padded(cell_of(c), widths[c]);
      text += c + 1 < widths.size() ? " " : "";
    }
    while (text.back() == ' ') text.pop_back();
    return text + "\n";
  };
  std::string text = line([&](std::size_t c) { return std::string_view(table.header[c].title); });
  for (const auto& row : table.rows) text += line([&](std::size_t c) { return std::string_view(row.at(c)); });
  return text;
}

std::string markdown_table(const TextTable& table) {
  std::string text = "|", rule = "|";
  for (const TextTable::Column& column : table.header) {
    text += fmt::format(" {} |", markdown_escaped(column.title));
    rule += column.number ? "---:|" : "---|";
  }
  text += "\n" + rule + "\n";
  for (const auto& row : table.rows) {
    text += "|";
    for (const std::string& cell : row) text += fmt::format(" {} |", markdown_escaped(cell));
    text += "\n";
  }
  return text;
}

std::string markdown_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n' || c == '\r') {
      result += ' ';
      continue;
    }
    if (std::string_view("\\`*_{}[]<>#|").find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

std::string csv_field(std::string_view text) {
  const bool spaced = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (!spaced && text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + '"';
}

std::string csv_line(std::span<const std::string> cells) {
  std::string line;
  for (const std::string& cell : cells) line += (&cell == &cells.front() ? "" : ",") + csv_field(cell);
  return line + "\n";
}

}  // namespace fovea
