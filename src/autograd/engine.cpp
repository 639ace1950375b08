// The walk. Consumers of each node are counted first (an iterative search from the root), then nodes run as
// soon as all of their consumers have: reverse topological order without recursion. See engine.hpp.
#include "autograd/engine.hpp"

#include <fmt/format.h>

#include <set>
#include <unordered_map>
#include <utility>

#include "kernels/pointwise/pointwise.hpp"
#include "kernels/runtime/error.hpp"
#include "kernels/runtime/layer_scope.hpp"
#include "kernels/runtime/running.hpp"

namespace fovea {

Tensor with_meta(Tensor tensor, std::shared_ptr<GradMeta> meta);

Saved::Saved(const Tensor& tensor) : tensor_(tensor ? tensor.detach() : Tensor{}) {
  if (tensor_) version_ = changes();
}

Saved Saved::of_channels(const Tensor& image) {
  Saved saved(image);
  saved.of_channels_ = true;
  saved.version_ = saved.changes();
  return saved;
}

std::uint32_t Saved::changes() const {
  const Storage& storage = *tensor_.storage();
  return storage.version - (of_channels_ ? storage.filled : 0);
}

const Tensor& Saved::get(const char* node_name) const {
  if (tensor_ && changes() != version_) {
    fail(fmt::format("backward of '{}': a tensor it saved ({}) was changed in place since", node_name,
                     to_string(tensor_.shape())));
  }
  return tensor_;
}

void Node::release() {
  saved.clear();
  backward = nullptr;
  released = true;
}

Node::~Node() {
  // Takes over every ancestor that only this node keeps alive, one after the other.
  std::vector<std::shared_ptr<GradMeta>> pending = std::move(inputs);
  while (!pending.empty()) {
    std::shared_ptr<GradMeta> meta = std::move(pending.back());
    pending.pop_back();
    if (meta == nullptr || meta.use_count() > 1 || meta->node == nullptr || meta->node.use_count() > 1)
      continue;
    for (auto& input : meta->node->inputs) pending.push_back(std::move(input));
    meta->node->inputs.clear();
  }
}

bool will_record(const std::vector<Tensor>& inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& t : inputs) {
    if (t.requires_grad()) return true;
  }
  return false;
}

Tensor record(const char* name, Tensor output, const std::vector<Tensor>& inputs, std::vector<Saved> saved,
              std::function<Gradients(const Node&, Tensor)> backward) {
  if (!will_record(inputs)) return output;
  auto node = std::make_shared<Node>();
  node->name = name;
  node->layer = current_layer();
  for (const Tensor& t : inputs) node->inputs.push_back(t.meta());
  node->saved = std::move(saved);
  node->backward = std::move(backward);
  auto meta = std::make_shared<GradMeta>();
  meta->shape = output.shape();
  meta->dtype = output.dtype();
  meta->node = std::move(node);
  return with_meta(std::move(output), std::move(meta));
}

std::int64_t saved_bytes(const Tensor& root, const std::vector<Tensor>& besides) {
  std::set<const Storage*> seen;
  for (const Tensor& t : besides) seen.insert(t.storage().get());
  std::set<const GradMeta*> visited{root.meta().get()};
  std::vector<const GradMeta*> stack{root.meta().get()};
  std::int64_t bytes = 0;
  while (!stack.empty()) {
    const GradMeta* meta = stack.back();
    stack.pop_back();
    if (meta == nullptr || meta->node == nullptr) continue;
    for (const Saved& saved : meta->node->saved) {
      if (!saved.tensor()) continue;
      const Storage* storage = saved.tensor().storage().get();
      if (seen.insert(storage).second) bytes += storage->bytes();
    }
    for (const auto& input : meta->node->inputs) {
      if (visited.insert(input.get()).second) stack.push_back(input.get());
    }
  }
  return bytes;
}

Tensor reuse_or_empty(const Tensor& dy) {
  return dy.sole_owner() ? dy : Tensor::empty(dy.shape(), dy.dtype(), dy.device());
}

namespace {

using MetaPtr = std::shared_ptr<GradMeta>;

Tensor sum_of(const Tensor& a, const Tensor& b, const Tensor& out) {
  const AddProblem problem{.dtype = a.dtype(), .a = a.shape(), .b = b.shape()};
  dispatch(add_forward, problem, {a.view(), b.view(), out.view()});
  return out;
}

// In place only where nobody else holds the bytes: a gradient that a node passed on to two inputs, or that
// the user took from a hook, is never written to.
void accumulate(Tensor& into, Tensor gradient) {
  if (!into) {
    into = std::move(gradient);
  } else if (into.sole_owner()) {
    sum_of(into, gradient, into);
  } else {
    into = sum_of(into, gradient, Tensor::empty(into.shape(), into.dtype(), into.device()));
  }
}

class Walk : public PendingGradients {
 public:
  explicit Walk(const MetaPtr& root) { count_consumers(root); }

