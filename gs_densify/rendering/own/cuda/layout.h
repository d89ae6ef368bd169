// How data lie in memory, for kernels and host.

#pragma once

#ifdef __CUDACC__
#define GS_BOTH __host__ __device__ __forceinline__  // for the host, too
#else
#define GS_BOTH inline
#endif

namespace gs {

constexpr int TILE = 16;  // side of a tile in pixels; a block of 256 threads has one

constexpr int PIECE = 512;  // entries of a tile's list that a block has where blocks share it

// A projected Gaussian is RECORD floats, in parts of four:
//   0: x, y, xx, xy    1: yy, opacity, limit, determinant    2: red, green, blue, -
// with its conic, and the limit and determinant of its form: alpha is opacity * 2^-form(centre - pixel)
// where form(d) is the conic's, xx dx^2 + 2 xy dx dy + yy dy^2, times SCALE, and the limit is its value
// at which alpha falls to 1/255.
// Its gradient is `gradient_width` floats, sums over pixels of
//   0: s    1, 2: s dx, s dy    3, 4, 5: s dx^2, s dx dy, s dy^2    6, 7, 8: of the colour
//   9, 10: |gradient of x|, |gradient of y|    11 to 15: of further channels
// where s is the gradient of half the conic's quadratic form.
constexpr float SCALE = 0.72134752044448170f;  // log2(e) / 2
constexpr int RECORD = 12;
constexpr int FIRST_AUX = 11, MAX_AUX = 5;  // further channels
GS_BOTH constexpr int gradient_width(int channels) { return channels > 0 ? FIRST_AUX + MAX_AUX : RECORD; }

}  // namespace gs
