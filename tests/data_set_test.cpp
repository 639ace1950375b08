// Sets: CSV, spreadsheets, manifests, class folders, GAMMA's layout; every bad one is an error that names
// file and row.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zip.h>

#include <cmath>
#include <set>

#include "data/csv.hpp"
#include "data/dataset.hpp"
#include "data/xlsx.hpp"
#include "data_files.hpp"

namespace fovea {
namespace {

using testing::error_of;
using testing::expect_error;
using testing::pattern;
using testing::TempFolder;

std::string stem(const std::string& path) { return std::filesystem::path(path).filename().string(); }

// ---- CSV ----------------------------------------------------------------------------------------

struct CsvCase {
  const char *name, *text;
  std::vector<std::vector<std::string>> rows;  // header first
  std::vector<int> lines;
};

TEST(Csv, ReadsWhatRfc4180Allows) {
  const TempFolder folder;
  const std::vector<CsvCase> cases{
      {"plain", "a,b\n1,2\n", {{"a", "b"}, {"1", "2"}}, {2}},
      {"no last line end", "a,b\n1,2", {{"a", "b"}, {"1", "2"}}, {2}},
      {"crlf", "a,b\r\n1,2\r\n3,4\r\n", {{"a", "b"}, {"1", "2"}, {"3", "4"}}, {2, 3}},
      {"old mac", "a,b\r1,2\r", {{"a", "b"}, {"1", "2"}}, {2}},
      {"byte-order mark",
       "\xef\xbb\xbf"
       "a,b\n1,2\n",
       {{"a", "b"}, {"1", "2"}},
       {2}},
      {"quotes", "\"a\",b\n\"x, \"\"y\"\"\",\"\"\n", {{"a", "b"}, {"x, \"y\"", ""}}, {2}},
      {"line end in a cell", "a,b\n\"1\n2\",3\n4,5\n", {{"a", "b"}, {"1\n2", "3"}, {"4", "5"}}, {2, 4}},
      {"blanks around", " a , b\n 1 ,\t\"2\" \n", {{"a", "b"}, {"1", "2"}}, {2}},
      {"empty lines", "\n\na,b\n\n1,2\n  \n3,4\n\n", {{"a", "b"}, {"1", "2"}, {"3", "4"}}, {5, 7}},
      {"empty cells", "a,b,c\n,,\n", {{"a", "b", "c"}, {"", "", ""}}, {2}},
      {"only a header", "a,b\n", {{"a", "b"}}, {}},
  };
  for (const CsvCase& c : cases) {
    SCOPED_TRACE(c.name);
    const Table table = read_csv(folder.write("t.csv", c.text));
    EXPECT_EQ(table.header, c.rows[0]);
    ASSERT_EQ(table.rows.size(), c.rows.size() - 1);
    for (std::size_t i = 0; i < table.rows.size(); ++i) {
      EXPECT_EQ(table.rows[i].cells, c.rows[i + 1]);
      EXPECT_EQ(table.rows[i].line, c.lines[i]);
    }
  }
}

TEST(Csv, RefusesTheRest) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"", {"is empty"}},
      {"\n\n", {"is empty"}},
      {"a,b\n1\n", {"row 2", "1 cells", "2 columns"}},
      {"a,b\n1,2\n1,2,3\n", {"row 3", "3 cells"}},
      {"a,b\n\"1,2\n", {"line 2", "never closed"}},
      {"a,b\n\"1\"x,2\n", {"line 2", "closing quote"}},
      {"a;b\n1;2\n", {"semicolons"}},
      {"a\tb\n1\t2\n", {"tabs"}},
      {std::string("a,b\n1,\0\n", 8), {"not a text file"}},
      {"\xff\xfe"
       "a",
       {"not a text file"}},
  };
  for (const auto& [text, says] : cases) {
    const std::string path = folder.write("t.csv", text);
    std::vector<std::string> parts = says;
    parts.push_back(path);
    expect_error([&] { read_csv(path); }, parts);
  }
  expect_error([&] { read_csv(folder.path() + "/no.csv"); }, {"no.csv", "no such file"});
  expect_error([&] { read_csv(folder.write("t.csv", "a,a\n1,2\n")).find("a"); }, {"'a'", "twice"});
}

