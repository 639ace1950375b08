// See cudnn_graph.hpp. Every node of a GraphSpec becomes one node of cudnn_frontend's graph; tensors keep the strides of
// N,H,W,C. Loading by hand: cudnn_frontend then calls through `cudnn_dlhandle`.
#include "kernels/cuda/cudnn_graph.hpp"

#include <cudnn_frontend.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "kernels/cuda/library_answer.hpp"
#include "kernels/runtime/device_info.hpp"
#include "kernels/runtime/error.hpp"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace fovea::cudnn {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

// ---- the library

LibraryAnswer load() {
  LibraryAnswer answer;
  answer.name = "cuDNN";
  answer.file = "libcudnn.so.9";
  answer.needed = 90800;
  // Its engines that compile look for nvrtc by name: one that is loaded already is found.
  LibraryAnswer nvrtc;
  nvrtc.file = "libnvrtc.so.13";
  load_library(nvrtc, FOVEA_CUDA_LIBRARIES);
  fe::cudnn_dlhandle = load_library(answer, FOVEA_CUDNN_LIBRARIES);
  if (!answer.loaded) return answer;
  const auto ask = reinterpret_cast<std::size_t (*)()>(dlsym(fe::cudnn_dlhandle, "cudnnGetVersion"));
  answer.version = ask == nullptr ? 0 : static_cast<int>(ask());
  return answer;
}

const LibraryAnswer& library() {
  static const LibraryAnswer answer = load();
  return answer;
}

[[noreturn]] void fail_cudnn(const std::string& what, const std::string& why) {
  std::string line = why.substr(0, why.find('\n'));
  fail(fmt::format("{}: cuDNN {}: {}", what, version(), line));
}

void check(fe::error_t error, const GraphSpec& spec) {
  if (error.is_bad()) fail_cudnn(spec.primitive(), error.get_message());
}

// Of this process, for its first device; never destroyed, since the driver may be gone before static objects are.
cudnnHandle_t handle() {
  static const cudnnHandle_t made = [] {
    cudnnHandle_t h = nullptr;
    const cudnnStatus_t status = fe::detail::create_handle(&h);
    if (status != CUDNN_STATUS_SUCCESS) fail_cudnn("cudnnCreate", fe::detail::get_error_string(status));
    return h;
  }();
  return made;
}

// ---- from GraphSpec to cudnn_frontend

fe::DataType_t type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return fe::DataType_t::BFLOAT16;
    case Dtype::f32:
      return fe::DataType_t::FLOAT;
    case Dtype::f64:
      return fe::DataType_t::DOUBLE;
    case Dtype::i64:
      return fe::DataType_t::INT64;
    case Dtype::u8:
      break;
  }
  fail(fmt::format("cuDNN gets no tensors of {}", name_of(dtype)));
}

std::vector<std::int64_t> dims_of(const GraphShape& s) {
  if (is_matrices(s)) return {s[0], s[1], s[2]};
  return {s.begin(), s.end()};
}
std::vector<std::int64_t> strides_of(const GraphShape& s) {
  if (is_matrices(s)) return {s[1] * s[2], s[2], 1};
  return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]};
}
std::vector<std::int64_t> pair_of(const std::array<std::int64_t, 2>& a) { return {a[0], a[1]}; }

// Sums of a tensor and of its squares, for each channel. cudnn_frontend has a node for it (1.18.0) that gives cuDNN its own
// number of x's type for cuDNN's number of the type to sum in, which no engine takes; this one sums in f32.
class StatisticsNode : public fe::graph::NodeCRTP<StatisticsNode> {
 public:
  using Attributes = fe::graph::Genstats_attributes;
  Attributes attributes;

  StatisticsNode(Attributes given, const fe::detail::Context& context)
      : NodeCRTP(context), attributes(std::move(given)) {}
  Type getType() override { return Type::GENSTATS; }
  fe::error_t infer_properties_node() override { return {}; }  // a GraphSpec has all shapes and types
  void serialize(nlohmann::json& j) const override { j = attributes; }

