// The list of Gaussians of each tile, front to back: Gaussians are sorted by depth, each writes its
// tiles in that order, and a stable sort by tile keeps it.

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels.h"
#include "tiles.cuh"

namespace gs {
namespace {

constexpr int THREADS = 256;
constexpr int WIDE = 64;  // tiles from which on a warp lists them together

__global__ void number(int64_t count, int32_t* ids) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i < count) ids[i] = int32_t(i);
}

template <typename Out>
__global__ void gather(int64_t count, const int32_t* order, const int32_t* values, Out* out) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i < count) out[i] = values[order[i]];
}

// Writes one row of tiles from `at` on, at most up to `end`; returns where the next begins.
__device__ __forceinline__ int64_t list_row(const Reach& e, int row, int tiles_x, int first_tile,
                                            int32_t id, int64_t at, int64_t end, uint32_t* keys,
                                            int32_t* ids) {
  const Span columns = columns_reached(e, row, tiles_x);
  for (int column = columns.begin; column < columns.end && at < end; ++column, ++at) {
    keys[at] = first_tile + row * tiles_x + column;
    ids[at] = id;
  }
  return at;
}

// Of more pairs than there is room for, those of the farthest Gaussians are left out.
__global__ void list_tiles(int64_t count, int64_t gaussians, int64_t room, int tiles_x, int tiles_y,
                           int cameras, const int32_t* order, const int64_t* ends,
                           const float* records, const int32_t* tiles, uint32_t* keys, int32_t* ids) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  const bool is_inside = i < count;
  const int32_t id = is_inside ? order[i] : 0;
  const int reached = is_inside ? tiles[id] : 0;
  const int lane = threadIdx.x % 32;
  Reach e = {};
  int64_t end = 0;
  if (reached) {
    const float4* record = record_of(records, id);
    e = reach_of(record[0], record[1]);
    end = ends[i];
    if (reached < WIDE) {
      const int first_tile = int(id / gaussians) * tiles_x * tiles_y;
      const Span rows = rows_reached(e, tiles_y);
      int64_t at = end - reached;
      const int64_t stop = min(end, room);
      for (int row = rows.begin; row < rows.end; ++row)
        at = list_row(e, row, tiles_x, first_tile, id, at, stop, keys, ids);
      // Counted by the same code; should a compiler round the two differently, none is undefined.
      for (; at < stop; ++at) keys[at] = cameras * tiles_x * tiles_y, ids[at] = id;
    }
  }
  // Wide ones: a row of tiles for each thread of the warp, their places by a sum over its lanes.
  unsigned wide = __ballot_sync(ALL, reached >= WIDE);
  while (wide) {
    const int source = __ffs(wide) - 1;
    wide &= wide - 1;
    Reach one;
    one.e.x = __shfl_sync(ALL, e.e.x, source), one.e.y = __shfl_sync(ALL, e.e.y, source);
    one.e.a = __shfl_sync(ALL, e.e.a, source), one.e.b = __shfl_sync(ALL, e.e.b, source);
    one.e.c = __shfl_sync(ALL, e.e.c, source), one.e.limit = __shfl_sync(ALL, e.e.limit, source);
    one.det = __shfl_sync(ALL, e.det, source);
    const int32_t its_id = __shfl_sync(ALL, id, source);
    const int64_t its_end = __shfl_sync(ALL, end, source);
    int64_t at = its_end - __shfl_sync(ALL, reached, source);
    const int64_t its_stop = min(its_end, room);
    const int first_tile = int(its_id / gaussians) * tiles_x * tiles_y;
    const Span rows = rows_reached(one, tiles_y);
    for (int first = rows.begin; first < rows.end; first += 32) {
      const int row = first + lane;
      int width = 0;
      if (row < rows.end) {
        const Span columns = columns_reached(one, row, tiles_x);
        width = max(columns.end - columns.begin, 0);
      }
      int before = width;
      for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(ALL, before, step);
        if (lane >= step) before += other;
      }
      if (width)
        list_row(one, row, tiles_x, first_tile, its_id, at + before - width, its_stop, keys, ids);
      at += __shfl_sync(ALL, before, 31);
    }
    for (at += lane; at < its_stop; at += 32) keys[at] = cameras * tiles_x * tiles_y, ids[at] = its_id;
  }
}

