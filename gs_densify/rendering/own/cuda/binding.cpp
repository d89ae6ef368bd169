// The kernels for Python: allocates, and says where tensors lie. Checks are the caller's.

// Not torch/extension.h, which takes twice as long to compile.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/utils/pybind.h>

#include "kernels.h"

namespace {

using at::Tensor;
using std::optional;

const float* floats(const Tensor& t) { return t.data_ptr<float>(); }
const float* floats(const optional<Tensor>& t) { return t ? t->data_ptr<float>() : nullptr; }
const int32_t* ints(const Tensor& t) { return t.data_ptr<int32_t>(); }
uint32_t* words(const Tensor& t) { return reinterpret_cast<uint32_t*>(t.data_ptr<int32_t>()); }
void* stream_of(int64_t stream) { return reinterpret_cast<void*>(stream); }

Tensor made(const Tensor& like, at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return at::empty(shape, like.options().dtype(type));
}

struct Scene {
  gs::Model model;
  gs::View view;

  Scene(const Tensor& means, const Tensor& quats, const Tensor& scales, const Tensor& opacities,
        const Tensor& base, const optional<Tensor>& rest, int64_t degree, bool is_stored,
        const Tensor& viewmats, const Tensor& Ks, int64_t width, int64_t height, double near_plane,
        double far_plane, double radius_clip, bool antialiased) {
    model.count = int(means.size(0));
    model.means = floats(means), model.quats = floats(quats);
    model.scales = floats(scales), model.opacities = floats(opacities);
    model.base = floats(base), model.base_stride = int(base.stride(0));
    model.rest = floats(rest), model.rest_stride = rest ? int(rest->stride(0)) : 0;
    model.rest_columns = rest ? int(3 * rest->size(1)) : 0;
    model.degree = int(degree), model.is_stored = is_stored;
    view.cameras = int(viewmats.size(0)), view.width = int(width), view.height = int(height);
    view.viewmats = floats(viewmats), view.Ks = floats(Ks);
    view.near_plane = float(near_plane), view.far_plane = float(far_plane);
    view.radius_clip = float(radius_clip), view.antialiased = antialiased;
  }
};

std::vector<Tensor> project(const Scene& scene, const Tensor& means, int64_t stream) {
  const at::DeviceGuard guard(means.device());
  const int64_t C = scene.view.cameras, N = scene.model.count;
  Tensor means2d = made(means, {C, N, 2}), records = made(means, {C, N, gs::RECORD});
  Tensor depths = made(means, {C, N}), radii = made(means, {C, N, 2}, at::kInt);
  Tensor tiles = made(means, {C, N}, at::kInt), keys = made(means, {C, N}, at::kInt);
  Tensor total = at::zeros({1}, means.options().dtype(at::kLong));
  gs::project(scene.model, scene.view,
              {means2d.data_ptr<float>(), records.data_ptr<float>(), depths.data_ptr<float>(),
               radii.data_ptr<int32_t>(), tiles.data_ptr<int32_t>(), words(keys),
               total.data_ptr<int64_t>()},
              stream_of(stream));
  return {means2d, records, depths, radii, tiles, keys, total};
}

gs::Step step_of(const Tensor& value, const Tensor& average, const Tensor& square, double size,
                 double eps, double decay, double weight1, double weight2) {
  return {value.data_ptr<float>(), average.data_ptr<float>(), square.data_ptr<float>(), float(size),
          float(eps), float(decay), float(weight1), float(weight2)};
}

// Where `steps` has one for a parameter, it is made and there is no gradient.
std::vector<optional<Tensor>> project_backward(const Scene& scene, const Tensor& radii,
                                               const Tensor& v_means2d, const Tensor& v_records,
                                               const optional<Tensor>& v_depths, bool poses,
                                               const std::vector<optional<gs::Step>>& steps,
                                               int64_t stream) {
  const at::DeviceGuard guard(radii.device());
  const int64_t N = scene.model.count, columns = scene.model.rest_columns;
  const std::vector<int64_t> shapes[] = {{N, 3}, {N, 4}, {N, 3}, {N}, {N, 3}, {N, columns / 3, 3}};
  std::vector<optional<Tensor>> found(7);
  gs::Target targets[6] = {};
  for (int k = 0; k < 6; ++k) {
    if (k == 5 && !scene.model.rest) continue;
    if (steps[k]) {
      targets[k].step = *steps[k];
    } else {
      found[k] = made(v_means2d, shapes[k]);
      targets[k].gradient = found[k]->data_ptr<float>();
    }
  }
  if (poses) found[6] = at::zeros({scene.view.cameras, 4, 4}, v_means2d.options());
  gs::project_backward(scene.model, scene.view, ints(radii), floats(v_means2d), floats(v_records),
                       int(v_records.stride(1)), floats(v_depths),
                       {targets[0], targets[1], targets[2], targets[3], targets[4], targets[5],
                        found[6] ? found[6]->data_ptr<float>() : nullptr},
                       stream_of(stream));
  return found;
}

constexpr int64_t MOST_PAIRS = (int64_t(1) << 31) - 2;  // as many as an int32 counts, and one

// What `gs::Sources` points to.
struct Sources {
  Tensor entries, order, tiles, ends;
};

gs::Sources pointers(const optional<Sources>& s) {
  if (!s) return {};
  return {ints(s->entries), ints(s->order), ints(s->tiles), s->ends.const_data_ptr<int64_t>()};
}

// The number of pairs, once it is at `host`.
int64_t pairs_after(const c10::Event& copied, const Tensor& host) {
  {
    const pybind11::gil_scoped_release others_go_on;
    copied.synchronize();
  }
  const int64_t pairs = *host.const_data_ptr<int64_t>();
  if (pairs > MOST_PAIRS)
    throw std::runtime_error(std::to_string(pairs) + " pairs of a tile and a Gaussian");
  return pairs;
}

// Returns the Gaussians [I] of all tiles, front to back, where each tile's begin [tiles + 1], and
// where entries come from if `deterministic`. With room for I pairs it does not wait for their
// number, which is copied to `count_at` (pinned) in any case.
std::tuple<Tensor, Tensor, optional<Sources>> order(
    const Tensor& records, const Tensor& tiles, const Tensor& keys, const Tensor& total,
    int64_t tiles_x, int64_t tiles_y, const optional<int64_t>& room, const optional<Tensor>& count_at,
    bool deterministic, int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const int64_t C = records.size(0), N = records.size(1), count = C * N;
  void* s = stream_of(stream);
  // The number is copied before the sort, so that it is there while the GPU sorts.
  const Tensor host =
      count_at ? *count_at : at::empty({1}, at::TensorOptions().dtype(at::kLong).pinned_memory(true));
  gs::copy_total(total.const_data_ptr<int64_t>(), host.data_ptr<int64_t>(), s);
  c10::Event copied(c10::kCUDA);
  if (!room) copied.record(c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(total.device()));
  size_t bytes = gs::depth_order_bytes(count);
  Tensor sorted = made(keys, {count}, at::kInt), ids = made(keys, {count}, at::kInt);
  Tensor by_depth = made(keys, {count}, at::kInt), ends = made(keys, {count}, at::kLong);
  Tensor scratch = made(keys, {int64_t(bytes)}, at::kByte);
  gs::depth_order(count, words(keys), ints(tiles), words(sorted), ids.data_ptr<int32_t>(),
                  by_depth.data_ptr<int32_t>(), ends.data_ptr<int64_t>(), scratch.data_ptr(), bytes, s);
  const int64_t pairs = room ? *room : pairs_after(copied, host);
  bytes = gs::tile_order_bytes(pairs);
  Tensor tile_keys = made(keys, {pairs}, at::kInt), tile_ids = made(keys, {pairs}, at::kInt);
  Tensor sorted_keys = made(keys, {pairs}, at::kInt), sorted_ids = made(keys, {pairs}, at::kInt);
  Tensor offsets = made(keys, {C * tiles_x * tiles_y + 1}, at::kInt);
  scratch = made(keys, {int64_t(bytes)}, at::kByte);
  Tensor places, entries;
  if (deterministic) places = made(keys, {pairs}, at::kInt), entries = made(keys, {pairs}, at::kInt);
  gs::tile_order(count, N, pairs, !room, int(tiles_x), int(tiles_y), int(C), ints(by_depth),
                 ends.data_ptr<int64_t>(), floats(records), ints(tiles), words(tile_keys),
                 tile_ids.data_ptr<int32_t>(), words(sorted_keys), sorted_ids.data_ptr<int32_t>(),
                 offsets.data_ptr<int32_t>(), deterministic ? places.data_ptr<int32_t>() : nullptr,
                 deterministic ? entries.data_ptr<int32_t>() : nullptr, scratch.data_ptr(), bytes, s);
  if (!deterministic) return {sorted_ids, offsets, {}};
  return {sorted_ids, offsets, Sources{entries, by_depth, tiles, ends}};
}

gs::Lists lists_of(const Tensor& records, const optional<Tensor>& aux, const Tensor& ids,
                   const Tensor& offsets, int64_t width, int64_t height) {
  gs::Lists lists;
  lists.cameras = int(records.size(0)), lists.gaussians = int(records.size(1));
  lists.width = int(width), lists.height = int(height);
  lists.tiles_x = int((width + gs::TILE - 1) / gs::TILE);
  lists.tiles_y = int((height + gs::TILE - 1) / gs::TILE);
  lists.pairs = int(ids.size(0));
  lists.records = floats(records), lists.aux = floats(aux);
  lists.channels = aux ? int(aux->size(1)) : 0;
  lists.offsets = ints(offsets), lists.ids = ints(ids);
  return lists;
}

float* pointer(const optional<Tensor>& t) { return t ? t->data_ptr<float>() : nullptr; }

// Returns the image, alpha, further channels, and what backward needs besides them.
std::vector<optional<Tensor>> composite(const Tensor& records, const optional<Tensor>& aux,
                                        const Tensor& ids, const Tensor& offsets, int64_t width,
                                        int64_t height, bool differentiable, int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const gs::Lists lists = lists_of(records, aux, ids, offsets, width, height);
  const int64_t C = lists.cameras;
  Tensor image = made(records, {C, height, width, 3}), alpha = made(records, {C, height, width, 1});
  Tensor rest = made(records, {C, height, width}), last = made(records, {C, height, width}, at::kInt);
  optional<Tensor> further, states;
  if (aux) further = made(records, {C, height, width, lists.channels});
  if (differentiable || gs::is_in_pieces(lists)) states = made(records, {gs::states_of(lists)});
  gs::composite(lists,
                {image.data_ptr<float>(), pointer(further), alpha.data_ptr<float>(),
                 rest.data_ptr<float>(), last.data_ptr<int32_t>()},
                pointer(states), stream_of(stream));
  return {image, alpha, further, rest, last, states};
}

std::vector<optional<Tensor>> composite_backward(
    const Tensor& records, const optional<Tensor>& aux, const Tensor& ids, const Tensor& offsets,
    const Tensor& image, const optional<Tensor>& further, const Tensor& rest, const Tensor& last,
    const Tensor& states, const Tensor& v_image, const optional<Tensor>& v_aux, const Tensor& v_alpha,
    bool absolute, const optional<Sources>& sources, int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const gs::Lists lists = lists_of(records, aux, ids, offsets, rest.size(2), rest.size(1));
  const int64_t C = lists.cameras, N = lists.gaussians, width = gs::gradient_width(lists.channels);
  Tensor sums = at::zeros({sources ? lists.pairs : C * N, width}, records.options());
  Tensor v_means2d = made(records, {C, N, 2});
  optional<Tensor> absgrad, v_channels;
  if (absolute) absgrad = made(records, {C, N, 2});
  if (aux) v_channels = made(records, {N, lists.channels});
  gs::composite_backward(lists,
                         {image.data_ptr<float>(), pointer(further), nullptr, rest.data_ptr<float>(),
                          last.data_ptr<int32_t>()},
                         floats(states), {floats(v_image), floats(v_aux), floats(v_alpha)}, absolute,
                         pointers(sources), sums.data_ptr<float>(), stream_of(stream));
  Tensor v_records = sources ? made(records, {C, N, width}) : sums.view({C, N, width});
  if (sources)
    gs::gather_entries(lists, pointers(sources), floats(sums), v_records.data_ptr<float>(),
                       stream_of(stream));
  gs::finish_gradients(lists, floats(v_records), v_means2d.data_ptr<float>(), pointer(absgrad),
                       pointer(v_channels), stream_of(stream));
  // What of it is no further channels' has a record's shape, which autograd asks for.
  return {v_records.narrow(2, 0, gs::RECORD), v_means2d, absgrad, v_channels};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  pybind11::class_<Scene>(m, "Scene")
      .def(pybind11::init<const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const optional<Tensor>&, int64_t, bool, const Tensor&, const Tensor&, int64_t,
                          int64_t, double, double, double, bool>());
  pybind11::class_<Sources>(m, "Sources");
  pybind11::class_<gs::Step>(m, "Step").def(pybind11::init(&step_of));
  m.def("project", &project);
  m.def("project_backward", &project_backward);
  m.def("order", &order);
  m.def("composite", &composite);
  m.def("composite_backward", &composite_backward);
}