  fe::error_t create_cudnn_operations(
      std::unordered_set<std::int64_t>& uids, std::vector<std::shared_ptr<fe::Operation>>& operations,
      fe::graph::managed_backend_descriptor_t&,
      std::unordered_map<std::int64_t, std::shared_ptr<fe::Tensor>>& tensors) const override {
    const auto described = [&](const Tensor& tensor) -> const fe::Tensor& {
      if (!tensor->get_is_virtual()) uids.insert(tensor->get_uid());
      return *tensors.at(tensor->get_uid());
    };
    try {
      fe::OperationBuilder_v8 builder(fe::DescriptorType_t::OPERATION_GEN_STATS_DESCRIPTOR);
      builder.setxDesc(described(attributes.inputs.at(Attributes::input_names::X)))
          .setSumDesc(described(attributes.outputs.at(Attributes::output_names::SUM)))
          .setSqSumDesc(described(attributes.outputs.at(Attributes::output_names::SQ_SUM)))
          .setGenStatsMode(CUDNN_GENSTATS_SUM_SQSUM)
          .setComputeType(CUDNN_DATA_FLOAT);
      operations.push_back(std::make_shared<fe::Operation>(builder.build()));
    } catch (const fe::cudnnException& error) {
      return {fe::error_code_t::CUDNN_BACKEND_API_FAILED, error.what()};
    }
    return {};
  }
};

// cudnn_frontend keeps its list of plans, with their notes, from users; a derived class may look.
class OpenGraph : public fe::graph::Graph {
 public:
  const auto& numeric_notes(std::size_t i) const { return plans.numeric_notes[i]; }
  /// Before anything was deselected: one for each plan.
  fe::EngineConfigList configurations() { return plans.get_barred_engine_configs(); }

  std::array<Tensor, 2> statistics(const Tensor& x) {
    using Attributes = StatisticsNode::Attributes;
    Attributes attributes;
    const Tensor sum = output_tensor("sum"), squares = output_tensor("squares");
    attributes.inputs[Attributes::input_names::X] = x;
    attributes.outputs[Attributes::output_names::SUM] = sum;
    attributes.outputs[Attributes::output_names::SQ_SUM] = squares;
    sub_nodes.emplace_back(std::make_shared<StatisticsNode>(std::move(attributes), context));
    return {sum, squares};
  }
};

class Builder {
 public:
  explicit Builder(const GraphSpec& spec) : spec_(spec), graph_(std::make_unique<OpenGraph>()) {
    graph_->set_io_data_type(fe::DataType_t::FLOAT)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    for (const GraphTensor& t : spec.tensors()) {
      if (t.role == GraphRole::input) tensors_[t.name] = graph_->tensor(described(t));
      if (t.role == GraphRole::constant) {
        tensors_[t.name] =
            t.dtype == Dtype::i64
                ? graph_->tensor(fe::graph::Tensor_attributes(static_cast<std::int64_t>(t.value)))
                : graph_->tensor(fe::graph::Tensor_attributes(static_cast<float>(t.value)));
      }
    }
    for (const GraphNode& node : spec.nodes()) add(node);
    std::int64_t uid = 1;
    for (const GraphTensor& t : spec.tensors()) {
      const Tensor& made = tensors_.at(t.name);
      if (t.role == GraphRole::output) {
        made->set_output(true).set_data_type(type_of(t.dtype));
        shape(made, t.shape);
      }
      if (t.role == GraphRole::inner) {
        shape(made, t.shape);
        made->set_data_type(type_of(t.dtype));
      }
      if (t.role == GraphRole::input || t.role == GraphRole::output) made->set_uid(uid++);
    }
  }
  std::unique_ptr<OpenGraph> take() { return std::move(graph_); }

 private:
  static void shape(const Tensor& tensor, const GraphShape& shape) {
    tensor->set_dim(dims_of(shape)).set_stride(strides_of(shape));
  }
  static fe::graph::Tensor_attributes described(const GraphTensor& t) {
    return fe::graph::Tensor_attributes()
        .set_name(t.name)
        .set_dim(dims_of(t.shape))
        .set_stride(strides_of(t.shape))
        .set_data_type(type_of(t.dtype));
  }
  Tensor in(const GraphNode& node, std::size_t i) const { return tensors_.at(node.inputs[i]); }
  void out(const GraphNode& node, std::initializer_list<Tensor> made) {
    std::size_t i = 0;
    for (const Tensor& t : made) {
      t->set_name(node.outputs[i]);
      tensors_[node.outputs[i++]] = t;
    }
  }

