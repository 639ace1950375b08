// relu, sigmoid and gelu, forward and backward: one pass, element by element.
//
// Idea: a thread takes 16 bytes of each tensor at a time; what makes no whole vector goes one by one. Outputs may be
// inputs: a thread writes what it alone has read.
//
// Traffic: Cost's bytes. Launch: a thread for each vector, at most 64 blocks of 256 threads for each multiprocessor.
#include "kernels/cuda/elementwise.hpp"
#include "kernels/pointwise/kernels.hpp"

namespace fovea::SIMT_WORLD {
namespace {

struct Relu {
  static constexpr int blocks_at_once = element_blocks_at_once;
  template <class T, class A>
  static __device__ __forceinline__ A of(A x) {
    return x < A(0) ? A(0) : x;  // NaN passes
  }
  template <class A>
  static __device__ __forceinline__ A gradient(A y, A dy) {
    return y <= A(0) ? A(0) : dy;
  }
};

struct Sigmoid {
  static constexpr int blocks_at_once = element_blocks_at_once;
  template <class T, class A>
  static __device__ __forceinline__ A of(A x) {
    if constexpr (sizeof(T) == 2) {
      return simt::fast_sigmoid(x);  // far better than what y is rounded by
    } else {
      return A(1) / (A(1) + std::exp(-x));
    }
  }
  template <class A>
  static __device__ __forceinline__ A gradient(A y, A dy) {
    return dy * y * (A(1) - y);
  }
};

/// Its gradient is that at x, not at y.
struct Gelu {
  static constexpr int blocks_at_once = 2;  // erf and exp in double: 128 registers
  template <class A>
  static __device__ __forceinline__ A share(A x) {
    return A(0.5) * (A(1) + std::erf(x * A(0.70710678118654752440)));
  }
  template <class T, class A>
  static __device__ __forceinline__ A of(A x) {
    return x * share(x);
  }
  template <class A>
  static __device__ __forceinline__ A gradient(A x, A dy) {
    const A density = A(0.39894228040143267794) * std::exp(A(-0.5) * x * x);
    return dy * (share(x) + x * density);
  }
};

template <class F, class T, int V>
__global__ void __launch_bounds__(element_threads, F::blocks_at_once)
    unary_forward(const T* x, std::int64_t count, T* y) {
  using A = Accumulator<T>;
  for_each_run<V>(count, [&](std::int64_t at, auto run) {
    constexpr int N = run.value;
    A values[N];
    load_as<N>(values, x + at);
#pragma unroll
    for (int e = 0; e < N; ++e) values[e] = F::template of<T>(values[e]);
    store_as<N>(y + at, values);
  });
}

template <class F, class T, int V>
__global__ void __launch_bounds__(element_threads, F::blocks_at_once)
    unary_backward(const T* y, const T* dy, std::int64_t count, T* dx) {
  using A = Accumulator<T>;
  for_each_run<V>(count, [&](std::int64_t at, auto run) {
    constexpr int N = run.value;
    A values[N], gradient[N];
    load_as<N>(values, y + at);
    load_as<N>(gradient, dy + at);
#pragma unroll
    for (int e = 0; e < N; ++e) gradient[e] = F::gradient(values[e], gradient[e]);
    store_as<N>(dx + at, gradient);
  });
}

template <class F>
void forward(const char* name, const PointwiseProblem& p, Ports ports, Stream stream) {
  visit_runs(p.dtype, aligned_16({ports[0].data, ports[1].data}), [&](auto zero, auto vector) {
    using T = decltype(zero);
    simt::launch(name, &unary_forward<F, T, vector>, element_launch((p.count + vector - 1) / vector, stream),
                 ports[0].as<T>(), p.count, ports[1].as<T>());
  });
}

template <class F>
void backward(const char* name, const PointwiseProblem& p, Ports ports, Stream stream) {
  const bool aligned = aligned_16({ports[0].data, ports[1].data, ports[2].data});
  visit_runs(p.dtype, aligned, [&](auto zero, auto vector) {
    using T = decltype(zero);
    simt::launch(name, &unary_backward<F, T, vector>, element_launch((p.count + vector - 1) / vector, stream),
                 ports[0].as<T>(), ports[1].as<T>(), p.count, ports[2].as<T>());
  });
}

}  // namespace

bool supports_pointwise_vector(const PointwiseProblem&) { return runs_here(); }

void relu_forward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  forward<Relu>("relu.forward vector", p, ports, stream);
}
void relu_backward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  backward<Relu>("relu.backward vector", p, ports, stream);
}
void sigmoid_forward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  forward<Sigmoid>("sigmoid.forward vector", p, ports, stream);
}
void sigmoid_backward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  backward<Sigmoid>("sigmoid.backward vector", p, ports, stream);
}
void gelu_forward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  forward<Gelu>("gelu.forward vector", p, ports, stream);
}
void gelu_backward_vector(const PointwiseProblem& p, Ports ports, Stream stream) {
  backward<Gelu>("gelu.backward vector", p, ports, stream);
}

}  // namespace fovea::SIMT_WORLD
