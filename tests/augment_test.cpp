// augment.forward makes the loader's batches from the loader's images; and what it makes of an index that is none.
#include "kernels/augment/augment.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tensor.hpp"
#include "data/loader.hpp"
#include "data_files.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

using testing::pattern;
using testing::TempFolder;

// Photographs of all, B-scans of every second sample, fields of every third.
Dataset small_set(const TempFolder& folder, int count) {
  Dataset data;
  data.source = "small.csv";
  data.classes = {"a", "b"};
  for (int i = 0; i < count; ++i) {
    Sample sample;
    sample.id = sample.subject = fmt::format("s{}", i);
    sample.label = i % 2;
    sample.eye = i % 4 == 1 ? Eye::left : Eye::right;
    sample.fundus = folder.path(fmt::format("f{}.png", i));
    write_png(sample.fundus, pattern(40, 50, 3, i));
    for (int k = 0; i % 2 == 0 && k < 6; ++k) {
      sample.oct.push_back(folder.path(fmt::format("o{}/{}.png", i, k)));
      write_png(sample.oct.back(), pattern(30, 20, 1, i + k));
    }
    for (int k = 0; i % 3 == 0 && k < 54; ++k)
      sample.field.push_back(k == 25 || k == 34 ? NAN : static_cast<float>(k % 31));
    data.samples.push_back(sample);
  }
  return data;
}

// All images of one modality, as the kernel has them.
struct Resident {
  Resident(const Dataset& data, Modality modality, const InputSpec& spec) {
    std::vector<std::uint8_t> all;
    for (const Sample& sample : data.samples) {
      place.push_back(sample.has(modality) ? static_cast<std::int64_t>(means.size()) : -1);
      if (!sample.has(modality)) continue;
      const Image image = load_input(sample, modality, spec);
      all.insert(all.end(), image.pixels.begin(), image.pixels.end());
      means.push_back(mean_of(image));
    }
    images = Tensor::from<std::uint8_t>(
        all, {count(), spec.image_height, spec.image_width, spec.channels(modality)}, Dtype::u8);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(means.size()); }

  Tensor images;
  std::vector<std::int64_t> place;  // of each sample; -1: it has none
  std::vector<double> means;
};

Tensor rules_of(Modality modality, int channels) {
  std::vector<double> values;
  for (int c = 0; c < channels; ++c) {
    const Normalisation rule = normalisation_of(modality, c);
    values.insert(values.end(), {rule.mean, rule.deviation});
  }
  return Tensor::from<double>(values, {channels, 2}, Dtype::f64);
}

Tensor make_input(const Resident& resident, const Batch& batch, Modality modality, const InputSpec& spec,
                  const AugmentOptions& options, std::uint64_t seed, int epoch) {
  const auto n = static_cast<std::int64_t>(batch.samples.size());
  std::vector<std::int64_t> index;
  std::vector<double> params;
  for (const int sample : batch.samples) {
    index.push_back(resident.place[static_cast<std::size_t>(sample)]);
    const double mean = index.back() < 0 ? 0 : resident.means[static_cast<std::size_t>(index.back())];
    const ResampleParameters p = resample_parameters(draw_augmentation(options, seed, epoch, sample),
                                                     modality, spec.image_height, spec.image_width, mean);
    params.insert(params.end(), {p.xx, p.xy, p.x0, p.yx, p.yy, p.y0, p.gain, p.offset});
  }
  const int channels = spec.channels(modality);
  const AugmentProblem problem{
      .images = resident.count(), .n = n, .h = spec.image_height, .w = spec.image_width, .c = channels};
  Tensor x = Tensor::empty(problem.x_shape(), Dtype::f32);
  dispatch(augment_forward, problem,
           {resident.images.view(), Tensor::from<std::int64_t>(index, {n}, Dtype::i64).view(),
            Tensor::from<double>(params, {n, AugmentProblem::parameters}, Dtype::f64).view(),
            rules_of(modality, channels).view(), x.view()});
  return x;
}

TEST(AugmentForward, EqualsTheLoader) {
  const TempFolder folder;
  const Dataset data = small_set(folder, 14);
  std::vector<int> all;
  for (int i = 0; i < 14; ++i) all.push_back(i);
  for (const std::vector<Modality>& modalities :
       {std::vector{Modality::fundus, Modality::oct}, std::vector{Modality::fundus, Modality::vf}}) {
    const InputSpec spec{modalities, 24, 32, 5, true};
    AugmentOptions options;
    Loader loader(data, all, spec, {.batch_size = 4, .training = true, .augment = options, .seed = 11});
    options.flips = modalities.back() != Modality::vf;
    for (const char* kernel : {"reference", "resample"}) {
      SelectionScope scope;
      selection().force(augment_forward, kernel);
      Batch batch;
      loader.start(2);
      while (loader.next(batch)) {
        for (const Batch::Input& input : batch.inputs) {
          const Tensor x =
              make_input(Resident(data, input.modality, spec), batch, input.modality, spec, options, 11, 2);
          const std::vector<float> values(x.data<float>(), x.data<float>() + x.numel());
          EXPECT_EQ(values, input.values) << kernel << ", " << name_of(input.modality);
        }
      }
    }
  }
}