  template <class Attributes>
  static Attributes window(const GraphNode& node) {
    return Attributes()
        .set_pre_padding(pair_of(node.window.pad))
        .set_post_padding(pair_of(node.window.pad))
        .set_stride(pair_of(node.window.stride))
        .set_dilation(pair_of(node.window.dilation));
  }
  void pointwise(const GraphNode& node, fe::PointwiseMode_t mode) {
    const auto attributes = fe::graph::Pointwise_attributes().set_mode(mode);
    out(node, {node.inputs.size() == 1 ? graph_->pointwise(in(node, 0), attributes)
                                       : graph_->pointwise(in(node, 0), in(node, 1), attributes)});
  }
  void pool(const GraphNode& node, fe::ResampleMode_t mode) {
    const auto made = graph_->resample(in(node, 0), fe::graph::Resample_attributes()
                                                        .set_resampling_mode(mode)
                                                        .set_padding_mode(fe::PaddingMode_t::ZERO_PAD)
                                                        .set_generate_index(false)
                                                        .set_window(pair_of(node.window.window))
                                                        .set_stride(pair_of(node.window.stride))
                                                        .set_pre_padding(pair_of(node.window.pad))
                                                        .set_post_padding(pair_of(node.window.pad)));
    out(node, {made[0]});
  }
  void norm_training(const GraphNode& node) {
    Tensor mean = in(node, 3), var = in(node, 4), eps = in(node, 5), momentum = in(node, 6);
    const auto made = graph_->batchnorm(
        in(node, 0), in(node, 1), in(node, 2),
        fe::graph::Batchnorm_attributes().set_epsilon(eps).set_previous_running_stats(mean, var, momentum));
    out(node, {made[0], made[1], made[2], made[3], made[4]});
  }
  void norm_backward(const GraphNode& node) {
    Tensor mean = in(node, 3), invstd = in(node, 4);
    const auto made = graph_->batchnorm_backward(
        in(node, 0), in(node, 1), in(node, 2),
        fe::graph::Batchnorm_backward_attributes().set_saved_mean_and_inv_variance(mean, invstd));
    out(node, {made[0], made[1], made[2]});
  }
  void row_norm(const GraphNode& node, fe::NormFwdPhase_t phase) {
    Tensor eps = in(node, 3);
    const auto made =
        graph_->layernorm(in(node, 0), in(node, 1), in(node, 2),
                          fe::graph::Layernorm_attributes().set_forward_phase(phase).set_epsilon(eps));
    if (phase == fe::NormFwdPhase_t::INFERENCE) return out(node, {made[0]});
    out(node, {made[0], made[1], made[2]});
  }
  void row_norm_backward(const GraphNode& node) {
    Tensor mean = in(node, 3), invstd = in(node, 4);
    const auto made = graph_->layernorm_backward(
        in(node, 0), in(node, 1), in(node, 2),
        fe::graph::Layernorm_backward_attributes().set_saved_mean_and_inv_variance(mean, invstd));
    out(node, {made[0], made[1], made[2]});
  }
  void statistics_finalize(const GraphNode& node) {
    Tensor mean = in(node, 4), var = in(node, 5), momentum = in(node, 7);
    const auto made = graph_->bn_finalize(
        in(node, 0), in(node, 1), in(node, 2), in(node, 3), in(node, 6), in(node, 8),
        fe::graph::BN_finalize_attributes().set_previous_running_stats(mean, var, momentum));
    out(node, {made[0], made[1], made[2], made[3], made[4], made[5]});
  }

