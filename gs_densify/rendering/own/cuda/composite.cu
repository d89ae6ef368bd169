// From records to pixels, and back. A block has a tile, a warp 8x4 pixels of it: the warp looks at
// 32 entries of the list at once, one per thread, and goes on with those that reach its pixels.

#include "common.cuh"
#include "kernels.h"

namespace gs {
namespace {

constexpr int THREADS = TILE * TILE;

struct Pixel {
  int x, y;
  int64_t index;
  bool is_inside;
  float left, top, right, bottom;  // centres of the warp's outermost pixels
};

__device__ __forceinline__ Pixel pixel_of(const Lists& l) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int x0 = blockIdx.x * TILE + (warp % 2) * 8, y0 = blockIdx.y * TILE + (warp / 2) * 4;
  Pixel p;
  p.x = x0 + lane % 8, p.y = y0 + lane / 8;
  p.is_inside = p.x < l.width && p.y < l.height;
  p.index = (int64_t(blockIdx.z) * l.height + p.y) * l.width + p.x;
  p.left = x0 + 0.5f, p.top = y0 + 0.5f, p.right = x0 + 7.5f, p.bottom = y0 + 3.5f;
  return p;
}

__device__ __forceinline__ float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// A part of a tile's list in shared memory.
template <int AUX>
struct Batch {
  float4 geometry[BATCH];  // x, y, xx, 2 xy
  float4 strength[BATCH];  // yy, opacity, limit, -
  float4 color[BATCH];
  int32_t id[BATCH];
  float aux[AUX > 0 ? AUX : 1][BATCH];

  __device__ __forceinline__ void load(const Lists& l, int slot, int64_t entry) {
    const int32_t own = l.ids[entry];
    const float4* record = reinterpret_cast<const float4*>(l.records) + int64_t(own) * (RECORD / 4);
    id[slot] = own;
    geometry[slot] = record[0], strength[slot] = record[1], color[slot] = record[2];
    if (AUX > 0) {
      const float* values = l.aux + int64_t(own % l.gaussians) * AUX;
#pragma unroll
      for (int k = 0; k < AUX; ++k) aux[k][slot] = values[k];
    }
  }

