// What the oneDNN kernels of all ops share: the engine, the stream, memory descriptors of views, the
// primitive cache and a workspace. Only *_onednn.cpp files include this.
//
// Creating a oneDNN primitive may compile code (milliseconds); running one takes microseconds. So each kernel
// keeps what it created in a PrimitiveCache keyed by the Problem. Weights are kept in this project's plain
// layout between steps and reordered to the layout oneDNN asks for at each run, into the workspace: they
// change with every step of training.
#pragma once

#include <cstring>
#include <list>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "kernels/cpu/workspace.hpp"
#include "kernels/runtime/view.hpp"

namespace fovea::onednn {

dnnl::engine& engine();
dnnl::stream& stream();

/// A descriptor of fp32 data with these dims whose strides are given in elements.
dnnl::memory::desc strided(const dnnl::memory::dims& dims, const dnnl::memory::dims& strides);
/// dims N,C,H,W over memory N,H,W,C.
dnnl::memory::desc nhwc(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w);
dnnl::memory::desc any(const dnnl::memory::dims& dims);
/// dims [G,]K,C,R,S over filters in memory K,R,S,C.
dnnl::memory::dims filter_dims(std::int64_t k, std::int64_t c, std::int64_t r, std::int64_t s,
                               std::int64_t groups);
dnnl::memory::desc filters(std::int64_t k, std::int64_t c, std::int64_t r, std::int64_t s,
                           std::int64_t groups);

inline dnnl::memory bind(const dnnl::memory::desc& desc, void* data) { return {desc, engine(), data}; }

/// An attribute that lets the caller own the scratchpad.
dnnl::primitive_attr user_scratchpad();

/// A filter operand between our layout and the one a primitive wants.
struct Reordered {
  dnnl::memory::desc plain, wanted;
  dnnl::reorder primitive;  // empty where the layouts agree
  bool needed = false;
  std::size_t bytes() const { return needed ? Workspace::rounded(wanted.get_size()) : 0; }
};
Reordered reorder_to(const dnnl::memory::desc& plain, const dnnl::memory::desc& wanted);
Reordered reorder_from(const dnnl::memory::desc& wanted, const dnnl::memory::desc& plain);
/// Runs it plain -> wanted, and returns memory in the wanted layout.
dnnl::memory bring(const Reordered& reordered, void* data, Workspace& workspace);

/// The `capacity` most recently used values of a kernel, keyed by the bytes of a plain struct without
/// padding.
template <class Key, class Value>
class PrimitiveCache {
  static_assert(std::is_trivially_copyable_v<Key> && std::has_unique_object_representations_v<Key>,
                "a key is compared byte by byte");

 public:
  explicit PrimitiveCache(std::size_t capacity = 256) : capacity_(capacity) {}

  template <class Make>
  Value& get(const Key& key, Make&& make) {
    const std::string_view bytes(reinterpret_cast<const char*>(&key), sizeof(Key));
    if (const auto it = index_.find(bytes); it != index_.end()) {
      entries_.splice(entries_.begin(), entries_, it->second);
      return it->second->second;
    }
    if (entries_.size() >= capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    entries_.emplace_front(std::string(bytes), make());
    index_.emplace(entries_.front().first, entries_.begin());
    return entries_.front().second;
  }

 private:
  std::size_t capacity_;
  std::list<std::pair<std::string, Value>> entries_;
  std::unordered_map<std::string_view, typename std::list<std::pair<std::string, Value>>::iterator> index_;
};

}  // namespace fovea::onednn
