// Metrics against scikit-learn's figures (golden/make_metrics_golden.py), intervals, and the CSV they agree
// with.
#include "eval/metrics.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

std::vector<std::string> class_names(int count) {
  std::vector<std::string> names;
  for (int k = 0; k < count; ++k) names.push_back(fmt::format("grade {}", k));
  return names;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

/// A file of its own for each test process, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text = {}) {
    std::string name = (std::filesystem::temp_directory_path() / "fovea-metrics-XXXXXX").string();
    const int file = ::mkstemp(name.data());
    if (file < 0) throw std::runtime_error("mkstemp failed");
    ::close(file);
    path = name;
    std::ofstream(path, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  std::string path;
};

/// n samples of 3 classes (shares 6:3:1), predictions right about two times in three.
std::vector<Prediction> random_predictions(int n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform;
  std::vector<Prediction> rows;
  for (int i = 0; i < n; ++i) {
    const double u = uniform(random);
    const int label = u < 0.6 ? 0 : u < 0.9 ? 1 : 2;
    std::vector<double> p{uniform(random), uniform(random), uniform(random)};
    p[static_cast<std::size_t>(label)] += 0.5;
    const double sum = p[0] + p[1] + p[2];
    for (double& value : p) value /= sum;
    rows.push_back({fmt::format("s{}", i), fmt::format("patient {}", i / 2), label, most_likely(p), p});
  }
  return rows;
}

TEST(Metrics, EqualScikitLearn) {
  std::ifstream in(FOVEA_SOURCE_DIR "/tests/golden/metrics.json");
  const nlohmann::json cases = nlohmann::json::parse(in);
  ASSERT_GE(cases.size(), 40u);
  for (const nlohmann::json& golden : cases) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    std::vector<Prediction> rows;
    for (std::size_t i = 0; i < golden["label"].size(); ++i) {
      rows.push_back({std::to_string(i), "", golden["label"][i], golden["predicted"][i], golden["p"][i]});
    }
    const Metrics metrics = compute_metrics(rows, class_names(golden["classes"]), {.resamples = 50});
    for (const NamedMetric& metric : named_metrics()) {
      const nlohmann::json& expected = golden["expected"].at(std::string(metric.name));
      const double chance = metric.name == "auroc" ? 0.5 : 0;
      const MetricValue& got = metrics.*metric.member;
      EXPECT_NEAR(got.value, expected.is_null() ? chance : expected.get<double>(), 1e-12) << metric.name;
      EXPECT_TRUE(std::isfinite(got.low) && std::isfinite(got.high) && got.low <= got.high) << metric.name;
    }
    EXPECT_EQ(metrics.confusion, golden["confusion"].get<Confusion>());
    for (std::size_t k = 0; k < metrics.per_class.size(); ++k) {
      EXPECT_NEAR(metrics.per_class[k].f1, golden["class_f1"][k].get<double>(), 1e-12);
    }
  }
}

TEST(Metrics, IntervalOfAProportionIsTheBinomialOne) {
  // 70 of 100 right: the normal 95 % interval is 0.7 +- 1.96 sqrt(0.7 * 0.3 / 100) = 0.610 to 0.790.
  std::vector<Prediction> rows;
  for (int i = 0; i < 100; ++i) rows.push_back({"", "", i % 2, i < 70 ? i % 2 : 1 - i % 2, {0.5, 0.5}});
  const Metrics metrics = compute_metrics(rows, class_names(2), {.resamples = 20000, .seed = 1});
  EXPECT_DOUBLE_EQ(metrics.accuracy.value, 0.7);
  EXPECT_NEAR(metrics.accuracy.low, 0.610, 0.011);
  EXPECT_NEAR(metrics.accuracy.high, 0.790, 0.011);
  EXPECT_EQ(metrics.auroc.low, 0.5) << "tied probabilities have an area of one half in every resample";
  EXPECT_EQ(metrics.auroc.high, 0.5);
}

TEST(Metrics, IntervalsFollowTheSeedAndNothingElse) {
  const auto rows = random_predictions(60, 3);
  const std::string first = metrics_json(compute_metrics(rows, class_names(3), {.seed = 5}));
  EXPECT_EQ(first, metrics_json(compute_metrics(rows, class_names(3), {.seed = 5})));
  EXPECT_NE(first, metrics_json(compute_metrics(rows, class_names(3), {.seed = 6})));
  EXPECT_NE(first,
            metrics_json(compute_metrics(rows, class_names(3), {.seed = 5 + (std::uint64_t{1} << 32)})));
  const Metrics none = compute_metrics(rows, class_names(3), {.resamples = 0});
  EXPECT_EQ(none.kappa.low, none.kappa.value);
  EXPECT_EQ(none.kappa.high, none.kappa.value);
}

