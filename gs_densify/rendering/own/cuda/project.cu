// From the parameters of Gaussians to records, and back.

#include "adam.cuh"
#include "kernels.h"
#include "projection.cuh"
#include "tiles.cuh"

namespace gs {
namespace {

constexpr int THREADS = 128, WARPS = THREADS / 32;
constexpr int ALL_COLUMNS = 45;  // values of a row of coefficients 1 to 15

__device__ __forceinline__ Vec3 mean_of(const Model& m, int i) {
  return {m.means[3 * i], m.means[3 * i + 1], m.means[3 * i + 2]};
}

__device__ __forceinline__ float opacity_of(const Model& m, int i) {
  return m.is_stored ? 1.f / (1.f + __expf(-m.opacities[i])) : m.opacities[i];
}

__device__ __forceinline__ Vec3 scales_of(const Model& m, int i) {
  const Vec3 s = {m.scales[3 * i], m.scales[3 * i + 1], m.scales[3 * i + 2]};
  return m.is_stored ? Vec3{__expf(s.x), __expf(s.y), __expf(s.z)} : s;
}

__device__ __forceinline__ Mat3 scaled(const Mat3& m, Vec3 s) {
  Mat3 out;
#pragma unroll
  for (int i = 0; i < 3; ++i) out.row[i] = {m.row[i].x * s.x, m.row[i].y * s.y, m.row[i].z * s.z};
  return out;
}

// An odd distance between rows in shared memory, so that threads of a warp use different banks.
__host__ __device__ inline int pitch_of(int columns) { return columns | 1; }

__host__ __device__ inline int used_columns(int degree) { return degree < 1 ? 0 : 3 * ((degree + 1) * (degree + 1) - 1); }

// Copies rows of coefficients of a warp's Gaussians that `wanted` names, neighbouring threads
// reading neighbouring values.
__device__ __forceinline__ void gather_rows(const Model& m, int first, unsigned wanted, int columns,
                                            float* rows) {
  const int lane = threadIdx.x % 32, pitch = pitch_of(columns);
  if (columns == ALL_COLUMNS && m.rest_stride == ALL_COLUMNS) {  // rows follow one another
    const float* from = m.rest + int64_t(first) * ALL_COLUMNS;
#pragma unroll 15
    for (int k = 0; k < ALL_COLUMNS; ++k) {
      const int place = k * 32 + lane;
      if (wanted >> (place / ALL_COLUMNS) & 1) rows[place] = from[place];
    }
  } else {
#pragma unroll 8
    for (int l = 0; l < 32; ++l)
      if (wanted >> l & 1)
        for (int c = lane; c < columns; c += 32)
          rows[l * pitch + c] = m.rest[int64_t(first + l) * m.rest_stride + c];
  }
  __syncwarp();
}

// The way back: zeros where `held` does not name the row or no value is used.
__device__ __forceinline__ void scatter_rows(const Model& m, int first, unsigned held, int columns,
                                             const float* rows, const Target& out) {
  const int lane = threadIdx.x % 32, pitch = pitch_of(columns), width = m.rest_columns;
  const int64_t begin = int64_t(first) * width;
  __syncwarp();
  if (columns == ALL_COLUMNS && width == ALL_COLUMNS) {
    constexpr int BATCH = 5;
    const int64_t end = begin + min(32, m.count - first) * ALL_COLUMNS;
#pragma unroll 3
    for (int k = 0; k < ALL_COLUMNS; k += BATCH) {
      float gradients[BATCH];
#pragma unroll
      for (int j = 0; j < BATCH; ++j) {
        const int place = (k + j) * 32 + lane;
        gradients[j] = held >> (place / ALL_COLUMNS) & 1 ? rows[place] : 0.f;
      }
      put(out, begin + k * 32 + lane, 32, end, gradients);
    }
  } else {
#pragma unroll 4
    for (int l = 0; l < 32; ++l)
      if (first + l < m.count)
        for (int c = lane; c < width; c += 32)
          put(out, begin + l * width + c, {c < columns && (held >> l & 1) ? rows[l * pitch + c] : 0.f});
  }
}

// Parts of a record, see layout.h.
__device__ __forceinline__ float4 geometry(const Projected& p) { return make_float4(p.x, p.y, p.a, p.b); }

__device__ __forceinline__ float4 strength(const Projected& p, float opacity, float limit) {
  return make_float4(p.c, opacity, SCALE * limit, SCALE * SCALE / p.dilated);
}

__global__ void __launch_bounds__(THREADS) project_kernel(Model m, View v, Frame frame, Projection out,
                                                          int tiles_x, int tiles_y) {
  extern __shared__ float shared[];
  const int i = blockIdx.x * THREADS + threadIdx.x, camera_id = blockIdx.y;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t pair = int64_t(camera_id) * m.count + i;
  const Camera camera = camera_of(v.viewmats + 16 * camera_id, v.Ks + 9 * camera_id);
  bool is_drawn = i < m.count;
  Vec3 seen = {0.f, 0.f, 1.f};
  if (is_drawn) {
    seen = times(camera.turn, mean_of(m, i)) + camera.shift;
    is_drawn = seen.z >= frame.near_plane && seen.z <= frame.far_plane;
  }
  float opacity = is_drawn ? opacity_of(m, i) : 0.f;
  is_drawn = is_drawn && opacity >= ALPHA_MIN;
  Projected p;
  int across = 0, down = 0, reached = 0;
  float limit = 0.f;
  if (is_drawn) {
    const float4 q = reinterpret_cast<const float4*>(m.quats)[i];
    const float quat[4] = {q.x, q.y, q.z, q.w};
    p = projected(seen, scaled(rotation_of(quat), scales_of(m, i)), camera, frame);
    if (frame.antialiased) opacity *= sqrtf(p.ratio);
    limit = 2.f * logf(opacity / ALPHA_MIN);
    const float extent = fminf(sqrtf(fmaxf(limit, 0.f)), 3.33f);
    const float wide = ceilf(extent * sqrtf(p.xx + EPS2D)), high = ceilf(extent * sqrtf(p.yy + EPS2D));
    is_drawn = opacity >= ALPHA_MIN && isfinite(p.dilated) && (wide > frame.radius_clip || high > frame.radius_clip) &&
               p.x + wide > 0.f && p.x - wide < frame.width && p.y + high > 0.f && p.y - high < frame.height;
    if (is_drawn) {
      across = int(fminf(wide, 1073741824.f)), down = int(fminf(high, 1073741824.f));
      reached = tiles_reached(reach_of(geometry(p), strength(p, opacity, limit)), tiles_x, tiles_y);
    }
  }
  const int sum = __reduce_add_sync(ALL, reached);
  if (lane == 0 && sum) atomicAdd(reinterpret_cast<unsigned long long*>(out.total), sum);

  const unsigned drawn = __ballot_sync(ALL, is_drawn);
  const int columns = used_columns(m.degree);
  float* rows = shared + warp * 32 * pitch_of(columns);
  if (columns && drawn) gather_rows(m, blockIdx.x * THREADS + warp * 32, drawn, columns, rows);
  if (i >= m.count) return;
  reinterpret_cast<int2*>(out.radii)[pair] = make_int2(across, down);
  out.tiles[pair] = reached;
  out.keys[pair] = reached ? __float_as_uint(seen.z) : 0xffffffffu;
  out.depths[pair] = seen.z;
  reinterpret_cast<float2*>(out.means2d)[pair] = is_drawn ? make_float2(p.x, p.y) : make_float2(0.f, 0.f);
  if (!is_drawn) return;

  const float* base = m.base + int64_t(i) * m.base_stride;
  float rgb[3] = {base[0], base[1], base[2]};
  if (m.degree >= 0) {
    const Vec3 away = transposed_times(camera.turn, seen);  // from the camera's centre
    const Vec3 direction = rsqrtf(dot(away, away)) * away;
    float basis[15];
    const int terms = basis_of(m.degree, direction, basis);
    const float* row = rows + lane * pitch_of(columns);
#pragma unroll
    for (int c = 0; c < 3; ++c) rgb[c] = C0 * rgb[c] + 0.5f;
#pragma unroll
    for (int k = 0; k < 15; ++k)
      if (k < terms)
        for (int c = 0; c < 3; ++c) rgb[c] += basis[k] * row[3 * k + c];
#pragma unroll
    for (int c = 0; c < 3; ++c) rgb[c] = fmaxf(rgb[c], 0.f);
  }
  float4* record = reinterpret_cast<float4*>(out.records) + pair * (RECORD / 4);
  record[0] = geometry(p);
  record[1] = strength(p, opacity, limit);
  record[2] = make_float4(rgb[0], rgb[1], rgb[2], 0.f);
}

// Adds 12 values to the gradient of a camera's matrix: a block first sums its own Gaussians.
__device__ void add_pose_gradient(float* out, const Mat3& turn, Vec3 shift) {
  __shared__ float sums[WARPS];
  const float values[12] = {turn.row[0].x, turn.row[0].y, turn.row[0].z, shift.x,
                            turn.row[1].x, turn.row[1].y, turn.row[1].z, shift.y,
                            turn.row[2].x, turn.row[2].y, turn.row[2].z, shift.z};
  for (int k = 0; k < 12; ++k) {
    float value = values[k];
    for (int step = 16; step; step /= 2) value += __shfl_down_sync(ALL, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
      float sum = 0.f;
      for (int w = 0; w < WARPS; ++w) sum += sums[w];
      atomicAdd(out + k, sum);
    }
  }
}

// The gradients of SH coefficients in one camera: of coefficient 0 into `v_base`, of the others
// into `v_row` (which may be the row of coefficients itself), and of the centre, which it returns.
template <bool IS_SUM>
__device__ __forceinline__ Vec3 color_backward(const Model& m, int i, const Camera& camera,
                                               const float v_seen_rgb[3], const float* row, float* v_row,
                                               float v_base[3]) {
  const Vec3 seen = times(camera.turn, mean_of(m, i)) + camera.shift;
  const Vec3 away = transposed_times(camera.turn, seen);
  const float inverse = rsqrtf(dot(away, away));
  const Vec3 direction = inverse * away;
  float basis[15], weights[15], rgb[3], v_rgb[3];
  const int terms = basis_of(m.degree, direction, basis);
  for (int k = 0; k < 3; ++k) rgb[k] = C0 * m.base[int64_t(i) * m.base_stride + k] + 0.5f;
#pragma unroll
  for (int k = 0; k < 15; ++k)
    if (k < terms)
      for (int j = 0; j < 3; ++j) rgb[j] += basis[k] * row[3 * k + j];
  // A clamped channel has no gradient.
  for (int k = 0; k < 3; ++k) v_rgb[k] = rgb[k] > 0.f ? v_seen_rgb[k] : 0.f, v_base[k] += C0 * v_rgb[k];
#pragma unroll
  for (int k = 0; k < 15; ++k) {
    weights[k] = 0.f;
    if (k < terms)
      for (int j = 0; j < 3; ++j) {
        weights[k] += v_rgb[j] * row[3 * k + j];
        const float gradient = basis[k] * v_rgb[j];
        v_row[3 * k + j] = IS_SUM ? v_row[3 * k + j] + gradient : gradient;
      }
  }
  if (!terms) return {};
  const Vec3 v_direction = basis_gradient(m.degree, direction, weights);
  return inverse * (v_direction + (-dot(v_direction, direction)) * direction);
}

// Gradients of the parameters, or steps in their place: nobody but its own thread (of `rest`, its
// warp) reads a Gaussian's parameters, and only before. The colours' come first and the shapes'
// after them, so that fewer values are alive at once. Rows of coefficients pass through shared
// memory; with one camera their gradients take the same place.
template <bool POSES, bool IS_SUM>
__global__ void __launch_bounds__(THREADS, 5) project_backward_kernel(Model m, View v, Frame frame,
                                                                      const int32_t* radii,
                                                                      const float* v_means2d,
                                                                      const float* v_records, int width,
                                                                      const float* v_depths, Gradients out) {
  extern __shared__ float shared[];
  const int i = blockIdx.x * THREADS + threadIdx.x;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const bool is_inside = i < m.count;
  const int columns = used_columns(m.degree), pitch = pitch_of(columns);
  float* rows = shared + warp * (IS_SUM ? 64 : 32) * pitch;
  float* v_rows = IS_SUM ? rows + 32 * pitch : rows;
  bool is_drawn = false;
  if (is_inside)
    for (int c = 0; c < v.cameras; ++c) is_drawn |= radii[2 * (int64_t(c) * m.count + i)] > 0;
  const unsigned drawn = __ballot_sync(ALL, is_drawn);
  if (columns && drawn) {
    gather_rows(m, blockIdx.x * THREADS + warp * 32, drawn, columns, rows);
    if (IS_SUM)
      for (int c = 0; c < columns; ++c) v_rows[lane * pitch + c] = 0.f;
  }
  Vec3 v_mean = {};
  float v_base[3] = {};
  for (int c = 0; c < v.cameras; ++c) {
    const int64_t pair = int64_t(c) * m.count + i;
    Vec3 v_away = {};
    const Camera camera = camera_of(v.viewmats + 16 * c, v.Ks + 9 * c);
    if (is_drawn && radii[2 * pair] > 0) {
      const float* g = v_records + pair * width;
      const float v_rgb[3] = {g[6], g[7], g[8]};
      if (m.degree >= 0)
        v_away = color_backward<IS_SUM>(m, i, camera, v_rgb, rows + lane * pitch, v_rows + lane * pitch, v_base);
      else
        for (int k = 0; k < 3; ++k) v_base[k] += v_rgb[k];
      v_mean = v_mean + v_away;
    }
    if (POSES) {  // away = mean + transposed(turn) * shift
      const Vec3 &t = camera.shift;
      add_pose_gradient(out.viewmats + 16 * c, {{t.x * v_away, t.y * v_away, t.z * v_away}},
                        times(camera.turn, v_away));
    }
  }
  if (is_inside) put(out.base, i, v_base);
  if (is_wanted(out.rest)) scatter_rows(m, blockIdx.x * THREADS + warp * 32, drawn, columns, v_rows, out.rest);

  Mat3 v_shape = {}, turned = {}, shape = {};
  Vec3 scales = {}, mean = {};
  float quat[4] = {1.f, 0.f, 0.f, 0.f}, opacity = 0.f, v_opacity = 0.f;
  if (is_drawn) {
    const float4 q = reinterpret_cast<const float4*>(m.quats)[i];
    quat[0] = q.x, quat[1] = q.y, quat[2] = q.z, quat[3] = q.w;
    turned = rotation_of(quat), scales = scales_of(m, i), shape = scaled(turned, scales);
    mean = mean_of(m, i), opacity = opacity_of(m, i);
  }
  for (int c = 0; c < v.cameras; ++c) {
    const int64_t pair = int64_t(c) * m.count + i;
    const Camera camera = camera_of(v.viewmats + 16 * c, v.Ks + 9 * c);
    Vec3 v_seen = {};
    Mat3 v_axes = {};
    if (is_drawn && radii[2 * pair] > 0) {
      const Projected p = projected(times(camera.turn, mean) + camera.shift, shape, camera, frame);
      const float4* g = reinterpret_cast<const float4*>(v_records + pair * width);
      const float4 g0 = g[0], g1 = g[1];
      const float compensation = frame.antialiased ? sqrtf(p.ratio) : 1.f;
      const float v_drawn = -g0.x / (opacity * compensation);
      const float2 v_mean2d = reinterpret_cast<const float2*>(v_means2d)[pair];
      projected_gradient(p, camera,
                         {v_mean2d.x, v_mean2d.y, 0.5f * g0.w, g1.x, 0.5f * g1.y,
                          frame.antialiased ? v_drawn * opacity : 0.f},
                         v_seen, v_axes);
      if (v_depths) v_seen.z += v_depths[pair];
      v_opacity += v_drawn * compensation;
      v_mean = v_mean + transposed_times(camera.turn, v_seen);
      const Vec3* turn = camera.turn.row;  // axes = turn * shape
      for (int k = 0; k < 3; ++k) {
        v_shape.row[0] = v_shape.row[0] + turn[k].x * v_axes.row[k];
        v_shape.row[1] = v_shape.row[1] + turn[k].y * v_axes.row[k];
        v_shape.row[2] = v_shape.row[2] + turn[k].z * v_axes.row[k];
      }
    }
    if (POSES) {  // seen = turn * mean + shift
      Mat3 v_turn;
      for (int k = 0; k < 3; ++k)
        v_turn.row[k] = (&v_seen.x)[k] * mean + times(shape, v_axes.row[k]);
      add_pose_gradient(out.viewmats + 16 * c, v_turn, v_seen);
    }
  }
  if (!is_inside) return;
  float v_quat[4] = {};
  Vec3 v_scales = {};
  if (is_drawn) {
    Mat3 v_turned;
    for (int k = 0; k < 3; ++k) {
      const Vec3 &r = turned.row[k], &g = v_shape.row[k];
      v_scales = v_scales + Vec3{r.x * g.x, r.y * g.y, r.z * g.z};
      v_turned.row[k] = {g.x * scales.x, g.y * scales.y, g.z * scales.z};
    }
    rotation_gradient(quat, v_turned, v_quat);
    if (m.is_stored) {
      v_scales = {v_scales.x * scales.x, v_scales.y * scales.y, v_scales.z * scales.z};
      v_opacity *= opacity * (1.f - opacity);
    }
  }
  put(out.means, i, {v_mean.x, v_mean.y, v_mean.z});
  put(out.scales, i, {v_scales.x, v_scales.y, v_scales.z});
  put(out.quats, i, v_quat);
  put(out.opacities, i, {v_opacity});
}

Frame frame_of(const View& v) {
  return {float(v.width), float(v.height), v.near_plane, v.far_plane, v.radius_clip, v.antialiased};
}

}  // namespace

void project(const Model& m, const View& v, const Projection& out, void* stream) {
  const dim3 grid(blocks(m.count, THREADS), v.cameras);
  const size_t bytes = sizeof(float) * THREADS * pitch_of(used_columns(m.degree));
  project_kernel<<<grid, THREADS, bytes, cudaStream_t(stream)>>>(
      m, v, frame_of(v), out, blocks(v.width, TILE), blocks(v.height, TILE));
  check("project");
}

void project_backward(const Model& m, const View& v, const int32_t* radii, const float* v_means2d,
                      const float* v_records, int width, const float* v_depths, const Gradients& out,
                      void* stream) {
  const bool is_sum = v.cameras > 1;
  const size_t bytes = (is_sum ? 2 : 1) * sizeof(float) * THREADS * pitch_of(used_columns(m.degree));
  const auto kernel = out.viewmats ? is_sum ? project_backward_kernel<true, true> : project_backward_kernel<true, false>
                      : is_sum     ? project_backward_kernel<false, true>
                                   : project_backward_kernel<false, false>;
  kernel<<<blocks(m.count, THREADS), THREADS, bytes, cudaStream_t(stream)>>>(
      m, v, frame_of(v), radii, v_means2d, v_records, width, v_depths, out);
  check("project_backward");
}

}  // namespace gs
