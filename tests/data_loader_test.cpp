// Random numbers, augmentation and the loader: what a batch holds depends on (seed, epoch, sample) and on
// nothing else.
#include "data/loader.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "data/oct.hpp"
#include "data/rng.hpp"
#include "data/visual_field.hpp"
#include "data_files.hpp"

namespace fovea {
namespace {

using testing::expect_error;
using testing::largest_difference;
using testing::pattern;
using testing::TempFolder;

// ---- random numbers -----------------------------------------------------------------------------

// Known answers of Random123 (kat_vectors): philox4x32-10 of counter and key all zero.
TEST(Philox, IsTheStandardOne) {
  PhiloxStream zero(0, static_cast<Purpose>(0));
  for (const std::uint32_t expected : {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u})
    EXPECT_EQ(zero.bits(), expected);
}

TEST(Philox, StreamsAreRepeatableAndDiffer) {
  const auto first = [](PhiloxStream stream) { return std::pair(stream.bits(), stream.bits()); };
  const PhiloxStream base(5, Purpose::augment, 1, 2);
  EXPECT_EQ(first(base), first(PhiloxStream(5, Purpose::augment, 1, 2)));
  EXPECT_NE(first(base), first(PhiloxStream(6, Purpose::augment, 1, 2)));
  EXPECT_NE(first(base), first(PhiloxStream(5ull << 32, Purpose::augment, 1, 2)));
  EXPECT_NE(first(base), first(PhiloxStream(5, Purpose::shuffle, 1, 2)));
  EXPECT_NE(first(base), first(PhiloxStream(5, Purpose::augment, 2, 1)));
}

TEST(Philox, DistributionsHaveTheirMoments) {
  PhiloxStream random(1, Purpose::bootstrap);
  constexpr int n = 100000;
  double sum = 0, square = 0, normal_sum = 0, normal_square = 0;
  std::vector<int> counts(7);
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform(), z = random.normal();
    ASSERT_TRUE(u >= 0 && u < 1);
    ASSERT_TRUE(std::isfinite(z));
    sum += u, square += u * u, normal_sum += z, normal_square += z * z;
    ++counts[random.below(7)];
  }
  EXPECT_NEAR(sum / n, 0.5, 0.005);
  EXPECT_NEAR(square / n, 1.0 / 3, 0.005);
  EXPECT_NEAR(normal_sum / n, 0, 0.015);
  EXPECT_NEAR(normal_square / n, 1, 0.03);
  for (const int count : counts) EXPECT_NEAR(count, n / 7.0, 500);
  EXPECT_EQ(random.below(1), 0u);
  EXPECT_THROW(random.below(0), Error);
}

TEST(Philox, ShuffleKeepsTheValues) {
  std::vector<int> values(50);
  for (int i = 0; i < 50; ++i) values[static_cast<std::size_t>(i)] = i;
  const std::vector<int> before = values;
  PhiloxStream(3, Purpose::shuffle).shuffle(values);
  EXPECT_NE(values, before);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(values, before);
}

// ---- augmentation -------------------------------------------------------------------------------

TEST(Augment, NothingDrawnChangesNothing) {
  const Image image = pattern(20, 31, 3);
  for (const Modality modality : all_modalities) EXPECT_EQ(augment(image, modality, {}).pixels, image.pixels);
}

TEST(Augment, FlipsAndQuarterTurnsAreExact) {
  const Image image = pattern(16, 16, 3);
  Augmentation mirror, turn, half_turn, both;
  mirror.mirror = true;
  turn.angle = std::acos(-1.0) / 2;
  half_turn.angle = std::acos(-1.0);
  both.mirror = both.upside_down = true;
  EXPECT_EQ(augment(image, Modality::fundus, mirror).pixels, flip_horizontal(image).pixels);
  EXPECT_EQ(augment(image, Modality::oct, mirror).pixels, flip_horizontal(image).pixels);
  EXPECT_LE(
      largest_difference(augment(image, Modality::fundus, half_turn), augment(image, Modality::fundus, both)),
      1);
  Image turned = image;
  for (int i = 0; i < 4; ++i) turned = augment(turned, Modality::fundus, turn);
  EXPECT_LE(largest_difference(turned, image), 1);
  EXPECT_GT(largest_difference(augment(image, Modality::fundus, turn), image), 50);
}

TEST(Augment, CropTakesThePartItNames) {
  const Image image = resize(pattern(6, 6, 3), 61, 61);  // smooth
  Augmentation crop_corner;
  crop_corner.crop = 0.5;
  crop_corner.x = crop_corner.y = -1;
  const Image out = augment(image, Modality::fundus, crop_corner);
  // Out's pixel p lies at c + o + s (p - c) with c = 30, o = -61/4, s = 1/2.
  for (const int y : {10, 31, 50})
    for (const int x : {12, 29, 51}) {
      const double in_x = 30 - 15.25 + 0.5 * (x - 30), in_y = 30 - 15.25 + 0.5 * (y - 30);
      const int left = static_cast<int>(in_x), top = static_cast<int>(in_y);
      const double fx = in_x - left, fy = in_y - top;
      for (int c = 0; c < 3; ++c) {
        const double expected =
            (1 - fy) * ((1 - fx) * image.at(top, left)[c] + fx * image.at(top, left + 1)[c]) +
            fy * ((1 - fx) * image.at(top + 1, left)[c] + fx * image.at(top + 1, left + 1)[c]);
        EXPECT_NEAR(out.at(y, x)[c], expected, 0.51);
      }
    }
}

TEST(Augment, ToneIsAboutTheMean) {
  Image image = make_image(2, 1, 1);
  image.pixels = {100, 200};
  Augmentation drawn;
  drawn.fundus = {1.0, 0.5};
  EXPECT_EQ(augment(image, Modality::fundus, drawn).pixels, (std::vector<std::uint8_t>{125, 175}));
  drawn.fundus = {1.5, 1.0};
  EXPECT_EQ(augment(image, Modality::fundus, drawn).pixels, (std::vector<std::uint8_t>{150, 255}));
}

TEST(Augment, WhatAModalityMayNotUndergo) {
  const Image image = pattern(20, 20, 3);
  Augmentation drawn;
  drawn.upside_down = true;
  drawn.angle = 1;
  drawn.crop = 0.5;
  drawn.fundus = {1.2, 0.8};
  EXPECT_EQ(augment(image, Modality::oct, drawn).pixels, image.pixels);
  EXPECT_NE(augment(image, Modality::fundus, drawn).pixels, image.pixels);
  drawn.mirror = true;
  drawn.oct_x = 0.2;
  drawn.oct = {1.2, 0.8};
  EXPECT_EQ(augment(image, Modality::vf, drawn).pixels, image.pixels);
  EXPECT_NE(augment(image, Modality::oct, drawn).pixels, image.pixels);
}

TEST(Augment, DrawsStayInRangeAndDoNotDependOnEachOther) {
  int mirrored = 0, turned_over = 0;
  for (int sample = 0; sample < 1000; ++sample) {
    const Augmentation drawn = draw_augmentation({}, 4, 2, sample);
    mirrored += drawn.mirror, turned_over += drawn.upside_down;
    EXPECT_LE(std::abs(drawn.angle), 15.01 * std::acos(-1.0) / 180);
    EXPECT_TRUE(drawn.crop >= 0.85 && drawn.crop <= 1);
    EXPECT_LE(std::abs(drawn.fundus.brightness - 1), 0.1);
    EXPECT_LE(std::abs(drawn.oct_x), 0.05);
    const Augmentation other = draw_augmentation({.flips = false, .rotation = 0}, 4, 2, sample);
    EXPECT_FALSE(other.mirror || other.upside_down);
    EXPECT_EQ(other.angle, 0);
    EXPECT_EQ(other.crop, drawn.crop);
    EXPECT_EQ(other.oct.contrast, drawn.oct.contrast);
  }
  EXPECT_NEAR(mirrored, 500, 80);
  EXPECT_NEAR(turned_over, 500, 80);
  EXPECT_NE(draw_augmentation({}, 4, 2, 0).crop, draw_augmentation({}, 4, 3, 0).crop);
  for (const AugmentOptions& bad :
       {AugmentOptions{.rotation = -1}, AugmentOptions{.crop = 0}, AugmentOptions{.crop = 1.1},
        AugmentOptions{.brightness = std::nan("")}, AugmentOptions{.oct_shift = 2}})
    EXPECT_THROW(draw_augmentation(bad, 0, 0, 0), UsageError);
}

// ---- loading one sample -------------------------------------------------------------------------

// A set with photographs of every sample, OCT of the even ones and a field of every third.
class SmallSet {
 public:
  explicit SmallSet(int count) {
    data_.source = "small.csv";
    data_.classes = {"a", "b"};
    for (int i = 0; i < count; ++i) {
      Sample sample;
      sample.id = sample.subject = fmt::format("s{}", i);
      sample.row = i + 2;
      sample.label = i % 2;
      sample.eye = i % 4 == 1 ? Eye::left : Eye::right;
      sample.fundus = folder_.path(fmt::format("f{}.png", i));
      write_png(sample.fundus, pattern(40, 50, 3, i));
      for (int k = 0; i % 2 == 0 && k < 6; ++k) {
        sample.oct.push_back(folder_.path(fmt::format("o{}/{}.png", i, k)));
        write_png(sample.oct.back(), pattern(30, 20, 1, i + k));
      }
      for (int k = 0; i % 3 == 0 && k < 54; ++k)
        sample.field.push_back(k == 25 || k == 34 ? NAN : static_cast<float>(k % 31));
      data_.samples.push_back(sample);
    }
  }

