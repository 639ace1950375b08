// A build without CUPTI's headers.
#include "kernels/cuda/device_activity.hpp"

namespace fovea {

ActivitySource* device_activity(std::string& why) {
  why = "this build has no CUPTI";
  return nullptr;
}

}  // namespace fovea