TEST(Csv, CellsSurviveTheWayOutAndIn) {
  const TempFolder folder;
  for (const std::string cell : {"plain", "a,b", "say \"x\"", "two\nlines", " blank ", "tab\t;"}) {
    const Table table = read_csv(folder.write("t.csv", "a,b\n" + csv_cell(cell) + ",1\n"));
    EXPECT_EQ(table.rows.at(0).cells[0], cell);
  }
}

TEST(Csv, Integers) {
  for (const auto& [text, value] :
       std::vector<std::pair<std::string, std::int64_t>>{{"7", 7}, {" -3 ", -3}, {"+2", 2}, {"1.0", 1}})
    EXPECT_EQ(parse_integer(text), value) << text;
  for (const char* text :
       {"", "x", "1.5", "1e3", "0x1", "1 2", "99999999999999999999", ".", "-", "1.0.0", "+-1"})
    EXPECT_FALSE(parse_integer(text).has_value()) << text;
}

// ---- spreadsheets -------------------------------------------------------------------------------

void write_zip(const std::string& path, const std::vector<std::pair<std::string, std::string>>& parts) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  ASSERT_NE(archive, nullptr);
  for (const auto& [name, text] : parts)
    zip_file_add(archive, name.c_str(), zip_source_buffer(archive, text.data(), text.size(), 0),
                 ZIP_FL_OVERWRITE);
  ASSERT_EQ(zip_close(archive), 0);
}

const std::string workbook =
    R"(<workbook xmlns:r="r"><sheets><sheet name="Labels" sheetId="1" r:id="rId7"/><sheet name="Two" r:id="rId1"/></sheets></workbook>)";
const std::string relations = R"(<Relationships><Relationship Id="rId1" Target="worksheets/other.xml"/>)"
                              R"(<Relationship Id="rId7" Target="worksheets/labels.xml"/></Relationships>)";

std::string sheet(const std::string& rows) {
  return "<worksheet><sheetData>" + rows + "</sheetData></worksheet>";
}

std::string inline_cell(const std::string& text) {
  return "<c t=\"inlineStr\"><is><t>" + text + "</t></is></c>";
}

// A sheet of GAMMA's labels; numbers as text or as numbers.
void write_gamma_labels(const std::string& path, const std::vector<std::vector<std::string>>& rows) {
  std::string text = "<row>" + inline_cell("data") + inline_cell("non") + inline_cell("early") +
                     inline_cell("mid_advanced") + "</row>";
  for (const auto& row : rows) {
    text += "<row>";
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i == 0 ? inline_cell(row[0]) : "<c><v>" + row[i] + "</v></c>";
    text += "</row>";
  }
  write_zip(path, {{"xl/workbook.xml", workbook},
                   {"xl/_rels/workbook.xml.rels", relations},
                   {"xl/worksheets/labels.xml", sheet(text)}});
}

TEST(Xlsx, ReadsSharedInlineAndNumberCells) {
  const TempFolder folder;
  const std::string rows =
      R"(<row r="2"><c r="A2" t="s"><v>1</v></c><c r="B2" t="s"><v>0</v></c><c r="D2" t="inlineStr"><is><t>d</t></is></c></row>)"
      R"(<row r="3"><c r="A3" t="s"><v>2</v></c><c r="D3"><v>4.5</v></c></row><row r="4"/>)"
      R"(<row r="6"><c r="B6" t="b"><v>1</v></c><c r="C6" t="str"><f>A1</f><v> f </v></c></row>)";
  const std::string strings =
      "<x:sst xmlns:x=\"m\"><x:si><x:t>non</x:t></x:si><x:si><x:t>data</x:t></x:si>"
      "<x:si><x:r><x:t>00</x:t></x:r><x:r><x:t>01</x:t></x:r><x:rPh><x:t>no</x:t></x:rPh></x:si></x:sst>";
  write_zip(folder.path("a.xlsx"), {{"xl/workbook.xml", workbook},
                                    {"xl/_rels/workbook.xml.rels", relations},
                                    {"xl/sharedStrings.xml", strings},
                                    {"xl/worksheets/other.xml", sheet("")},
                                    {"xl/worksheets/labels.xml", sheet(rows)}});
  const Table table = read_xlsx(folder.path("a.xlsx"));
  EXPECT_EQ(table.header, (std::vector<std::string>{"data", "non", "", "d"}));
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[0].cells, (std::vector<std::string>{"0001", "", "", "4.5"}));
  EXPECT_EQ(table.rows[0].line, 3);
  EXPECT_EQ(table.rows[1].cells, (std::vector<std::string>{"", "1", "f", ""}));
  EXPECT_EQ(table.rows[1].line, 6);
}