  Dataset& data() { return data_; }
  std::vector<int> all() const {
    std::vector<int> indices;
    for (int i = 0; i < static_cast<int>(data_.samples.size()); ++i) indices.push_back(i);
    return indices;
  }

 private:
  TempFolder folder_;
  Dataset data_;
};

const InputSpec all_inputs{{Modality::fundus, Modality::oct, Modality::vf}, 24, 32, 3, true};

TEST(LoadInput, IsDecodedCutResizedAndMirrored) {
  SmallSet set(2);
  Sample sample = set.data().samples[0];
  const Image whole = read_image(sample.fundus);
  EXPECT_EQ(load_input(sample, Modality::fundus, all_inputs).pixels, resize(whole, 24, 32).pixels);
  sample.roi = {5, 6, 20, 30};
  EXPECT_EQ(load_input(sample, Modality::fundus, all_inputs).pixels,
            resize(crop(whole, sample.roi), 24, 32).pixels);
  sample.eye = Eye::left;
  const Image mirrored = load_input(sample, Modality::fundus, all_inputs);
  EXPECT_EQ(mirrored.pixels, flip_horizontal(resize(crop(whole, sample.roi), 24, 32)).pixels);
  InputSpec as_stored = all_inputs;
  as_stored.mirror_left_eyes = false;
  EXPECT_EQ(flip_horizontal(load_input(sample, Modality::fundus, as_stored)).pixels, mirrored.pixels);
  sample.roi = {5, 6, 90, 30};
  expect_error([&] { load_input(sample, Modality::fundus, all_inputs); },
               {sample.fundus, "90 x 30", "50 x 40"});
  sample.field.clear();
  expect_error([&] { load_input(sample, Modality::vf, all_inputs); }, {"'s0'", "no vf"});
}

TEST(LoadInput, StacksSlicesAsChannels) {
  SmallSet set(1);
  const Sample& sample = set.data().samples[0];
  InputSpec spec = all_inputs;
  for (const int k : {1, 3, 4}) {
    spec.oct_slices = k;
    const Image stack = load_input(sample, Modality::oct, spec);
    const auto picked = pick_slices(sample.oct, k);
    ASSERT_EQ(stack.channels, k);
    for (int c = 0; c < k; ++c) {
      const Image slice = resize(read_image(picked[static_cast<std::size_t>(c)], 1), 24, 32);
      for (std::size_t i = 0; i < slice.pixels.size(); ++i)
        ASSERT_EQ(stack.pixels[i * static_cast<std::size_t>(k) + static_cast<std::size_t>(c)],
                  slice.pixels[i]);
    }
  }
}

TEST(LoadInput, NeverMirrorsAField) {
  SmallSet set(1);
  Sample sample = set.data().samples[0];
  const Image field = load_input(sample, Modality::vf, all_inputs);
  sample.eye = Eye::left;
  EXPECT_EQ(load_input(sample, Modality::vf, all_inputs).pixels, field.pixels);
  EXPECT_EQ(field.pixels, render_field(sample.field, 24, 32).pixels);
}

TEST(Normalise, IsTorchvisions) {
  Image image = make_image(1, 2, 3);
  image.pixels = {0, 128, 255, 255, 10, 77};
  std::vector<float> values(6);
  normalise(image, Modality::fundus, values.data());
  constexpr double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(values[i], (image.pixels[i] / 255.0 - mean[i % 3]) / deviation[i % 3], 1e-6);
  normalise(image, Modality::oct, values.data());
  EXPECT_FLOAT_EQ(values[0], -1);
  EXPECT_FLOAT_EQ(values[2], 1);
}

// ---- the loader ---------------------------------------------------------------------------------

std::vector<Batch> read_epoch(Loader& loader, int epoch, int from = 0) {
  std::vector<Batch> batches;
  loader.start(epoch, from);
  Batch batch;
  while (loader.next(batch)) batches.push_back(batch);
  return batches;
}

void expect_equal(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].samples, b[i].samples);
    EXPECT_EQ(a[i].labels, b[i].labels);
    ASSERT_EQ(a[i].inputs.size(), b[i].inputs.size());
    for (std::size_t k = 0; k < a[i].inputs.size(); ++k) {
      EXPECT_EQ(a[i].inputs[k].present, b[i].inputs[k].present);
      EXPECT_EQ(a[i].inputs[k].values, b[i].inputs[k].values);
    }
  }
}

