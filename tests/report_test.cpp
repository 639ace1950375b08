// report.html is whole, escaped and needs nothing else; metrics.jsonl survives what a killed process leaves.
#include "eval/report.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "eval/curves.hpp"
#include "html_checks.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

class RunFolder : public testing::Test {
 protected:
  RunFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-report-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    folder = name;
  }
  ~RunFolder() override { std::filesystem::remove_all(folder); }
  std::string file(const std::string& name) const { return (folder / name).string(); }
  std::string read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
  }
  std::filesystem::path folder;
};
using Report = RunFolder;
using EpochLog = RunFolder;

EpochRow row(int epoch) {
  return {.epoch = epoch,
          .step = 10 * epoch,
          .lr = 1e-4,
          .train_loss = 1.0 / epoch,
          .val_loss = 0.1 + 0.2,
          .val_accuracy = 0.5,
          .images_per_s = 12.5,
          .seconds = 3};
}

std::vector<Prediction> sample_predictions() {
  std::vector<Prediction> rows;
  for (int i = 0; i < 30; ++i) {
    const int label = i % 3, predicted = i % 5 == 0 ? (label + 1) % 3 : label;
    Prediction p{fmt::format("eye {}", i), fmt::format("person {}", i / 2), label, predicted, {}};
    for (int k = 0; k < 3; ++k) p.probabilities.push_back(k == predicted ? 0.5 + 0.01 * i : 0.25 - 0.005 * i);
    rows.push_back(p);
  }
  return rows;
}

Metrics sample_metrics(const std::vector<std::string>& classes) {
  return compute_metrics(sample_predictions(), classes, {.resamples = 50});
}

/// The smallest PNG: its head is all that the page looks at.
const std::string png = "\x89PNG\r\n\x1a\n and so on";

ReportInput sample_input() {
  return {.title = "HM-VGG on a set",
          .model = "hm-vgg",
          .facts = {{"data", "synthetic"}, {"fold", "0"}},
          .metrics = sample_metrics({"non", "early", "mid or advanced"}),
          .predictions = sample_predictions(),
          .rows = {row(1), row(2), row(3)},
          .mistakes = {{sample_predictions()[25], {{"fundus", png}, {"oct, slice 2 of 3", "\xff\xd8\xff!"}}}},
          .maps = {{"maps of eye 25", png}},
          .config = "lr = 1e-4\n",
          .stamp = "{\"commit\": \"abc\"}\n",
          .notes = {"One sample was left out."}};
}

TEST_F(Report, HoldsEverything) {
  const ReportInput input = sample_input();
  write_report(folder.string(), input);
  const std::string html = read("report.html");
  expect_whole(html);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  expect_parts(html, {"<!doctype html>", "prefers-color-scheme: dark", "width=device-width",
                      "default-src 'none'", "HM-VGG on a set", "synthetic", "kappa (quadratic)", "0.64",
                      "mid or advanced", "lr = 1e-4", "&quot;commit&quot;", "One sample was left out.",
                      "data:image/png;base64,iVBORw0KGgo", "data:image/jpeg;base64,", "oct, slice 2 of 3",
                      "eye 25", "person 12", "maps of eye 25", "</html>"});
  for (const char* heading : {"Metrics", "Confusion matrix", "ROC curves", "Calibration", "Worst mistakes",
                              "Class activation maps", "Learning curves", "Configuration", "Environment"})
    EXPECT_EQ(count(html, fmt::format("<h2>{}</h2>", heading)), 1u) << heading;
  for (const NamedMetric& metric : named_metrics()) {
    const MetricValue& value = (*input.metrics).*metric.member;
    expect_parts(
        html, {fmt::format("<td>{:.3f}</td><td>{:.3f} to {:.3f}</td>", value.value, value.low, value.high)});
  }
}

TEST_F(Report, StatesAreasAndCalibration) {
  const ReportInput input = sample_input();
  const std::string html = report_html(input);
  for (std::size_t k = 0; k < 3; ++k) {
    expect_parts(html, {fmt::format("{} (AUC {:.3f})", input.metrics->classes[k],
                                    roc_curve(input.predictions, k).auc)});
  }
  expect_parts(html, {fmt::format("mean of classes (AUC {:.3f})", input.metrics->auroc.value)});
  const Calibration result = calibration(input.predictions);
  expect_parts(html, {fmt::format("<b>{:.3f}</b>", result.ece), fmt::format("<b>{:.3f}</b>", result.brier)});
  // Confidences go from 0.50 to 0.79: six of 0.50 is its bin's end, the rest above it.
  EXPECT_EQ(count(html, "class=\"bar\""), 4u);
}