  // Which of the 32 entries from `first` on reach the warp's pixels.
  __device__ __forceinline__ unsigned reaching(int first, int count, const Pixel& p) const {
    const int slot = first + threadIdx.x % 32;
    bool is_reaching = false;
    if (slot < count) {
      const float4 g = geometry[slot], s = strength[slot];
      is_reaching = reaches({g.x, g.y, g.z, g.w, s.x, s.z}, p.left, p.top, p.right, p.bottom);
    }
    return __ballot_sync(ALL, is_reaching);
  }
};

template <int AUX>
__global__ void __launch_bounds__(THREADS) composite_kernel(Lists l, float* image, float* aux_image,
                                                            float* alpha, float* rest, int32_t* last) {
  __shared__ Batch<AUX> batch;
  const Pixel p = pixel_of(l);
  const int tile = (blockIdx.z * l.tiles_y + blockIdx.y) * l.tiles_x + blockIdx.x;
  const int begin = l.offsets[tile], end = l.offsets[tile + 1];
  const float px = p.x + 0.5f, py = p.y + 0.5f;
  float red = 0.f, green = 0.f, blue = 0.f, through = 1.f;
  float further[AUX > 0 ? AUX : 1] = {};
  int latest = begin - 1;
  bool is_done = !p.is_inside, is_warp_done = false;
  for (int first = begin; first < end; first += BATCH) {
    if (__syncthreads_and(is_done)) break;
    if (first + int(threadIdx.x) < end) batch.load(l, threadIdx.x, first + threadIdx.x);
    __syncthreads();
    const int count = min(BATCH, end - first);
    for (int group = 0; group < count && !is_warp_done; group += 32) {
      unsigned mask = batch.reaching(group, count, p);
      while (mask) {
        const int slot = group + __ffs(mask) - 1;
        mask &= mask - 1;
        const float4 g = batch.geometry[slot], s = batch.strength[slot];
        const float dx = g.x - px, dy = g.y - py;
        const float form = (g.z * dx + g.w * dy) * dx + s.x * dy * dy;
        const float a = fminf(ALPHA_MAX, s.y * exp2_of(-form));
        if (is_done || form < 0.f || a < ALPHA_MIN) continue;
        const float next = through * (1.f - a);
        if (next <= T_MIN) {
          is_done = true;
          continue;
        }
        const float weight = a * through;
        const float4 c = batch.color[slot];
        red += weight * c.x, green += weight * c.y, blue += weight * c.z;
#pragma unroll
        for (int k = 0; k < AUX; ++k) further[k] += weight * batch.aux[k][slot];
        through = next;
        latest = first + slot;
      }
      is_warp_done = __all_sync(ALL, is_done);
    }
  }
  if (!p.is_inside) return;
  image[3 * p.index] = red, image[3 * p.index + 1] = green, image[3 * p.index + 2] = blue;
  alpha[p.index] = 1.f - through, rest[p.index] = through;
  last[p.index] = latest;
#pragma unroll
  for (int k = 0; k < AUX; ++k) aux_image[p.index * AUX + k] = further[k];
}

// Sums COUNT values over a warp: of what is left, threads whose number has the bit keep the upper
// half and the others the lower one, until each has the sum of one value, which it returns. For 9
// values that is 12 exchanges; a sum of each value by itself takes 45.
template <int COUNT, int BIT>
__device__ __forceinline__ float fold(const float (&v)[COUNT], int lane) {
  if constexpr (BIT == 0) {
    return v[0];
  } else {
    constexpr int HALF = (COUNT + 1) / 2;
    const bool is_upper = COUNT > 1 && (lane & BIT);
    float kept[HALF];
#pragma unroll
    for (int k = 0; k < HALF; ++k) {
      const float upper = COUNT == 1 ? v[0] : k + HALF < COUNT ? v[k + HALF] : 0.f;
      kept[k] = (is_upper ? upper : v[k]) + __shfl_xor_sync(ALL, is_upper ? v[k] : upper, BIT);
    }
    return fold<HALF, BIT / 2>(kept, lane);
  }
}

// Which of COUNT values `fold` leaves in a thread, or -1: in each but one of those with the same.
template <int COUNT, int BIT>
__device__ __forceinline__ int folded(int lane, int first) {
  if constexpr (BIT == 0) {
    return first;
  } else {
    constexpr int HALF = (COUNT + 1) / 2;
    if (!(lane & BIT)) return folded<HALF, BIT / 2>(lane, first);
    // The upper half may have one less, and a single value stays with the threads below.
    const int at = folded<HALF, BIT / 2>(lane, 0);
    return COUNT > 1 && at >= 0 && HALF + at < COUNT ? first + HALF + at : -1;
  }
}

template <int AUX, bool ABSOLUTE>
__global__ void __launch_bounds__(THREADS) composite_backward_kernel(
    Lists l, const float* rest, const int32_t* last, const float* v_image, const float* v_aux,
    const float* v_alpha, float* v_records) {
  constexpr int FIRST = ABSOLUTE ? 11 : 9, VALUES = FIRST + AUX;
  __shared__ Batch<AUX> batch;
  const Pixel p = pixel_of(l);
  const int lane = threadIdx.x % 32;
  int field = folded<VALUES, 16>(lane, 0);
  if (!ABSOLUTE && field >= 9) field += 2;
  const int tile = (blockIdx.z * l.tiles_y + blockIdx.y) * l.tiles_x + blockIdx.x;
  const int begin = l.offsets[tile];
  const float px = p.x + 0.5f, py = p.y + 0.5f;
  float vr = 0.f, vg = 0.f, vb = 0.f, through = 1.f, behind = 0.f;
  float v_further[AUX > 0 ? AUX : 1] = {};
  int latest = begin - 1;
  if (p.is_inside) {
    vr = v_image[3 * p.index], vg = v_image[3 * p.index + 1], vb = v_image[3 * p.index + 2];
    through = rest[p.index];
    // What lies behind, times its gradient; alpha counts as a colour of -1 behind everything.
    behind = -through * v_alpha[p.index];
    latest = last[p.index];
#pragma unroll
    for (int k = 0; k < AUX; ++k) v_further[k] = v_aux[p.index * AUX + k];
  }
  const int warp_latest = __reduce_max_sync(ALL, latest);
  __shared__ int warps_latest[THREADS / 32];
  if (lane == 0) warps_latest[threadIdx.x / 32] = warp_latest;
  __syncthreads();
  int tile_latest = begin - 1;
#pragma unroll
  for (int w = 0; w < THREADS / 32; ++w) tile_latest = max(tile_latest, warps_latest[w]);

  for (int end = tile_latest + 1; end > begin; end -= BATCH) {
    const int first = max(begin, end - BATCH), count = end - first;
    __syncthreads();
    if (int(threadIdx.x) < count) batch.load(l, threadIdx.x, first + threadIdx.x);
    __syncthreads();
    if (warp_latest < first) continue;
    for (int group = (count - 1) / 32 * 32; group >= 0; group -= 32) {
      if (warp_latest < first + group) continue;
      unsigned mask = batch.reaching(group, count, p);
      while (mask) {
        const int bit = 31 - __clz(mask);
        const int slot = group + bit;
        mask ^= 1u << bit;
        const float4 g = batch.geometry[slot], s = batch.strength[slot];
        const float dx = g.x - px, dy = g.y - py;
        const float form = (g.z * dx + g.w * dy) * dx + s.x * dy * dy;
        const float full = s.y * exp2_of(-form);
        const float a = fminf(ALPHA_MAX, full);
        const bool is_hit = first + slot <= latest && form >= 0.f && a >= ALPHA_MIN;
        if (!__any_sync(ALL, is_hit)) continue;
        float v[VALUES] = {};
        if (is_hit) {
          const float inverse = __fdividef(1.f, 1.f - a);
          through *= inverse;
          const float weight = a * through;
          const float4 c = batch.color[slot];
          float seen = c.x * vr + c.y * vg + c.z * vb;
          v[6] = weight * vr, v[7] = weight * vg, v[8] = weight * vb;
#pragma unroll
          for (int k = 0; k < AUX; ++k) {
            seen += batch.aux[k][slot] * v_further[k];
            v[FIRST + k] = weight * v_further[k];
          }
          const float v_a = through * seen - inverse * behind;
          behind += weight * seen;
          if (full <= ALPHA_MAX) {
            const float gradient = -full * v_a;
            v[0] = gradient;
            v[1] = gradient * dx, v[2] = gradient * dy;
            v[3] = v[1] * dx, v[4] = v[1] * dy, v[5] = v[2] * dy;
            if (ABSOLUTE) {
              v[9] = fabsf(2.f * g.z * v[1] + g.w * v[2]);  // times 2 SCALE
              v[10] = fabsf(g.w * v[1] + 2.f * s.x * v[2]);
            }
          }
        }
        const float sum = fold<VALUES, 16>(v, lane);
        if (field >= 0) atomicAdd(v_records + int64_t(batch.id[slot]) * RECORD + field, sum);
      }
    }
  }
}

__global__ void finish_kernel(int64_t count, const float4* records,
                              const float4* v_records, float2* v_means2d, float2* absgrad) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= count) return;
  const float4 sums = v_records[i * (RECORD / 4)];
  float2 v = {0.f, 0.f};
  if (sums.x != 0.f || sums.y != 0.f || sums.z != 0.f) {
    const float4 conic = records[i * (RECORD / 4) + 3];
    v = {conic.x * sums.y + conic.y * sums.z, conic.y * sums.y + conic.z * sums.z};
  }
  v_means2d[i] = v;
  if (absgrad) {
    const float4 rest = v_records[i * (RECORD / 4) + 2];
    absgrad[i] = {rest.y / SCALE / 2.f, rest.z / SCALE / 2.f};
  }
}

