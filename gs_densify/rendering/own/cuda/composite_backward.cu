// From gradients of pixels to those of records, back to front.
//
// A warp takes the Gaussians that reach its pixels in two turns. In the first a thread is a pixel:
// it puts what each of VISITS Gaussians has from it into shared memory. In the second half a warp's
// threads are those Gaussians with one half of the pixels each, and sum them up. The sums go to the
// Gaussian's by atomic operations, whose order is not the same twice; or, `ORDERED`, those of a tile
// are added in the order of its warps and stored for each entry of the list, to be gathered later.

#include "pixels.cuh"

namespace gs {
namespace {

constexpr int VISITS = 16;
constexpr int HALF = 32 / 2, ROWS = HALF / WARP_WIDTH;  // pixels that a thread sums up
constexpr int PITCH = 33;  // places between rows, so that rows begin in different banks

// A warp's place in shared memory.
template <int AUX>
struct Turn {
  float2 visits[VISITS][PITCH];  // s of layout.h, and the weight
  float4 v_color[32];
  float v_aux[AUX > 0 ? 32 : 1][AUX > 0 ? AUX : 1];
};

// What a block has in shared memory.
template <int AUX, bool ORDERED>
struct Shared {
  static constexpr int SIZE = ORDERED ? 64 : 128;
  Batch<SIZE, AUX> batch;
  Turn<AUX> turns[TILE_WARPS];
  float sums[TILE_WARPS][ORDERED ? SIZE : 1][ORDERED ? gradient_width(AUX) : 1];
  int latest[TILE_WARPS];
};

template <int AUX, bool ABSOLUTE>
GS_BOTH constexpr bool is_used(int field) {
  return field < 9 || (field < FIRST_AUX ? ABSOLUTE : field < FIRST_AUX + AUX);
}

// The second turn. `slot` is the Gaussian of visit lane % VISITS.
template <int AUX, bool ABSOLUTE, bool ORDERED>
__device__ __forceinline__ void add_visits(Shared<AUX, ORDERED>& shared, int count, int slot,
                                           const Pixel& p, float* v_records) {
  const int lane = threadIdx.x % 32, visit = lane % VISITS, half = lane / VISITS;
  const auto& batch = shared.batch;
  Turn<AUX>& turn = shared.turns[threadIdx.x / 32];
  __syncwarp();
  const float4 g = batch.geometry[slot];
  const float2* values = turn.visits[visit] + half * HALF;
  constexpr int WIDTH = gradient_width(AUX);
  float sums[WIDTH] = {};
  // Moments about a middle column and a middle row first, and about the Gaussian's centre in the end.
  constexpr float MIDDLE = 0.5f * (WARP_WIDTH - 1);
  const float dx = g.x - p.left - MIDDLE, dy = g.y - p.top - half * ROWS;
  const float yy = ABSOLUTE ? batch.strength[slot].x : 0.f;
  float s = 0.f, sx = 0.f, sxx = 0.f, sy = 0.f, sxy = 0.f, syy = 0.f;
#pragma unroll
  for (int row = 0; row < ROWS; ++row) {
    float row_s = 0.f, row_sx = 0.f;
#pragma unroll
    for (int column = 0; column < WARP_WIDTH; ++column) {
      const int pixel = row * WARP_WIDTH + column;
      const float2 value = values[pixel];
      const float4 v = turn.v_color[half * HALF + pixel];
      const float x = column - MIDDLE;
      row_s += value.x, row_sx += x * value.x, sxx += x * x * value.x;
      sums[6] += value.y * v.x, sums[7] += value.y * v.y, sums[8] += value.y * v.z;
      if (ABSOLUTE) {  // times 2 SCALE
        sums[9] += fabsf(value.x * (2.f * g.z * (dx - x) + g.w * (dy - row)));
        sums[10] += fabsf(value.x * (g.w * (dx - x) + 2.f * yy * (dy - row)));
      }
#pragma unroll
      for (int k = 0; k < AUX; ++k) sums[FIRST_AUX + k] += value.y * turn.v_aux[half * HALF + pixel][k];
    }
    s += row_s, sx += row_sx, sy += row * row_s, sxy += row * row_sx, syy += row * row * row_s;
  }
  sums[0] = s, sums[1] = dx * s - sx, sums[2] = dy * s - sy;
  sums[3] = dx * (sums[1] - sx) + sxx;
  sums[4] = dx * sums[2] - dy * sx + sxy;
  sums[5] = dy * (sums[2] - sy) + syy;
  // Both halves' sums into the row of the visit, of which they alone have read; then 16 threads
  // add to one record, whose values lie side by side.
  float* rows = reinterpret_cast<float*>(turn.visits);
  __syncwarp();
#pragma unroll
  for (int field = 0; field < WIDTH; ++field)
    if (is_used<AUX, ABSOLUTE>(field)) rows[visit * 2 * PITCH + half * PITCH + field] = sums[field];
  if (half == 0) rows[visit * 2 * PITCH + WIDTH] = __int_as_float(ORDERED ? slot : batch.id[slot]);
  __syncwarp();
  const int field = lane % VISITS;
  const float* row = rows + half * 2 * PITCH;
  if (is_used<AUX, ABSOLUTE>(field)) {
#pragma unroll
    for (int first = 0; first < VISITS; first += 2, row += 4 * PITCH) {
      if (first + half >= count) continue;
      const int place = __float_as_int(row[WIDTH]);
      const float sum = row[field] + row[PITCH + field];
      if constexpr (ORDERED)
        shared.sums[threadIdx.x / 32][place][field] = sum;
      else
        atomicAdd(v_records + int64_t(place) * WIDTH + field, sum);
    }
  }
  __syncwarp();
}

// The sums of a batch's Gaussians over the warps, each stored where its entry came from.
template <int AUX>
__device__ __forceinline__ void store_sums(const Shared<AUX, true>& shared, int first, int count,
                                           const int32_t* sources, float* v_entries) {
  constexpr int WIDTH = gradient_width(AUX);
  for (int k = threadIdx.x; k < count * WIDTH; k += TILE_THREADS) {
    const int slot = k / WIDTH, field = k % WIDTH;
    float sum = 0.f;
    for (int w = 0; w < TILE_WARPS; ++w) sum += shared.sums[w][slot][field];
    v_entries[int64_t(sources[first + slot]) * WIDTH + field] = sum;
  }
}

// `v_records` are those of the lists' entries where `ORDERED`.
template <int AUX, bool ABSOLUTE, bool ORDERED>
__global__ void __launch_bounds__(TILE_THREADS, ORDERED ? 3 : 4) composite_backward_kernel(
    Lists l, Pixels of, const float* states, const float* v_image, const float* v_aux,
    const float* v_alpha, const int32_t* sources, float* v_records) {
  extern __shared__ float4 memory[];
  auto& shared = *reinterpret_cast<Shared<AUX, ORDERED>*>(memory);
  auto& batch = shared.batch;
  const Piece piece = piece_of(l, blockIdx.x);
  if (piece.begin >= piece.end) return;
  const Pixel p = pixel_of(l, piece.tile);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  Turn<AUX>& turn = shared.turns[warp];
  const float px = p.x + 0.5f, py = p.y + 0.5f;
  const int latest = p.is_inside ? of.last[p.index] : piece.begin - 1;
  const int warp_latest = __reduce_max_sync(ALL, latest);
  if (lane == 0) shared.latest[warp] = warp_latest;
  __syncthreads();
  int tile_latest = shared.latest[0];
#pragma unroll
  for (int w = 1; w < TILE_WARPS; ++w) tile_latest = max(tile_latest, shared.latest[w]);
  if (tile_latest < piece.begin) return;

  float vr = 0.f, vg = 0.f, vb = 0.f, through = 1.f, behind = 0.f;
  float v_further[AUX > 0 ? AUX : 1] = {};
  if (p.is_inside) {
    vr = v_image[3 * p.index], vg = v_image[3 * p.index + 1], vb = v_image[3 * p.index + 2];
    through = of.rest[p.index];
    // What lies behind, times its gradient; alpha counts as a colour of -1 behind everything.
    behind = -through * v_alpha[p.index];
#pragma unroll
    for (int k = 0; k < AUX; ++k) v_further[k] = v_aux[p.index * AUX + k];
    if (latest >= piece.end) {
      const float* state = state_of<AUX>(const_cast<float*>(states), blockIdx.x);
      through = state[0];
      behind += (of.image[3 * p.index] - state[TILE_THREADS]) * vr +
                (of.image[3 * p.index + 1] - state[2 * TILE_THREADS]) * vg +
                (of.image[3 * p.index + 2] - state[3 * TILE_THREADS]) * vb;
#pragma unroll
      for (int k = 0; k < AUX; ++k)
        behind += (of.aux[p.index * AUX + k] - state[(4 + k) * TILE_THREADS]) * v_further[k];
    }
  }
  turn.v_color[lane] = make_float4(vr, vg, vb, 0.f);
#pragma unroll
  for (int k = 0; k < AUX; ++k) turn.v_aux[lane][k] = v_further[k];

  constexpr int BATCH = Shared<AUX, ORDERED>::SIZE;
  for (int end = min(piece.end, tile_latest + 1), first; end > piece.begin; end = first) {
    first = max(piece.begin, end - BATCH);
    const int count = end - first;
    __syncthreads();
    if (int(threadIdx.x) < count) batch.load(l, threadIdx.x, first + threadIdx.x);
    __syncthreads();
    if constexpr (ORDERED) {
      float* sums = &shared.sums[warp][0][0];
      for (int k = lane; k < count * gradient_width(AUX); k += 32) sums[k] = 0.f;
    }
    const int own_last = latest - first;
    int group = warp_latest < first ? 0 : (count + 31) / 32 * 32;
    unsigned mask = 0;
    for (bool is_more = true; is_more;) {
      int visited = 0, own_slot = 0;
      float2* place = &turn.visits[0][lane];
      while (visited < VISITS) {
        while (!mask && group > 0) {
          group -= 32;
          if (first + group <= warp_latest) mask = batch.reaching(group, count, p);
        }
        is_more = mask;
        if (!is_more) break;
        const int bit = 31 - __clz(mask), slot = group + bit;
        mask ^= 1u << bit;
        const Cover cover = cover_of(batch.geometry[slot], batch.strength[slot], px, py);
        const bool is_hit = cover.is_seen && slot <= own_last;
        if (!__any_sync(ALL, is_hit)) continue;
        const float a = is_hit ? cover.alpha : 0.f, inverse = reciprocal_of(1.f - a);
        through *= inverse;
        const float weight = a * through;
        const float4 c = batch.color[slot];
        float seen = c.x * vr + c.y * vg + c.z * vb;
#pragma unroll
        for (int k = 0; k < AUX; ++k) seen += batch.aux[k][slot] * v_further[k];
        const float v_a = through * seen - inverse * behind;
        behind += weight * seen;
        *place = make_float2(is_hit && cover.full <= ALPHA_MAX ? -cover.full * v_a : 0.f, weight);
        place += PITCH;
        if (lane % VISITS == visited) own_slot = slot;
        ++visited;
      }
      if (visited) add_visits<AUX, ABSOLUTE>(shared, visited, own_slot, p, v_records);
    }
    if constexpr (ORDERED) {
      __syncthreads();
      store_sums(shared, first, count, sources, v_records);
    }
  }
}

// The gradient of a Gaussian's record: its entries follow one another in the order they came from.
__global__ void gather_kernel(int64_t count, int width, const Sources s, const float* v_entries,
                              float* v_records) {
  const int64_t i = int64_t(blockIdx.x) * TILE_THREADS + threadIdx.x;
  if (i >= count * width) return;
  const int64_t rank = i / width, end = s.ends[rank];
  const int32_t id = s.order[rank];
  float sum = 0.f;
  for (int64_t k = end - s.tiles[id]; k < end; ++k) sum += v_entries[k * width + i % width];
  v_records[int64_t(id) * width + i % width] = sum;
}


__global__ void finish_kernel(int64_t count, const float* records, const float* v_records, int width,
                              float2* v_means2d, float2* absgrad) {
  const int64_t i = int64_t(blockIdx.x) * TILE_THREADS + threadIdx.x;
  if (i >= count) return;
  const float* sums = v_records + i * width;
  const float4 first = *reinterpret_cast<const float4*>(sums);
  float2 v = {0.f, 0.f};
  if (first.x != 0.f || first.y != 0.f || first.z != 0.f) {
    const float4* record = record_of(records, i);
    const float4 a = record[0], b = record[1];
    v = {a.z * first.y + a.w * first.z, a.w * first.y + b.x * first.z};
  }
  v_means2d[i] = v;
  if (absgrad) absgrad[i] = {sums[9] / SCALE / 2.f, sums[10] / SCALE / 2.f};
}

__global__ void finish_aux_kernel(int64_t count, int gaussians, int channels, const float* v_records,
                                  int width, float* v_aux) {
  const int64_t i = int64_t(blockIdx.x) * TILE_THREADS + threadIdx.x;
  if (i >= int64_t(gaussians) * channels) return;
  float sum = 0.f;
  for (int64_t pair = i / channels; pair < count; pair += gaussians)
    sum += v_records[pair * width + FIRST_AUX + i % channels];
  v_aux[i] = sum;
}

template <int AUX, bool ABSOLUTE, bool ORDERED>
void launch(const Lists& l, const Pixels& of, const float* states, const PixelGradients& v,
            const Sources& sources, float* v_records, cudaStream_t stream) {
  const auto kernel = composite_backward_kernel<AUX, ABSOLUTE, ORDERED>;
  constexpr int bytes = sizeof(Shared<AUX, ORDERED>);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  kernel<<<l.pieces(), TILE_THREADS, bytes, stream>>>(l, of, states, v.image, v.aux, v.alpha, sources.entries,
                                                      v_records);
}

template <int AUX>
void launch_for(const Lists& l, const Pixels& of, const float* states, const PixelGradients& v,
                bool absolute, const Sources& sources, float* v_records, cudaStream_t stream) {
  const auto chosen = sources.entries ? absolute ? launch<AUX, true, true> : launch<AUX, false, true>
                      : absolute      ? launch<AUX, true, false>
                                      : launch<AUX, false, false>;
  chosen(l, of, states, v, sources, v_records, stream);
}

}  // namespace

void composite_backward(const Lists& l, const Pixels& of, const float* states, const PixelGradients& v,
                        bool absolute, const Sources& sources, float* v_records, void* stream) {
  constexpr decltype(&launch_for<0>) launches[] = {launch_for<0>, launch_for<1>, launch_for<2>,
                                                   launch_for<3>, launch_for<4>, launch_for<5>};
  launches[l.channels](l, of, states, v, absolute, sources, v_records, cudaStream_t(stream));
  check("composite_backward");
}

void gather_entries(const Lists& l, const Sources& sources, const float* v_entries, float* v_records,
                    void* stream) {
  const int64_t count = int64_t(l.cameras) * l.gaussians;
  const int width = gradient_width(l.channels);
  gather_kernel<<<blocks(count * width, TILE_THREADS), TILE_THREADS, 0, cudaStream_t(stream)>>>(
      count, width, sources, v_entries, v_records);
  check("gather_entries");
}

void finish_gradients(const Lists& l, const float* v_records, float* v_means2d, float* absgrad,
                      float* v_aux, void* stream) {
  const auto s = cudaStream_t(stream);
  const int64_t count = int64_t(l.cameras) * l.gaussians;
  const int width = gradient_width(l.channels);
  finish_kernel<<<blocks(count, TILE_THREADS), TILE_THREADS, 0, s>>>(
      count, l.records, v_records, width, reinterpret_cast<float2*>(v_means2d),
      reinterpret_cast<float2*>(absgrad));
  if (l.channels)
    finish_aux_kernel<<<blocks(int64_t(l.gaussians) * l.channels, TILE_THREADS), TILE_THREADS, 0, s>>>(
        count, l.gaussians, l.channels, v_records, width, v_aux);
  check("finish_gradients");
}

}  // namespace gs
