// ONNX: a model for inference in other programs, written from one forward pass.
//
// Everything that runs, runs through dispatch(), so the exporter is a trace sink: it sees primitives with their problems
// and ports in the order of execution, and writes for each the nodes that compute the same (onnx_nodes.cpp). A tensor is
// what the last primitive wrote at its address; the address of a parameter is known from the module's state. What is
// read must be what was written: the bytes are compared, so that whatever fills a tensor without a primitive is an Error
// and not a wrong file.
//
// Images are N,H,W,C here and N,C,H,W float32 in the file, inputs included; filters are K,C,R,S, as PyTorch has them. The
// first dimension of every input and of the output is symbolic, "batch"; the others are fixed. Opset 17, IR version 8.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/zoo.hpp"

namespace fovea {

struct OnnxRequest {
  std::vector<std::pair<std::string, Tensor>> inputs =
      {};                                            // of f32 on the CPU; the first dimension is the batch
  std::vector<NamedTensor> state = {};               // parameters and buffers, which keep their names
  std::function<Tensor()> forward = {};              // from these inputs to the output
  std::string output = "logits";                     // its name in the file
  std::string version = {};                          // of the program, for producer_version
  std::map<std::string, std::string> metadata = {};  // metadata_props
};

/// Runs `forward` once and writes the file, whole or not at all. Error: a primitive that has no ONNX form here, a tensor
/// that no primitive wrote, more than 2 GiB, a file that cannot be written.
void write_onnx(const std::string& path, const OnnxRequest& request);

/// The model for images of one size, with ModelConfig::input_names() and the output "logits" (N,classes). It must be of f32
/// and lie on the CPU; it is left in inference.
void write_onnx(const std::string& path, Model& model, std::int64_t height, std::int64_t width,
                const std::string& version, const std::map<std::string, std::string>& metadata);

}  // namespace fovea
