// What the kernels of backend cudnn call: a graph or a product on tensors, with the plan that the cache holds for it, or
// that is measured now and put there.
//
//   static library::Memo<19> memo;
//   memo.get(key_of(p), [&] { return convolution(p); }).run({x, w, y}, stream);
//
// Plain C++: cuDNN and cublasLt come in through PlannedOp, and in a build without them library_none.cpp says so.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/graph_spec.hpp"
#include "kernels/cuda/matmul_spec.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/cuda/planned.hpp"

namespace fovea::library {

/// Where plans come from.
class Source {
 public:
  virtual ~Source() = default;
  /// Empty where it can be used, else one sentence.
  virtual std::string why_unusable() = 0;
  virtual PlanFileHeader header() = 0;
  virtual std::unique_ptr<PlannedOp> plan(const GraphSpec& spec) = 0;
  virtual std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec) = 0;
};

/// Of this build: cuDNN and cublasLt on the device, or one that cannot be used.
Source& source();
/// For tests; null: the build's own. Forgets all plans.
void set_source(Source* source);

/// For tests: in place of measuring on the device. The arguments are the op and its plan.
using TimePlan = std::function<PlanTime(PlannedOp&, std::size_t)>;
void set_timer(TimePlan timer);

/// Counts the choices of plans that were made, and sources: while it stays, every operation that has run takes the same.
std::uint64_t choice_generation();

/// Whether the libraries' kernels take it: in f32 and bf16.
template <class Problem>
bool has_dtype(const Problem& p) {
  return p.dtype == Dtype::f32 || p.dtype == Dtype::bf16;
}

/// Of a tensor that a plan reads or writes.
struct Port {
  std::int64_t bytes = 0;
  bool is_output = false;
};

/// One graph or product, and its plan once there is one.
class Operation {
 public:
  explicit Operation(const GraphSpec& spec);
  explicit Operation(const MatmulSpec& spec);

  /// Whether any plan fits today's limits; false where the library cannot be used. Measures nothing.
  bool is_supported();
  /// Runs it on its ports, in their order. The first time for a problem the cache does not know, plans are measured, which
  /// a graph capture does not allow: Error.
  void run(std::initializer_list<View> tensors, Stream stream);
  void run(std::span<void* const> tensors, Stream stream);
  /// Takes a plan, which is measured where the cache does not know it, and runs nothing: what the outputs hold stays.
  void prepare(std::span<void* const> tensors, Stream stream);
  /// The measured median of the plan taken; none where none was taken, or where it was not measured.
  std::optional<double> taken_us() const;

 private:
  void plan();                    // asks the library, once
  PlanEntry known_entry() const;  // its plans, with what the file knows of them
  void note_refusal();
  void choose(std::span<void* const> tensors, Stream stream);
  void measure(std::span<void* const> tensors, Stream stream);
  std::optional<std::size_t> first_that_builds();

  std::string op_, problem_, failure_;
  Cost cost_;
  std::vector<Port> ports_;
  std::function<std::unique_ptr<PlannedOp>()> make_;
  std::unique_ptr<PlannedOp> planned_;
  PlanEntry entry_;
  std::optional<std::size_t> taken_;
  std::optional<bool> supported_;
  PlanLimits taken_under_, supported_under_;
  std::uint64_t generation_ = 0;  // of the source
};

/// An operation, and what it is to run on.
struct Call {
  Operation& operation;
  std::vector<void*> tensors;
};
Call call(Operation& operation, std::initializer_list<View> tensors);

/// Whether one operation takes less time than several in its place, by their plans' own times, which are measured where
/// they are not known. False where the one has no plan, or no time.
bool is_faster(const Call& one, std::initializer_list<Call> several, Stream stream);

/// The operations of a kernel, by what determines them, so that a call does not describe its graphs again.
template <std::size_t N, class Value>
class Table {
 public:
  using Key = std::array<std::int64_t, N>;
  /// `make` returns a unique_ptr.
  template <class Make>
  Value& get(const Key& key, Make&& make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Value>& value = values_[key];
    if (value == nullptr) value = make();
    return *value;
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Value>> values_;
};

/// The same for one operation: `make` returns its GraphSpec or MatmulSpec.
template <std::size_t N>
class Memo {
 public:
  using Key = std::array<std::int64_t, N>;
  template <class Make>
  Operation& get(const Key& key, Make&& make) {
    return table_.get(key, [&] { return std::make_unique<Operation>(make()); });
  }

 private:
  Table<N, Operation> table_;
};

/// Writes what a plain copy reaches on the device into its plan file, for the floors of the ledger. Nothing happens where
/// the libraries cannot be used.
void keep_copy_rate(double bytes_per_s);

}  // namespace fovea::library
