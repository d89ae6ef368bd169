// The kernels for Python: allocates, and says where tensors lie. Checks are the caller's.

#include <torch/extension.h>

#include "kernels.h"

namespace {

using at::Tensor;
using std::optional;

constexpr int RECORD = 16;

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
  Tensor means2d = made(means, {C, N, 2}), records = made(means, {C, N, RECORD});
  Tensor depths = made(means, {C, N}), radii = made(means, {C, N, 2}, at::kInt);
  Tensor tiles = made(means, {C, N}, at::kInt), keys = made(means, {C, N}, at::kInt);
  Tensor total = at::zeros({1}, means.options().dtype(at::kInt));
  gs::project(scene.model, scene.view,
              {means2d.data_ptr<float>(), records.data_ptr<float>(), depths.data_ptr<float>(),
               radii.data_ptr<int32_t>(), tiles.data_ptr<int32_t>(), words(keys),
               total.data_ptr<int32_t>()},
              stream_of(stream));
  return {means2d, records, depths, radii, tiles, keys, total};
}

std::vector<optional<Tensor>> project_backward(const Scene& scene, const Tensor& radii,
                                               const Tensor& v_means2d, const Tensor& v_records,
                                               const optional<Tensor>& v_depths, bool poses,
                                               int64_t stream) {
  const at::DeviceGuard guard(radii.device());
  const int64_t N = scene.model.count, columns = scene.model.rest_columns;
  Tensor means = made(v_means2d, {N, 3}), quats = made(v_means2d, {N, 4});
  Tensor scales = made(v_means2d, {N, 3}), opacities = made(v_means2d, {N});
  Tensor base = made(v_means2d, {N, 3});
  optional<Tensor> rest, viewmats;
  if (scene.model.rest) rest = made(v_means2d, {N, columns / 3, 3});
  if (poses) viewmats = at::zeros({scene.view.cameras, 4, 4}, v_means2d.options());
  gs::project_backward(scene.model, scene.view, ints(radii), floats(v_means2d), floats(v_records),
                       floats(v_depths),
                       {means.data_ptr<float>(), quats.data_ptr<float>(), scales.data_ptr<float>(),
                        opacities.data_ptr<float>(), base.data_ptr<float>(),
                        rest ? rest->data_ptr<float>() : nullptr,
                        viewmats ? viewmats->data_ptr<float>() : nullptr},
                       stream_of(stream));
  return {means, quats, scales, opacities, base, rest, viewmats};
}

// Returns the Gaussians [I] of all tiles, front to back, and where each tile's begin [tiles + 1].
// With room for I pairs it does not wait for their number, which is copied to `count_at` (pinned) later.
std::vector<Tensor> order(const Tensor& records, const Tensor& tiles, const Tensor& keys,
                          const Tensor& total, int64_t tiles_x, int64_t tiles_y,
                          const optional<int64_t>& room, const optional<Tensor>& count_at,
                          int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const int64_t C = records.size(0), N = records.size(1), count = C * N;
  void* s = stream_of(stream);
  size_t bytes = gs::depth_order_bytes(count);
  Tensor sorted = made(keys, {count}, at::kInt), ids = made(keys, {count}, at::kInt);
  Tensor by_depth = made(keys, {count}, at::kInt), ends = made(keys, {count}, at::kLong);
  Tensor scratch = made(keys, {int64_t(bytes)}, at::kByte);
  gs::depth_order(count, words(keys), ints(tiles), words(sorted), ids.data_ptr<int32_t>(),
                  by_depth.data_ptr<int32_t>(), ends.data_ptr<int64_t>(), scratch.data_ptr(), bytes, s);
  if (count_at) gs::copy_total(ints(total), count_at->data_ptr<int32_t>(), s);
  const int64_t pairs = room ? *room : gs::pairs_of(ints(total), s);
  bytes = gs::tile_order_bytes(pairs);
  Tensor tile_keys = made(keys, {pairs}, at::kInt), tile_ids = made(keys, {pairs}, at::kInt);
  Tensor sorted_keys = made(keys, {pairs}, at::kInt), sorted_ids = made(keys, {pairs}, at::kInt);
  Tensor offsets = made(keys, {C * tiles_x * tiles_y + 1}, at::kInt);
  scratch = made(keys, {int64_t(bytes)}, at::kByte);
  gs::tile_order(count, N, pairs, !room, int(tiles_x), int(tiles_y), int(C), ints(by_depth),
                 ends.data_ptr<int64_t>(), floats(records), ints(tiles), words(tile_keys),
                 tile_ids.data_ptr<int32_t>(), words(sorted_keys), sorted_ids.data_ptr<int32_t>(),
                 offsets.data_ptr<int32_t>(), scratch.data_ptr(), bytes, s);
  return {sorted_ids, offsets};
}