LoaderOptions training_options() {
  return {.batch_size = 4, .training = true, .augment = AugmentOptions{}, .seed = 11};
}

TEST(Loader, FillsBatches) {
  SmallSet set(7);
  Loader loader(set.data(), {6, 1, 3, 0, 2}, all_inputs, {.batch_size = 2});
  const auto batches = read_epoch(loader, 0);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].samples, (std::vector<int>{6, 1}));
  EXPECT_EQ(batches[2].samples, (std::vector<int>{2}));
  EXPECT_EQ(batches[0].labels, (std::vector<std::int64_t>{0, 1}));
  const auto& inputs = batches[0].inputs;
  ASSERT_EQ(inputs.size(), 3u);
  EXPECT_EQ(inputs[1].modality, Modality::oct);
  EXPECT_EQ(inputs[0].present, (std::vector<std::uint8_t>{1, 1}));
  EXPECT_EQ(inputs[1].present, (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(inputs[2].present, (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(inputs[0].values.size(), 2u * 24 * 32 * 3);
  EXPECT_EQ(inputs[2].values.size(), 2u * 24 * 32);
  EXPECT_TRUE(std::all_of(inputs[2].values.begin() + 24 * 32, inputs[2].values.end(),
                          [](float v) { return v == 0; }));
  for (std::size_t k = 0; k < 3; ++k) {
    const Image image = load_input(set.data().samples[6], inputs[k].modality, all_inputs);
    std::vector<float> expected(image.pixels.size());
    normalise(image, inputs[k].modality, expected.data());
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), inputs[k].values.begin()));
  }
}

