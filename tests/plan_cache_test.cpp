// Plans of libraries, without a library: what is asked of one (graphs and products as text), the plan cache's files, the
// choice of a plan under limits, measuring with a recorded clock, the record of kernels, and every sentence. A stand-in
// takes the place of cuDNN and cublasLt.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/conv2d/kernels.hpp"
#include "kernels/cuda/branches.hpp"
#include "kernels/cuda/kernel_record_file.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/library_answer.hpp"
#include "kernels/ham/kernels.hpp"
#include "kernels/head/kernels.hpp"
#include "kernels/linear/kernels.hpp"
#include "kernels/mlrm/kernels.hpp"
#include "kernels/norm/kernels.hpp"
#include "kernels/pointwise/scale_residual_kernels.hpp"
#include "kernels/pool/kernels.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/memory.hpp"
#include "kernels/runtime/storage.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() : folder_(fs::temp_directory_path() / ("fovea-plans-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    ::setenv("FOVEA_PLAN_CACHE", folder_.c_str(), 1);
    set_plan_limits({});
  }
  ~PlanTest() override {
    library::set_source(nullptr);
    library::set_timer({});
    set_kernel_record({});
    set_plan_limits({});
    ::unsetenv("FOVEA_PLAN_CACHE");
    fs::remove_all(folder_);
  }

  std::string path(const std::string& name) const { return folder_ / name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }

 private:
  fs::path folder_;
};

// ---- graphs and products as text

GraphSpec small_graph() {
  GraphSpec g("conv2d.forward", {});
  g.input("x", Dtype::bf16, {8, 3, 5, 7});
  g.input("w", Dtype::bf16, {4, 3, 3, 3});
  g.constant("half", 0.5);
  g.windowed(GraphOp::convolution, {"x", "w"}, "t",
             {.window = {1, 1}, .stride = {2, 1}, .pad = {1, 1}, .dilation = {1, 1}});
  g.pointwise(GraphOp::multiply, {"t", "half"}, "u");
  g.pointwise(GraphOp::relu, {"u"}, "y");
  g.output("y", Dtype::bf16, {8, 4, 3, 7});
  return g;
}

TEST(GraphSpecTest, TextSaysAllOfIt) {
  const GraphSpec g = small_graph();
  EXPECT_EQ(g.problem(), "");
  EXPECT_EQ(g.text(),
            "x bf16 8x3x5x7, w bf16 4x3x3x3, half = 0.5 -> y bf16 8x4x3x7; "
            "t = convolution(x, w) stride 2x1 pad 1x1; u = multiply(t, half); y = relu(u)");
  const auto ports = g.ports();
  ASSERT_EQ(ports.size(), 3u);
  EXPECT_EQ(ports[2]->name, "y");
  EXPECT_EQ(ports[2]->bytes(), 8 * 4 * 3 * 7 * 2);
  GraphTensor rows;
  rows.shape = matrices(2, 3, 5);
  EXPECT_EQ(rows.bytes(), 2 * 3 * 5 * 4);
}

TEST(GraphSpecTest, WhatIsWrongIsOneSentence) {
  GraphSpec empty("ham.forward", {});
  EXPECT_EQ(empty.problem(), "ham.forward: the graph is empty");
  GraphSpec unknown("ham.forward", {});
  unknown.pointwise(GraphOp::relu, {"x"}, "y");
  EXPECT_EQ(unknown.problem(), "ham.forward: relu reads 'x', which nothing has made");
  GraphSpec twice = small_graph();
  twice.input("x", Dtype::f32, {1, 1, 1, 1});
  EXPECT_EQ(twice.problem(), "conv2d.forward: tensor 'x' is named twice");
  GraphSpec remade = small_graph();
  remade.pointwise(GraphOp::relu, {"t"}, "y");
  EXPECT_EQ(remade.problem(), "conv2d.forward: 'y' is made twice");
  GraphSpec unmade = small_graph();
  unmade.output("z", Dtype::f32, {1, 1, 1, 1});
  EXPECT_EQ(unmade.problem(), "conv2d.forward: nothing makes 'z'");
  GraphSpec count = small_graph();
  count.node(GraphOp::add, {"x"}, {"z"});
  EXPECT_EQ(count.problem(), "conv2d.forward: add has 1 inputs and 1 outputs, needs 2 and 1");
  GraphSpec none("pool", {});
  none.input("x", Dtype::f32, {1, 0, 1, 1});
  EXPECT_EQ(none.problem(), "pool: tensor 'x' of 1x0x1x1 must be at least 1 in every dimension");
}

TEST(MatmulSpecTest, TextAndSizes) {
  MatmulSpec s{.primitive = "linear.forward", .cost = {}, .m = 3, .n = 130, .k = 5};
  s.transpose_b = true;
  EXPECT_EQ(s.text(), "matmul 3x130x5 nt f32 -> f32");
  s.in = Dtype::bf16;
  s.epilogue = Epilogue::relu_aux_bias;
  s.scale = 0.5;
  EXPECT_EQ(s.text(), "matmul 3x130x5 nt bf16 -> f32 relu_aux_bias scale 0.5");
  EXPECT_TRUE(s.has_bias() && !s.writes_bias() && s.has_aux() && s.writes_aux());
  EXPECT_EQ(s.aux_columns(), 256);
  EXPECT_EQ(s.aux_bytes(), 3 * 256 / 8);
  s.epilogue = Epilogue::gelu_backward_bias;
  EXPECT_TRUE(s.writes_bias() && s.has_aux() && !s.writes_aux());
  EXPECT_EQ(s.aux_bytes(), 3 * 130 * 4);
  s.epilogue = Epilogue::bias_gradient;
  EXPECT_EQ(s.bias_size(), 3);
  EXPECT_EQ(s.problem(), "");
  s.in = Dtype::f64;
  EXPECT_EQ(s.problem(), "linear.forward: there is no product of f64 into f32");
  s.k = 0;
  EXPECT_EQ(s.problem(), "linear.forward: a product of 3x130x0 must be at least 1 in every dimension");
}

TEST(LibraryAnswerTest, MissingAndOldLibrariesAreOneSentence) {
  LibraryAnswer a;
  a.name = "cuDNN";
  a.file = "libcudnn.so.9";
  a.needed = 90800;
  EXPECT_EQ(sentence_of(a),
            "cuDNN cannot be loaded (libcudnn.so.9 was not found); install it, or name its folder in "
            "LD_LIBRARY_PATH");
  a.loaded = true;
  a.version = 90701;
  EXPECT_EQ(sentence_of(a), "cuDNN 9.7.1 is too old; install 9.8.0 or newer");
  a.version = 91900;
  EXPECT_EQ(sentence_of(a), "");
}

