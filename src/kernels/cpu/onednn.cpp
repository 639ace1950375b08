// See onednn.hpp.
#include "kernels/cpu/onednn.hpp"

namespace fovea::onednn {

dnnl::engine& engine() {
  static dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

dnnl::stream& stream() {
  static dnnl::stream instance(engine());
  return instance;
}

dnnl::memory::desc strided(const dnnl::memory::dims& dims, const dnnl::memory::dims& strides) {
  return {dims, dnnl::memory::data_type::f32, strides};
}

dnnl::memory::desc nhwc(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return {{n, c, h, w}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::nhwc};
}

dnnl::memory::desc any(const dnnl::memory::dims& dims) {
  return {dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
}

dnnl::memory::dims filter_dims(std::int64_t k, std::int64_t c, std::int64_t r, std::int64_t s,
                               std::int64_t groups) {
  if (groups == 1) return {k, c, r, s};
  return {groups, k / groups, c / groups, r, s};
}

dnnl::memory::desc filters(std::int64_t k, std::int64_t c, std::int64_t r, std::int64_t s,
                           std::int64_t groups) {
  const std::int64_t cg = c / groups, per_filter = r * s * cg;
  if (groups == 1) return strided(filter_dims(k, c, r, s, 1), {per_filter, 1, s * cg, cg});
  return strided(filter_dims(k, c, r, s, groups), {k / groups * per_filter, per_filter, 1, s * cg, cg});
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

namespace {
dnnl::reorder make_reorder(const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  return dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
}
}  // namespace

Reordered reorder_to(const dnnl::memory::desc& plain, const dnnl::memory::desc& wanted) {
  if (plain == wanted) return {plain, wanted, {}, false};
  return {plain, wanted, make_reorder(plain, wanted), true};
}

Reordered reorder_from(const dnnl::memory::desc& wanted, const dnnl::memory::desc& plain) {
  if (plain == wanted) return {plain, wanted, {}, false};
  return {plain, wanted, make_reorder(wanted, plain), true};
}

dnnl::memory bring(const Reordered& reordered, void* data, Workspace& workspace) {
  dnnl::memory plain = bind(reordered.plain, data);
  if (!reordered.needed) return plain;
  dnnl::memory wanted = bind(reordered.wanted, workspace.next(reordered.wanted.get_size()));
  dnnl::reorder(reordered.primitive).execute(stream(), plain, wanted);
  return wanted;
}

}  // namespace fovea::onednn