TEST(Loader, DoesNotDependOnWorkersPrefetchOrCache) {
  SmallSet set(14);
  Loader plain(set.data(), set.all(), all_inputs, training_options());
  const auto first = read_epoch(plain, 0), second = read_epoch(plain, 1);
  EXPECT_NE(first[0].samples, second[0].samples);
  for (const auto& [workers, prefetch, cache] :
       std::vector<std::tuple<int, int, std::int64_t>>{{4, 1, 0}, {3, 8, 10000}, {1, 1, 1 << 30}}) {
    LoaderOptions options = training_options();
    options.workers = workers, options.prefetch = prefetch, options.cache_bytes = cache;
    Loader loader(set.data(), set.all(), all_inputs, options);
    expect_equal(read_epoch(loader, 0), first);
    expect_equal(read_epoch(loader, 1), second);
    expect_equal(read_epoch(loader, 0), first);
  }
}

TEST(Loader, ResumesAnywhere) {
  SmallSet set(13);
  Loader loader(set.data(), set.all(), all_inputs, training_options());
  const auto whole = read_epoch(loader, 3);
  ASSERT_EQ(static_cast<int>(whole.size()), loader.batches());
  for (int from = 0; from <= loader.batches(); ++from) {
    Loader resumed(set.data(), set.all(), all_inputs, training_options());
    expect_equal(read_epoch(resumed, 3, from), {whole.begin() + from, whole.end()});
    expect_equal(read_epoch(loader, 3, from), {whole.begin() + from, whole.end()});
  }
  EXPECT_THROW(loader.start(0, loader.batches() + 1), Error);
  EXPECT_THROW(loader.start(-1), Error);
}

