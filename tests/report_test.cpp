// report.html is whole, escaped and needs nothing else; metrics.jsonl survives what a killed process leaves.
#include "eval/report.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "eval/plots.hpp"
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

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

Metrics sample_metrics(const std::vector<std::string>& classes) {
  std::vector<Prediction> rows;
  for (int i = 0; i < 30; ++i) {
    const int label = i % 3, predicted = i % 5 == 0 ? (label + 1) % 3 : label;
    rows.push_back({fmt::format("{}", i), "", label, predicted, {0.2, 0.3, 0.5}});
  }
  return compute_metrics(rows, classes);
}

ReportInput sample_input() {
  return {.title = "HM-VGG on a set",
          .model = "hm-vgg",
          .facts = {{"data", "synthetic"}, {"fold", "0"}},
          .metrics = sample_metrics({"non", "early", "mid or advanced"}),
          .rows = {row(1), row(2), row(3)},
          .config = "lr = 1e-4\n",
          .stamp = "{\"commit\": \"abc\"}\n",
          .notes = {"One sample was left out."},
          .pictures = {}};
}

TEST_F(Report, HoldsEverything) {
  draw_curves(file("curves.png"), sample_input().rows);
  ReportInput input = sample_input();
  input.pictures = {{"as a picture", file("curves.png")}};
  write_report(folder.string(), input);
  const std::string html = read("report.html");
  for (const char* part :
       {"<!doctype html>", "prefers-color-scheme: dark", "width=device-width", "HM-VGG on a set", "synthetic",
        "kappa (quadratic)", "0.64", "mid or advanced", "<svg", "class=\"train\"", "lr = 1e-4",
        "&quot;commit&quot;", "One sample was left out.", "data:image/png;base64,iVBORw0KGgo", "</html>"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  for (const char* part : {"http://", "https://", "<script", "<link", "url("}) {
    EXPECT_EQ(html.find(part), std::string::npos) << "the page must need no network and no script: " << part;
  }
  for (const NamedMetric& metric : named_metrics()) {
    const MetricValue& value = (*input.metrics).*metric.member;
    EXPECT_NE(html.find(fmt::format("<td>{:.3f}</td><td>{:.3f} to {:.3f}</td>", value.value, value.low,
                                    value.high)),
              std::string::npos);
  }
  for (const char* tag : {"table", "tr", "td", "div", "svg", "pre", "h2", "dl", "ul", "figure"}) {
    EXPECT_EQ(count(html, fmt::format("<{}>", tag)) + count(html, fmt::format("<{} ", tag)),
              count(html, fmt::format("</{}>", tag)))
        << tag;
  }
}

TEST_F(Report, EscapesWhatIsGiven) {
  const std::string nasty = "<script>alert('x')</script> & \"quoted\"\x01";
  ReportInput input = sample_input();
  input.title = input.config = input.stamp = nasty;
  input.facts = {{nasty, nasty}};
  input.notes = {nasty};
  input.metrics = sample_metrics({nasty, nasty, nasty});
  draw_curves(file("x.png"), {});
  input.pictures = {{nasty, file("x.png")}};
  const std::string html = report_html(input);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("\"quoted"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  EXPECT_EQ(count(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quoted&quot;?"), 18u);
}

TEST_F(Report, OfARunThatHasNothingYet) {
  write_report(folder.string(), {});
  const std::string html = read("report.html");
  EXPECT_NE(html.find("Not evaluated yet."), std::string::npos);
  EXPECT_NE(html.find("No epoch finished yet."), std::string::npos);
  ReportInput diverged;
  diverged.rows = {row(1), row(2)};
  diverged.rows[1].train_loss = std::numeric_limits<double>::quiet_NaN();
  diverged.rows[1].val_loss = std::numeric_limits<double>::infinity();
  const std::string page = report_html(diverged);
  EXPECT_EQ(page.find("nan"), std::string::npos);
  EXPECT_EQ(page.find("inf"), std::string::npos);
}

TEST_F(Report, RefusesPicturesThatAreNone) {
  put("x.png", "not a picture");
  for (const char* name : {"x.png", "none.png"}) {
    ReportInput input;
    input.pictures = {{"", file(name)}};
    EXPECT_THROW(report_html(input), Error) << name;
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