TEST(Metrics, IntervalsContainTheValueOnOrdinarySets) {
  for (const int n : {20, 100, 400}) {
    const Metrics metrics = compute_metrics(random_predictions(n, static_cast<unsigned>(n)), class_names(3));
    for (const NamedMetric& metric : named_metrics()) {
      const MetricValue& value = metrics.*metric.member;
      EXPECT_LT(value.low, value.value) << n << ' ' << metric.name;
      EXPECT_GT(value.high, value.value) << n << ' ' << metric.name;
    }
  }
}

// One sample of class 2 is missing from about 37 % of the resamples: were the class counted as 0 there, the
// low end of a perfect score would fall to two thirds.
TEST(Metrics, AClassLostByAResampleIsLeftOut) {
  std::vector<Prediction> rows;
  for (int i = 0; i < 21; ++i) {
    const int label = i == 20 ? 2 : i % 2;
    std::vector<double> p(3, 0.0);
    p[static_cast<std::size_t>(label)] = 1;
    rows.push_back({"", "", label, label, p});
  }
  const Metrics metrics = compute_metrics(rows, class_names(3));
  for (const NamedMetric& metric : named_metrics())
    EXPECT_EQ((metrics.*metric.member).low, 1.0) << metric.name;
  for (Prediction& row : rows) row.probabilities.push_back(0);
  EXPECT_EQ(compute_metrics(rows, class_names(4)).recall.value, 0.75)
      << "a class of the set without samples stays";
  EXPECT_EQ(compute_metrics(rows, class_names(4)).recall.high, 0.75);
}

TEST(Metrics, BadInputIsNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const struct {
    Prediction row;
    const char* says;
  } cases[] = {{{"x7", "", -1, 0, {0.5, 0.5}}, "'x7' has label -1"},
               {{"x7", "", 2, 0, {0.5, 0.5}}, "'x7' has label 2"},
               {{"x7", "", 0, 2, {0.5, 0.5}}, "'x7' is predicted as 2"},
               {{"x7", "", 0, 0, {0.5}}, "'x7' has 1 probabilities"},
               {{"x7", "", 0, 0, {0.5, nan}}, "'x7' has the probability nan"}};
  for (const auto& bad : cases) {
    const std::string message = message_of([&] { compute_metrics(std::span(&bad.row, 1), class_names(2)); });
    EXPECT_NE(message.find(bad.says), std::string::npos) << message;
  }
  EXPECT_NE(message_of([] { compute_metrics({}, class_names(2)); }).find("no samples"), std::string::npos);
}

TEST(Metrics, JsonHoldsWhatTheContractNames) {
  const Metrics metrics = compute_metrics(random_predictions(50, 1), class_names(3));
  const auto json = nlohmann::ordered_json::parse(metrics_json(metrics));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"accuracy", "precision", "recall", "f1", "f1_pr", "kappa",
                                            "auroc", "n", "classes", "confusion"}));
  for (const NamedMetric& metric : named_metrics()) {
    const auto& object = json[std::string(metric.name)];
    EXPECT_EQ(object.size(), 3u);
    EXPECT_EQ(object["value"].get<double>(), (metrics.*metric.member).value);
    EXPECT_EQ(object["low"].get<double>(), (metrics.*metric.member).low);
    EXPECT_EQ(object["high"].get<double>(), (metrics.*metric.member).high);
  }
  EXPECT_EQ(json["n"], 50);
  EXPECT_EQ(json["classes"][2], "grade 2");
  EXPECT_EQ(json["confusion"].get<Confusion>(), metrics.confusion);
}

TEST(Metrics, TableShowsThePaperOnlyForItsModels) {
  const Metrics metrics = compute_metrics(random_predictions(50, 1), class_names(3));
  const std::string with = metrics_table(metrics, "hm-vgg"), without = metrics_table(metrics, "vgg11_bn");
  EXPECT_NE(with.find("0.64"), std::string::npos) << with;
  EXPECT_NE(with.find("not compared"), std::string::npos);
  EXPECT_EQ(without.find("paper"), std::string::npos) << without;
  EXPECT_NE(without.find(fmt::format("{:.3f}", metrics.kappa.value)), std::string::npos);
}