TEST(Xlsx, RefusesDamage) {
  const TempFolder folder;
  const std::string path = folder.path("a.xlsx");
  const auto with = [&](const std::string& rows) {
    write_zip(path, {{"xl/workbook.xml", workbook},
                     {"xl/_rels/workbook.xml.rels", relations},
                     {"xl/worksheets/labels.xml", rows}});
  };
  expect_error([&] { read_xlsx(path); }, {"no such file"});
  folder.write("a.xlsx", "data,non,early\n");
  expect_error([&] { read_xlsx(path); }, {path, "zip archive"});
  write_zip(path, {{"hello.txt", "x"}});
  expect_error([&] { read_xlsx(path); }, {path, "no workbook"});
  write_zip(path, {{"xl/workbook.xml", "<workbook/>"}});
  expect_error([&] { read_xlsx(path); }, {path, "no sheet"});
  write_zip(path, {{"xl/workbook.xml", workbook}});
  expect_error([&] { read_xlsx(path); }, {path, "xl/worksheets/sheet1.xml"});
  with("<worksheet><sheetData>");
  expect_error([&] { read_xlsx(path); }, {path, "not XML"});
  with(sheet(""));
  expect_error([&] { read_xlsx(path); }, {path, "empty"});
  with(sheet(R"(<row r="1"><c r="A1" t="s"><v>5</v></c></row>)"));
  expect_error([&] { read_xlsx(path); }, {"row 1", "A1", "shared string"});
  with(sheet(R"(<row r="1"><c r="A1" t="e"><v>#N/A</v></c></row>)"));
  expect_error([&] { read_xlsx(path); }, {"row 1", "#N/A"});
  with(sheet(R"(<row r="1"><c r="ZZZZZZZZ1"><v>1</v></c></row>)"));
  expect_error([&] { read_xlsx(path); }, {"row 1", "16384 columns"});
  with(sheet("<row><c><v>a</v></c></row><row><c><v>1</v></c><c><v>2</v></c></row>"));
  expect_error([&] { read_xlsx(path); }, {"row 2", "2 cells"});
}

// ---- manifests ----------------------------------------------------------------------------------

class Manifest : public ::testing::Test {
 protected:
  Manifest() {
    for (const char* name :
         {"a.png", "b.png", "c.png", "d.png", "vol/slice_2.png", "vol/slice_10.png", "vol/slice_1.png"})
      write_png(folder_.path(name), pattern(4, 4, 3));
  }

  Dataset open(const std::string& text, const DatasetOptions& options = {}) {
    return open_dataset(folder_.write("labels.csv", text), options);
  }

  void expect_refused(const std::string& text, std::vector<std::string> says,
                      const DatasetOptions& options = {}) {
    SCOPED_TRACE(text);
    says.push_back("labels.csv");
    expect_error([&] { open(text, options); }, says);
  }

  TempFolder folder_;
};

TEST_F(Manifest, ReadsMarks) {
  const Dataset set = open(
      "file,label,disc_x,disc_y,disc_width,disc_height,fovea_x,fovea_y\n"
      "a.png,0,1,2,3,4,5.5,6\n"
      "b.png,1,,,,,,\n");
  EXPECT_EQ(set.samples[0].disc.y, 2);
  EXPECT_EQ(set.samples[0].disc.width, 3);
  ASSERT_TRUE(set.samples[0].fovea);
  EXPECT_EQ(set.samples[0].fovea->x, 5.5);
  EXPECT_EQ(set.samples[0].fovea->y, 6);
  EXPECT_EQ(set.samples[1].disc.width, 0);
  EXPECT_FALSE(set.samples[1].fovea);
}