// As cuDNN 9.19 answers.
TEST(LibraryAnswerTest, OfAStackOfWarningsTheInnermostReasonOfEachEngineIsKept) {
  const std::string engine = "{\"engineId\":";
  const std::string halves =
      ",\"smVersion\":900,\"knobChoices\":{}}\nWarning: CUDNN_STATUS_NOT_SUPPORTED; Reason: type != HALF\n"
      "Warning: CUDNN_STATUS_NOT_SUPPORTED; Reason: finalize_internal()\n\n";
  EXPECT_EQ(refusal_of("No valid engine configs for __\n" + engine + "2" + halves + engine + "2" + halves +
                       engine + "-1}\nWarning: X; Reason: a place holder\n\n" + engine +
                       "1}\nWarning: X; Reason: libcuda == nullptr\n"),
            "eng1: libcuda == nullptr; eng2: type != HALF");
  EXPECT_EQ(refusal_of(engine + "1}\n" + engine + "2" + halves), "eng2: type != HALF")
      << "one that says nothing";
  EXPECT_EQ(refusal_of("heuristics failed\nat line 3"), "heuristics failed");
  EXPECT_EQ(refusal_of(""), "");
}

TEST(LibraryAnswerTest, LibrariesAreLookedForByNameAndInAFolder) {
  LibraryAnswer a;
  a.file = "libm.so.6";
  EXPECT_NE(load_library(a, "/nowhere"), nullptr);
  EXPECT_TRUE(a.loaded && a.failure.empty());
  a.file = "libnot-there.so.1";
  EXPECT_EQ(load_library(a, "/nowhere"), nullptr);
  EXPECT_FALSE(a.loaded);
  EXPECT_EQ(a.failure.find("libnot-there.so.1: cannot open"), 0u)
      << "what the loader said first: " << a.failure;
}

// ---- the choice under limits

PlanRecord plan(const char* engine, double us, std::int64_t workspace = 0) {
  PlanRecord p;
  p.info.engine = engine;
  p.info.workspace = workspace;
  if (us > 0) p.time = PlanTime{us, us, us};
  return p;
}

TEST(PlanChoiceTest, TheFastestThatIsAllowed) {
  PlanEntry e{"conv2d.forward",
              "p",
              1,
              1,
              {plan("a", 9), plan("b", 2, 100), plan("c", 3), plan("d", 1), plan("e", 1)}};
  e.plans[3].info.tf32 = true;
  e.plans[4].info.deterministic = false;
  EXPECT_EQ(chosen_plan(e, {}), 1u);
  EXPECT_EQ(chosen_plan(e, {.workspace = 99}), 2u);
  EXPECT_EQ(chosen_plan(e, {.tf32 = true}), 3u);
  EXPECT_EQ(chosen_plan(e, {.deterministic = false}), 4u);
  e.plans[1].failure = "no";
  EXPECT_EQ(chosen_plan(e, {}), 2u);
  e.plans[0].pinned = true;
  EXPECT_EQ(chosen_plan(e, {.workspace = 0}), 0u);
  EXPECT_EQ(chosen_plan(PlanEntry{}, {}), std::nullopt);
}

TEST(PlanChoiceTest, WhyAPlanIsLeftOut) {
  PlanInfo p;
  p.workspace = 3 << 20;
  EXPECT_EQ(why_left_out(p, {.workspace = 3 << 20}), "");
  EXPECT_EQ(why_left_out(p, {.workspace = 1}), "needs 3.0 MiB of workspace");
  p.deterministic = false;
  EXPECT_EQ(why_left_out(p, {}), "not deterministic");
  p = {};
  p.tf32 = true;
  EXPECT_EQ(why_left_out(p, {}), "TF32");
  p = {};
  p.approximate = true;
  EXPECT_EQ(why_left_out(p, {.deterministic = false, .tf32 = true}), "approximate");
}

struct RecordedTimer : PlanTimer {
  std::map<std::size_t, double> us;
  std::set<std::size_t> too_large, untimed;
  bool device_lost = false;
  std::vector<std::size_t> asked;
  void try_out(std::size_t i) override {
    asked.push_back(i);
    if (too_large.contains(i)) throw OutOfMemory(MemoryRequest{});
    if (!us.contains(i)) fail("does not run");
  }
  void check_device() override {
    if (device_lost) fail("illegal memory access, raised by a kernel that ran before this call");
  }
  PlanTime time(std::size_t i) override {
    if (untimed.contains(i)) fail("the capture failed");
    return {us[i], us[i] - 1, us[i] + 1};
  }
};

TEST(PlanChoiceTest, OnlyWhatIsAllowedAndUnknownIsMeasured) {
  PlanEntry e{"op", "p", 0, 0, {plan("a", 0), plan("b", 4), plan("c", 0, 100), plan("d", 0)}};
  RecordedTimer timer;
  timer.us = {{0, 5}, {2, 3}};
  const PlanLimits tight{.workspace = 10};
  EXPECT_TRUE(must_measure(e, tight));
  measure_plans(e, tight, timer);
  EXPECT_EQ(timer.asked, (std::vector<std::size_t>{0, 3}));
  EXPECT_EQ(e.plans[3].failure, "does not run");
  EXPECT_FALSE(must_measure(e, tight)) << "what failed is not tried again";
  EXPECT_EQ(chosen_plan(e, tight), 1u);
  EXPECT_TRUE(must_measure(e, {})) << "a wider limit lets one more in";
  measure_plans(e, {}, timer);
  EXPECT_EQ(chosen_plan(e, {}), 2u);
  e.plans[1].pinned = true;
  e.plans[0].time.reset();
  EXPECT_FALSE(must_measure(e, {})) << "a pinned plan needs no comparison";
}

TEST(PlanChoiceTest, OnlyWhatAPlanItselfCannotDoIsNotedAsItsFailure) {
  PlanEntry e{"op", "p", 0, 0, {plan("a", 0), plan("b", 0), plan("c", 0), plan("d", 0)}};
  RecordedTimer timer;
  timer.us = {{0, 5}, {1, 4}, {2, 3}};
  timer.too_large = {1};
  timer.untimed = {2};
  EXPECT_EQ(message_of([&] { std::rethrow_exception(measure_plans(e, {}, timer)); }), "the capture failed");
  EXPECT_EQ(e.plans[1], plan("b", 0)) << "there may be memory another time";
  EXPECT_EQ(e.plans[2], plan("c", 0));
  EXPECT_EQ(e.plans[3].failure, "does not run");
  EXPECT_EQ(chosen_plan(e, {}), 0u);
  timer.too_large.clear();
  timer.untimed.clear();
  EXPECT_FALSE(measure_plans(e, {}, timer));
  EXPECT_EQ(chosen_plan(e, {}), 2u);
}

