// See cublaslt.hpp. cublasLt counts by columns, so it computes the transpose, d^T = op(b)^T op(a)^T, on the same bytes;
// its bias, one value for each row of what it computes, is then ours for each column.
#include "kernels/cuda/cublaslt.hpp"

#include <cublasLt.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "kernels/cuda/library_answer.hpp"
#include "kernels/runtime/error.hpp"

namespace fovea::cublaslt {
namespace {

// ---- the library, called by hand

#define FOVEA_CALLS(one)                                                                               \
  one(GetVersion) one(Create) one(MatmulDescCreate) one(MatmulDescDestroy) one(MatmulDescSetAttribute) \
      one(MatrixLayoutCreate) one(MatrixLayoutDestroy) one(MatmulPreferenceCreate)                     \
          one(MatmulPreferenceDestroy) one(MatmulPreferenceSetAttribute) one(MatmulAlgoGetHeuristic)   \
              one(MatmulAlgoConfigGetAttribute) one(Matmul)

struct Calls {
#define FOVEA_CALL(name) decltype(&::cublasLt##name) name = nullptr;
  FOVEA_CALLS(FOVEA_CALL)
#undef FOVEA_CALL
};

struct Library {
  LibraryAnswer answer;
  Calls calls;
};

// cublasLt counts 130100 for 13.1.0, as sentences here do.
Library load() {
  Library library;
  LibraryAnswer& answer = library.answer;
  answer.name = "cublasLt";
  answer.file = "libcublasLt.so.13";
  answer.needed = 130000;
  LibraryFunctions functions(load_library(answer, FOVEA_CUDA_LIBRARIES));
#define FOVEA_CALL(name) functions.find("cublasLt" #name, library.calls.name);
  FOVEA_CALLS(FOVEA_CALL)
#undef FOVEA_CALL
#undef FOVEA_CALLS
  answer.version = functions.complete() ? static_cast<int>(library.calls.GetVersion()) : 0;
  return library;
}

const Library& library() {
  static const Library loaded = load();
  return loaded;
}
const Calls& lt() { return library().calls; }

void check(cublasStatus_t status, const std::string& what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail(fmt::format("{}: cublasLt {} answered with status {}", what, version(), static_cast<int>(status)));
  }
}

// Never destroyed, since the driver may be gone before static objects are.
cublasLtHandle_t handle() {
  static const cublasLtHandle_t made = [] {
    cublasLtHandle_t h = nullptr;
    check(lt().Create(&h), "cublasLtCreate");
    return h;
  }();
  return made;
}

// ---- descriptors

template <class T, auto Destroy>
struct Owned {
  T value = nullptr;
  Owned() = default;
  ~Owned() {
    if (value != nullptr) (lt().*Destroy)(value);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};
using Operation = Owned<cublasLtMatmulDesc_t, &Calls::MatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, &Calls::MatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, &Calls::MatmulPreferenceDestroy>;

cudaDataType type_of(Dtype dtype) { return dtype == Dtype::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

// Of the transpose that is computed: its B is our a, from which the bias gradient is summed.
cublasLtEpilogue_t epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::relu:
      return CUBLASLT_EPILOGUE_RELU;
    case Epilogue::relu_bias:
      return CUBLASLT_EPILOGUE_RELU_BIAS;
    case Epilogue::relu_aux:
      return CUBLASLT_EPILOGUE_RELU_AUX;
    case Epilogue::relu_aux_bias:
      return CUBLASLT_EPILOGUE_RELU_AUX_BIAS;
    case Epilogue::relu_backward:
      return CUBLASLT_EPILOGUE_DRELU;
    case Epilogue::relu_backward_bias:
      return CUBLASLT_EPILOGUE_DRELU_BGRAD;
    case Epilogue::gelu:
      return CUBLASLT_EPILOGUE_GELU;
    case Epilogue::gelu_bias:
      return CUBLASLT_EPILOGUE_GELU_BIAS;
    case Epilogue::gelu_aux:
      return CUBLASLT_EPILOGUE_GELU_AUX;
    case Epilogue::gelu_aux_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_backward:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::gelu_backward_bias:
      return CUBLASLT_EPILOGUE_DGELU_BGRAD;
    case Epilogue::bias_gradient:
      return CUBLASLT_EPILOGUE_BGRADB;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

// One product in one compute type.
struct Form {
  Operation operation;
  std::vector<cublasLtMatmulHeuristicResult_t> results;
};

class LtOp : public PlannedOp {
 public:
  explicit LtOp(const MatmulSpec& spec) : spec_(spec) {
    if (const std::string wrong = spec.problem(); !wrong.empty()) fail(wrong);
    layout(a_, spec.in, spec.transpose_a ? spec.k : spec.m, spec.transpose_a ? spec.m : spec.k);
    layout(b_, spec.in, spec.transpose_b ? spec.n : spec.k, spec.transpose_b ? spec.k : spec.n);
    layout(d_, spec.out, spec.m, spec.n);
    list(forms_[0], CUBLAS_COMPUTE_32F, false);
    if (spec.in == Dtype::f32) list(forms_[1], CUBLAS_COMPUTE_32F_FAST_TF32, true);
  }

  std::span<const PlanInfo> plans() const override { return plans_; }
  void build(std::size_t) override {}

  void run(std::size_t plan, std::span<void* const> tensors, void* workspace, Stream stream) override {
    const Place& place = places_[plan];
    Form& form = forms_[place.form];
    void* const bias = spec_.has_bias() ? tensors[3] : nullptr;
    void* const aux = spec_.has_aux() ? tensors[spec_.has_bias() ? 4 : 3] : nullptr;
    if (bias != nullptr) set(form.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (aux != nullptr) set(form.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
    const float alpha = static_cast<float>(spec_.scale), beta = 0;
    check(lt().Matmul(handle(), form.operation.value, &alpha, tensors[1], b_.value, tensors[0], a_.value,
                      &beta, tensors[2], d_.value, tensors[2], d_.value, &form.results[place.result].algo,
                      workspace, static_cast<std::size_t>(plans_[plan].workspace),
                      static_cast<cudaStream_t>(stream.handle)),
          spec_.primitive);
  }

 private:
  struct Place {
    std::size_t form, result;
  };

  // Rows of `columns` values are columns of as many to cublasLt.
  void layout(Layout& made, Dtype dtype, std::int64_t rows, std::int64_t columns) {
    check(lt().MatrixLayoutCreate(&made.value, type_of(dtype), static_cast<std::uint64_t>(columns),
                                  static_cast<std::uint64_t>(rows), columns),
          spec_.primitive);
  }
  template <class T>
  void set(Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(lt().MatmulDescSetAttribute(operation.value, attribute, &value, sizeof(value)), spec_.primitive);
  }

  void list(Form& form, cublasComputeType_t compute, bool tf32) {
    check(lt().MatmulDescCreate(&form.operation.value, compute, CUDA_R_32F), spec_.primitive);
    set(form.operation, CUBLASLT_MATMUL_DESC_TRANSA, spec_.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(form.operation, CUBLASLT_MATMUL_DESC_TRANSB, spec_.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(form.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(spec_.epilogue));
    if (spec_.has_bias()) set(form.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(spec_.out));
    if (spec_.has_aux()) {
      set(form.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, spec_.aux_columns());
      const bool values =
          spec_.aux_columns() == spec_.n && spec_.aux_bytes() == spec_.m * spec_.n * size_of(spec_.out);
      if (values) set(form.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type_of(spec_.out));
    }
    // Its heuristics look whether these are set; run() sets them to the tensors.
    void* const somewhere = reinterpret_cast<void*>(std::uintptr_t{4096});
    if (spec_.has_bias()) set(form.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere);
    if (spec_.has_aux()) set(form.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, somewhere);
    Preference preference;
    check(lt().MatmulPreferenceCreate(&preference.value), spec_.primitive);
    const std::size_t most = std::size_t{4} << 30;
    check(lt().MatmulPreferenceSetAttribute(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
                                            sizeof(most)),
          spec_.primitive);
    // Tensors begin where Storage does or at a multiple of 16 bytes; unasked, cublasLt counts on 256.
    const std::uint32_t alignment = 16;
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      check(lt().MatmulPreferenceSetAttribute(preference.value, attribute, &alignment, sizeof(alignment)),
            spec_.primitive);
    }
    form.results.resize(asked_for);
    int found = 0;
    const cublasStatus_t status =
        lt().MatmulAlgoGetHeuristic(handle(), form.operation.value, b_.value, a_.value, d_.value, d_.value,
                                    preference.value, asked_for, form.results.data(), &found);
    form.results.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<std::size_t>(found) : 0);
    for (std::size_t i = 0; i < form.results.size(); ++i) add(form, i, tf32);
  }

  void add(const Form& form, std::size_t i, bool tf32) {
    const cublasLtMatmulHeuristicResult_t& result = form.results[i];
    if (result.state != CUBLAS_STATUS_SUCCESS) return;
    const auto config = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) {
      std::int32_t value = 0;
      std::size_t written = 0;
      (void)lt().MatmulAlgoConfigGetAttribute(&result.algo, attribute, &value, sizeof(value), &written);
      return value;
    };
    // Cluster shape and inner shape have two bytes.
    const auto config16 = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) {
      std::uint16_t value = 0;
      std::size_t written = 0;
      (void)lt().MatmulAlgoConfigGetAttribute(&result.algo, attribute, &value, sizeof(value), &written);
      return value;
    };
    const std::int32_t reduction = config(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
    PlanInfo info;
    info.engine = fmt::format("algo{}{}", config(CUBLASLT_ALGO_CONFIG_ID), tf32 ? "_tf32" : "");
    info.knobs = fmt::format(
        "tile={} stages={} split_k={} reduction={} swizzle={} custom={} inner={} cluster={}",
        config(CUBLASLT_ALGO_CONFIG_TILE_ID), config(CUBLASLT_ALGO_CONFIG_STAGES_ID),
        config(CUBLASLT_ALGO_CONFIG_SPLITK_NUM), reduction, config(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING),
        config(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION), config16(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID),
        config16(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
    info.workspace = static_cast<std::int64_t>(result.workspaceSize);
    // Its counters keep even sums in place in order; but these, and one more scheme, add up in the output's type.
    const std::int32_t in_output_type =
        CUBLASLT_REDUCTION_SCHEME_INPLACE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    info.approximate = spec_.out == Dtype::bf16 && (reduction & in_output_type) != 0;
    info.tf32 = tf32;
    if (!seen_.insert(info.engine + info.knobs).second) return;
    plans_.push_back(info);
    places_.push_back({tf32 ? std::size_t{1} : 0, i});
  }

  static constexpr int asked_for = 64;
  MatmulSpec spec_;
  Layout a_, b_, d_;
  std::array<Form, 2> forms_;
  std::vector<PlanInfo> plans_;
  std::vector<Place> places_;
  std::set<std::string> seen_;
};

}  // namespace

std::string why_unusable() { return sentence_of(library().answer); }

std::string version() { return library().answer.loaded ? version_text(library().answer.version) : ""; }

std::unique_ptr<PlannedOp> plan(const MatmulSpec& spec) {
  if (const std::string why = why_unusable(); !why.empty()) fail(why);
  return std::make_unique<LtOp>(spec);
}

}  // namespace fovea::cublaslt
