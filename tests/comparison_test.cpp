// The table of a comparison: all its forms say the same, whatever stands in names and whatever is missing.
#include "eval/comparison.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "eval/table_text.hpp"

namespace fovea {
namespace {

const std::vector<std::string> classes{"normal", "early", "advanced"};

std::vector<Prediction> predictions(int right) {
  std::vector<Prediction> rows;
  for (int i = 0; i < 30; ++i) {
    Prediction row{fmt::format("e{}", i), fmt::format("p{}", i), i % 3, i < right ? i % 3 : (i + 1) % 3, {}};
    row.probabilities = {0.1, 0.1, 0.1};
    row.probabilities[static_cast<std::size_t>(row.predicted)] = 0.8;
    rows.push_back(row);
  }
  return rows;
}

ComparedRow row_of(const std::string& name, const std::string& model, int right) {
  ComparedRow row;
  row.name = name;
  row.model = model;
  row.parameters = 11'180'000;
  row.gflops = 1.82;
  row.predictions = {predictions(right)};
  row.metrics = compute_seed_metrics(row.predictions, classes, {.resamples = 100});
  for (int fold = 0; fold < 2; ++fold) {
    ComparedRun& run = row.runs.emplace_back();
    run.fold = fold;
    run.folder = fmt::format("runs/{}/fold{}-seed0", name, fold);
    run.metrics = row.metrics;
    run.seconds = 90;
    run.images_per_s = 12.5;
  }
  return row;
}

// Two finished rows, one that failed on a fold, with what markup would take amiss in its name.
Comparison small() {
  Comparison c;
  c.title = "3 models on a|b";
  c.reference = "hm-vgg fundus";
  c.classes = classes;
  c.facts = {{"Set", "/data/a|b"}};
  c.notes = {"A note."};
  c.rows = {row_of("resnet18", "resnet18", 12), row_of("hm-vgg fundus", "hm-vgg", 28)};
  c.rows[0].difference =
      paired_difference(c.rows[0].predictions, c.rows[1].predictions, classes, {.resamples = 100});
  ComparedRow& failed = c.rows.emplace_back(row_of("vgg11, \"a|b\"", "vgg11", 10));
  failed.runs[1].metrics.reset();
  failed.runs[1].failure = "the loss is nan at step 3; try a lower --lr";
  failed.metrics.reset();
  failed.predictions.clear();
  failed.parameters = 0;
  return c;
}

TEST(Comparison, ColumnsCellsAndValuesBelongTogether) {
  const Comparison c = small();
  const auto columns = comparison_columns(c);
  for (const ComparedRow& row : c.rows) {
    const auto cells = comparison_cells(c, row);
    const auto values = comparison_values(c, row);
    ASSERT_EQ(cells.size(), columns.size());
    ASSERT_EQ(values.size(), columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i)
      EXPECT_TRUE(!columns[i].number || cells[i].empty() == std::isnan(values[i]))
          << columns[i].name << " of " << row.name;
  }
  EXPECT_EQ(comparison_cells(c, c.rows[0])[1].substr(0, 7), "0.400 [");
  EXPECT_DOUBLE_EQ(comparison_values(c, c.rows[0])[1], 0.4);
}

TEST(Comparison, ThePaperStandsBesideModelsAlone) {
  Comparison c = small();
  const auto place = [&](const Comparison& of) {
    const auto columns = comparison_columns(of);
    return std::find_if(columns.begin(), columns.end(),
                        [](const auto& column) { return column.name == "paper_recall"; }) -
           columns.begin();
  };
  EXPECT_EQ(comparison_cells(c, c.rows[0])[static_cast<std::size_t>(place(c))], "0.74");
  c.rows[1].kind = RowKind::ablation;
  EXPECT_EQ(comparison_cells(c, c.rows[1])[static_cast<std::size_t>(place(c))], "");
  c.classes = {"no", "yes"};
  EXPECT_EQ(static_cast<std::size_t>(place(c)), comparison_columns(c).size())
      << "two classes are not the paper's task";
}

TEST(Comparison, TerminalMarksReferenceSignificanceAndFailures) {
  const std::string text = comparison_text(small());
  EXPECT_NE(text.find("hm-vgg fundus (reference)"), std::string::npos);
  EXPECT_NE(text.find("resnet18 *"), std::string::npos) << "12 of 30 against 28 of 30 is no chance";
  EXPECT_NE(text.find("failed: vgg11, \"a|b\", fold 1, seed 0: the loss is nan at step 3"),
            std::string::npos);
  EXPECT_NE(text.find("1 of 2, 1 failed"), std::string::npos);
  EXPECT_EQ(text.find("nan]"), std::string::npos);
}

TEST(Comparison, MarkdownHasAsManyCellsInEveryLine) {
  const std::string text = comparison_markdown(small());
  std::size_t cells = 0, lines = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.empty() || line[0] != '|') {
      cells = 0;
      continue;
    }
    std::size_t bars = 0;
    for (std::size_t i = 0; i < line.size(); ++i) bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    EXPECT_TRUE(cells == 0 || bars == cells) << line;
    cells = bars;
    ++lines;
  }
  EXPECT_EQ(lines, 10u);
  EXPECT_NE(text.find("vgg11, \"a\\|b\""), std::string::npos);
}

