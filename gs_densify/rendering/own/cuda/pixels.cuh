// What both directions of compositing share. A block has a tile, a warp 8x4 pixels of it: the warp
// looks at 32 entries of the list at once, one per thread, and goes on with those that reach its
// pixels.

#pragma once
#include "common.cuh"
#include "kernels.h"

namespace gs {

constexpr int TILE_THREADS = TILE * TILE, TILE_WARPS = TILE_THREADS / 32;
constexpr int WARP_WIDTH = 8, WARP_HEIGHT = 4;  // in pixels

struct Pixel {
  int x, y;
  int64_t index;
  bool is_inside;
  float left, top, right, bottom;  // centres of the warp's outermost pixels
};

__device__ __forceinline__ Pixel pixel_of(const Lists& l, int tile) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = tile / l.tiles_x, camera = row / l.tiles_y;
  const int x0 = (tile - row * l.tiles_x) * TILE + warp % 2 * WARP_WIDTH;
  const int y0 = (row - camera * l.tiles_y) * TILE + warp / 2 * WARP_HEIGHT;
  Pixel p;
  p.x = x0 + lane % WARP_WIDTH, p.y = y0 + lane / WARP_WIDTH;
  p.is_inside = p.x < l.width && p.y < l.height;
  p.index = (int64_t(camera) * l.height + p.y) * l.width + p.x;
  p.left = x0 + 0.5f, p.top = y0 + 0.5f;
  p.right = p.left + (WARP_WIDTH - 1), p.bottom = p.top + (WARP_HEIGHT - 1);
  return p;
}

__device__ __forceinline__ float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float reciprocal_of(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// What a Gaussian does to a pixel.
struct Cover {
  float full;   // opacity before its limit
  float alpha;
  bool is_seen;
};

// Given two parts of a batch.
__device__ __forceinline__ Cover cover_of(const float4& a, const float4& b, float x, float y) {
  Cover c;
  const float dx = a.x - x, dy = a.y - y;
  const float form = (a.z * dx + a.w * dy) * dx + b.x * dy * dy;
  c.full = b.y * exp2_of(-form);
  c.alpha = fminf(ALPHA_MAX, c.full);
  c.is_seen = form >= 0.f && c.alpha >= ALPHA_MIN;
  return c;
}

// A part of a tile's list in shared memory.
template <int SIZE, int AUX>
struct Batch {
  float4 geometry[SIZE];  // x, y, xx, 2 xy: of the form
  float4 strength[SIZE];  // yy, opacity, limit, determinant
  float4 color[SIZE];
  int32_t id[SIZE];
  float aux[AUX > 0 ? AUX : 1][AUX > 0 ? SIZE : 1];

  __device__ __forceinline__ void load(const Lists& l, int slot, int64_t entry) {
    const int32_t own = l.ids[entry];
    const float4* record = record_of(l.records, own);
    const float4 a = record[0], b = record[1];
    id[slot] = own;
    geometry[slot] = make_float4(a.x, a.y, SCALE * a.z, 2.f * SCALE * a.w);
    strength[slot] = make_float4(SCALE * b.x, b.y, b.z, b.w);
    color[slot] = record[2];
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

// A part of a tile's list of PIECE entries, fewer in the last.
struct Piece {
  int tile, begin, end;
};

// The number of a tile's first piece; the next ones follow. None is another's, since a list of n
// entries moves its successors' numbers on by 1 + n / PIECE at least.
__device__ __forceinline__ int first_piece(const Lists& l, int tile) { return tile + l.offsets[tile] / PIECE; }

// The way back, by all threads of a warp; numbers that no piece has give an empty one.
__device__ __forceinline__ Piece piece_of(const Lists& l, int number) {
  const int lane = threadIdx.x % 32;
  int low = 0, high = l.tiles();
  while (high - low > 1) {  // the last tile whose first piece's number is not larger
    const int step = (high - low + 31) / 32, tile = low + lane * step;
    const bool is_before = tile < high && first_piece(l, tile) <= number;
    low += (31 - __clz(__ballot_sync(ALL, is_before))) * step;
    high = min(high, low + step);
  }
  const int begin = l.offsets[low] + (number - first_piece(l, low)) * PIECE;
  return {low, begin, min(begin + PIECE, l.offsets[low + 1])};
}

// The state of a pixel at the end of a piece: transmittance, colour, further channels, one for each
// of a block's threads at a time.
template <int AUX>
__device__ __forceinline__ float* state_of(float* states, int number) {
  return states + int64_t(number) * (4 + AUX) * TILE_THREADS + threadIdx.x;
}

}  // namespace gs