TEST(Loader, JumpsInTheMiddleOfAnEpoch) {
  SmallSet set(16);
  LoaderOptions options = training_options();
  options.workers = 3, options.prefetch = 5;
  Loader loader(set.data(), set.all(), all_inputs, options);
  const auto expected = read_epoch(loader, 5);
  for (int i = 0; i < 20; ++i) {
    Batch batch;
    loader.start(i % 4, i % 3);
    EXPECT_TRUE(loader.next(batch));
  }
  expect_equal(read_epoch(loader, 5), expected);
}

TEST(Loader, SeesEverySampleOnceAnEpochAndNoBatchOfOneInTraining) {
  SmallSet set(9);
  for (int count = 1; count <= 9; ++count) {
    std::vector<int> indices;
    for (int i = 0; i < count; ++i) indices.push_back(i);
    for (const bool training : {true, false})
      for (const int size : {1, 2, 4}) {
        Loader loader(set.data(), indices, {{Modality::fundus}, 8, 8},
                      {.batch_size = size, .training = training});
        std::multiset<int> seen;
        const auto batches = read_epoch(loader, 1);
        EXPECT_EQ(static_cast<int>(batches.size()), loader.batches());
        for (const Batch& batch : batches) {
          seen.insert(batch.samples.begin(), batch.samples.end());
          EXPECT_GE(batch.samples.size(), training && size > 1 && count > 1 ? 2u : 1u);
        }
        EXPECT_EQ(seen, std::multiset<int>(indices.begin(), indices.end()));
      }
  }
}

TEST(Loader, LeavesFlipsOutBesideAField) {
  SmallSet set(12);
  AugmentOptions only_flips{
      .flips = true, .rotation = 0, .crop = 1, .brightness = 0, .contrast = 0, .oct_shift = 0};
  const auto changed = [&](std::vector<Modality> modalities) {
    const InputSpec spec{std::move(modalities), 16, 16};
    Loader augmented(set.data(), set.all(), spec, {.batch_size = 12, .augment = only_flips});
    Loader plain(set.data(), set.all(), spec, {.batch_size = 12});
    return read_epoch(augmented, 0)[0].inputs[0].values != read_epoch(plain, 0)[0].inputs[0].values;
  };
  EXPECT_TRUE(changed({Modality::fundus}));
  EXPECT_TRUE(changed({Modality::fundus, Modality::oct}));
  EXPECT_FALSE(changed({Modality::fundus, Modality::vf}));
}

