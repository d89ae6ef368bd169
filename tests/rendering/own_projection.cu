// The projection's host code for tests/rendering/test_own_projection.py: one Gaussian, one camera.

#include "adam.cuh"
#include "projection.cuh"

using namespace gs;

static Mat3 shape_of(const float* quat, const float* scales) {
  Mat3 shape = rotation_of(quat);
  for (Vec3& row : shape.row) row = {row.x * scales[0], row.y * scales[1], row.z * scales[2]};
  return shape;
}

static Frame frame_of(const float* size) { return {size[0], size[1], 0.01f, 1e10f, 0.f, false}; }

static Vec3 vec(const float* v) { return {v[0], v[1], v[2]}; }

// out: x, y, conic, square root of the ratio, rgb.
extern "C" void forward(const float* mean, const float* quat, const float* scales, const float* sh,
                        const float* viewmat, const float* K, const float* size, float* out) {
  const Camera camera = camera_of(viewmat, K);
  const Vec3 seen = times(camera.turn, vec(mean)) + camera.shift;
  const Projected p = projected(seen, shape_of(quat, scales), camera, frame_of(size));
  const Vec3 away = transposed_times(camera.turn, seen);
  const Vec3 direction = (1.f / std::sqrt(dot(away, away))) * away;
  float basis[15];
  basis_of(3, direction, basis);
  const float values[6] = {p.x, p.y, p.a, p.b, p.c, std::sqrt(p.ratio)};
  for (int k = 0; k < 6; ++k) out[k] = values[k];
  for (int c = 0; c < 3; ++c) {
    out[6 + c] = C0 * sh[c] + 0.5f;
    for (int k = 0; k < 15; ++k) out[6 + c] += basis[k] * sh[3 * (k + 1) + c];
  }
}

// v: the gradient of `out`; found: those of the mean (3), the scales (3) and the quaternion (4).
extern "C" void backward(const float* mean, const float* quat, const float* scales, const float* sh,
                         const float* viewmat, const float* K, const float* size, const float* v,
                         float* found) {
  const Camera camera = camera_of(viewmat, K);
  const Vec3 seen = times(camera.turn, vec(mean)) + camera.shift;
  const Projected p = projected(seen, shape_of(quat, scales), camera, frame_of(size));
  Vec3 v_seen;
  Mat3 v_axes;
  projected_gradient(p, camera, {v[0], v[1], v[2], v[3], v[4], v[5]}, v_seen, v_axes);
  const Mat3 back = {{{camera.turn.row[0].x, camera.turn.row[1].x, camera.turn.row[2].x},
                      {camera.turn.row[0].y, camera.turn.row[1].y, camera.turn.row[2].y},
                      {camera.turn.row[0].z, camera.turn.row[1].z, camera.turn.row[2].z}}};
  const Mat3 v_shape = product(back, v_axes);
  const Mat3 turned = rotation_of(quat);
  Mat3 v_turned;
  Vec3 v_scales = {};
  for (int k = 0; k < 3; ++k) {
    const Vec3 &r = turned.row[k], &g = v_shape.row[k];
    v_scales = v_scales + Vec3{r.x * g.x, r.y * g.y, r.z * g.z};
    v_turned.row[k] = {g.x * scales[0], g.y * scales[1], g.z * scales[2]};
  }
  float v_quat[4];
  rotation_gradient(quat, v_turned, v_quat);
  const Vec3 away = transposed_times(camera.turn, seen);
  const float inverse = 1.f / std::sqrt(dot(away, away));
  const Vec3 direction = inverse * away;
  float weights[15];
  for (int k = 0; k < 15; ++k) {
    weights[k] = 0.f;
    for (int c = 0; c < 3; ++c) weights[k] += v[6 + c] * sh[3 * (k + 1) + c];
  }
  const Vec3 v_direction = basis_gradient(3, direction, weights);
  const Vec3 v_away = inverse * (v_direction + (-dot(v_direction, direction)) * direction);
  const Vec3 v_mean = transposed_times(camera.turn, v_seen) + v_away;
  const float values[10] = {v_mean.x,   v_mean.y,  v_mean.z,  v_scales.x, v_scales.y,
                            v_scales.z, v_quat[0], v_quat[1], v_quat[2],  v_quat[3]};
  for (int k = 0; k < 10; ++k) found[k] = values[k];
}

// factors: size, eps, decay, weight1, weight2.
extern "C" void step(float* value, float* average, float* square, const float* factors, float gradient) {
  const Step one = {value, average, square, factors[0], factors[1], factors[2], factors[3], factors[4]};
  put(Target{nullptr, one}, 0, {gradient});
}

extern "C" void keep(float* gradient, float value) { put(Target{gradient, {}}, 0, {value}); }
