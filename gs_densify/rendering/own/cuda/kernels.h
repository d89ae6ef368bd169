// What the binding calls. Pointers are to device memory; every call is asynchronous on `stream`.
// A launch that fails throws std::runtime_error.

#pragma once
#include <cstddef>
#include <cstdint>

#include "layout.h"

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
  int64_t* total;          // sum of tiles, 0 before
};

// Adam's next step of a parameter: its moments move by the weights towards the gradient and its
// square, the value is multiplied by `decay` and moves by `size`.
struct Step {
  float *value, *average, *square;
  float size, eps, decay, weight1, weight2;
};

// A contiguous tensor for the gradient, or, where it is null, a step in its place; neither: not wanted.
struct Target {
  float* gradient;
  Step step;
};

struct Gradients {
  Target means, quats, scales, opacities, base, rest;
  float* viewmats;  // [C, 4, 4], zeros before, or null
};

void project(const Model&, const View&, const Projection&, void* stream);
void project_backward(const Model&, const View&, const int32_t* radii, const float* v_means2d,
                      const float* v_records, int width, const float* v_depths, const Gradients&,
                      void* stream);  // width: floats between records' gradients

void copy_total(const int64_t* total, int64_t* host, void* stream);  // to pinned memory, later
size_t depth_order_bytes(int64_t count);
void depth_order(int64_t count, const uint32_t* keys, const int32_t* tiles, uint32_t* sorted_keys,
                 int32_t* ids, int32_t* order, int64_t* ends, void* scratch, size_t bytes, void* stream);
size_t tile_order_bytes(int64_t pairs);
// `pairs`: how many there are, or, not `is_exact`, for how many there is room.
void tile_order(int64_t count, int64_t gaussians, int64_t pairs, bool is_exact, int tiles_x, int tiles_y,
                int cameras, const int32_t* order, const int64_t* ends, const float* records,
                const int32_t* tiles, uint32_t* keys, int32_t* ids, uint32_t* sorted_keys, int32_t* sorted_ids,
                int32_t* offsets, int32_t* places, int32_t* entries, void* scratch, size_t bytes,
                void* stream);  // of `Sources`, and as much of scratch; both may be null

struct Lists {
  int cameras, gaussians, width, height, tiles_x, tiles_y;
  int pairs;         // entries of all lists
  const float* records;
  const float* aux;  // [N, channels] or null
  int channels;      // 0 to MAX_AUX
  const int32_t *offsets, *ids;

  GS_BOTH int tiles() const { return cameras * tiles_x * tiles_y; }
  int pieces() const { return tiles() + pairs / PIECE + 1; }  // numbers of pieces are below
};

// Per pixel: `rest` is its transmittance at the end, more exact than 1 - alpha; `last` the place in
// `ids` of the last Gaussian that entered it.
struct Pixels {
  float *image, *aux, *alpha, *rest;
  int32_t* last;
};

// Whether tiles are so few that pieces are composited side by side.
bool is_in_pieces(const Lists&);
// `states`, of `states_of` floats, is what backward needs besides; null where there is no backward
// and pieces are not side by side.
int64_t states_of(const Lists&);
void composite(const Lists&, const Pixels&, float* states, void* stream);
struct PixelGradients {
  const float *image, *aux, *alpha;
};

// Where entries of the lists come from. Before the sort by tile those of a Gaussian follow one
// another, as Gaussians do by depth: those of `order[i]` end at `ends[i]`, `tiles[order[i]]` of them.
struct Sources {
  const int32_t* entries;  // the place of each before that sort; null where nobody asks
  const int32_t *order, *tiles;
  const int64_t* ends;
};

// Adds to the gradients of records, zeros before; or, where there are `sources`, to those of the
// entries before the sort, also zeros, which `gather_entries` sums up in one order.
void composite_backward(const Lists&, const Pixels&, const float* states, const PixelGradients&,
                        bool absolute, const Sources&, float* v_records, void* stream);
void gather_entries(const Lists&, const Sources&, const float* v_entries, float* v_records, void* stream);
// The gradients of centres, absolute ones where the pointer is not null, and of aux.
void finish_gradients(const Lists&, const float* v_records, float* v_means2d, float* absgrad,
                      float* v_aux, void* stream);

}  // namespace gs
