// Which tiles an ellipse reaches: counted once, listed once, by the same code.

#pragma once
#include "common.cuh"

namespace gs {

struct Span {
  int begin, end;
};

// An ellipse and the determinant of its form, which would cancel for long ones if it were computed
// from the form.
struct Reach {
  Ellipse e;
  float det;
};

// That of a Gaussian, given the first two parts of its record.
__device__ __forceinline__ Reach reach_of(const float4& a, const float4& b) {
  return {{a.x, a.y, SCALE * a.z, 2.f * SCALE * a.w, SCALE * b.x, b.z}, b.w};
}

// The rows of tiles that an ellipse reaches.
__device__ __forceinline__ Span rows_reached(const Reach& r, int tiles_y) {
  const Ellipse& e = r.e;
  const float high = sqrtf(e.limit * e.a / r.det)  // half of its height
                     * 1.0001f + 1e-3f;
  const int begin = int(floorf(fmaxf((e.y - high) / TILE, 0.f)));
  const int end = int(floorf(fminf((e.y + high) / TILE, float(tiles_y)))) + 1;
  return {begin, min(end, tiles_y)};
}

// The tiles of row `row` that an ellipse reaches: x of its slice is widest at the top or the
// bottom of the row, or where its outermost points lie within.
__device__ __forceinline__ Span columns_reached(const Reach& r, int row, int tiles_x) {
  const Ellipse& e = r.e;
  const float b = 0.5f * e.b;
  const float top = row * float(TILE) - e.y, bottom = top + TILE;
  const float wide = sqrtf(e.limit * e.c / r.det);
  const float at = -b / e.c * wide;  // y of the rightmost point; of the leftmost, -at
  float right = wide, left = -wide;
  const float y_right = fminf(fmaxf(at, top), bottom), y_left = fminf(fmaxf(-at, top), bottom);
  if (y_right != at) {
    const float inside = fmaxf(e.limit * e.a - r.det * y_right * y_right, 0.f);
    right = (-b * y_right + sqrtf(inside)) / e.a;
  }
  if (y_left != -at) {
    const float inside = fmaxf(e.limit * e.a - r.det * y_left * y_left, 0.f);
    left = (-b * y_left - sqrtf(inside)) / e.a;
  }
  // What rounding could lose is far below a thousandth of the ellipse and a hundredth of a pixel.
  const float margin = 1e-2f + 1e-3f * wide;
  const int begin = int(floorf(fminf(fmaxf((e.x + left - margin) / TILE, 0.f), float(tiles_x))));
  const int end = int(floorf(fminf(fmaxf((e.x + right + margin) / TILE, -1.f), float(tiles_x)))) + 1;
  return {begin, min(end, tiles_x)};
}

__device__ __forceinline__ int tiles_reached(const Reach& e, int tiles_x, int tiles_y) {
  const Span rows = rows_reached(e, tiles_y);
  int sum = 0;
  for (int row = rows.begin; row < rows.end; ++row) {
    const Span columns = columns_reached(e, row, tiles_x);
    sum += max(columns.end - columns.begin, 0);
  }
  return sum;
}

}  // namespace gs
