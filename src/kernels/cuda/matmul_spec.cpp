// See matmul_spec.hpp.
#include "kernels/cuda/matmul_spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace fovea {
namespace {

enum Aux { no_aux, bits_out, bits_in, values_out, values_in };
enum Bias { no_bias, bias_in, bias_out };
struct EpilogueInfo {
  Epilogue epilogue;
  const char* name;
  Bias bias;
  Aux aux;
};
constexpr EpilogueInfo infos[] = {
    {Epilogue::none, "none", no_bias, no_aux},
    {Epilogue::bias, "bias", bias_in, no_aux},
    {Epilogue::relu, "relu", no_bias, no_aux},
    {Epilogue::relu_bias, "relu_bias", bias_in, no_aux},
    {Epilogue::relu_aux, "relu_aux", no_bias, bits_out},
    {Epilogue::relu_aux_bias, "relu_aux_bias", bias_in, bits_out},
    {Epilogue::relu_backward, "relu_backward", no_bias, bits_in},
    {Epilogue::relu_backward_bias, "relu_backward_bias", bias_out, bits_in},
    {Epilogue::gelu, "gelu", no_bias, no_aux},
    {Epilogue::gelu_bias, "gelu_bias", bias_in, no_aux},
    {Epilogue::gelu_aux, "gelu_aux", no_bias, values_out},
    {Epilogue::gelu_aux_bias, "gelu_aux_bias", bias_in, values_out},
    {Epilogue::gelu_backward, "gelu_backward", no_bias, values_in},
    {Epilogue::gelu_backward_bias, "gelu_backward_bias", bias_out, values_in},
    {Epilogue::bias_gradient, "bias_gradient", bias_out, no_aux},
};

const EpilogueInfo& info_of(Epilogue epilogue) {
  return *std::find_if(std::begin(infos), std::end(infos),
                       [&](const EpilogueInfo& i) { return i.epilogue == epilogue; });
}

}  // namespace

std::string_view name_of(Epilogue epilogue) { return info_of(epilogue).name; }

bool MatmulSpec::has_bias() const { return info_of(epilogue).bias != no_bias; }
bool MatmulSpec::writes_bias() const { return info_of(epilogue).bias == bias_out; }
bool MatmulSpec::has_aux() const { return info_of(epilogue).aux != no_aux; }
bool MatmulSpec::writes_aux() const {
  return info_of(epilogue).aux == bits_out || info_of(epilogue).aux == values_out;
}
std::int64_t MatmulSpec::aux_columns() const {
  const Aux aux = info_of(epilogue).aux;
  return aux == bits_out || aux == bits_in ? (n + 127) / 128 * 128 : n;
}
std::int64_t MatmulSpec::aux_bytes() const {
  const Aux aux = info_of(epilogue).aux;
  return m * (aux == bits_out || aux == bits_in ? aux_columns() / 8 : n * size_of(out));
}

std::string MatmulSpec::problem() const {
  if (m < 1 || n < 1 || k < 1)
    return fmt::format("{}: a product of {}x{}x{} must be at least 1 in every dimension", primitive, m, n, k);
  const bool known = (in == Dtype::f32 && out == Dtype::f32) ||
                     (in == Dtype::bf16 && (out == Dtype::bf16 || out == Dtype::f32));
  if (!known)
    return fmt::format("{}: there is no product of {} into {}", primitive, name_of(in), name_of(out));
  return "";
}

std::string MatmulSpec::text() const {
  std::string text = fmt::format("matmul {}x{}x{} {}{} {} -> {}", m, n, k, transpose_a ? "t" : "n",
                                 transpose_b ? "t" : "n", name_of(in), name_of(out));
  if (epilogue != Epilogue::none) text += fmt::format(" {}", name_of(epilogue));
  if (scale != 1) text += fmt::format(" scale {}", scale);
  return text;
}

}  // namespace fovea