TEST_F(Manifest, ReadsEveryColumn) {
  const Dataset set = open(
      "fundus,oct,label,label_name,id,subject,eye,split,fold,roi_x,roi_y,roi_w,roi_h,extra\r\n"
      "a.png,vol,0,normal,one,s1,OD,train,3,1,2,3,4,x\r\n"
      "b.png,c.png;d.png,1,early,two,s1,left,Validation,0,,,,,\"y,z\"\r\n"
      ",d.png,0,normal,,,,test,1,,,,,\r\n"
      "c.png,,1,,,s9,R,test,1,,,,,\r\n");
  ASSERT_EQ(set.samples.size(), 4u);
  EXPECT_EQ(set.classes, (std::vector<std::string>{"normal", "early"}));
  const Sample& one = set.samples[0];
  EXPECT_EQ(one.id, "one");
  EXPECT_EQ(one.subject, "s1");
  EXPECT_EQ(one.eye, Eye::right);
  EXPECT_EQ(one.split, "train");
  EXPECT_EQ(one.fold, 3);
  EXPECT_EQ(one.label, 0);
  EXPECT_EQ(one.row, 2);
  EXPECT_EQ(one.roi.x, 1);
  EXPECT_EQ(one.roi.height, 4);
  EXPECT_EQ(one.fundus, folder_.path("a.png"));
  ASSERT_EQ(one.oct.size(), 3u);
  EXPECT_EQ(stem(one.oct[1]), "slice_2.png");
  EXPECT_EQ(stem(one.oct[2]), "slice_10.png");
  const Sample& two = set.samples[1];
  EXPECT_EQ(two.eye, Eye::left);
  EXPECT_EQ(two.split, "val");
  EXPECT_EQ(two.roi.width, 0);
  EXPECT_EQ(two.oct, (std::vector<std::string>{folder_.path("c.png"), folder_.path("d.png")}));
  const Sample& third = set.samples[2];
  EXPECT_FALSE(third.has(Modality::fundus));
  EXPECT_EQ(third.id, "d");
  EXPECT_EQ(third.subject, "d");
  EXPECT_EQ(third.eye, Eye::unknown);
  EXPECT_EQ(set.samples[3].id, "c");
  EXPECT_FALSE(set.samples[3].has(Modality::oct));
}

TEST_F(Manifest, ReadsAnotherLabelAndLeavesItOut) {
  const std::string text = "file,grade,label,label_name\na.png,1,0,x\nb.png,0,0,x\n";
  const Dataset set = open(text, {.label_column = "grade"});
  EXPECT_EQ(set.samples[0].label, 1);
  EXPECT_EQ(set.classes, (std::vector<std::string>{"0", "1"}));
  const Dataset bare = open("file\na.png\n", {.labels_required = false});
  EXPECT_EQ(bare.samples[0].label, -1);
  EXPECT_TRUE(bare.classes.empty());
  const Dataset some = open("file,label\na.png,\nb.png,2\n", {.labels_required = false});
  EXPECT_EQ(some.samples[0].label, -1);
  EXPECT_EQ(some.samples[1].label, 2);
}

TEST_F(Manifest, KnownClassesNeedNotAllBeThere) {
  const std::vector<std::string> classes{"n", "e", "m"};
  const Dataset set = open("file,label\na.png,0\nb.png,2\n", {.classes = classes});
  EXPECT_EQ(set.classes, classes);
  expect_refused("file,label\na.png,0\nb.png,7\n", {"row 3", "label 7", "3 classes", "n, e, m"},
                 {.classes = classes});
}

std::string numbers(int first, int last, const std::string& prefix, const std::string& separator,
                    int value = -1) {
  std::string text;
  for (int i = first; i <= last; ++i)
    text += (i > first ? separator : "") + prefix + (value < 0 ? std::to_string(i) : std::to_string(value));
  return text;
}

