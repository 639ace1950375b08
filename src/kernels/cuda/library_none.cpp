// A build without cuDNN.
#include "kernels/cuda/library.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::library {
namespace {

class NoSource : public Source {
 public:
  std::string why_unusable() override { return "this build has no cuDNN (FOVEA_CUDNN is off)"; }
  PlanFileHeader header() override { return {"none", "none", "none"}; }
  std::unique_ptr<PlannedOp> plan(const GraphSpec&) override { fail(why_unusable()); }
  std::unique_ptr<PlannedOp> plan(const MatmulSpec&) override { fail(why_unusable()); }
};

}  // namespace

Source& build_source();
Source& build_source() {
  static NoSource instance;
  return instance;
}

}  // namespace fovea::library