TEST(PlanChoiceTest, WhatALostDeviceSaysIsNoFailureOfAPlan) {
  PlanEntry e{"op", "p", 0, 0, {plan("a", 0), plan("b", 0)}};
  RecordedTimer timer;
  timer.device_lost = true;
  EXPECT_EQ(message_of([&] { measure_plans(e, {}, timer); }),
            "illegal memory access, raised by a kernel that ran before this call");
  EXPECT_EQ(timer.asked, std::vector<std::size_t>{0}) << "and no more is tried";
  EXPECT_EQ(e.plans[0], plan("a", 0));
}

TEST(PlanChoiceTest, NewPlansOfALibraryKeepWhatIsKnownOfTheOld) {
  PlanEntry e{"op", "p", 0, 0, {plan("a", 5), plan("b", 4)}};
  e.plans[0].pinned = true;
  std::vector<PlanInfo> offered(2);
  offered[0].engine = "c";
  offered[1].engine = "a";
  const PlanEntry now = with_plans(e, offered);
  ASSERT_EQ(now.plans.size(), 2u);
  EXPECT_FALSE(now.plans[0].time);
  EXPECT_EQ(now.plans[1].time->median_us, 5);
  EXPECT_TRUE(now.plans[1].pinned);
  offered.pop_back();
  EXPECT_EQ(message_of([&] { with_plans(e, offered); }),
            "op: the pinned plan 'a' is not offered by this library; unpin it in the plan cache");
}

TEST(PlanChoiceTest, Floors) {
  const PlanEntry bf16{"op", "x bf16 1x1x1x1", 790e6, 1e6, {}}, f32{"op", "x f32 1x1x1x1", 67e6, 4e6, {}};
  EXPECT_DOUBLE_EQ(floor_us(bf16, {}), 1);
  EXPECT_DOUBLE_EQ(floor_us(f32, {.copy_bytes_per_s = 1e12}), 4);
}

// ---- files

const PlanFileHeader here{"NVIDIA H200", "9.19.0", "13.1.0"};

PlanEntry entry(const char* problem = "p") {
  PlanEntry e{"conv2d.forward", problem, 100, 200, {plan("eng1", 5, 64), plan("eng2", 0), plan("eng3", 4)}};
  e.plans[0].info.knobs = "tile_size=3";
  e.plans[0].pinned = true;
  e.plans[1].failure = "cuDNN says no";
  e.plans[2].info.approximate = true;
  return e;
}

TEST_F(PlanTest, AFileComesBackAsItWas) {
  PlanFile file(path("plans.json"), here);
  EXPECT_TRUE(file.entries().empty());
  file.put(entry());
  file.put(entry("q"));
  file.put({"ham.forward", "r", 0, 0, {}, "eng1: wants halves"});
  file.set_copy_rate(4e12);
  file.save();
  const PlanFile again(path("plans.json"), here);
  EXPECT_EQ(again.entries(), file.entries());
  EXPECT_EQ(again.copy_bytes_per_s(), 4e12);
  EXPECT_EQ(*again.find("conv2d.forward", "q"), entry("q"));
  EXPECT_EQ(again.find("conv2d.forward", "r"), nullptr);
  EXPECT_EQ(PlanFile::read(path("plans.json")).header(), here);
  EXPECT_EQ(std::distance(fs::directory_iterator(path("")), fs::directory_iterator()), 1)
      << "nothing is left beside it";
}

TEST_F(PlanTest, TwoProcessesDoNotLoseEachOthersPlans) {
  PlanFile one(path("plans.json"), here), other(path("plans.json"), here);
  one.put(entry("a"));
  one.save();
  other.put(entry("b"));
  other.save();
  EXPECT_EQ(PlanFile(path("plans.json"), here).entries().size(), 2u);
}

TEST_F(PlanTest, APinAddedOnDiskBetweenTwoSavesSurvives) {
  PlanEntry unpinned = entry("a");
  unpinned.plans[0].pinned = false;
  PlanFile mine(path("plans.json"), here);
  mine.put(unpinned);
  mine.save();
  PlanEntry pinned = unpinned;
  pinned.plans[2].pinned = true;
  std::string text = read("plans.json");
  const std::string engine = "\"engine\": \"eng3\"";
  write("plans.json", text.replace(text.find(engine), engine.size(), engine + ", \"pinned\": true"));
  mine.put(entry("b"));
  mine.save();
  EXPECT_EQ(*PlanFile(path("plans.json"), here).find("conv2d.forward", "a"), pinned);
  EXPECT_EQ(*mine.find("conv2d.forward", "a"), pinned) << "and counts here from now on";
  unpinned.plans[0].time = PlanTime{7, 7, 7};
  mine.put(unpinned);
  mine.save();
  pinned.plans[0].time = PlanTime{7, 7, 7};
  EXPECT_EQ(*PlanFile(path("plans.json"), here).find("conv2d.forward", "a"), pinned);
}

TEST_F(PlanTest, APinTakenOffOnDiskIsNotPutBack) {
  PlanFile mine(path("plans.json"), here);
  mine.put(entry("a"));
  mine.save();
  std::string text = read("plans.json");
  const std::string pinned = "\"pinned\": true";
  write("plans.json", text.replace(text.find(pinned), pinned.size(), "\"pinned\": false"));
  mine.put(entry("a"));
  mine.save();
  EXPECT_FALSE(PlanFile(path("plans.json"), here).find("conv2d.forward", "a")->plans[0].pinned);
}

TEST_F(PlanTest, WhatAnotherProcessMeasuredOfTheSameProblemIsKept) {
  PlanFile one(path("plans.json"), here), other(path("plans.json"), here);
  PlanEntry narrow = entry("a"), wide = entry("a");
  narrow.plans[2].time.reset();
  wide.plans[0].time.reset();
  wide.plans.push_back(plan("gone", 1));
  wide.plans[3].pinned = true;
  other.put(wide);
  other.save();
  one.put(narrow);
  one.save();
  const PlanFile file(path("plans.json"), here);
  const std::vector<PlanRecord>& plans = file.find("conv2d.forward", "a")->plans;
  EXPECT_EQ(plans[0].time, narrow.plans[0].time);
  EXPECT_EQ(plans[2].time, wide.plans[2].time);
  ASSERT_EQ(plans.size(), 4u) << "a pin is the user's, whatever is offered here";
  EXPECT_TRUE(plans[3].pinned);
}