__global__ void finish_aux_kernel(int64_t count, int gaussians, int channels, const float* v_records,
                                  float* v_aux) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i >= int64_t(gaussians) * channels) return;
  float sum = 0.f;
  for (int64_t pair = i / channels; pair < count; pair += gaussians)
    sum += v_records[pair * RECORD + FIRST_AUX + i % channels];
  v_aux[i] = sum;
}

template <int AUX>
void launch_backward(const Lists& l, const float* rest, const int32_t* last, const float* v_image,
                     const float* v_aux, const float* v_alpha, bool absolute, float* v_records,
                     cudaStream_t stream) {
  const dim3 grid(l.tiles_x, l.tiles_y, l.cameras);
  const auto kernel = absolute ? composite_backward_kernel<AUX, true> : composite_backward_kernel<AUX, false>;
  kernel<<<grid, THREADS, 0, stream>>>(l, rest, last, v_image, v_aux, v_alpha, v_records);
}

}  // namespace

void composite(const Lists& l, float* image, float* aux, float* alpha, float* rest, int32_t* last,
               void* stream) {
  const dim3 grid(l.tiles_x, l.tiles_y, l.cameras);
  constexpr decltype(&composite_kernel<0>) kernels[] = {composite_kernel<0>, composite_kernel<1>,
                                                        composite_kernel<2>, composite_kernel<3>,
                                                        composite_kernel<4>, composite_kernel<5>};
  kernels[l.channels]<<<grid, THREADS, 0, cudaStream_t(stream)>>>(l, image, aux, alpha, rest, last);
  check("composite");
}

void composite_backward(const Lists& l, const float* rest, const int32_t* last, const float* v_image,
                        const float* v_aux, const float* v_alpha, bool absolute, float* v_records,
                        void* stream) {
  constexpr decltype(&launch_backward<0>) launches[] = {launch_backward<0>, launch_backward<1>,
                                                        launch_backward<2>, launch_backward<3>,
                                                        launch_backward<4>, launch_backward<5>};
  launches[l.channels](l, rest, last, v_image, v_aux, v_alpha, absolute, v_records, cudaStream_t(stream));
  check("composite_backward");
}

void finish_gradients(int64_t count, int gaussians, int channels, const float* records,
                      const float* v_records, float* v_means2d, float* absgrad, float* v_aux,
                      void* stream) {
  const auto s = cudaStream_t(stream);
  finish_kernel<<<blocks(count, THREADS), THREADS, 0, s>>>(
      count, reinterpret_cast<const float4*>(records),
      reinterpret_cast<const float4*>(v_records), reinterpret_cast<float2*>(v_means2d),
      reinterpret_cast<float2*>(absgrad));
  if (channels)
    finish_aux_kernel<<<blocks(int64_t(gaussians) * channels, THREADS), THREADS, 0, s>>>(
        count, gaussians, channels, v_records, v_aux);
  check("finish_gradients");
}

}  // namespace gs