TEST_F(Report, EscapesWhatIsGiven) {
  const std::string nasty = "<script>alert('x')</script> & \"quoted\"\x01";
  ReportInput input = sample_input();
  input.title = input.config = input.stamp = nasty;
  input.facts = {{nasty, nasty}};
  input.notes = {nasty};
  input.metrics = sample_metrics({nasty, nasty, nasty});
  input.maps = input.mistakes[0].pictures = {{nasty, png}};
  input.mistakes[0].prediction.id = nasty;
  input.mistakes[0].prediction.subject = nasty + " of that name";
  for (Prediction& p : input.predictions)
    p.label = 0;  // so that curves are not defined, which is said with their names
  const std::string html = report_html(input);
  expect_whole(html);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("\"quoted"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  const std::string harmless = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;?";
  // 2 titles, 2 texts, 3 facts and notes, 9 class names of tables, 3 of curves, 7 of the mistake, 4 of pictures
  EXPECT_EQ(count(html, harmless), 30u);
}

TEST_F(Report, OfARunThatHasNothingYet) {
  write_report(folder.string(), {});
  expect_parts(read("report.html"), {"Training run", "Not evaluated yet.", "No epoch finished yet."});
  expect_whole(read("report.html"));
  ReportInput diverged;
  diverged.rows = {row(1), row(2), row(3)};
  diverged.rows[1].train_loss = std::numeric_limits<double>::quiet_NaN();
  diverged.rows[1].val_loss = std::numeric_limits<double>::infinity();
  diverged.rows[1].val_accuracy = -std::numeric_limits<double>::infinity();
  expect_whole(report_html(diverged));
  diverged.rows.resize(1);
  expect_whole(report_html(diverged));
}

TEST_F(Report, OneClassAbsent) {
  ReportInput input = sample_input();
  std::erase_if(input.predictions, [](const Prediction& p) { return p.label == 1; });
  input.metrics = compute_metrics(input.predictions, {"non", "early", "late"}, {.resamples = 20});
  const std::string html = report_html(input);
  expect_whole(html);
  expect_parts(html,
               {"Not defined, since every sample or none is of the class: early.", "non (AUC", "late (AUC"});
  EXPECT_EQ(html.find("early (AUC"), std::string::npos);
}

TEST_F(Report, NothingWrong) {
  ReportInput input = sample_input();
  input.mistakes.clear();
  input.maps.clear();
  expect_parts(report_html(input), {"None are shown."});
  for (Prediction& p : input.predictions) p.label = p.predicted;
  const std::string html = report_html(input);
  expect_parts(html, {"Every sample is predicted as it is labelled."});
  EXPECT_EQ(html.find("Class activation maps"), std::string::npos);
}

TEST_F(Report, WorstMistakesFirst) {
  auto predictions = sample_predictions();
  predictions[10].label = -1;                                           // wrong no more: it has no label
  predictions[15].probabilities[1] = predictions[20].probabilities[0];  // as sure as eye 20, and before it
  std::vector<std::string> ids;
  for (const Prediction& p : most_confident_mistakes(predictions, 4)) ids.push_back(p.id);
  EXPECT_EQ(ids, (std::vector<std::string>{"eye 25", "eye 15", "eye 20", "eye 5"}));
  EXPECT_EQ(most_confident_mistakes(predictions, 99).size(), 5u);
  EXPECT_TRUE(most_confident_mistakes({}, 8).empty());
}

TEST_F(Report, RefusesPicturesThatAreNone) {
  for (const char* bytes : {"not a picture", "", "\x89PNG"}) {
    ReportInput input = sample_input();
    input.maps = {{"a map", bytes}};
    try {
      report_html(input);
      FAIL() << bytes;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("'a map'"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(write_report(file("no such folder"), {}), Error);
}

TEST_F(EpochLog, AppendsAndReads) {
  const std::string path = file("metrics.jsonl");
  EXPECT_TRUE(read_epoch_log(path).empty());
  for (int epoch = 1; epoch <= 3; ++epoch) append_epoch(path, row(epoch));
  EXPECT_EQ(count(read("metrics.jsonl"), "\n"), 3u);
  const auto rows = read_epoch_log(path);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2].epoch, 3);
  EXPECT_EQ(rows[2].step, 30);
  EXPECT_EQ(rows[2].train_loss, 1.0 / 3);
  EXPECT_EQ(rows[2].val_loss, 0.1 + 0.2);
  EXPECT_EQ(rows[2].images_per_s, 12.5);
  std::vector<std::string> keys;
  const auto json = nlohmann::ordered_json::parse(epoch_line(row(1)));
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(fmt::format("{} {} {} {} {} {} {} {}", keys[0], keys[1], keys[2], keys[3], keys[4], keys[5],
                        keys[6], keys[7]),
            "epoch step lr train_loss val_loss val_accuracy images_per_s seconds");
}

TEST_F(EpochLog, NotANumberGoesThroughAsNull) {
  EpochRow bad = row(1);
  bad.train_loss = std::numeric_limits<double>::quiet_NaN();
  bad.val_loss = std::numeric_limits<double>::infinity();
  append_epoch(file("x"), bad);
  EXPECT_NE(read("x").find("\"train_loss\":null"), std::string::npos);
  EXPECT_TRUE(std::isnan(read_epoch_log(file("x")).at(0).train_loss));
}

// The file cut at every length, as kill -9 may leave it: rows before the cut stay, and the next append mends
// it.
TEST_F(EpochLog, TornAnywhere) {
  const std::string first = epoch_line(row(1)) + "\n", second = epoch_line(row(2)) + "\n",
                    third = epoch_line(row(3)) + "\n";
  for (std::size_t cut = 0; cut <= second.size(); ++cut) {
    put("x", first + second.substr(0, cut));
    const bool whole = cut + 1 >= second.size();
    ASSERT_EQ(read_epoch_log(file("x")).size(), whole ? 2u : 1u) << cut;
    append_epoch(file("x"), row(3));
    EXPECT_EQ(read("x"), first + (whole ? second : "") + third) << cut;
    put("x", first + second.substr(0, cut));
    truncate_epoch_log(file("x"), 1);
    EXPECT_EQ(read("x"), first) << cut;
  }
}

TEST_F(EpochLog, TruncationKeepsLinesAsTheyAre) {
  const std::string own =
      R"({"extra": [1],  "epoch":1,"step":1,"lr":1,"train_loss":1,"val_loss":1,"val_accuracy":1,"images_per_s":1,"seconds":1})";
  put("x", own + "\n" + epoch_line(row(2)) + "\n" + epoch_line(row(3)) + "\n");
  truncate_epoch_log(file("x"), 5);
  EXPECT_EQ(read_epoch_log(file("x")).size(), 3u);
  truncate_epoch_log(file("x"), 1);
  EXPECT_EQ(read("x"), own + "\n");
  truncate_epoch_log(file("x"), 0);
  EXPECT_EQ(read("x"), "");
  truncate_epoch_log(file("none"), 0);
  EXPECT_FALSE(std::filesystem::exists(file("none"))) << "nothing to drop, nothing made";
}

TEST_F(EpochLog, DamageInTheMiddleIsNamedAndKept) {
  const std::string good = epoch_line(row(1)) + "\n";
  for (const std::string& bad :
       {std::string("garbage"), std::string(), std::string(R"({"epoch":2})"), std::string("[1]"),
        std::string(R"({"epoch":"2"})"), std::string(200, '[')}) {
    const std::string text = good + bad + "\n" + good;
    put("x", text);
    for (const auto& action : {std::function<void()>([&] { read_epoch_log(file("x")); }),
                               std::function<void()>([&] { append_epoch(file("x"), row(3)); }),
                               std::function<void()>([&] { truncate_epoch_log(file("x"), 1); })}) {
      try {
        action();
        FAIL() << "accepted: " << bad;
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
      }
    }
    EXPECT_EQ(read("x"), text) << "a refused file stays as it is";
  }
  EXPECT_THROW(append_epoch(file("no/such/folder"), row(1)), Error);
}

}  // namespace
}  // namespace fovea