  void add(const GraphNode& node) {
    using Mode = fe::PointwiseMode_t;
    switch (node.op) {
      case GraphOp::convolution:
        return out(node, {graph_->conv_fprop(in(node, 0), in(node, 1),
                                             window<fe::graph::Conv_fprop_attributes>(node))});
      case GraphOp::convolution_data:
        return out(node, {graph_->conv_dgrad(in(node, 0), in(node, 1),
                                             window<fe::graph::Conv_dgrad_attributes>(node))});
      case GraphOp::convolution_weights:
        return out(node, {graph_->conv_wgrad(in(node, 0), in(node, 1),
                                             window<fe::graph::Conv_wgrad_attributes>(node))});
      case GraphOp::add:
        return pointwise(node, Mode::ADD);
      case GraphOp::multiply:
        return pointwise(node, Mode::MUL);
      case GraphOp::subtract:
        return pointwise(node, Mode::SUB);
      case GraphOp::relu:
        return pointwise(node, Mode::RELU_FWD);
      case GraphOp::sigmoid:
        return pointwise(node, Mode::SIGMOID_FWD);
      case GraphOp::relu_backward:
        return pointwise(node, Mode::RELU_BWD);
      case GraphOp::sigmoid_backward:
        return pointwise(node, Mode::SIGMOID_BWD);
      case GraphOp::gelu:
        return pointwise(node, Mode::GELU_FWD);
      case GraphOp::gelu_backward:
        return pointwise(node, Mode::GELU_BWD);
      case GraphOp::inverse_root:
        return pointwise(node, Mode::RSQRT);
      case GraphOp::sum:
        return out(node, {graph_->reduction(in(node, 0), fe::graph::Reduction_attributes().set_mode(
                                                             fe::ReductionMode_t::ADD))});
      case GraphOp::statistics: {
        const auto made = graph_->statistics(in(node, 0));
        return out(node, {made[0], made[1]});
      }
      case GraphOp::statistics_finalize:
        return statistics_finalize(node);
      case GraphOp::norm_training:
        return norm_training(node);
      case GraphOp::norm_inference:
        return out(node,
                   {graph_->batchnorm_inference(in(node, 0), in(node, 1), in(node, 2), in(node, 3),
                                                in(node, 4), fe::graph::Batchnorm_inference_attributes())});
      case GraphOp::norm_backward:
        return norm_backward(node);
      case GraphOp::row_norm_training:
        return row_norm(node, fe::NormFwdPhase_t::TRAINING);
      case GraphOp::row_norm_inference:
        return row_norm(node, fe::NormFwdPhase_t::INFERENCE);
      case GraphOp::row_norm_backward:
        return row_norm_backward(node);
      case GraphOp::pool_average:
        return pool(node, fe::ResampleMode_t::AVGPOOL_INCLUDE_PADDING);
      case GraphOp::pool_average_inside:
        return pool(node, fe::ResampleMode_t::AVGPOOL_EXCLUDE_PADDING);
    }
  }

  const GraphSpec& spec_;
  std::unique_ptr<OpenGraph> graph_;
  std::map<std::string, Tensor> tensors_;
};

// ---- plans

// The names of cudnnBackendKnobType_t.
const std::map<int, const char*> knob_names{
    {1, "swizzle"},      {2, "tile_size"},   {4, "edge"},        {11, "multiply"},
    {12, "split_k_buf"}, {13, "tile_k"},     {14, "stages"},     {15, "reduction_mode"},
    {17, "split_k_slc"}, {18, "idx_mode"},   {23, "specfilt"},   {24, "kernel_cfg"},
    {25, "workspace"},   {27, "tile_cga_m"}, {28, "tile_cga_n"}, {29, "block_size"},
    {30, "occupancy"},   {31, "array_size"}, {33, "split_cols"}, {34, "tile_rows"},
    {35, "tile_cols"},   {36, "load_size"},  {37, "cta_count"},  {38, "stream_k"},
    {39, "split_p_slc"}, {40, "tile_m"},     {41, "tile_n"},     {42, "warp_spec_cfg"},
    {43, "swap_ab"}};

// "ConvFwd_..._eng47_k2=13_k10=1": the engine, and its knobs with their names.
void name_plan(const std::string& tag, PlanInfo& info) {
  std::size_t at = tag.rfind("_eng");
  at = at == std::string::npos ? 0 : at + 1;
  std::vector<std::string> parts;
  for (std::size_t end = at; end != std::string::npos; at = end + 1) {
    end = tag.find('_', at);
    parts.push_back(tag.substr(at, end == std::string::npos ? end : end - at));
  }
  info.engine = parts[0];
  std::vector<std::string> knobs;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::size_t equals = parts[i].find('=');
    if (parts[i].empty() || parts[i][0] != 'k' || equals == std::string::npos) continue;
    const int number = std::atoi(parts[i].c_str() + 1);
    const auto name = knob_names.find(number);
    knobs.push_back(fmt::format("{}={}", name == knob_names.end() ? parts[i].substr(0, equals) : name->second,
                                parts[i].substr(equals + 1)));
  }
  std::sort(knobs.begin(), knobs.end());
  info.knobs = fmt::format("{}", fmt::join(knobs, " "));
}

bool is_f32(const GraphSpec& spec) {
  return std::all_of(spec.tensors().begin(), spec.tensors().end(),
                     [](const GraphTensor& t) { return t.dtype != Dtype::bf16; });
}

bool has_products(const GraphSpec& spec) {
  return std::any_of(spec.nodes().begin(), spec.nodes().end(),
                     [](const GraphNode& n) { return n.op <= GraphOp::convolution_weights; });
}