TEST_F(PlanTest, AFileThatWasDamagedSinceIsPutAside) {
  PlanFile mine(path("plans.json"), here);
  mine.put(entry("a"));
  mine.save();
  write("plans.json", "{");
  mine.put(entry("b"));
  EXPECT_TRUE(contains(mine.save(), "it is kept as " + path("plans.json") + ".bad"));
  EXPECT_EQ(read("plans.json.bad"), "{");
  EXPECT_EQ(PlanFile(path("plans.json"), here).entries().size(), 2u);
  write("plans.json", "}");
  EXPECT_NE(mine.reload(), "");
  EXPECT_EQ(mine.save(), "") << "nothing lies there any more";
  EXPECT_EQ(PlanFile(path("plans.json"), here).entries().size(), 2u)
      << "what was known is written all the same";
}

TEST_F(PlanTest, FilesThatCannotBeUsedAreOneSentence) {
  PlanFile good(path("good.json"), here);
  good.put(entry());
  good.save();
  const std::string text = read("good.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return changed.replace(at, from.size(), to);
  };
  const std::map<std::string, std::string> bad{
      {"", "it is no valid JSON"},
      {"[]", "the file is no object"},
      {"nonsense", "it is no valid JSON"},
      {text.substr(0, text.size() / 2), "it is no valid JSON"},
      {text + "x", "it is no valid JSON"},
      {std::string(40, '[') + std::string(40, ']'), "it is nested deeper than 16"},
      {with("\"device\"", "\"format\""), "key 'format' is in an object twice"},
      {with("\"engine\": \"eng1\"", "\"engine\": \"eng1\", \"engine\": \"eng1\""),
       "key 'engine' is in an object twice"},
      {with("\"version\": 1", "\"version\": 2"), "its format has version 2, and this program reads 1"},
      {with("fovea plans", "something"), "its format is 'something', not 'fovea plans'"},
      {with("9.19.0", "9.18.0"), "it is of NVIDIA H200 with cuDNN 9.18.0 and cublasLt 13.1.0, and here are"},
      {with("NVIDIA H200", "NVIDIA A100"), "it is of NVIDIA A100"},
      {with("\"workspace\": 64", "\"workspace\": -64"),
       "'workspace' of plan 0 of problem 0 is no whole number"},
      {with("\"workspace\": 64", "\"workspace\": 1e300"),
       "'workspace' of plan 0 of problem 0 is no whole number"},
      {with("\"workspace\": 64", "\"workspace\": 18446744073709551615"), "is no whole number"},
      {with("\"median_us\": 5.0", "\"median_us\": -5.0"), "is no number of at least 0"},
      {with("\"median_us\": 5.0", "\"median_us\": 0"), "'median_us' of plan 0 of problem 0 is 0"},
      {with("\"median_us\": 5.0", "\"median_us\": 1e999"), "it is no valid JSON"},
      {with("\"eng3\"", "\"eng2\""), "problem 0 has plan 'eng2' twice"},
      {with("\"pinned\": true", "\"pinned\": \"yes\""),
       "'pinned' of plan 0 of problem 0 is neither true nor false"},
      {with("\"op\": \"conv2d.forward\",", ""), "'op' of problem 0 is missing"},
      {std::string("{}\0{}", 5), "it holds a zero byte"},
  };
  for (const auto& [content, sentence] : bad) {
    write("bad.json", content);
    const std::string message = message_of([&] { PlanFile(path("bad.json"), here); });
    EXPECT_TRUE(contains(message, path("bad.json") + " is not usable: ")) << message;
    EXPECT_TRUE(contains(message, sentence)) << message << "\n for " << content.substr(0, 80);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
  fs::resize_file(path("bad.json"), PlanFile::most_bytes + 1);
  EXPECT_TRUE(contains(message_of([&] { PlanFile(path("bad.json"), here); }), "over the cap of"));
}

TEST_F(PlanTest, AProblemTwiceIsRefused) {
  PlanFile file(path("plans.json"), here);
  file.put(entry("a"));
  file.put(entry("b"));
  file.save();
  std::string text = read("plans.json");
  text.replace(text.find("\"problem\": \"b\""), 14, "\"problem\": \"a\"");
  write("plans.json", text);
  EXPECT_TRUE(contains(message_of([&] { PlanFile(path("plans.json"), here); }),
                       "problem 'a' of conv2d.forward is in it twice"));
}

TEST_F(PlanTest, EveryTruncatedFileIsRefusedOrWhole) {
  PlanFile file(path("plans.json"), here);
  file.put(entry());
  file.save();
  const std::string text = read("plans.json");
  for (std::size_t n = 0; n + 2 < text.size(); n += 7) {
    write("cut.json", text.substr(0, n));
    EXPECT_NE(message_of([&] { PlanFile(path("cut.json"), here); }), "") << n;
  }
}

TEST_F(PlanTest, ABadFileIsKeptBesideAndMeasuringBeginsAnew) {
  write("plans.json", "{");
  std::string complaint;
  PlanFile file = PlanFile::open(path("plans.json"), here, complaint);
  EXPECT_TRUE(
      contains(complaint, "it is kept as " + path("plans.json") + ".bad, and plans are measured anew"));
  EXPECT_EQ(read("plans.json.bad"), "{");
  EXPECT_TRUE(file.entries().empty());
  file.put(entry());
  file.save();
  complaint.clear();
  EXPECT_EQ(PlanFile::open(path("plans.json"), here, complaint).entries().size(), 1u);
  EXPECT_EQ(complaint, "");
}

TEST_F(PlanTest, AFolderThatCannotBeWrittenIsOneSentence) {
  write("file", "");
  PlanFile file(path("file/plans.json"), here);
  file.put(entry());
  EXPECT_TRUE(contains(message_of([&] { file.save(); }), "cannot write " + path("file/plans.json") + ": "));
}

TEST_F(PlanTest, Names) {
  EXPECT_EQ(plan_path(here), path("plans-NVIDIA-H200-cudnn-9.19.0-cublaslt-13.1.0.json"));
  EXPECT_EQ(file_name_of(" a/../b "), "a-..-b");
  EXPECT_EQ(file_name_of("//"), "unknown");
  ::unsetenv("FOVEA_PLAN_CACHE");
  ::setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(plan_folder(), "/somewhere/fovea");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_TRUE(plan_folder().ends_with("/.cache/fovea"));
}

// ---- from a kernel to a plan, with a stand-in for the libraries

struct StandIn;

struct StandInOp : PlannedOp {
  StandInOp(StandIn& owner, std::string text) : owner_(owner), text_(std::move(text)) {}
  std::span<const PlanInfo> plans() const override;
  std::string refusal() const override;
  void build(std::size_t plan) override;
  void run(std::size_t plan, std::span<void* const> tensors, void* workspace, Stream stream) override;
  StandIn& owner_;
  std::string text_;
};

struct StandIn : library::Source {
  std::vector<PlanInfo> offered{{"slow", "", 0, true, false, false},
                                {"fast", "tile=1", 64, true, false, false},
                                {"random", "", 0, false, false, false}};
  std::string why;
  std::string invalid;    // a text that the library refuses
  std::string unplanned;  // a text for which it has no plan
  std::string broken;     // an engine that cannot be built
  std::vector<std::string> asked, ran, ran_texts;
  std::size_t planned = 0;

  std::string why_unusable() override { return why; }
  PlanFileHeader header() override { return {"stand-in", "1.2.3", "4.5.6"}; }
  std::unique_ptr<PlannedOp> make(const std::string& text, const std::string& problem) {
    EXPECT_EQ(problem, "");
    if (!invalid.empty() && contains(text, invalid)) fail("the library refuses it");
    ++planned;
    asked.push_back(text);
    return std::make_unique<StandInOp>(*this, text);
  }
  std::unique_ptr<PlannedOp> plan(const GraphSpec& spec) override {
    return make(spec.text(), spec.problem());
  }
  std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec) override {
    return make(spec.text(), spec.problem());
  }
};