TEST(Comparison, JsonAndCsvHoldTheNumbers) {
  const Comparison c = small();
  const auto json = nlohmann::json::parse(comparison_json(c));
  EXPECT_EQ(json["rows"].size(), 3u);
  EXPECT_DOUBLE_EQ(json["rows"][0]["metrics"]["accuracy"]["value"].get<double>(), 0.4);
  EXPECT_EQ(json["rows"][0]["difference"]["test"], "McNemar");
  EXPECT_EQ(json["rows"][0]["paper"]["recall"], 0.74);
  EXPECT_FALSE(json["rows"][2].contains("metrics"));
  EXPECT_EQ(json["rows"][2]["runs"][1]["failure"], "the loss is nan at step 3; try a lower --lr");
  const std::string csv = comparison_csv(c);
  const auto commas = [&](std::size_t line) {
    std::size_t begin = 0, count = 0;
    for (; line > 0; --line) begin = csv.find('\n', begin) + 1;
    bool quoted = false;
    for (std::size_t i = begin; csv[i] != '\n'; ++i) {
      quoted ^= csv[i] == '"';
      count += csv[i] == ',' && !quoted;
    }
    return count;
  };
  for (std::size_t line = 1; line < 4; ++line) EXPECT_EQ(commas(line), commas(0)) << line;
  EXPECT_NE(csv.find("\"vgg11, \"\"a|b\"\"\""), std::string::npos);
}

// Two finished rows of 30 samples: the last two are wrong in all, those from 12 on in one or two.
TEST(Comparison, TheHardestSamplesAreThoseThatMostRowsMiss) {
  const Comparison c = small();
  const std::vector<HardSample> hardest = hardest_samples(c.rows, classes.size(), 5);
  ASSERT_EQ(hardest.size(), 5u);
  EXPECT_EQ(hardest[0].id, "e28");
  EXPECT_EQ(hardest[1].id, "e29");
  EXPECT_EQ(hardest[0].wrong, 2);
  EXPECT_EQ(hardest[0].of, 2) << "of the row that failed there are no predictions";
  EXPECT_EQ(hardest[2].id, "e12");
  EXPECT_EQ(hardest[2].wrong, 1);
  EXPECT_EQ(hardest[2].predicted, (std::vector<std::int64_t>{1, 1, 0}));
  EXPECT_EQ(hardest_samples(c.rows, classes.size(), 100).size(), 18u) << "what all have right is left out";
}

TEST(TextTable, NumbersStandToTheRight) {
  const TextTable table{{{"name", false}, {"µs", true}}, {{"a", "1"}, {"longer", "12.5"}}};
  EXPECT_EQ(terminal_table(table), "  name      µs\n  a          1\n  longer  12.5\n");
  EXPECT_EQ(markdown_table(table), "| name | µs |\n|---|---:|\n| a | 1 |\n| longer | 12.5 |\n");
}

}  // namespace
}  // namespace fovea
