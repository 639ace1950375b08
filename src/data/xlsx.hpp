// Spreadsheets (Office Open XML, ECMA-376): a zip archive of XML parts, of which the first sheet's text is
// wanted.
#pragma once

#include <string>

#include "data/csv.hpp"

namespace fovea {

/// The first sheet of an .xlsx file as text: its first row that is not empty names the columns, the rows
/// below follow (empty ones skipped; missing cells are empty). Shared, inline and formula strings, numbers as
/// written in the file, booleans as 0 and 1. Error naming the file: missing, not a zip archive, damaged,
/// without a sheet, a part larger than 64 MiB, an error cell.
Table read_xlsx(const std::string& path);

}  // namespace fovea