std::span<const PlanInfo> StandInOp::plans() const {
  if (!owner_.unplanned.empty() && contains(text_, owner_.unplanned)) return {};
  return owner_.offered;
}
std::string StandInOp::refusal() const { return plans().empty() ? "eng1: wants halves" : ""; }
void StandInOp::build(std::size_t plan) {
  if (owner_.offered[plan].engine == owner_.broken) fail("cannot be built");
}
void StandInOp::run(std::size_t plan, std::span<void* const> tensors, void* workspace, Stream) {
  EXPECT_EQ(workspace != nullptr, owner_.offered[plan].workspace > 0);
  for (void* t : tensors) EXPECT_NE(t, nullptr) << text_;
  owner_.ran.push_back(owner_.offered[plan].engine);
  owner_.ran_texts.push_back(text_);
}

class LibraryTest : public PlanTest {
 protected:
  LibraryTest() {
    library::set_source(&library_);
    library::set_timer([this](PlannedOp& op, std::size_t plan) -> PlanTime {
      ++measured_;
      const std::string& text = dynamic_cast<StandInOp&>(op).text_;
      if (!slow_.empty() && contains(text, slow_)) return {9, 9, 9};
      return {plan == 1 ? 2.0 : 3.0, 1, 4};
    });
  }

  // What runs of a normalisation's backward with a ReLU, with dx of its own or where dy is.
  std::vector<std::string> normalise_backward(bool in_place) {
    const BatchNormProblem p{.relu = 1, .rows = 6, .channels = 5};
    std::vector<std::unique_ptr<Storage>> owned;
    std::vector<View> views;
    for (const PortSpec& spec : batch_norm_backward.ports(&p)) {
      owned.push_back(std::make_unique<Storage>(spec.shape, spec.dtype, Device::cpu));
      views.push_back({owned.back()->data(), spec.shape, spec.dtype, Device::cpu});
    }
    if (in_place) views[6].data = views[1].data;
    EXPECT_TRUE(batch_norm_backward_cudnn_supports(p));
    library_.ran_texts.clear();
    batch_norm_backward_cudnn(p, views, {});
    return library_.ran_texts;
  }

  StandIn library_;
  int measured_ = 0;
  std::string slow_;  // a text whose plans take longer
};

TEST_F(LibraryTest, MeasuresOnceAndKeepsIt) {
  std::vector<char> bytes(4096);
  const std::vector<void*> tensors(3, bytes.data());
  library::Operation op(small_graph());
  EXPECT_TRUE(op.is_supported());
  EXPECT_EQ(measured_, 0) << "asking measures nothing";
  op.run(tensors, {});
  op.run(tensors, {});
  EXPECT_EQ(measured_, 2) << "the one that is not deterministic is left out";
  EXPECT_EQ(library_.ran, (std::vector<std::string>{"fast", "fast"}));
  library::Operation same(small_graph());
  same.run(tensors, {});
  EXPECT_EQ(measured_, 2);
  library::set_source(&library_);  // as a new process, which reads the file
  library::Operation later(small_graph());
  later.run(tensors, {});
  EXPECT_EQ(measured_, 2);
  EXPECT_EQ(library_.ran.back(), "fast");
  set_plan_limits({.workspace = 10});
  later.run(tensors, {});
  EXPECT_EQ(library_.ran.back(), "slow");
  set_plan_limits({.deterministic = false});
  later.run(tensors, {});
  EXPECT_EQ(measured_, 3);
  EXPECT_EQ(message_of([&] { later.run(std::span<void* const>(tensors).first(2), {}); }),
            "conv2d.forward: got 2 tensors, the plan needs 3");
}

TEST_F(LibraryTest, WhatAnotherProcessHasMeasuredSinceIsNotMeasuredAgain) {
  std::vector<char> bytes(4096);
  const std::vector<void*> tensors(3, bytes.data());
  library::Operation op(small_graph());
  EXPECT_TRUE(op.is_supported()) << "the file is read, and knows nothing";
  PlanFile other(plan_path(library_.header()), library_.header());
  PlanEntry e{"conv2d.forward", small_graph().text(), 0, 0, {}};
  for (const PlanInfo& info : library_.offered) e.plans.push_back({info, PlanTime{5, 5, 5}, "", false});
  e.plans[0].time = PlanTime{1, 1, 1};
  other.put(e);
  other.save();
  op.run(tensors, {});
  EXPECT_EQ(measured_, 0);
  EXPECT_EQ(library_.ran, std::vector<std::string>{"slow"}) << "as its times say";
}

TEST_F(LibraryTest, WithoutMemoryForAnyPlanTheUserIsToldSo) {
  std::vector<char> bytes(4096);
  const std::vector<void*> tensors(3, bytes.data());
  library::set_timer([](PlannedOp&, std::size_t) -> PlanTime { throw OutOfMemory(MemoryRequest{}); });
  library::Operation op(small_graph());
  EXPECT_THROW(op.run(tensors, {}), OutOfMemory);
  const PlanFile file(plan_path(library_.header()), library_.header());
  for (const PlanRecord& p : file.entries().at(0).plans) EXPECT_TRUE(!p.time && p.failure.empty());
  library::set_timer([](PlannedOp&, std::size_t) -> PlanTime { return {1, 1, 1}; });
  op.run(tensors, {});
  EXPECT_EQ(library_.ran, std::vector<std::string>{"slow"});
}