TEST_F(Manifest, ReadsVisualFieldsFromColumnsCellsAndFiles) {
  const std::string header = numbers(1, 54, "l", ","), values = numbers(1, 54, "", ",", 20);
  folder_.write("f1.csv", header + "\n" + values + "\n");
  folder_.write("f2.csv", numbers(1, 52, "", "\n", 30) + "\n");
  const Dataset columns = open("id,label," + header + "\nx,0," + values + "\ny,1," + values + "\n");
  ASSERT_EQ(columns.samples[0].field.size(), 54u);
  EXPECT_EQ(columns.samples[0].field[0], 20);
  EXPECT_TRUE(std::isnan(columns.samples[0].field[25]));

  const Dataset cells = open("file,label,vf\na.png,0,f1.csv\nb.png,1,f2.csv\nc.png,0," +
                             numbers(0, 60, "", ";", 12) + "\nd.png,1,\n");
  EXPECT_EQ(cells.samples[0].field[0], 20);
  EXPECT_EQ(cells.samples[1].field.size(), 54u);
  EXPECT_EQ(cells.samples[1].field[0], 30);
  EXPECT_EQ(cells.samples[2].field.size(), 61u);
  EXPECT_FALSE(cells.samples[3].has(Modality::vf));

  const std::string nothing(53, ',');
  const Dataset missing =
      open("file,label," + header + "\na.png,0," + values + "\nb.png,1," + nothing + "\n");
  EXPECT_FALSE(missing.samples[1].has(Modality::vf));
}

TEST_F(Manifest, RefusesBadRowsNamingThem) {
  const std::string fields = "file,label," + numbers(1, 54, "l", ",") + "\n";
  folder_.write("two.csv", numbers(1, 54, "l", ",") + "\n" + numbers(1, 54, "", ",", 1) + "\n" +
                               numbers(1, 54, "", ",", 1) + "\n");
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"", {"empty"}},
      {"file,label\n", {"the set is empty"}},
      {"file,label\na.png,0\nnone.png,1\n", {"row 3", "no such file", "none.png"}},
      {"file,label\na.png,0\nvol,1\n", {"row 3", "no such file"}},
      {"file,label\na.png,0\nb.png,1\nc.png,7\n", {"row 4", "label 7", "no sample has label 2"}},
      {"file,label\na.png,1\nb.png,2\n", {"row 2", "label 1", "no sample has label 0"}},
      {"file,label\na.png,0\nb.png,early\n", {"row 3", "'early'", "integer"}},
      {"file,label\na.png,0\nb.png,1.5\n", {"row 3", "'1.5'"}},
      {"file,label\na.png,0\nb.png,-1\n", {"row 3", "-1", "out of range"}},
      {"file,label\na.png,0\nb.png,1000000000\n", {"row 3", "out of range"}},
      {"file,label\na.png,0\nb.png,\n", {"row 3", "label", "empty"}},
      {"file,lable\na.png,0\n", {"'label'", "lable", "its columns are file, lable"}},
      {"path,label\na.png,0\n", {"file (or fundus), oct, vf", "path, label"}},
      {"file,fundus,label\na.png,b.png,0\n", {"both a column file and a column fundus"}},
      {"file,file,label\na.png,b.png,0\n", {"'file'", "twice"}},
      {"file,label,id\na.png,0,x\nb.png,1,x\n", {"row 3", "'x'", "row 2"}},
      {"file,label\na.png,0\na.png,1\n", {"row 3", "'a'", "row 2"}},
      {"file,oct,label\na.png,,0\n,,1\n", {"row 3", "no photograph, no OCT and no visual field"}},
      {"file,oct,label\na.png,none,0\n", {"row 2", "none"}},
      {"file,oct,label\na.png,c.png;;d.png,0\n", {"row 2", "empty name"}},
      {"file,label,eye\na.png,0,middle\n", {"row 2", "'middle'"}},
      {"file,label,split\na.png,0,later\n", {"row 2", "'later'", "train, val, test"}},
      {"file,label,fold\na.png,0,-1\n", {"row 2", "fold", "-1"}},
      {"file,label,fold\na.png,0,x\n", {"row 2", "fold", "'x'"}},
      {"file,label,roi_x\na.png,0,1\n", {"roi_x, roi_y, roi_w, roi_h"}},
      {"file,label,roi_x,roi_y,roi_w,roi_h\na.png,0,1,1,,2\n", {"row 2", "in part"}},
      {"file,label,roi_x,roi_y,roi_w,roi_h\na.png,0,1,1,0,2\n", {"row 2", "roi_w", "'0'"}},
      {"file,label,disc_x\na.png,0,1\n", {"box of the disc", "disc_x, disc_y, disc_width, disc_height"}},
      {"file,label,disc_x,disc_y,disc_width,disc_height\na.png,0,1,1,2,\n", {"row 2", "disc", "in part"}},
      {"file,label,fovea_y\na.png,0,1\n", {"fovea_x, fovea_y"}},
      {"file,label,fovea_x,fovea_y\na.png,0,1,\n", {"row 2", "fovea", "in part"}},
      {"file,label,fovea_x,fovea_y\na.png,0,1,nan\n", {"row 2", "fovea_y", "'nan'"}},
      {"file,label,label_name\na.png,0,x\nb.png,0,y\n", {"row 3", "label 0", "'x'", "'y'"}},
      {"file,label,label_name\na.png,0,x\nb.png,1,x\n", {"row 3", "both called 'x'"}},
      {fields + "a.png,0," + numbers(1, 54, "", ",", 99) + "\n", {"row 2", "99"}},
      {fields + "a.png,0,abc," + numbers(2, 54, "", ",", 9) + "\n", {"row 2", "abc"}},
      {"file,label,vf\na.png,0,1;2;3\n", {"row 2", "3"}},
      {"file,label,vf\na.png,0,none.csv\n", {"row 2", "none.csv"}},
      {"file,label,vf\na.png,0,two.csv\n", {"row 2", "two.csv", "2 fields"}},
      {"file,label," + numbers(1, 40, "l", ",") + "\na.png,0," + numbers(1, 40, "", ",") + "\n", {"40"}},
  };
  for (const auto& [text, says] : cases) expect_refused(text, says);
}