TEST(Predictions, RoundTripExactlyAndGiveTheSameMetrics) {
  auto rows = random_predictions(200, 9);
  rows[0].id = "comma, \"quote\" and\nline\r\nends";
  rows[1].id = " space ";
  rows[2].subject = "Zo\xc3\xab";
  rows[3].probabilities = {1e-300, 0.1 + 0.2, 1.0};
  rows[4].probabilities = {0, 1.0f / 3.0f, 5e-324};
  const TemporaryFile file(predictions_csv(rows));
  const auto read = read_predictions(file.path);
  ASSERT_EQ(read.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(read[i].id, rows[i].id);
    EXPECT_EQ(read[i].subject, rows[i].subject);
    EXPECT_EQ(read[i].label, rows[i].label);
    EXPECT_EQ(read[i].predicted, rows[i].predicted);
    EXPECT_EQ(read[i].probabilities, rows[i].probabilities);
  }
  EXPECT_EQ(metrics_json(compute_metrics(read, class_names(3))),
            metrics_json(compute_metrics(rows, class_names(3))));
}

TEST(Predictions, BothFormsAndLineEnds) {
  const std::vector<Prediction> rows{{"a", "s", 1, 0, {0.75, 0.25}}};
  EXPECT_EQ(predictions_csv(rows), "id,subject,label,predicted,p0,p1\na,s,1,0,0.75,0.25\n");
  EXPECT_EQ(predictions_csv(rows, PredictionColumns::bare), "id,predicted,p0,p1\na,0,0.75,0.25\n");
  const TemporaryFile bare("\xef\xbb\xbfid,predicted,p0,p1\r\n\"a\",0,0.75,0.25\r\nb,1,0,1");
  const auto read = read_predictions(bare.path);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].id, "a");
  EXPECT_EQ(read[0].label, -1);
  EXPECT_EQ(read[1].probabilities, (std::vector<double>{0, 1}));
}

TEST(Predictions, BadFilesNameTheRow) {
  const std::string head = "id,subject,label,predicted,p0,p1\n", good = "a,s,1,0,0.75,0.25\n";
  const struct {
    std::string text;
    const char* says;
  } cases[] = {{"", "is empty"},
               {"id,label\n", "row 1"},
               {"id,subject,label,predicted\n", "row 1"},
               {"id,subject,label,predicted,p1,p0\n", "row 1"},
               {head + good + "a,s,1,0,0.75\n", "row 3: it has 5 columns"},
               {head + "\n", "row 2: it has 1 columns"},
               {head + "a,s,1,0,0.75,0.25,9\n", "row 2: it has 7"},
               {head + "a,s,one,0,0.75,0.25\n", "row 2: 'one'"},
               {head + "a,s,1,0,0.75x,0.25\n", "row 2: '0.75x'"},
               {head + "a,s,1,0,,0.25\n", "row 2: ''"},
               {head + "a,s,2,0,0.75,0.25\n", "row 2: 2 is not between -1 and 1"},
               {head + "a,s,1,-1,0.75,0.25\n", "row 2: -1 is not"},
               {head + "a,s,1,0,nan,0.25\n", "row 2: nan is not"},
               {head + "a,s,1,0,1.5,0.25\n", "row 2: 1.5 is not"},
               {head + "\"a\nb\",s,1,0,0.75,0.25\n\"c,s,1\n", "row 4: a quote is not closed"},
               {head + "\"a\"b,s,1,0,0.75,0.25\n", "row 2: something stands"}};
  for (const auto& bad : cases) {
    const TemporaryFile file(bad.text);
    const std::string message = message_of([&] { read_predictions(file.path); });
    EXPECT_NE(message.find(bad.says), std::string::npos) << message;
    EXPECT_NE(message.find(file.path), std::string::npos) << message;
  }
  EXPECT_THROW(read_predictions("/nonexistent/predictions.csv"), Error);
  EXPECT_THROW(predictions_csv(std::vector<Prediction>{{"a", "", 0, 0, {1}}, {"b", "", 0, 0, {1, 0}}}),
               Error);
}

TEST(Predictions, MostLikelyTakesTheFirstOfTheLargest) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(most_likely(std::vector<double>{0.2, 0.4, 0.4}), 1);
  EXPECT_EQ(most_likely(std::vector<double>{nan, 0.1, 0.0}), 1);
  EXPECT_THROW(most_likely({}), Error);
}

}  // namespace
}  // namespace fovea
