// From records to pixels, front to back: a block for each tile, or, where tiles are too few for the
// multiprocessors, for each piece of their lists.

#include "pixels.cuh"

namespace gs {
namespace {

constexpr int BATCH = 256;  // list entries that a block holds in shared memory at a time
constexpr int FEW_TILES = 8;  // for each multiprocessor: from there on, tiles keep it busy by themselves
static_assert(PIECE % BATCH == 0);

// What a pixel has been given so far.
template <int AUX>
struct Ray {
  float through = 1.f, red = 0.f, green = 0.f, blue = 0.f;
  float further[AUX > 0 ? AUX : 1] = {};
  int latest;  // the entry that entered it last
  bool is_done;

  __device__ __forceinline__ void enter(const Batch<BATCH, AUX>& batch, int slot, float alpha) {
    const float weight = alpha * through;
    const float4 c = batch.color[slot];
    red += weight * c.x, green += weight * c.y, blue += weight * c.z;
#pragma unroll
    for (int k = 0; k < AUX; ++k) further[k] += weight * batch.aux[k][slot];
  }

  __device__ __forceinline__ void put(float* state) const {
    state[0] = through;
    state[TILE_THREADS] = red, state[2 * TILE_THREADS] = green, state[3 * TILE_THREADS] = blue;
#pragma unroll
    for (int k = 0; k < AUX; ++k) state[(4 + k) * TILE_THREADS] = further[k];
  }

  __device__ __forceinline__ void get(const float* state) {
    through = state[0];
    red = state[TILE_THREADS], green = state[2 * TILE_THREADS], blue = state[3 * TILE_THREADS];
#pragma unroll
    for (int k = 0; k < AUX; ++k) further[k] = state[(4 + k) * TILE_THREADS];
  }

  // Lets what a piece gave to a ray that began in front of it follow this one.
  __device__ __forceinline__ void follow(const Ray& piece) {
    red += through * piece.red, green += through * piece.green, blue += through * piece.blue;
#pragma unroll
    for (int k = 0; k < AUX; ++k) further[k] += through * piece.further[k];
    through *= piece.through;
  }

