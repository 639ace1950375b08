// Spreadsheets by libzip (the archive) and pugixml (its parts). See xlsx.hpp.
//
// workbook.xml lists the sheets in order by a relation id; workbook.xml.rels says which part that is; a cell
// <c r="B3" t="s"> holds an index into sharedStrings.xml (t="s"), text of its own (t="inlineStr", "str") or a
// number. Elements are compared without their namespace prefix, which some writers add.
#include "data/xlsx.hpp"

#include <fmt/format.h>
#include <zip.h>

#include <filesystem>
#include <memory>
#include <pugixml.hpp>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr zip_uint64_t max_part_bytes = 64u << 20;
constexpr int max_columns = 16384;

struct CloseZip {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Archive = std::unique_ptr<zip_t, CloseZip>;
using Part = std::unique_ptr<zip_file_t, CloseZip>;

std::string_view local_name(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  return name.substr(name.find(':') == name.npos ? 0 : name.find(':') + 1);
}

pugi::xml_node child(const pugi::xml_node& parent, std::string_view name) {
  for (const pugi::xml_node& node : parent.children())
    if (local_name(node) == name) return node;
  return {};
}

// The text of a string item: of its <t>, or of the <t> of each of its runs; phonetic hints (<rPh>) are not
// part of it.
std::string text_of(const pugi::xml_node& item) {
  std::string text;
  for (const pugi::xml_node& node : item.children()) {
    if (local_name(node) == "t") text += node.text().get();
    if (local_name(node) == "r") text += child(node, "t").text().get();
  }
  return text;
}

class Workbook {
 public:
  explicit Workbook(const std::string& path) : path_(path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) fail(fmt::format("{}: no such file", path));
    int code = 0;
    archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
    if (!archive_) fail(fmt::format("{}: not an .xlsx file (it does not open as a zip archive)", path));
    read_shared_strings();
  }

  Table read() {
    const std::string part = first_sheet();
    pugi::xml_document sheet;
    if (!load(part, sheet)) fail(fmt::format("{}: has no part {}", path_, part));
    Table table{path_, {}, {}};
    int line = 0;
    for (const pugi::xml_node& node : child(child(sheet, "worksheet"), "sheetData").children()) {
      if (local_name(node) != "row") continue;
      line = node.attribute("r").as_int(line + 1);
      add_row(table, {line, cells_of(node, line)});
    }
    if (table.header.empty()) fail(fmt::format("{}: the first sheet is empty", path_));
    return table;
  }

 private:
  // False where the archive has no such part.
  bool load(const std::string& name, pugi::xml_document& document) const {
    zip_stat_t stat;
    if (zip_stat(archive_.get(), name.c_str(), 0, &stat) != 0) return false;
    if ((stat.valid & ZIP_STAT_SIZE) == 0 || stat.size > max_part_bytes)
      fail(fmt::format("{}: its part {} is larger than {} bytes", path_, name, max_part_bytes));
    std::string bytes(stat.size, '\0');
    const Part part(zip_fopen(archive_.get(), name.c_str(), 0));
    if (!part || zip_fread(part.get(), bytes.data(), bytes.size()) != static_cast<zip_int64_t>(bytes.size()))
      fail(fmt::format("{}: damaged: its part {} cannot be unpacked", path_, name));
    const auto result =
        document.load_buffer(bytes.data(), bytes.size(), pugi::parse_default | pugi::parse_ws_pcdata);
    if (!result)
      fail(fmt::format("{}: damaged: its part {} is not XML ({})", path_, name, result.description()));
    return true;
  }

  void read_shared_strings() {
    pugi::xml_document document;
    if (!load("xl/sharedStrings.xml", document)) return;
    for (const pugi::xml_node& item : child(document, "sst").children())
      if (local_name(item) == "si") strings_.push_back(text_of(item));
  }

  std::string first_sheet() const {
    pugi::xml_document workbook, relations;
    if (!load("xl/workbook.xml", workbook))
      fail(fmt::format("{}: not an .xlsx file (it has no workbook)", path_));
    const pugi::xml_node sheet = child(child(child(workbook, "workbook"), "sheets"), "sheet");
    if (!sheet) fail(fmt::format("{}: has no sheet", path_));
    std::string id;
    for (const pugi::xml_attribute& attribute : sheet.attributes())
      if (std::string_view(attribute.name()).ends_with(":id")) id = attribute.value();
    if (load("xl/_rels/workbook.xml.rels", relations)) {
      for (const pugi::xml_node& relation : child(relations, "Relationships").children()) {
        const std::string target = relation.attribute("Target").value();
        if (id == relation.attribute("Id").value() && !target.empty())
          return target.starts_with('/') ? target.substr(1) : "xl/" + target;
      }
    }
    return "xl/worksheets/sheet1.xml";
  }

  std::vector<std::string> cells_of(const pugi::xml_node& row, int line) const {
    std::vector<std::string> cells;
    for (const pugi::xml_node& cell : row.children()) {
      if (local_name(cell) != "c") continue;
      const std::size_t column = column_of(cell.attribute("r").value(), cells.size(), line);
      if (cells.size() <= column) cells.resize(column + 1);
      cells[column] = trim(value_of(cell, line));
    }
    return cells;
  }

  // "AB12" is column 27; a cell without a reference follows the one before it.
  std::size_t column_of(std::string_view reference, std::size_t next, int line) const {
    int column = 0;
    for (const char c : reference) {
      if (c < 'A' || c > 'Z') break;
      column = column * 26 + (c - 'A' + 1);
      if (column > max_columns) break;
    }
    if (column == 0) column = static_cast<int>(next) + 1;
    if (column > max_columns) fail(fmt::format("{}, row {}: more than {} columns", path_, line, max_columns));
    return static_cast<std::size_t>(column) - 1;
  }

  std::string value_of(const pugi::xml_node& cell, int line) const {
    const std::string_view type = cell.attribute("t").value();
    if (type == "inlineStr") return text_of(child(cell, "is"));
    std::string value = child(cell, "v").text().get();
    if (type == "e")
      fail(fmt::format("{}, row {}: the cell {} holds the error {}", path_, line, cell.attribute("r").value(),
                       value));
    if (type != "s") return value;
    const auto index = parse_integer(value);
    if (!index || *index < 0 || *index >= static_cast<std::int64_t>(strings_.size()))
      fail(fmt::format("{}, row {}: the cell {} names a shared string '{}' that is not there", path_, line,
                       cell.attribute("r").value(), value));
    return strings_[static_cast<std::size_t>(*index)];
  }

  void add_row(Table& table, TableRow row) const {
    while (!row.cells.empty() && row.cells.back().empty()) row.cells.pop_back();
    if (row.cells.empty()) return;
    if (table.header.empty()) {
      table.header = std::move(row.cells);
      return;
    }
    if (row.cells.size() > table.header.size())
      fail(fmt::format("{}, row {}: {} cells where the header has {} columns", path_, row.line,
                       row.cells.size(), table.header.size()));
    row.cells.resize(table.header.size());
    table.rows.push_back(std::move(row));
  }

  std::string path_;
  Archive archive_;
  std::vector<std::string> strings_;
};

}  // namespace

Table read_xlsx(const std::string& path) { return Workbook(path).read(); }

}  // namespace fovea