TEST_F(LibraryTest, TheCopyRateIsKeptWithThePlans) {
  library_.why = "cuDNN is not here";
  library::keep_copy_rate(3e12);
  EXPECT_FALSE(fs::exists(plan_path(library_.header())));
  library_.why.clear();
  library::keep_copy_rate(4e12);
  std::vector<char> bytes(4096);
  library::Operation op(small_graph());
  op.run(std::vector<void*>(3, bytes.data()), {});
  const PlanFile file(plan_path(library_.header()), library_.header());
  EXPECT_EQ(file.copy_bytes_per_s(), 4e12);
  EXPECT_EQ(file.entries().size(), 1u);
}

TEST_F(LibraryTest, PinnedPlansWin) {
  PlanFile file(plan_path(library_.header()), library_.header());
  PlanEntry e{"conv2d.forward", small_graph().text(), 0, 0, {}};
  e.plans.push_back({library_.offered[2], {}, "", true});
  file.put(e);
  file.save();
  library::Operation op(small_graph());
  std::vector<char> bytes(4096);
  op.run(std::vector<void*>(3, bytes.data()), {});
  EXPECT_EQ(library_.ran, std::vector<std::string>{"random"});
  EXPECT_EQ(measured_, 0);
}

TEST_F(LibraryTest, UnmeasuredTheFirstThatBuildsIsTaken) {
  std::vector<char> bytes(4096);
  const std::vector<void*> tensors(3, bytes.data());
  set_plan_limits({.workspace = 10, .measure = false});
  library_.broken = "slow";
  library_.offered.push_back({"third", "", 0, true, false, false});
  library::Operation op(small_graph());
  op.run(tensors, {});
  EXPECT_EQ(library_.ran, std::vector<std::string>{"third"});
  EXPECT_EQ(measured_, 0);
  EXPECT_FALSE(fs::exists(plan_path(library_.header()))) << "and nothing is kept";
  set_plan_limits({.workspace = 10});
  library_.broken.clear();
  library::Operation measured(small_graph());
  measured.run(tensors, {});
  set_plan_limits({.workspace = 10, .measure = false});
  library::Operation known(small_graph());
  known.run(tensors, {});
  EXPECT_EQ(library_.ran.back(), "slow") << "what was measured counts";
}

TEST_F(LibraryTest, WhatCannotRunSaysWhy) {
  std::vector<char> bytes(4096);
  const std::vector<void*> tensors(3, bytes.data());
  library_.why = "cuDNN is not here";
  library::Operation missing(small_graph());
  EXPECT_FALSE(missing.is_supported());
  EXPECT_EQ(message_of([&] { missing.run(tensors, {}); }), "cuDNN is not here");
  library_.why.clear();
  library_.invalid = "convolution";
  library::Operation refused(small_graph());
  EXPECT_FALSE(refused.is_supported());
  EXPECT_EQ(message_of([&] { refused.run(tensors, {}); }), "the library refuses it");
  library_.invalid.clear();
  library_.offered.clear();
  library::Operation none(small_graph());
  EXPECT_FALSE(none.is_supported());
  EXPECT_TRUE(contains(message_of([&] { none.run(tensors, {}); }),
                       "conv2d.forward: the library has no plan for x bf16"));
  library_.offered = {{"large", "", std::int64_t{2} << 30, true, false, false}};
  library::Operation large(small_graph());
  EXPECT_FALSE(large.is_supported());
  EXPECT_EQ(message_of([&] { large.run(tensors, {}); }),
            "conv2d.forward: none of the library's 1 plans can be taken (needs 2.00 GiB of workspace)");
}

TEST_F(LibraryTest, OneOperationOrTwoInItsPlaceWhicheverIsFaster) {
  EXPECT_EQ(normalise_backward(false).size(), 1u) << "2 us against 2 + 2";
  const int measured = measured_;
  EXPECT_EQ(normalise_backward(false).size(), 1u);
  EXPECT_EQ(measured_, measured) << "what is known is not measured again";
  EXPECT_EQ(normalise_backward(true).size(), 2u) << "dx is dy, which the one does not promise to bear";
  slow_ = "norm_inference";
  fs::remove(plan_path(library_.header()));
  library::set_source(&library_);
  EXPECT_EQ(normalise_backward(false).size(), 2u) << "9 us against 2 + 2";
}

TEST_F(LibraryTest, UnmeasuredTheSimplerFormIsTaken) {
  set_plan_limits({.measure = false});
  EXPECT_EQ(normalise_backward(false).size(), 2u);
}

TEST_F(LibraryTest, AFormWithoutPlansIsLeftAndTheLedgerSaysWhy) {
  library_.unplanned = "norm_inference";
  EXPECT_EQ(normalise_backward(false).size(), 2u);
  const PlanFile file(plan_path(library_.header()), library_.header());
  int refused = 0;
  for (const PlanEntry& e : file.entries()) {
    EXPECT_EQ(e.plans.empty(), contains(e.problem, "norm_inference"));
    EXPECT_EQ(e.refusal, e.plans.empty() ? "eng1: wants halves" : "");
    refused += e.plans.empty();
  }
  EXPECT_EQ(refused, 1);
  library_.unplanned = "convolution";
  library::Operation op(small_graph());
  EXPECT_TRUE(contains(message_of([&] { op.run(std::vector<void*>(3), {}); }), "(eng1: wants halves)"));
  library_.unplanned.clear();
  library::set_source(&library_);  // as a newer library
  EXPECT_EQ(normalise_backward(false).size(), 1u);
  EXPECT_EQ(PlanFile(plan_path(library_.header()), library_.header())
                .find("batch_norm.backward", library_.ran_texts.at(0))
                ->refusal,
            "");
}

TEST_F(LibraryTest, WithoutStatisticsInAnEpilogueOnlyThatRowIsGone) {
  library_.unplanned = "= statistics(";
  const MlrmProblem p{.branches = 3, .n = 2, .h = 7, .w = 4, .c = 8, .dilations = {1, 2, 4}};
  EXPECT_FALSE(mlrm_forward_training_statistics_supports(p));
  EXPECT_TRUE(mlrm_forward_training_cudnn_supports(p));
  const PlanFile file(plan_path(library_.header()), library_.header());
  EXPECT_TRUE(std::any_of(file.entries().begin(), file.entries().end(), [](const PlanEntry& e) {
    return contains(e.problem, "sum, squares = statistics(z)") && e.refusal == "eng1: wants halves";
  }));
}