  void run(const MetaPtr& root, Tensor seed) {
    NoGrad no_grad;
    pending_[root.get()] = std::move(seed);
    ready_.push_back(root);
    while (!ready_.empty()) {
      const MetaPtr meta = std::move(ready_.back());
      ready_.pop_back();
      step(meta);
    }
  }

  Tensor take(const GradMeta& input) override {
    const auto found = pending_.find(&input);
    if (found == pending_.end() || !found->second.sole_owner()) return {};
    taken_.emplace_back(&input, found->second.storage());
    return std::move(found->second);
  }

 private:
  void count_consumers(const MetaPtr& root) {
    std::vector<GradMeta*> stack{root.get()};
    consumers_[root.get()] = 0;
    while (!stack.empty()) {
      GradMeta* meta = stack.back();
      stack.pop_back();
      if (!meta->node) continue;
      if (meta->node->released) {
        fail(fmt::format(
            "backward through '{}' a second time: its saved tensors were freed by the first; run the "
            "forward again",
            meta->node->name));
      }
      for (const MetaPtr& input : meta->node->inputs) {
        if (input && consumers_[input.get()]++ == 0 && input != root) stack.push_back(input.get());
      }
    }
  }

  // The gradient of `meta` is complete: hooks, then the leaf's own gradient or the node's backward.
  void step(const MetaPtr& meta) {
    Tensor gradient = std::move(pending_[meta.get()]);
    pending_.erase(meta.get());
    if (gradient) {
      for (const auto& hook : meta->hooks) {
        if (Tensor replaced = hook(gradient)) gradient = std::move(replaced);
      }
    }
    if (!meta->node) {
      if (gradient) accumulate(meta->grad, std::move(gradient));
      return;
    }
    run_node(*meta->node, std::move(gradient));
  }

  void run_node(Node& node, Tensor gradient) {
    const LayerScope layer(node.layer);
    Gradients gradients(node.inputs.size());
    if (gradient) {
      const FunctionScope running(node.name, true);
      node.pending = this;
      gradients = node.backward(node, std::move(gradient));
      node.pending = nullptr;
    }
    if (gradients.size() != node.inputs.size()) {
      fail(fmt::format("backward of '{}' returned {} gradients for {} inputs", node.name, gradients.size(),
                       node.inputs.size()));
    }
    check_returned(node, gradients);
    node.release();
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const MetaPtr& input = node.inputs[i];
      if (!input) continue;
      if (gradients[i]) pass(node, *input, std::move(gradients[i]));
      if (--consumers_[input.get()] == 0) ready_.push_back(input);
    }
  }

  // What a backward took it must have returned, or the gradient so far would be lost.
  void check_returned(const Node& node, const Gradients& gradients) {
    for (const auto& [input, storage] : taken_) {
      bool returned = false;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        returned |= node.inputs[i].get() == input && gradients[i] && gradients[i].storage() == storage.lock();
      }
      if (!returned)
        fail(fmt::format("backward of '{}' took a gradient of {} and did not return it", node.name,
                         to_string(input->shape)));
    }
    taken_.clear();
  }

  void pass(const Node& node, const GradMeta& input, Tensor gradient) {
    if (gradient.shape() != input.shape || gradient.dtype() != input.dtype) {
      fail(fmt::format("backward of '{}' returned a gradient of {} {} for an input of {} {}", node.name,
                       to_string(gradient.shape()), name_of(gradient.dtype()), to_string(input.shape),
                       name_of(input.dtype)));
    }
    accumulate(pending_[&input], std::move(gradient));
  }

  std::unordered_map<const GradMeta*, int> consumers_;
  std::unordered_map<const GradMeta*, Tensor> pending_;
  std::vector<std::pair<const GradMeta*, std::weak_ptr<Storage>>> taken_;  // by the node that runs
  std::vector<MetaPtr> ready_;
};

}  // namespace

void Tensor::backward(const Tensor& dy) const {
  if (!requires_grad()) {
    fail(
        "backward() of a tensor that no recorded function made: it requires no gradient (gradients "
        "themselves carry "
        "no graph, so there is no double backward)");
  }
  Tensor seed = dy;
  if (!seed) {
    if (numel() != 1)
      fail(fmt::format("backward() of a tensor of {} needs a gradient to start from", to_string(shape())));
    seed = Tensor::full(shape(), 1.0, dtype(), device());
  }
  if (seed.shape() != shape() || seed.dtype() != dtype()) {
    fail(fmt::format("backward() of a tensor of {} got a seed of {}", to_string(shape()),
                     to_string(seed.shape())));
  }
  Walk(meta()).run(meta(), std::move(seed));
}

}  // namespace fovea
