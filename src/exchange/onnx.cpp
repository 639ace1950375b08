// See onnx.hpp.
#include "exchange/onnx.hpp"

#include <fmt/format.h>

#include "exchange/onnx_graph.hpp"
#include "exchange/onnx_trace.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr std::int64_t batch = 2;  // of the pass that is heard: more than one, so that a mixed-up batch shows

// Values in -1..1 of which no two tensors have the same.
Tensor image_for(std::int64_t height, std::int64_t width, std::int64_t channels, std::uint32_t seed) {
  Tensor image = Tensor::empty({batch, height, width, channels}, Dtype::f32);
  std::uint32_t state = seed;
  for (std::int64_t i = 0; i < image.numel(); ++i) {
    state = state * 1664525u + 1013904223u;
    image.data<float>()[i] = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return image;
}

void check_input(const std::string& name, const Tensor& tensor) {
  if (tensor.dtype() == Dtype::f32 && tensor.device() == Device::cpu) return;
  fail(fmt::format("the input '{}' is {} on {}; an ONNX file is written from f32 on the CPU", name,
                   name_of(tensor.dtype()), name_of(tensor.device())));
}

}  // namespace

void write_onnx(const std::string& path, const OnnxRequest& request) {
  OnnxGraph graph("fovea", request.version, request.metadata);
  {
    OnnxTrace trace(graph, request.state);
    for (const auto& [name, tensor] : request.inputs) {
      check_input(name, tensor);
      trace.add_input(name, tensor);
    }
    const NoGrad no_grad;
    const Tensor output = request.forward();
    graph.rename(trace.output(output), request.output);
    graph.add_output(request.output, output.shape());
  }
  graph.write(path);
}

void write_onnx(const std::string& path, Model& model, std::int64_t height, std::int64_t width,
                const std::string& version, const std::map<std::string, std::string>& metadata) {
  model.check_input_size(height, width);
  model.set_training(false);
  OnnxRequest request{.state = model.state(), .version = version, .metadata = metadata};
  ModelInput input;
  for (const std::string& name : model.config().input_names()) {
    const std::int64_t channels = name == "image" ? 3 : model.config().channels_of(name);
    input.images.push_back(
        image_for(height, width, channels, static_cast<std::uint32_t>(input.images.size() + 1)));
    request.inputs.emplace_back(name, input.images.back());
  }
  request.forward = [&] { return model.forward(input, {.stochastic = false}); };
  write_onnx(path, request);
}

}  // namespace fovea