class CudnnOp : public PlannedOp {
 public:
  CudnnOp(const GraphSpec& spec, const std::string& device)
      : name_(spec.primitive()), deviceless_(!device.empty()) {
    if (const std::string wrong = spec.problem(); !wrong.empty()) fail(wrong);
    graph_ = Builder(spec).take();
    check(graph_->validate(), spec);
    if (deviceless_) {
      properties_ = std::make_shared<fe::DeviceProperties>();
      check(properties_->deserialize({device.begin(), device.end()}), spec);
      graph_->set_device_properties(properties_);
      check(graph_->build_operation_graph(), spec);
    } else {
      check(graph_->build_operation_graph(handle()), spec);
    }
    list(spec);
    ports_ = spec.ports().size();
  }

  std::span<const PlanInfo> plans() const override { return plans_; }
  std::string refusal() const override { return refusal_; }

  void build(std::size_t plan) override {
    if (!built_.insert(plan).second) return;
    fe::error_t error = graph_->build_plan_at_index(index_[plan]);
    if (error.is_good()) return;
    built_.erase(plan);
    fail_cudnn(name_, error.get_message());
  }

  void run(std::size_t plan, std::span<void* const> tensors, void* workspace, Stream stream) override {
    if (deviceless_) fail(fmt::format("{}: a plan for a device that is only described cannot run", name_));
    static std::mutex one_at_a_time;  // the handle holds the stream
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    const cudnnStatus_t status = fe::detail::set_stream(handle(), static_cast<cudaStream_t>(stream.handle));
    if (status != CUDNN_STATUS_SUCCESS) fail_cudnn(name_, fe::detail::get_error_string(status));
    std::unordered_map<std::int64_t, void*> pack;
    for (std::size_t i = 0; i < ports_; ++i) pack.emplace(static_cast<std::int64_t>(i) + 1, tensors[i]);
    fe::error_t error = graph_->execute_plan_at_index(handle(), pack, workspace, index_[plan]);
    if (error.is_bad()) fail_cudnn(name_, error.get_message());
  }

 private:
  void list(const GraphSpec& spec) {
    fe::error_t error =
        graph_->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::B, fe::HeurMode_t::FALLBACK});
    if (error.is_bad()) {  // valid, and no engine takes it
      refusal_ = refusal_of(error.get_message());
      return;
    }
    fe::EngineConfigList configurations = graph_->configurations();
    std::set<std::pair<std::string, std::string>> seen;
    for (std::int64_t i = 0; i < graph_->get_execution_plan_count(); ++i) {
      PlanInfo info;
      std::string tag;
      if (graph_->get_plan_name_at_index(i, tag).is_bad()) continue;
      name_plan(tag, info);
      if (!seen.emplace(info.engine, info.knobs).second) continue;
      if (fe::detail::get_workspace_size(configurations[static_cast<std::size_t>(i)], info.workspace)
              .is_bad())
        continue;
      note(spec, i, info);
      plans_.push_back(info);
      index_.push_back(i);
    }
  }

  void note(const GraphSpec& spec, std::int64_t i, PlanInfo& info) {
    using Note = fe::NumericalNote_t;
    const auto& notes = graph_->numeric_notes(static_cast<std::size_t>(i));
    const auto has = [&](Note n) { return std::find(notes.begin(), notes.end(), n) != notes.end(); };
    info.deterministic = !has(Note::NONDETERMINISTIC);
    info.tf32 = has_products(spec) && is_f32(spec) && has(Note::TENSOR_CORE);
    info.approximate = has(Note::REDUCED_PRECISION_REDUCTION) || has(Note::DOWN_CONVERT_INPUTS) ||
                       has(Note::FFT) || has(Note::WINOGRAD) || has(Note::WINOGRAD_TILE_4x4) ||
                       has(Note::WINOGRAD_TILE_6x6) || has(Note::WINOGRAD_TILE_13x13);
  }

  std::string name_;
  bool deviceless_;
  std::shared_ptr<fe::DeviceProperties> properties_;
  std::unique_ptr<OpenGraph> graph_;
  std::string refusal_;
  std::vector<PlanInfo> plans_;
  std::vector<std::int64_t> index_;  // in cudnn_frontend's list
  std::set<std::size_t> built_;
  std::size_t ports_ = 0;
};

}  // namespace

std::string why_unusable() { return sentence_of(library()); }

std::string version() { return library().loaded ? version_text(library().version) : ""; }

std::unique_ptr<PlannedOp> plan(const GraphSpec& spec, const std::string& device) {
  if (const std::string why = why_unusable(); !why.empty()) fail(why);
  return std::make_unique<CudnnOp>(spec, device);
}

}  // namespace fovea::cudnn
