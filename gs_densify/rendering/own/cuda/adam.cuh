// Where the gradient of a parameter goes: to memory, or into Adam's step of the parameter itself.

#pragma once
#include <cmath>

#include "kernels.h"

namespace gs {

__host__ __device__ inline bool is_wanted(const Target& t) { return t.gradient || t.step.value; }

// Gives values first, first + stride, ... their gradients, those of them before `end`. The step is
// `torch.optim.Adam`'s, with the bias corrections in its factors (Kingma and Ba, arXiv 1412.6980, end
// of section 2). All values are read before the first is written, so that none waits for another.
template <int COUNT>
__host__ __device__ inline void put(const Target& t, int64_t first, int stride, int64_t end,
                                    const float (&gradients)[COUNT]) {
  if (t.gradient) {
#pragma unroll
    for (int k = 0; k < COUNT; ++k)
      if (first + k * stride < end) t.gradient[first + k * stride] = gradients[k];
    return;
  }
  const Step& s = t.step;
  float values[COUNT], averages[COUNT], squares[COUNT];
#pragma unroll
  for (int k = 0; k < COUNT; ++k) {
    const int64_t place = first + k * stride;
    if (place < end) values[k] = s.value[place], averages[k] = s.average[place], squares[k] = s.square[place];
  }
#pragma unroll
  for (int k = 0; k < COUNT; ++k) {
    const int64_t place = first + k * stride;
    if (place >= end) break;
    const float g = gradients[k];
    const float average = averages[k] + s.weight1 * (g - averages[k]);
    const float square = squares[k] + s.weight2 * (g * g - squares[k]);
    s.average[place] = average;
    s.square[place] = square;
    s.value[place] = s.decay * values[k] - s.size * (average / (sqrtf(square) + s.eps));
  }
}

// The same of a row.
template <int COUNT>
__host__ __device__ inline void put(const Target& t, int64_t row, const float (&gradients)[COUNT]) {
  put(t, COUNT * row, 1, COUNT * (row + 1), gradients);
}

}  // namespace gs
