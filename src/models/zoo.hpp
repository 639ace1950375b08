// The zoo: every model behind one interface, made by name from one configuration.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/functions.hpp"
#include "nn/module.hpp"

namespace fovea {

/// Everything that determines a model. HM-VGG's part is hm-vgg.md's, with its defaults.
struct ModelConfig {
  std::string name = "hm-vgg";
  std::int64_t classes = 3;
  Dtype dtype = Dtype::f32;
  std::uint64_t seed = 0;

  // hm-vgg
  std::string backbone = "vgg11";                 // vgg11 vgg13 vgg16 vgg19
  bool bn = false;                                // batch norm in the backbone
  std::vector<std::int64_t> taps{3, 4, 5};        // the three consecutive VGG blocks whose outputs HAM sees
  std::string ham_variant = "paper";              // key ham.variant: paper | scse | none, where H is R itself
  std::vector<std::int64_t> mlrm_rates{1, 2, 4};  // key mlrm.rates; "none", an empty list: M is SC itself
  std::string mlrm_fuse = "sum";                  // key mlrm.fuse: sum | concat
  std::vector<std::string> modalities{"fundus"};
  std::string fusion = "late";    // late | early
  bool shortcut = true;           // false: f is gap(M2) alone, without Conv1(gap(R5))
  std::int64_t oct_channels = 3;  // key oct.slices

  // inception_v3
  bool transform_input = false;  // key inception.transform_input: as torchvision's, for weights that it gives

  /// What its inputs are called in files: the modalities of HM-VGG, "image" of the others.
  std::vector<std::string> input_names() const;
  std::int64_t channels_of(std::string_view modality) const;  // fundus 3, oct oct_channels, vf 1
};

/// Sets one key from text ("mlrm.rates" = "1,3,5"); UsageError for an unknown key (nearest named) or a bad
/// value.
void set_model_key(ModelConfig& config, std::string_view key, std::string_view value);
/// All keys with their values as text, in a fixed order: what config.toml records.
std::vector<std::pair<std::string, std::string>> model_keys(const ModelConfig& config);

/// One batch as a model sees it.
struct ModelInput {
  // One per modality in the order of the config, N,H,W,C, normalised; of the model's type, or in bf16 for a model of
  // f32, which then computes in bf16.
  std::vector<Tensor> images;
  std::vector<std::vector<std::uint8_t>>
      present;  // per modality, N flags; an empty vector: all samples have it
};

/// Samples first to last - 1, outside the graph.
ModelInput samples_of(const ModelInput& input, std::int64_t first, std::int64_t last);

/// What a head beside the model's own says, in training alone, and how much its loss counts.
struct AuxiliaryLogits {
  Tensor logits;  // N,classes
  double weight = 1;
};

/// What a forward pass may vary.
struct ForwardContext {
  bool stochastic = true;  // in training: dropout and stochastic depth act
  std::uint64_t seed = 0;  // of their randomness
  std::uint64_t step = 0;  // counts up by one per training step
  /// Where not null, the model appends its named intermediate tensors, as "fundus.M2" (class activation
  /// maps).
  std::vector<std::pair<std::string, Tensor>>* capture = nullptr;
  /// Where not null, a model in training appends what its auxiliary heads say; else those do not run.
  std::vector<AuxiliaryLogits>* auxiliary = nullptr;
};

/// The cross-entropy of the logits and, each with its weight, of the auxiliary heads': a scalar.
Tensor loss_of(const Tensor& logits, const std::vector<AuxiliaryLogits>& auxiliary, const Tensor& labels,
               const CrossEntropyOptions& options = {});

/// A layer that a forward pass captures, for class activation maps.
struct CamLayer {
  std::string name;                       // in the capture, behind "<stream>." where there are streams
  std::vector<std::string> aliases = {};  // torchvision's modules of the same output
};

class Model : public Module {
 public:
  /// Logits N,classes. The module's training() flag chooses batch statistics.
  virtual Tensor forward(const ModelInput& input, const ForwardContext& context) = 0;
  /// UsageError with a message that names the nearest size that works where H x W does not.
  virtual void check_input_size(std::int64_t height, std::int64_t width) const = 0;
  /// Which layers are captured, the one for class activation maps unless another is named first.
  virtual std::vector<CamLayer> cam_layers() const = 0;
  /// What runs the layers once for each input, and stands in front of captured names; none: one image, names alone.
  virtual std::vector<std::string> cam_streams() const { return {}; }
  const ModelConfig& config() const { return config_; }

 protected:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}
  ModelConfig config_;
};

std::vector<std::string> model_names();
/// UsageError for an unknown name (nearest named) or an inconsistent configuration. Initialised from
/// config.seed.
std::unique_ptr<Model> make_model(const ModelConfig& config);

}  // namespace fovea