TEST_F(Manifest, CollectsProblemsForAnAudit) {
  std::vector<std::string> problems;
  const Dataset set =
      open("file,label,eye\na.png,0,OD\nnone.png,1,OD\nb.png,1,x\nc.png,1,OS\na.png,1,OD\nd.png,9,OD\n",
           {.problems = &problems});
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_NE(problems[0].find("row 3"), std::string::npos);
  EXPECT_NE(problems[1].find("row 4"), std::string::npos);
  EXPECT_NE(problems[2].find("row 6"), std::string::npos);
  EXPECT_NE(problems[3].find("row 7: label 9"), std::string::npos);
  ASSERT_EQ(set.samples.size(), 2u);
  EXPECT_EQ(set.samples[1].id, "c");
}

TEST_F(Manifest, IsFoundInAFolder) {
  folder_.write("manifest.csv", "file,label\na.png,0\n");
  EXPECT_EQ(open_dataset(folder_.path()).samples.size(), 1u);
  folder_.write("labels.csv", "file,label\na.png,0\nb.png,0\n");
  expect_error([&] { open_dataset(folder_.path()); }, {"both labels.csv and manifest.csv"});
  EXPECT_EQ(open_dataset(folder_.path("labels.csv")).samples.size(), 2u);
  expect_error([&] { open_dataset(folder_.path() + "/nothing"); }, {"nothing", "no such file or folder"});
}

// ---- class folders ------------------------------------------------------------------------------

TEST(ClassFolders, AreClassesInNaturalOrder) {
  const TempFolder folder;
  for (const char* name : {"grade10/c.png", "grade2/b2.png", "grade2/b10.JPG", "grade1/a.jpeg",
                           "grade1/notes.txt", ".git/x.png"})
    folder.write(name, "x");
  const Dataset set = open_dataset(folder.path());
  EXPECT_EQ(set.classes, (std::vector<std::string>{"grade1", "grade2", "grade10"}));
  ASSERT_EQ(set.samples.size(), 4u);
  EXPECT_EQ(set.samples[1].id, "b2");
  EXPECT_EQ(set.samples[2].id, "b10");
  EXPECT_EQ(set.samples[2].label, 1);
  EXPECT_EQ(set.samples[3].label, 2);

  const std::vector<std::string> known{"grade10", "other", "grade2", "grade1"};
  const Dataset mapped = open_dataset(folder.path(), {.classes = known});
  EXPECT_EQ(mapped.classes, known);
  EXPECT_EQ(mapped.samples[0].label, 3);
  EXPECT_EQ(mapped.samples[3].label, 0);
  expect_error([&] { open_dataset(folder.path(), {.classes = {"grade1"}}); },
               {"'grade2'", "none of the classes"});
}

