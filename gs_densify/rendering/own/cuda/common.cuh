// Rules that the kernels share.

#pragma once
#include <cuda_runtime.h>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "layout.h"

namespace gs {

constexpr float EPS2D = 0.3f;   // px^2 added to every projected covariance
constexpr float ALPHA_MIN = 1.0f / 255.0f;
constexpr float ALPHA_MAX = 0.999f;
constexpr float T_MIN = 1e-4f;  // a pixel is done before its transmittance falls to this
constexpr unsigned ALL = 0xffffffffu;

// The place of a Gaussian's record.
__device__ __forceinline__ const float4* record_of(const float* records, int64_t id) {
  return reinterpret_cast<const float4*>(records) + id * (RECORD / 4);
}

// Where form(centre - pixel) <= limit; the form is symmetric, so its sign of d does not matter.
struct Ellipse {
  float x, y, a, b, c;  // centre; a dx^2 + b dx dy + c dy^2
  float limit;
};

// The least value of an ellipse's form over a rectangle.
__device__ __forceinline__ float least_in(const Ellipse& e, float x0, float y0, float x1, float y1) {
  const float left = x0 - e.x, right = x1 - e.x, top = y0 - e.y, bottom = y1 - e.y;
  // The form is convex: it is least at the centre, or on one of the two edges that face it.
  const float near_x = fminf(fmaxf(0.f, left), right), near_y = fminf(fmaxf(0.f, top), bottom);
  const float half = -0.5f * e.b;
  const float along_y = fminf(fmaxf(__fdividef(half * near_x, e.c), top), bottom);
  const float along_x = fminf(fmaxf(__fdividef(half * near_y, e.a), left), right);
  const float on_x = e.a * near_x * near_x + (e.b * near_x + e.c * along_y) * along_y;
  const float on_y = e.c * near_y * near_y + (e.b * near_y + e.a * along_x) * along_x;
  return fminf(on_x, on_y);
}

// Rounding must not lose a pixel at the threshold; what is let through is tested exactly.
__device__ __forceinline__ bool reaches(const Ellipse& e, float x0, float y0, float x1, float y1) {
  return least_in(e, x0, y0, x1, y1) <= e.limit * 1.0001f + 1e-3f;
}

inline int blocks(int64_t count, int threads) { return int((count + threads - 1) / threads); }

inline void check(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

}  // namespace gs