TEST_F(LibraryTest, RefusalsFillNoFileWhereNothingIsMeasured) {
  library_.unplanned = "convolution";
  set_plan_limits({.measure = false});
  library::Operation op(small_graph());
  EXPECT_FALSE(op.is_supported());
  EXPECT_FALSE(fs::exists(plan_path(library_.header())));
}

// Every kernel of backend cudnn: which graphs and products it asks for are valid, and each gets all its tensors.
template <class P>
void run_all(const PrimitiveOf<P>& primitive, void (*run)(const P&, Ports, Stream),
             bool (*supports)(const P&), P problem) {
  for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
    problem.dtype = dtype;
    EXPECT_TRUE(supports(problem)) << primitive.name;
    std::vector<std::unique_ptr<Storage>> owned;
    std::vector<View> views;
    for (const PortSpec& spec : primitive.ports(&problem)) {
      owned.push_back(std::make_unique<Storage>(spec.shape, spec.dtype, Device::cpu));
      views.push_back({owned.back()->data(), spec.shape, spec.dtype, Device::cpu});
    }
    run(problem, views, {});
  }
  problem.dtype = Dtype::f64;
  EXPECT_FALSE(supports(problem)) << primitive.name;
}

TEST_F(LibraryTest, EveryKernelAsksForValidGraphs) {
  const Conv2dProblem conv{.relu = 1,
                           .n = 2,
                           .h = 5,
                           .w = 6,
                           .c = 8,
                           .k = 4,
                           .r = 3,
                           .s = 3,
                           .stride_h = 2,
                           .pad_h = 1,
                           .pad_w = 1,
                           .groups = 2};
  run_all(conv2d_forward, &conv2d_forward_cudnn, &conv2d_forward_cudnn_supports, conv);
  run_all(conv2d_backward_data, &conv2d_backward_data_cudnn, &conv2d_backward_data_cudnn_supports, conv);
  run_all(conv2d_backward_weights, &conv2d_backward_weights_cudnn, &conv2d_backward_weights_cudnn_supports,
          conv);
  for (const int relu : {0, 1}) {
    const BatchNormProblem norm{.relu = relu, .rows = 6, .channels = 5};
    run_all(batch_norm_forward_training, &batch_norm_forward_training_cudnn,
            &batch_norm_forward_training_cudnn_supports, norm);
    run_all(batch_norm_forward_inference, &batch_norm_forward_inference_cudnn,
            &batch_norm_forward_inference_cudnn_supports, norm);
    run_all(batch_norm_backward, &batch_norm_backward_cudnn, &batch_norm_backward_cudnn_supports, norm);
    run_all(batch_norm_backward_inference, &batch_norm_backward_inference_cudnn,
            &batch_norm_backward_inference_cudnn_supports, norm);
    const LinearProblem linear{.relu = relu, .n = 3, .in = 5, .out = 4};
    run_all(linear_forward, &linear_forward_cublas, &linear_forward_cublas_supports, linear);
    run_all(linear_backward_data, &linear_backward_data_cublas, &linear_backward_data_cublas_supports,
            linear);
    run_all(linear_backward_weights, &linear_backward_weights_cublas,
            &linear_backward_weights_cublas_supports, linear);
    const HamProblem ham{.scse = relu, .n = 2, .h = 3, .w = 4, .c = 8, .hidden = 3};
    run_all(ham_forward, &ham_forward_composed_cudnn, &ham_forward_cudnn_supports, ham);
    run_all(ham_backward, &ham_backward_composed_cudnn, &ham_backward_cudnn_supports, ham);
    PoolProblem pool{.n = 2, .h = 5, .w = 6, .c = 3};
    pool.count_include_pad = relu;
    run_all(avg_pool_forward, &avg_pool_forward_cudnn, &avg_pool_forward_cudnn_supports, pool);
  }
  run_all(global_avg_pool_forward, &global_avg_pool_forward_cudnn, &global_avg_pool_forward_cudnn_supports,
          {.n = 2, .h = 5, .w = 6, .c = 3});
  const MlrmProblem mlrm{.branches = 3, .n = 2, .h = 5, .w = 4, .c = 8, .dilations = {1, 2, 4}};
  run_all(mlrm_forward_training, &mlrm_forward_training_composed_cudnn, &mlrm_forward_training_cudnn_supports,
          mlrm);
  run_all(mlrm_forward_training, &mlrm_forward_training_statistics_cudnn,
          &mlrm_forward_training_statistics_supports, mlrm);
  run_all(mlrm_forward_inference, &mlrm_forward_inference_composed_cudnn,
          &mlrm_forward_inference_cudnn_supports, mlrm);
  run_all(mlrm_backward, &mlrm_backward_composed_cudnn, &mlrm_backward_cudnn_supports, mlrm);
  run_all(mlrm_backward_inference, &mlrm_backward_inference_composed_cudnn,
          &mlrm_backward_inference_cudnn_supports, mlrm);
  const ScaleResidualProblem residual{.samples = 2, .rows = 3, .channels = 5};
  run_all(scale_residual_forward, &scale_residual_forward_cudnn, &scale_residual_forward_cudnn_supports,
          residual);
  run_all(scale_residual_backward, &scale_residual_backward_cudnn, &scale_residual_backward_cudnn_supports,
          residual);
  EXPECT_FALSE(scale_residual_forward_cudnn_supports({.channels = 5, .p = 0.5})) << "it draws no numbers";
  const HeadProblem head{.n = 2, .c = 8, .m_h = 3, .m_w = 2, .r_h = 2, .r_w = 2, .hidden = 4, .classes = 3};
  run_all(head_forward, &head_forward_composed_cudnn, &head_forward_cudnn_supports, head);
  run_all(head_backward, &head_backward_composed_cudnn, &head_backward_cudnn_supports, head);
}

TEST_F(LibraryTest, ConvolutionsWithAndWithoutBiasAreTwoProblems) {
  const Conv2dProblem p{.relu = 1, .n = 1, .h = 11, .w = 13, .c = 2, .k = 3};
  EXPECT_TRUE(conv2d_forward_cudnn_supports(p));
  EXPECT_EQ(library_.asked,
            (std::vector<std::string>{
                "x f32 1x2x11x13, w f32 3x2x1x1 -> y f32 1x3x11x13; t = convolution(x, w); y = relu(t)",
                "x f32 1x2x11x13, w f32 3x2x1x1, b f32 1x3x1x1 -> y f32 1x3x11x13; t = convolution(x, w); "
                "u = add(t, b); y = relu(u)"}));
}

// ---- the record of kernels