TEST(Loader, SaysWhatIsWrongWithASample) {
  SmallSet set(9);
  const Sample& bad = set.data().samples[5];
  std::filesystem::resize_file(bad.fundus, 100);
  for (const int workers : {1, 3}) {
    Loader loader(set.data(), set.all(), {{Modality::fundus}, 8, 8}, {.batch_size = 4, .workers = workers});
    loader.start(0);
    Batch batch;
    EXPECT_TRUE(loader.next(batch));
    for (int i = 0; i < 2; ++i)
      expect_error([&] { loader.next(batch); }, {"small.csv, row 7", bad.fundus, "damaged PNG"});
    loader.start(0);
    EXPECT_TRUE(loader.next(batch));
  }
}

TEST(Loader, EndsWhileWorkIsUnderWay) {
  SmallSet set(12);
  for (int i = 0; i < 20; ++i) {
    Loader loader(set.data(), set.all(), all_inputs,
                  {.batch_size = 2, .training = true, .workers = 3, .prefetch = 4});
    if (i % 2 == 0) loader.start(i);
  }
}

TEST(Loader, RefusesBadOptions) {
  SmallSet set(2);
  const InputSpec spec{{Modality::fundus}, 8, 8};
  EXPECT_THROW(Loader(set.data(), {}, spec, {}), Error);
  EXPECT_THROW(Loader(set.data(), {2}, spec, {}), Error);
  EXPECT_THROW(Loader(set.data(), {0}, spec, {.batch_size = 0}), UsageError);
  EXPECT_THROW(Loader(set.data(), {0}, spec, {.workers = 0}), UsageError);
  EXPECT_THROW(Loader(set.data(), {0}, spec, {.prefetch = 0}), UsageError);
  EXPECT_THROW(Loader(set.data(), {0}, spec, {.augment = AugmentOptions{.crop = 7}}), UsageError);
  EXPECT_THROW(Loader(set.data(), {0}, {{}, 8, 8}, {}), UsageError);
  EXPECT_THROW(Loader(set.data(), {0}, {{Modality::fundus}, 0, 8}, {}), UsageError);
  Loader loader(set.data(), {0}, spec, {});
  Batch batch;
  EXPECT_THROW(loader.next(batch), Error);
}

TEST(ImageCache, StaysUnderItsCap) {
  ImageCache cache(250);
  for (int i = 0; i < 3; ++i)
    cache.insert(i, Modality::fundus, std::make_shared<const Image>(make_image(10, 10, 1)));
  EXPECT_EQ(cache.bytes(), 200);
  EXPECT_NE(cache.find(1, Modality::fundus), nullptr);
  EXPECT_EQ(cache.find(2, Modality::fundus), nullptr);
  EXPECT_EQ(cache.find(1, Modality::oct), nullptr);
}

// A worker that is ahead costs the consumer nothing: waiting is a small part of steps longer than the work.
TEST(Loader, DoesNotKeepTheStepWaiting) {
  SmallSet set(16);
  Loader loader(set.data(), set.all(), {{Modality::fundus}, 64, 64},
                {.batch_size = 2, .training = true, .augment = AugmentOptions{}});
  Batch batch;
  loader.start(0);
  ASSERT_TRUE(loader.next(batch));
  const double first = loader.wait_seconds();
  double steps = 0;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    steps += 0.06;
  } while (loader.next(batch));
  EXPECT_LT(loader.wait_seconds() - first, 0.25 * steps);
}

}  // namespace
}  // namespace fovea