gs::Lists lists_of(const Tensor& records, const optional<Tensor>& aux, const Tensor& ids,
                   const Tensor& offsets, int64_t width, int64_t height, int64_t tile) {
  gs::Lists lists;
  lists.cameras = int(records.size(0)), lists.gaussians = int(records.size(1));
  lists.width = int(width), lists.height = int(height);
  lists.tiles_x = int((width + tile - 1) / tile), lists.tiles_y = int((height + tile - 1) / tile);
  lists.records = floats(records), lists.aux = floats(aux);
  lists.channels = aux ? int(aux->size(1)) : 0;
  lists.offsets = ints(offsets), lists.ids = ints(ids);
  return lists;
}

constexpr int64_t TILE = 16;

std::vector<optional<Tensor>> composite(const Tensor& records, const optional<Tensor>& aux,
                                        const Tensor& ids, const Tensor& offsets, int64_t width,
                                        int64_t height, int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const gs::Lists lists = lists_of(records, aux, ids, offsets, width, height, TILE);
  const int64_t C = lists.cameras;
  Tensor image = made(records, {C, height, width, 3}), alpha = made(records, {C, height, width, 1});
  Tensor rest = made(records, {C, height, width}), last = made(records, {C, height, width}, at::kInt);
  optional<Tensor> further;
  if (aux) further = made(records, {C, height, width, lists.channels});
  gs::composite(lists, image.data_ptr<float>(), further ? further->data_ptr<float>() : nullptr,
                alpha.data_ptr<float>(), rest.data_ptr<float>(), last.data_ptr<int32_t>(),
                stream_of(stream));
  return {image, alpha, further, rest, last};
}

std::vector<optional<Tensor>> composite_backward(const Tensor& records, const optional<Tensor>& aux,
                                                 const Tensor& ids, const Tensor& offsets,
                                                 const Tensor& rest, const Tensor& last,
                                                 const Tensor& v_image, const optional<Tensor>& v_aux,
                                                 const Tensor& v_alpha, bool absolute, int64_t stream) {
  const at::DeviceGuard guard(records.device());
  const gs::Lists lists = lists_of(records, aux, ids, offsets, rest.size(2), rest.size(1), TILE);
  const int64_t C = lists.cameras, N = lists.gaussians;
  Tensor v_records = at::zeros({C, N, RECORD}, records.options()), v_means2d = made(records, {C, N, 2});
  optional<Tensor> absgrad, v_channels;
  if (absolute) absgrad = made(records, {C, N, 2});
  if (aux) v_channels = made(records, {N, lists.channels});
  gs::composite_backward(lists, floats(rest), ints(last), floats(v_image), floats(v_aux),
                         floats(v_alpha), absolute, v_records.data_ptr<float>(), stream_of(stream));
  gs::finish_gradients(C * N, int(N), lists.channels, floats(records), floats(v_records),
                       v_means2d.data_ptr<float>(), absgrad ? absgrad->data_ptr<float>() : nullptr,
                       v_channels ? v_channels->data_ptr<float>() : nullptr, stream_of(stream));
  return {v_records, v_means2d, absgrad, v_channels};
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  pybind11::class_<Scene>(m, "Scene")
      .def(pybind11::init<const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const optional<Tensor>&, int64_t, bool, const Tensor&, const Tensor&, int64_t,
                          int64_t, double, double, double, bool>());
  m.def("project", &project);
  m.def("project_backward", &project_backward);
  m.def("order", &order);
  m.def("composite", &composite);
  m.def("composite_backward", &composite_backward);
}
