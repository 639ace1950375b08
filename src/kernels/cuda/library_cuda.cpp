// A build with cuDNN: plans of cuDNN for graphs, of cublasLt for products, on the first device.
#include "kernels/cuda/cublaslt.hpp"
#include "kernels/cuda/cudnn_graph.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/runtime/device_info.hpp"

namespace fovea::library {
namespace {

class CudaSource : public Source {
 public:
  std::string why_unusable() override {
    std::string why;
    if (!cuda_available(&why)) return why;
    why = cudnn::why_unusable();
    return why.empty() ? cublaslt::why_unusable() : why;
  }
  PlanFileHeader header() override { return {device_info().name, cudnn::version(), cublaslt::version()}; }
  std::unique_ptr<PlannedOp> plan(const GraphSpec& spec) override { return cudnn::plan(spec); }
  std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec) override { return cublaslt::plan(spec); }
};

}  // namespace

Source& build_source();
Source& build_source() {
  static CudaSource instance;
  return instance;
}

}  // namespace fovea::library
