// Names of dtypes, shapes, devices and backends.
#include "kernels/runtime/view.hpp"

#include <fmt/format.h>

#include <array>

#include "kernels/runtime/error.hpp"

namespace fovea {
namespace {

constexpr std::array device_names{std::string_view("cpu"), std::string_view("cuda")};
constexpr std::array backend_names{std::string_view("reference"), std::string_view("cpu"),
                                   std::string_view("onednn"),    std::string_view("simt"),
                                   std::string_view("cudnn"),     std::string_view("cuda")};

template <class Enum, std::size_t N>
Enum parse(const char* what, const std::array<std::string_view, N>& names, std::string_view name) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  fail_usage(fmt::format("there is no {} '{}'; known: {}", what, name, fmt::join(names, ", ")));
}

}  // namespace

std::string_view name_of(Device device) { return device_names[static_cast<std::size_t>(device)]; }
std::string_view name_of(Backend backend) { return backend_names[static_cast<std::size_t>(backend)]; }
Device parse_device(std::string_view name) { return parse<Device>("device", device_names, name); }
Backend parse_backend(std::string_view name) { return parse<Backend>("backend", backend_names, name); }

Device device_of(Backend backend) {
  return backend == Backend::cudnn || backend == Backend::cuda ? Device::cuda : Device::cpu;
}

std::string_view name_of(Dtype dtype) {
  constexpr std::array names{"f32", "f64", "u8", "i64", "bf16"};
  return names[static_cast<std::size_t>(dtype)];
}

Dtype parse_dtype(std::string_view name) {
  if (name == "f32") return Dtype::f32;
  if (name == "f64") return Dtype::f64;
  if (name == "bf16")
    fail_usage("bf16 is no dtype of a whole run; use f32 or f64, and --amp for bf16 activations");
  fail_usage(fmt::format("there is no dtype '{}'; known: f32, f64", name));
}

void fail_not_float(Dtype dtype) {
  fail(fmt::format("{} was given to code that computes in f32 or f64; convert it first", name_of(dtype)));
}

void fail_unknown_dtype(Dtype dtype) {
  fail(fmt::format("a tensor has the unknown dtype {}", static_cast<int>(dtype)));
}

std::string to_string(const Shape& shape) {
  if (shape.rank() == 0) return "scalar";
  std::string text;
  for (int i = 0; i < shape.rank(); ++i) text += (i > 0 ? "x" : "") + std::to_string(shape[i]);
  return text;
}

}  // namespace fovea