TEST(ClassFolders, RefuseWhatWouldBeLost) {
  const TempFolder folder;
  expect_error([&] { open_dataset(folder.path()); }, {folder.path(), "no labels.csv"});
  folder.write("a/1.png", "x");
  folder.write("b/readme.txt", "x");
  expect_error([&] { open_dataset(folder.path()); }, {"/b", "no JPEG or PNG"});
  folder.write("b/1.tif", "x");
  expect_error([&] { open_dataset(folder.path()); }, {"1.tif", "only JPEG and PNG"});
  std::filesystem::remove(folder.path("b/1.tif"));
  folder.write("b/1.png", "x");
  expect_error([&] { open_dataset(folder.path()); }, {"'1'", "id"});
  std::filesystem::rename(folder.path("b/1.png"), folder.path("b/2.png"));
  EXPECT_EQ(open_dataset(folder.path()).samples.size(), 2u);
  folder.write("3.png", "x");
  expect_error([&] { open_dataset(folder.path()); }, {"3.png", "in none of them"});
}

TEST(ClassFolders, LooseImagesAreASetToPredict) {
  const TempFolder folder;
  folder.write("10.png", "x");
  folder.write("9.png", "x");
  const Dataset set = open_dataset(folder.path(), {.labels_required = false});
  ASSERT_EQ(set.samples.size(), 2u);
  EXPECT_EQ(set.samples[0].id, "9");
  EXPECT_EQ(set.samples[0].label, -1);
  EXPECT_THROW(open_dataset(folder.path()), Error);
}

// ---- GAMMA --------------------------------------------------------------------------------------

class Gamma : public ::testing::Test {
 protected:
  void add(const std::string& id, bool fundus = true, int slices = 256) {
    const std::string root = "multi-modality_images/" + id + "/";
    if (fundus) folder_.write(root + id + ".jpg", "x");
    for (int i = 0; i < slices; ++i) folder_.write(fmt::format("{}{}/{}_image.jpg", root, id, i), "x");
  }
  void label(const std::vector<std::vector<std::string>>& rows) {
    write_gamma_labels(folder_.path("glaucoma_GT.xlsx"), rows);
  }
  void expect_refused(std::vector<std::string> says) {
    expect_error([&] { open_dataset(folder_.path()); }, says);
  }

  TempFolder folder_;
};

TEST_F(Gamma, ReadsTheOfficialLayout) {
  add("0001");
  add("0002", true, 0);
  add("0010", false, 12);
  label({{"0001", "1", "0", "0"}, {"2", "0", "0", "1"}, {"0010", "0", "1", "0"}});
  for (const std::string& path : {folder_.path(), folder_.path() + "/multi-modality_images",
                                  folder_.path() + "/multi-modality_images/"}) {
    const Dataset set = open_dataset(path);
    EXPECT_EQ(set.classes, (std::vector<std::string>{"non", "early", "mid_advanced"}));
    ASSERT_EQ(set.samples.size(), 3u);
    EXPECT_EQ(set.samples[0].id, "0001");
    EXPECT_EQ(set.samples[0].label, 0);
    EXPECT_EQ(stem(set.samples[0].fundus), "0001.jpg");
    ASSERT_EQ(set.samples[0].oct.size(), 256u);
    EXPECT_EQ(stem(set.samples[0].oct[2]), "2_image.jpg");
    EXPECT_EQ(stem(set.samples[0].oct[255]), "255_image.jpg");
    EXPECT_EQ(set.samples[1].label, 2);
    EXPECT_FALSE(set.samples[1].has(Modality::oct));
    EXPECT_FALSE(set.samples[2].has(Modality::fundus));
    EXPECT_EQ(set.samples[2].label, 1);
  }
}

