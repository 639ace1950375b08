// See layer_scope.hpp.
#include "kernels/runtime/layer_scope.hpp"

#include <mutex>
#include <set>

namespace fovea {
namespace {

thread_local const char* layer = nullptr;

}  // namespace

const char* interned(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string>* const texts = new std::set<std::string>;  // never destroyed: see the header
  const std::lock_guard lock(mutex);
  return texts->insert(text).first->c_str();
}

const char* current_layer() { return layer; }

LayerScope::LayerScope(const char* name)
    : outer_(layer), range_(RangeKind::layer, name == layer ? nullptr : name) {
  if (name != nullptr) layer = name;
}
LayerScope::~LayerScope() { layer = outer_; }

}  // namespace fovea
