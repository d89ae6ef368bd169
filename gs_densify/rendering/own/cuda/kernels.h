// What the binding calls. Pointers are to device memory; every call is asynchronous on `stream`
// but `pairs_of`, which waits for one number. A launch that fails throws std::runtime_error.

#pragma once
#include <cstdint>

namespace gs {

struct Model {
  int count;               // Gaussians
  const float *means, *quats, *scales, *opacities;
  const float *base, *rest;       // coefficient 0, and the others; RGB in `base` where degree is -1
  int base_stride, rest_stride;   // floats between rows
  int rest_columns;               // floats of a row of `rest`, used or not
  int degree;
  bool is_stored;  // scales are logarithms and opacities logits
};

struct View {
  int cameras, width, height;
  const float *viewmats, *Ks;
  float near_plane, far_plane, radius_clip;
  bool antialiased;
};

// Per pair of camera and Gaussian, in this order.
struct Projection {
  float *means2d, *records, *depths;
  int32_t *radii, *tiles;  // tiles: how many it reaches
  uint32_t* keys;          // sort by depth; culled ones last
  int32_t* total;          // sum of tiles
};

// Of contiguous tensors; `rest` null where there is none.
struct Gradients {
  float *means, *quats, *scales, *opacities, *base, *rest;
  float* viewmats;  // [C, 4, 4], zeros before, or null
};

void project(const Model&, const View&, const Projection&, void* stream);
void project_backward(const Model&, const View&, const int32_t* radii, const float* v_means2d,
                      const float* v_records, const float* v_depths, const Gradients&, void* stream);

int64_t pairs_of(const int32_t* total, void* stream);
void copy_total(const int32_t* total, int32_t* host, void* stream);  // to pinned memory, later
size_t depth_order_bytes(int64_t count);
void depth_order(int64_t count, const uint32_t* keys, const int32_t* tiles, uint32_t* sorted_keys,
                 int32_t* ids, int32_t* order, int64_t* ends, void* scratch, size_t bytes, void* stream);
size_t tile_order_bytes(int64_t pairs);
// `pairs`: how many there are, or, not `is_exact`, for how many there is room.
void tile_order(int64_t count, int64_t gaussians, int64_t pairs, bool is_exact, int tiles_x, int tiles_y,
                int cameras, const int32_t* order, const int64_t* ends, const float* records, const int32_t* tiles,
                uint32_t* keys, int32_t* ids, uint32_t* sorted_keys, int32_t* sorted_ids,
                int32_t* offsets, void* scratch, size_t bytes, void* stream);

struct Lists {
  int cameras, gaussians, width, height, tiles_x, tiles_y;
  const float* records;
  const float* aux;  // [N, channels] or null
  int channels;      // 0 to MAX_AUX
  const int32_t *offsets, *ids;
};

// `rest` is each pixel's transmittance at the end, more exact than 1 - alpha; `last` the place in
// `ids` of the last Gaussian that entered it.
void composite(const Lists&, float* image, float* aux, float* alpha, float* rest, int32_t* last,
               void* stream);
void composite_backward(const Lists&, const float* rest, const int32_t* last, const float* v_image,
                        const float* v_aux, const float* v_alpha, bool absolute, float* v_records,
                        void* stream);
// The gradients of centres, absolute ones where the pointer is not null, and of aux.
void finish_gradients(int64_t count, int gaussians, int channels, const float* records,
                      const float* v_records, float* v_means2d, float* absgrad, float* v_aux,
                      void* stream);

}  // namespace gs
