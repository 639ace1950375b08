// LayerScope: whose work this thread does, for profiles: the place of a layer in its model, "fundus.ham3".
//
// A module names itself while its forward runs; a node of the graph keeps the name of the layer that recorded it, and
// its backward runs under that name. Names are interned, so that a scope costs two stores, and a graph may outlive its
// model. Modules have names only where someone asked for them (Module::name_layers), since few do.
#pragma once

#include <string>

#include "kernels/runtime/trace.hpp"

namespace fovea {

/// The same pointer for the same text, for the life of the process.
const char* interned(const std::string& text);

/// Of the innermost scope with a name; null where there is none.
const char* current_layer();

class LayerScope {
 public:
  /// Null: the scope around it goes on.
  explicit LayerScope(const char* name);
  ~LayerScope();
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;

 private:
  const char* outer_;
  TraceRange range_;
};

}  // namespace fovea