  __device__ __forceinline__ void write(const Pixels& out, int64_t pixel) const {
    out.image[3 * pixel] = red, out.image[3 * pixel + 1] = green, out.image[3 * pixel + 2] = blue;
    out.alpha[pixel] = 1.f - through, out.rest[pixel] = through;
    out.last[pixel] = latest;
#pragma unroll
    for (int k = 0; k < AUX; ++k) out.aux[pixel * AUX + k] = further[k];
  }
};

// Lets entries `begin` to `end` of a tile enter the rays of a block. Leaves their state at the end
// of each piece but the last where `states` is not null.
template <int AUX>
__device__ __forceinline__ void composite_entries(const Lists& l, const Pixel& p, int tile, int begin,
                                                  int end, Batch<BATCH, AUX>& batch, Ray<AUX>& ray,
                                                  float* states) {
  const float px = p.x + 0.5f, py = p.y + 0.5f;
  bool is_warp_done = false;
  for (int first = begin, next; first < end; first = next) {
    if (__syncthreads_and(ray.is_done)) break;
    if (states && first > begin && (first - begin) % PIECE == 0)
      ray.put(state_of<AUX>(states, first_piece(l, tile) + (first - begin) / PIECE - 1));
    next = min(end, first + BATCH);
    const int count = next - first;
    if (int(threadIdx.x) < count) batch.load(l, threadIdx.x, first + threadIdx.x);
    __syncthreads();
    for (int group = 0; group < count && !is_warp_done; group += 32) {
      unsigned mask = batch.reaching(group, count, p);
      while (mask) {
        const int slot = group + __ffs(mask) - 1;
        mask &= mask - 1;
        const Cover cover = cover_of(batch.geometry[slot], batch.strength[slot], px, py);
        if (ray.is_done || !cover.is_seen) continue;
        const float left = ray.through * (1.f - cover.alpha);
        if (left <= T_MIN) {
          ray.is_done = true;
          continue;
        }
        ray.enter(batch, slot, cover.alpha);
        ray.through = left;
        ray.latest = first + slot;
      }
      is_warp_done = __all_sync(ALL, ray.is_done);
    }
  }
}

template <int AUX>
__global__ void __launch_bounds__(TILE_THREADS) composite_kernel(Lists l, Pixels out, float* states) {
  __shared__ Batch<BATCH, AUX> batch;
  const int tile = blockIdx.x;
  const Pixel p = pixel_of(l, tile);
  const int begin = l.offsets[tile], end = l.offsets[tile + 1];
  Ray<AUX> ray;
  ray.latest = begin - 1, ray.is_done = !p.is_inside;
  composite_entries(l, p, tile, begin, end, batch, ray, states);
  if (p.is_inside) ray.write(out, p.index);
}

// Pieces side by side, in three steps. The first composites each as if nothing were in front of it;
// a transmittance of 0 says that a ray ends within.
template <int AUX>
__global__ void __launch_bounds__(TILE_THREADS) composite_pieces_kernel(Lists l, float* states) {
  __shared__ Batch<BATCH, AUX> batch;
  const Piece piece = piece_of(l, blockIdx.x);
  if (piece.begin >= piece.end) return;
  const Pixel p = pixel_of(l, piece.tile);
  Ray<AUX> ray;
  ray.is_done = !p.is_inside;
  composite_entries<AUX>(l, p, piece.tile, piece.begin, piece.end, batch, ray, nullptr);
  if (ray.is_done) ray.through = 0.f;
  ray.put(state_of<AUX>(states, blockIdx.x));
}

// Which piece a ray ends in, as it stands in `last` between the second step and the third.
__device__ __forceinline__ int ends_in(int piece) { return -2 - piece; }

// The second lets the pieces of a tile follow one another, up to the one in which a ray ends.
template <int AUX>
__global__ void __launch_bounds__(TILE_THREADS) join_pieces_kernel(Lists l, Pixels out, float* states) {
  const int tile = blockIdx.x;
  const Pixel p = pixel_of(l, tile);
  if (!p.is_inside) return;
  const int begin = l.offsets[tile], end = l.offsets[tile + 1];
  Ray<AUX> ray;
  ray.latest = end - 1;  // or earlier; what lies between does not reach the pixel
  if (begin < end) {
    const int first = first_piece(l, tile), last = first + (end - 1 - begin) / PIECE;
#pragma unroll 4
    for (int number = first; number <= last; ++number) {
      float* state = state_of<AUX>(states, number);
      Ray<AUX> piece;
      piece.get(state);
      if (ray.through * piece.through <= T_MIN) {
        out.last[p.index] = ends_in(number);
        return;
      }
      ray.follow(piece);
      ray.put(state);
    }
  }
  ray.write(out, p.index);
}

// The third composites again what the rays that end in a piece meet there.
template <int AUX>
__global__ void __launch_bounds__(TILE_THREADS) end_rays_kernel(Lists l, Pixels out, float* states) {
  __shared__ Batch<BATCH, AUX> batch;
  const Piece piece = piece_of(l, blockIdx.x);
  if (piece.begin >= piece.end) return;
  const Pixel p = pixel_of(l, piece.tile);
  const bool is_mine = p.is_inside && out.last[p.index] == ends_in(blockIdx.x);
  if (!__syncthreads_or(is_mine)) return;
  Ray<AUX> ray;
  ray.latest = piece.begin - 1, ray.is_done = !is_mine;
  if (piece.begin > l.offsets[piece.tile]) ray.get(state_of<AUX>(states, blockIdx.x - 1));
  composite_entries<AUX>(l, p, piece.tile, piece.begin, piece.end, batch, ray, nullptr);
  if (is_mine) ray.write(out, p.index);
}

template <int AUX>
void launch(const Lists& l, const Pixels& out, float* states, bool in_pieces, cudaStream_t stream) {
  if (in_pieces) {
    composite_pieces_kernel<AUX><<<l.pieces(), TILE_THREADS, 0, stream>>>(l, states);
    join_pieces_kernel<AUX><<<l.tiles(), TILE_THREADS, 0, stream>>>(l, out, states);
    end_rays_kernel<AUX><<<l.pieces(), TILE_THREADS, 0, stream>>>(l, out, states);
  } else {
    composite_kernel<AUX><<<l.tiles(), TILE_THREADS, 0, stream>>>(l, out, states);
  }
}

}  // namespace

int64_t states_of(const Lists& l) { return int64_t(l.pieces()) * (4 + l.channels) * TILE_THREADS; }

bool is_in_pieces(const Lists& l) {
  int device = 0, multiprocessors = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  return l.tiles_x * l.tiles_y < FEW_TILES * multiprocessors;
}

void composite(const Lists& l, const Pixels& out, float* states, void* stream) {
  constexpr decltype(&launch<0>) launches[] = {launch<0>, launch<1>, launch<2>,
                                               launch<3>, launch<4>, launch<5>};
  launches[l.channels](l, out, states, is_in_pieces(l), cudaStream_t(stream));
  check("composite");
}

}  // namespace gs
