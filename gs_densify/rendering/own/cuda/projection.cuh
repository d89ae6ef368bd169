// One Gaussian in one camera, and back: EWA splatting (Zwicker et al. 2001) with gsplat 1.5.3's
// culling and limits, and spherical harmonics up to degree 3. Host code too, so that tests run it.

#pragma once
#include <cmath>
#include "common.cuh"

namespace gs {

struct Vec3 {
  float x, y, z;
};
GS_BOTH Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
GS_BOTH Vec3 operator*(float k, Vec3 a) { return {k * a.x, k * a.y, k * a.z}; }
GS_BOTH float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
GS_BOTH Vec3 cross(Vec3 a, Vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

struct Mat3 {
  Vec3 row[3];
};
GS_BOTH Vec3 times(const Mat3& m, Vec3 v) { return {dot(m.row[0], v), dot(m.row[1], v), dot(m.row[2], v)}; }
GS_BOTH Vec3 transposed_times(const Mat3& m, Vec3 v) {
  return v.x * m.row[0] + v.y * m.row[1] + v.z * m.row[2];
}
// Rows of a * b.
GS_BOTH Mat3 product(const Mat3& a, const Mat3& b) {
  return {{transposed_times(b, a.row[0]), transposed_times(b, a.row[1]), transposed_times(b, a.row[2])}};
}

struct Camera {
  Mat3 turn;    // world to camera
  Vec3 shift;
  float fx, fy, cx, cy;
};

struct Frame {
  float width, height, near_plane, far_plane, radius_clip;
  bool antialiased;
};

GS_BOTH Camera camera_of(const float* viewmat, const float* K) {
  Camera c;
  for (int i = 0; i < 3; ++i) c.turn.row[i] = {viewmat[4 * i], viewmat[4 * i + 1], viewmat[4 * i + 2]};
  c.shift = {viewmat[3], viewmat[7], viewmat[11]};
  c.fx = K[0], c.cx = K[2], c.fy = K[4], c.cy = K[5];
  return c;
}

// The rotation of a quaternion wxyz of any length.
GS_BOTH Mat3 rotation_of(const float q[4]) {
  const float n = 1.f / sqrtf(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const float w = q[0] * n, x = q[1] * n, y = q[2] * n, z = q[3] * n;
  return {{{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
           {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
           {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}}};
}

// The gradient of q, given that of its rotation.
GS_BOTH void rotation_gradient(const float q[4], const Mat3& v, float out[4]) {
  const float n = 1.f / sqrtf(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const float w = q[0] * n, x = q[1] * n, y = q[2] * n, z = q[3] * n;
  const Vec3 &a = v.row[0], &b = v.row[1], &c = v.row[2];
  const float g[4] = {
      2 * (x * (c.y - b.z) + y * (a.z - c.x) + z * (b.x - a.y)),
      2 * (-2 * x * (b.y + c.z) + y * (a.y + b.x) + z * (a.z + c.x) + w * (c.y - b.z)),
      2 * (x * (a.y + b.x) - 2 * y * (a.x + c.z) + z * (b.z + c.y) + w * (a.z - c.x)),
      2 * (x * (a.z + c.x) + y * (b.z + c.y) - 2 * z * (a.x + b.y) + w * (b.x - a.y))};
  const float along = g[0] * w + g[1] * x + g[2] * y + g[3] * z;
  out[0] = n * (g[0] - along * w), out[1] = n * (g[1] - along * x);
  out[2] = n * (g[2] - along * y), out[3] = n * (g[3] - along * z);
}

struct Projected {
  Vec3 seen;                 // the centre in camera coordinates
  float inverse_z;
  float slope_x, slope_y;    // x / z and y / z
  float held_x, held_y;      // the same, held within the field of view and a margin
  float zoom_x, zoom_y;      // focal lengths over z
  Mat3 axes;                 // scaled principal axes, as columns, in camera coordinates
  Vec3 first, second;        // rows of the projected axes: the covariance is their dot products
  float xx, xy, yy;          // covariance before the dilation
  float det, dilated;        // determinants before and after it
  float ratio;               // det / dilated, at least 1e-12
  float a, b, c;             // conic
  float x, y;                // centre in pixels
};

GS_BOTH float held(float slope, float f, float centre, float size) {
  const float margin = 0.3f * 0.5f * size / f;
  return fminf(fmaxf(slope, -centre / f - margin), (size - centre) / f + margin);
}

// Projects a Gaussian whose depth is not culled. `shape` is its rotation times its scales.
GS_BOTH Projected projected(Vec3 seen, const Mat3& shape, const Camera& camera, const Frame& frame) {
  Projected p;
  p.seen = seen;
  p.inverse_z = 1.f / seen.z;
  p.slope_x = seen.x * p.inverse_z, p.slope_y = seen.y * p.inverse_z;
  p.held_x = held(p.slope_x, camera.fx, camera.cx, frame.width);
  p.held_y = held(p.slope_y, camera.fy, camera.cy, frame.height);
  p.zoom_x = camera.fx * p.inverse_z, p.zoom_y = camera.fy * p.inverse_z;
  p.axes = product(camera.turn, shape);
  p.first = p.zoom_x * (p.axes.row[0] + (-p.held_x) * p.axes.row[2]);
  p.second = p.zoom_y * (p.axes.row[1] + (-p.held_y) * p.axes.row[2]);
  p.xx = dot(p.first, p.first), p.xy = dot(p.first, p.second), p.yy = dot(p.second, p.second);
  const Vec3 across = cross(p.first, p.second);
  p.det = dot(across, across);  // no cancellation, unlike xx * yy - xy * xy
  p.dilated = p.det + EPS2D * (p.xx + p.yy) + EPS2D * EPS2D;
  p.ratio = fmaxf(p.det / p.dilated, 1e-12f);
  p.a = (p.yy + EPS2D) / p.dilated, p.b = -p.xy / p.dilated, p.c = (p.xx + EPS2D) / p.dilated;
  p.x = camera.fx * p.slope_x + camera.cx, p.y = camera.fy * p.slope_y + camera.cy;
  return p;
}

struct ProjectedGradient {
  float x, y;         // of the centre in pixels
  float a, b, c;      // of the conic, b once
  float compensation;  // of the square root of the ratio
};

// Gradients of the centre in camera coordinates and of the axes (as `Projected::axes`).
GS_BOTH void projected_gradient(const Projected& p, const Camera& camera, const ProjectedGradient& v,
                                Vec3& v_seen, Mat3& v_axes) {
  // The covariance is the conic's inverse: its gradient is -Q V Q.
  const float h = 0.5f * v.b;
  const float l0 = p.a * v.a + p.b * h, l1 = p.a * h + p.b * v.c;
  const float m0 = p.b * v.a + p.c * h, m1 = p.b * h + p.c * v.c;
  float v_xx = -(l0 * p.a + l1 * p.b), v_xy = -2.f * (l0 * p.b + l1 * p.c), v_yy = -(m0 * p.b + m1 * p.c);
  if (v.compensation != 0.f && p.ratio > 1e-12f) {
    const float k = v.compensation / (2.f * sqrtf(p.ratio) * p.dilated);
    v_xx += k * (p.yy - p.ratio * (p.yy + EPS2D));
    v_yy += k * (p.xx - p.ratio * (p.xx + EPS2D));
    v_xy += -2.f * k * p.xy * (1.f - p.ratio);
  }
  const Vec3 v_first = (2.f * v_xx) * p.first + v_xy * p.second;
  const Vec3 v_second = (2.f * v_yy) * p.second + v_xy * p.first;
  const Vec3 first = p.zoom_x * v_first, second = p.zoom_y * v_second;
  v_axes = {{first, second, (-p.held_x) * first + (-p.held_y) * second}};
  const bool is_free_x = p.held_x == p.slope_x, is_free_y = p.held_y == p.slope_y;
  const float v_slope_x = camera.fx * v.x - (is_free_x ? dot(first, p.axes.row[2]) : 0.f);
  const float v_slope_y = camera.fy * v.y - (is_free_y ? dot(second, p.axes.row[2]) : 0.f);
  v_seen.x = v_slope_x * p.inverse_z, v_seen.y = v_slope_y * p.inverse_z;
  // Depth acts through both slopes and through the zooms, in which rows of axes are linear.
  v_seen.z = -p.inverse_z * (v_slope_x * p.slope_x + v_slope_y * p.slope_y + dot(v_first, p.first) +
                             dot(v_second, p.second));
}

constexpr float C0 = 0.28209479177387814f, C1 = 0.4886025119029199f;
constexpr float C2_0 = 0.31539156525252005f, C2_2 = 1.0925484305920792f;
constexpr float C3_0 = 0.3731763325901154f, C3_1 = 0.4570457994644658f;
constexpr float C3_2 = 2.890611442640554f, C3_3 = 0.5900435899266435f;

// Basis functions of coefficients 1 to 15 at a unit direction; returns how many `degree` has.
GS_BOTH int basis_of(int degree, Vec3 d, float out[15]) {
  const float x = d.x, y = d.y, z = d.z;
  if (degree < 1) return 0;
  out[0] = -C1 * y, out[1] = C1 * z, out[2] = -C1 * x;
  if (degree < 2) return 3;
  out[3] = C2_2 * x * y, out[4] = -C2_2 * y * z, out[5] = C2_0 * (3 * z * z - 1);
  out[6] = -C2_2 * x * z, out[7] = 0.5f * C2_2 * (x * x - y * y);
  if (degree < 3) return 8;
  out[8] = -C3_3 * y * (3 * x * x - y * y), out[9] = C3_2 * x * y * z;
  out[10] = -C3_1 * y * (5 * z * z - 1), out[11] = C3_0 * z * (5 * z * z - 3);
  out[12] = -C3_1 * x * (5 * z * z - 1), out[13] = 0.5f * C3_2 * z * (x * x - y * y);
  out[14] = -C3_3 * x * (x * x - 3 * y * y);
  return 15;
}

// The gradient of the unit direction, where `w` are those of the basis functions.
GS_BOTH Vec3 basis_gradient(int degree, Vec3 d, const float w[15]) {
  const float x = d.x, y = d.y, z = d.z;
  Vec3 v = {-C1 * w[2], -C1 * w[0], C1 * w[1]};
  if (degree < 2) return v;
  v.x += C2_2 * (y * w[3] - z * w[6] + x * w[7]);
  v.y += C2_2 * (x * w[3] - z * w[4] - y * w[7]);
  v.z += C2_2 * (-y * w[4] - x * w[6]) + 6 * C2_0 * z * w[5];
  if (degree < 3) return v;
  const float zz = 5 * z * z - 1, xy = x * x - y * y;
  v.x += -6 * C3_3 * x * y * w[8] + C3_2 * (y * z * w[9] + x * z * w[13]) - C3_1 * zz * w[12] -
         3 * C3_3 * xy * w[14];
  v.y += -3 * C3_3 * xy * w[8] + C3_2 * (x * z * w[9] - y * z * w[13]) - C3_1 * zz * w[10] +
         6 * C3_3 * x * y * w[14];
  v.z += C3_2 * (x * y * w[9] + 0.5f * xy * w[13]) - 10 * C3_1 * z * (y * w[10] + x * w[12]) +
         C3_0 * (15 * z * z - 3) * w[11];
  return v;
}

}  // namespace gs
