// What this thread is doing, for error messages: the function that is called, the kernels that are dispatched
// (a composed kernel dispatches others), and the last few that were dispatched before.
//
// Device work is asynchronous: a fault inside a kernel is reported by a later call. The last names are then all
// that can be said honestly, and they are said as that.
#pragma once

#include <string>

#include "kernels/runtime/primitive.hpp"

namespace fovea {

/// Names the function at work while it lives: "conv2d", "backward of 'conv2d'". For what happens between
/// dispatches, such as the allocation of outputs.
class FunctionScope {
 public:
  explicit FunctionScope(const char* name, bool backward = false);
  ~FunctionScope();
  FunctionScope(const FunctionScope&) = delete;
  FunctionScope& operator=(const FunctionScope&) = delete;

 private:
  const char* name_;
  bool backward_;
  const FunctionScope* outer_;
  friend std::string what_is_running();
};

/// A dispatch, from the choice of its kernel to its end.
class DispatchScope {
 public:
  DispatchScope(const Primitive& primitive, const Kernel& kernel, const PortList& specs, Ports ports);
  ~DispatchScope();
  DispatchScope(const DispatchScope&) = delete;
  DispatchScope& operator=(const DispatchScope&) = delete;

 private:
  const Primitive& primitive_;
  const Kernel& kernel_;
  const PortList& specs_;
  Ports ports_;
  const DispatchScope* outer_;
  friend std::string what_is_running();
};

/// "ham.forward (cuda kernel 'cluster', x 32x56x56x256 bf16)", or the function's name, or empty.
std::string what_is_running();

/// Whether a kernel runs on this thread (or is about to), and not only a function that will dispatch one.
bool is_dispatching();

/// "relu.forward 'cpu', ham.forward 'cluster'": the last dispatches of this thread, newest first; empty before
/// the first.
std::string last_dispatches();

/// "x 32x56x56x256 bf16": the inputs that are more than vectors, three at most.
std::string shapes_text(const PortList& specs, Ports ports);

/// The same as what_is_running() for one dispatch.
std::string dispatch_text(const Primitive& primitive, const Kernel& kernel, const PortList& specs,
                          Ports ports);

}  // namespace fovea