TEST_F(Gamma, RefusesBadLabels) {
  for (const char* id : {"0001", "0002", "0003"}) add(id, true, 1);
  expect_refused({"no .xlsx", "data, non, early, mid_advanced"});
  EXPECT_EQ(open_dataset(folder_.path(), {.labels_required = false}).samples.size(), 3u);
  label({{"0001", "1", "0", "0"}, {"0002", "0", "1", "0"}});
  expect_refused({"glaucoma_GT.xlsx", "0003"});
  EXPECT_EQ(open_dataset(folder_.path(), {.labels_required = false}).samples[2].label, -1);
  label({{"0001", "1", "0", "0"}, {"0002", "1", "1", "0"}, {"0003", "0", "0", "1"}});
  expect_refused({"glaucoma_GT.xlsx, row 3", "exactly one"});
  label({{"0001", "1", "0", "0"}, {"0002", "0", "0", "0"}, {"0003", "0", "0", "1"}});
  expect_refused({"row 3", "none of non, early, mid_advanced is 1"});
  label({{"0001", "1", "0", "0"}, {"0002", "0", "2", "0"}, {"0003", "0", "0", "1"}});
  expect_refused({"row 3"});
  label({{"0001", "1", "0", "0"}, {"0002", "0", "1", "0"}, {"2", "0", "0", "1"}, {"0003", "0", "0", "1"}});
  expect_refused({"row 4", "row 3 too"});
  label({{"0001", "1", "0", "0"}, {"0002", "0", "1", "0"}, {"0003", "0", "0", "1"}, {"0004", "0", "0", "1"}});
  expect_refused({"row 5", "no sample 4"});
  label({{"0001", "1", "0", "0"}, {"0002", "0", "1", "0"}, {"0003", "0", "0", "1"}});
  EXPECT_EQ(open_dataset(folder_.path()).samples.size(), 3u);
  folder_.path("multi-modality_images/0004/x");
  expect_refused({"0004", "neither"});
}

// ---- the real sets ------------------------------------------------------------------------------

std::string real_set(const std::string& name) {
  return std::string(FOVEA_SOURCE_DIR) + "/../shared/data/" + name;
}

TEST(RealSets, GammaFundus) {
  if (!std::filesystem::exists(real_set("gamma_fundus")))
    GTEST_SKIP() << "no ../shared/data/gamma_fundus beside the source";
  const Dataset set = open_dataset(real_set("gamma_fundus"));
  ASSERT_EQ(set.samples.size(), 100u);
  EXPECT_EQ(set.classes, (std::vector<std::string>{"normal", "early", "mid_advanced"}));
  EXPECT_EQ(set.samples[0].id, "0001");
  EXPECT_EQ(set.samples[0].fold, 4);
  EXPECT_EQ(read_image(set.samples[0].fundus).width, 512);
}

TEST(RealSets, Grape) {
  if (!std::filesystem::exists(real_set("grape")))
    GTEST_SKIP() << "no ../shared/data/grape beside the source";
  const Dataset set = open_dataset(real_set("grape"), {.label_column = "prog_plr2"});
  ASSERT_EQ(set.samples.size(), 631u);
  EXPECT_EQ(set.classes.size(), 2u);
  std::set<std::string> subjects;
  int progressing = 0, left = 0;
  for (const Sample& sample : set.samples) {
    subjects.insert(sample.subject);
    progressing += sample.label;
    left += sample.eye == Eye::left;
    ASSERT_EQ(sample.field.size(), 61u);
  }
  EXPECT_EQ(subjects.size(), 144u);
  EXPECT_EQ(progressing, 84);
  EXPECT_EQ(left, 315);
}

TEST(Modalities, AreParsed) {
  EXPECT_EQ(parse_modalities("fundus, vf"), (std::vector{Modality::fundus, Modality::vf}));
  for (const Modality modality : all_modalities) EXPECT_EQ(parse_modality(name_of(modality)), modality);
  for (const char* text : {"", "fundus,fundus", "fundus,", "xray"})
    EXPECT_THROW(parse_modalities(text), UsageError) << text;
  expect_error([] { parse_modality("fundsu"); }, {"'fundsu'", "fundus, oct, vf"});
}

}  // namespace
}  // namespace fovea