// What Inputs does with a raw batch, every image at its sample's place.
std::vector<float> values_of(const Batch::Input& input, const InputSpec& spec) {
  const auto n = static_cast<std::int64_t>(input.raw.size());
  const AugmentProblem problem{
      .images = n, .n = n, .h = spec.image_height, .w = spec.image_width, .c = input.channels};
  const Tensor images = Tensor::zeros(problem.x_shape(), Dtype::u8);
  std::vector<std::int64_t> index;
  std::vector<double> params;
  for (std::int64_t i = 0; i < n; ++i) {
    const Batch::Raw& raw = input.raw[static_cast<std::size_t>(i)];
    const ResampleParameters& p = raw.map;
    params.insert(params.end(), {p.xx, p.xy, p.x0, p.yx, p.yy, p.y0, p.gain, p.offset});
    index.push_back(raw.image ? i : -1);
    if (raw.image) {
      std::copy(raw.image->pixels.begin(), raw.image->pixels.end(),
                images.data<std::uint8_t>() + i * static_cast<std::int64_t>(raw.image->pixels.size()));
    }
  }
  const Tensor x = Tensor::empty(problem.x_shape(), Dtype::f32);
  dispatch(augment_forward, problem,
           {images.view(), Tensor::from<std::int64_t>(index, {n}, Dtype::i64).view(),
            Tensor::from<double>(params, {n, AugmentProblem::parameters}, Dtype::f64).view(),
            rules_of(input.modality, input.channels).view(), x.view()});
  return {x.data<float>(), x.data<float>() + x.numel()};
}

TEST(AugmentForward, RawBatchesComeToTheSameValues) {
  const TempFolder folder;
  const Dataset data = small_set(folder, 9);
  std::vector<int> all;
  for (int i = 0; i < 9; ++i) all.push_back(i);
  const InputSpec spec{{Modality::fundus, Modality::vf}, 24, 32, 5, true};
  LoaderOptions options{.batch_size = 4, .training = true, .augment = AugmentOptions{}, .seed = 3};
  Loader loader(data, all, spec, options);
  auto resident = std::make_shared<ResidentImages>();
  options.raw = true;
  options.resident = resident;
  Loader raw_loader(data, all, spec, options);
  Batch batch, raw;
  loader.start(1);
  raw_loader.start(1);
  std::map<std::pair<int, Modality>, ResampleParameters> maps;
  while (loader.next(batch)) {
    ASSERT_TRUE(raw_loader.next(raw));
    EXPECT_EQ(raw.samples, batch.samples);
    EXPECT_EQ(raw.labels, batch.labels);
    for (std::size_t m = 0; m < batch.inputs.size(); ++m) {
      const Batch::Input& input = raw.inputs[m];
      EXPECT_EQ(input.present, batch.inputs[m].present);
      EXPECT_TRUE(input.values.empty());
      EXPECT_EQ(values_of(input, spec), batch.inputs[m].values) << name_of(input.modality);
      for (std::size_t i = 0; i < input.raw.size(); ++i) {
        if (!input.raw[i].image) continue;
        EXPECT_EQ(input.raw[i].mean, mean_of(*input.raw[i].image));
        resident->insert(raw.samples[i], input.modality, input.raw[i].mean);
        maps[{raw.samples[i], input.modality}] = input.raw[i].map;
      }
    }
  }
  // Nothing is decoded again, and what to make of an image is the same.
  Loader again(data, all, spec, options);
  again.start(1);
  while (again.next(raw)) {
    for (const Batch::Input& input : raw.inputs) {
      for (std::size_t i = 0; i < input.raw.size(); ++i) {
        EXPECT_EQ(input.raw[i].image, nullptr);
        if (input.present[i] != 0) {
          EXPECT_EQ(input.raw[i].map, (maps[{raw.samples[i], input.modality}]));
        }
      }
    }
  }
}

TEST(AugmentForward, ShowsAnIndexThatIsNone) {
  const Tensor images = Tensor::zeros({2, 2, 2, 1}, Dtype::u8),
               params = Tensor::from<double>(std::vector<double>{1, 0, 0, 0, 1, 0, 1, 0}, {1, 8}, Dtype::f64),
               rules = Tensor::from<double>(std::vector<double>{0, 1}, {1, 2}, Dtype::f64);
  for (const std::int64_t wrong : {2, -2}) {
    const Tensor index = Tensor::from<std::int64_t>(std::vector{wrong}, {1}, Dtype::i64);
    const Tensor x = Tensor::zeros({1, 2, 2, 1}, Dtype::f32);
    const auto run = [&](const char* kernel) {
      SelectionScope scope;
      selection().force(augment_forward, kernel);
      dispatch(augment_forward, {.images = 2, .h = 2, .w = 2},
               {images.view(), index.view(), params.view(), rules.view(), x.view()});
    };
    EXPECT_THROW(run("reference"), Error);
    run("resample");
    for (const double v : x.to_doubles()) EXPECT_TRUE(std::isnan(v)) << wrong;
  }
}

}  // namespace
}  // namespace fovea