// Where each tile's entries begin; one more says where the last one's end.
__global__ void find_offsets(int64_t pairs, int n_tiles, const uint32_t* keys, int32_t* offsets) {
  const int64_t i = int64_t(blockIdx.x) * THREADS + threadIdx.x;
  if (i > pairs) return;
  const int64_t before = i == 0 ? -1 : int64_t(keys[i - 1]);
  const int64_t here = i == pairs ? n_tiles : int64_t(keys[i]);
  for (int64_t tile = before + 1; tile <= here && tile <= n_tiles; ++tile) offsets[tile] = int32_t(i);
}

int bits_for(uint32_t most) {
  int bits = 1;
  while (bits < 32 && most >> bits) ++bits;
  return bits;
}

}  // namespace

void copy_total(const int64_t* total, int64_t* host, void* stream) {
  cudaMemcpyAsync(host, total, sizeof(int64_t), cudaMemcpyDeviceToHost, cudaStream_t(stream));
  check("copy_total");
}

size_t depth_order_bytes(int64_t count) {
  size_t sort = 0, scan = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, sort, (uint32_t*)nullptr, (uint32_t*)nullptr,
                                  (int32_t*)nullptr, (int32_t*)nullptr, count);
  cub::DeviceScan::InclusiveSum(nullptr, scan, (int64_t*)nullptr, (int64_t*)nullptr, count);
  return sort > scan ? sort : scan;
}

void depth_order(int64_t count, const uint32_t* keys, const int32_t* tiles, uint32_t* sorted_keys,
                 int32_t* ids, int32_t* order, int64_t* ends, void* scratch, size_t bytes, void* stream) {
  const auto s = cudaStream_t(stream);
  number<<<blocks(count, THREADS), THREADS, 0, s>>>(count, ids);
  cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, sorted_keys, ids, order, count, 0, 32, s);
  gather<<<blocks(count, THREADS), THREADS, 0, s>>>(count, order, tiles, ends);
  cub::DeviceScan::InclusiveSum(scratch, bytes, ends, ends, count, s);
  check("depth_order");
}

size_t tile_order_bytes(int64_t pairs) {
  size_t bytes = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, bytes, (uint32_t*)nullptr, (uint32_t*)nullptr,
                                  (int32_t*)nullptr, (int32_t*)nullptr, pairs);
  return bytes;
}

void tile_order(int64_t count, int64_t gaussians, int64_t pairs, bool is_exact, int tiles_x, int tiles_y,
                int cameras, const int32_t* order, const int64_t* ends, const float* records,
                const int32_t* tiles, uint32_t* keys, int32_t* ids, uint32_t* sorted_keys, int32_t* sorted_ids,
                int32_t* offsets, int32_t* places, int32_t* entries, void* scratch, size_t bytes,
                void* stream) {
  const auto s = cudaStream_t(stream);
  const int n_tiles = cameras * tiles_x * tiles_y;
  if (pairs) {
    if (!is_exact) cudaMemsetAsync(keys, 0xff, pairs * sizeof(uint32_t), s);  // sorted behind all tiles
    list_tiles<<<blocks(count, THREADS), THREADS, 0, s>>>(count, gaussians, pairs, tiles_x, tiles_y,
                                                          cameras, order, ends, records, tiles, keys, ids);
    if (entries) number<<<blocks(pairs, THREADS), THREADS, 0, s>>>(pairs, places);
    cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, sorted_keys, entries ? places : ids,
                                    entries ? entries : sorted_ids, pairs, 0, bits_for(n_tiles), s);
    if (entries) gather<<<blocks(pairs, THREADS), THREADS, 0, s>>>(pairs, entries, ids, sorted_ids);
  }
  find_offsets<<<blocks(pairs + 1, THREADS), THREADS, 0, s>>>(pairs, n_tiles, sorted_keys, offsets);
  check("tile_order");
}

}  // namespace gs