TEST_F(PlanTest, KernelRecordsComeBackAndAnswer) {
  KernelRecord record;
  record.device = "NVIDIA H200";
  record.rows = {{"ham.forward", "bf16", "cluster", 1 << 20, 5},
                 {"ham.forward", "bf16", "composed", 1 << 10, 1}};
  const std::string file = kernel_record_path(record.device);
  EXPECT_EQ(file, path("kernels-NVIDIA-H200.json"));
  add_to_kernel_record(file, record);
  EXPECT_EQ(read_kernel_record(file, record.device).rows, record.rows);
  EXPECT_EQ(record.fastest("ham.forward", "bf16", 1e9), "cluster");
  EXPECT_EQ(record.fastest("ham.forward", "bf16", 1), "composed");
  EXPECT_EQ(record.fastest("ham.forward", "bf16", 1 << 15), "composed") << "as far from both: the smaller";
  EXPECT_EQ(record.fastest("ham.forward", "f32", 1 << 10), "");
  EXPECT_TRUE(record.knows("ham.forward") && !record.knows("ham.backward"));
  EXPECT_TRUE(contains(message_of([&] { read_kernel_record(file, "other"); }),
                       "it is of NVIDIA H200, and here is other"));
  EXPECT_TRUE(read_kernel_record(path("none.json"), "d").rows.empty());
  std::string text = read("kernels-NVIDIA-H200.json");
  write("kernels-NVIDIA-H200.json", text.replace(text.find("1024.0"), 6, "1048576.0"));
  EXPECT_TRUE(
      contains(message_of([&] { read_kernel_record(file, record.device); }), "row 1 is of the same problem"));
  std::string complaint;
  load_kernel_record(record.device, complaint);
  EXPECT_TRUE(contains(complaint, "kernels are chosen by the order of their tables"));
  EXPECT_TRUE(kernel_record().rows.empty());
}

TEST_F(PlanTest, ARecordOfAFewProblemsLeavesTheOthers) {
  const KernelRecord::Row ham{"ham.forward", "bf16", "cluster", 1 << 20, 5},
      conv{"conv2d.forward", "bf16", "tiled", 1 << 20, 5};
  const std::string file = kernel_record_path("d");
  add_to_kernel_record(file, {"d", {ham, conv}});
  KernelRecord::Row faster = ham, larger = ham;
  faster.kernel = "two_pass";
  faster.median_us = 4;
  larger.bytes *= 2;
  add_to_kernel_record(file, {"d", {larger, faster}});
  EXPECT_EQ(read_kernel_record(file, "d").rows, (std::vector<KernelRecord::Row>{conv, larger, faster}));
  EXPECT_TRUE(contains(message_of([&] { add_to_kernel_record(file, {"e", {}}); }), "and here is e"));
  EXPECT_EQ(read_kernel_record(file, "d").rows.size(), 3u) << "and it stays";
}

TEST_F(PlanTest, RecordsAreFoundInAnyOrder) {
  set_kernel_record({"d",
                     {{"ham.forward", "f32", "a", 1, 1},
                      {"add.forward", "f32", "b", 1, 1},
                      {"ham.forward", "bf16", "c", 1, 1},
                      {"ham.backward", "f32", "d", 1, 1}}});
  EXPECT_EQ(kernel_record().fastest("ham.forward", "f32", 1), "a");
  EXPECT_EQ(kernel_record().fastest("add.forward", "f32", 1), "b");
  EXPECT_EQ(kernel_record().fastest("ham.forward", "bf16", 1), "c");
  EXPECT_EQ(kernel_record().fastest("ham.backward", "f32", 1), "d");
  EXPECT_EQ(kernel_record().fastest("ham.backward", "bf16", 1), "");
  EXPECT_TRUE(kernel_record().knows("add.forward") && !kernel_record().knows("ham"));
}

struct Toy {
  Dtype dtype = Dtype::f32;
  std::int64_t count = 1;
  void check() const {}
};
PortList toy_ports(const Toy& p) { return {{"y", Role::output, {p.count}, p.dtype}}; }
Cost toy_cost(const Toy& p) { return {0, static_cast<double>(4 * p.count)}; }
void toy_run(const Toy&, Ports, Stream) {}
bool small_only(const Toy& p) { return p.count < 100; }
bool always(const Toy&) { return true; }
constexpr Kernel toy_kernels[] = {kernel<&toy_run, &always>("first", Backend::cuda),
                                  kernel<&toy_run, &small_only>("second", Backend::cudnn),
                                  kernel<&toy_run, &always>("host", Backend::cpu)};
constexpr PrimitiveOf<Toy> toy = primitive<Toy, &toy_ports, &toy_cost>("toy.forward", toy_kernels);

TEST_F(PlanTest, TheFastestOnRecordIsTheDefault) {
  const SelectionScope scope;
  Selection& s = selection();
  const Toy p{.count = 10};
  const auto chosen = [&](const Toy& problem, Device device = Device::cuda) {
    return std::string_view(s.choose(toy, &problem, device).name);
  };
  EXPECT_EQ(chosen(p), "first");
  EXPECT_EQ(s.reason(toy, &p, Device::cuda), "first in the table");
  set_kernel_record({"d", {{"toy.forward", "f32", "second", 40, 1}}});
  EXPECT_EQ(chosen(p), "second");
  EXPECT_EQ(s.reason(toy, &p, Device::cuda), "fastest on record");
  EXPECT_EQ(s.reason(toy, &p, Device::cpu), "first in the table");
  const Toy large{.count = 1000}, wide{.dtype = Dtype::f64};
  EXPECT_EQ(s.reason(toy, &large, Device::cuda), "first in the table") << "which the record did not choose";
  EXPECT_EQ(s.reason(toy, &wide, Device::cuda), "first in the table");
  EXPECT_EQ(chosen(p, Device::cpu), "host") << "a record is of a device";
  EXPECT_EQ(chosen({.count = 1000}), "first") << "it does not support that one";
  EXPECT_EQ(chosen({.dtype = Dtype::f64}), "first") << "nothing is recorded";
  s.prefer(Backend::cuda);
  EXPECT_EQ(chosen(p), "first");
  s.clear();
  set_kernel_record({"d", {{"toy.forward", "f32", "gone", 40, 1}}});
  EXPECT_EQ(chosen(p), "first");
  EXPECT_EQ(s.reason(toy, &p, Device::cuda), "first in the table");
  s.force(toy, "second");
  set_kernel_record({"d", {{"toy.forward", "f32", "first", 40, 1}}});
  EXPECT_EQ(chosen(p), "second");
}

TEST(BranchesTest, RunInOrderOnTheHost) {
  Branches branches({});
  EXPECT_EQ(branches.begin(0).device, Device::cpu);
  branches.join();
}

}  // namespace
}  // namespace fovea
