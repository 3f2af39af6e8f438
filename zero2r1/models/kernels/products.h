// x [rows, inputs] times the transpose of a weight [outputs, inputs] that was laid out ahead. Every result is one sum over
// the inputs in their order, whatever the number of rows, its neighbours and the threads: a token alone gets the same bits as
// the same token among thousands.
//
// float32 on every processor; bfloat16, summed in float32, where the processor multiplies it in vectors (AVX512-BF16).

#pragma once

#include "floats.h"

namespace {

#ifdef __AVX512F__
constexpr int TILE_ROWS = 8, TILE_PANELS = 3;  // 24 sums, 3 weights and 1 input in 32 registers of sixteen floats
#else
constexpr int TILE_ROWS = 6, TILE_PANELS = 1;  // 12 sums, 2 weights and 1 input in 16 registers of eight floats
#endif
constexpr int64_t LINE_STEPS = 8;  // instructions a row between two times that weights are asked for ahead
constexpr int64_t BYTES_AT_ONCE = 384 * 1024;  // of rows that stay in the second cache while weights pass by

// How many inputs of a row one instruction takes.
template <typename T>
constexpr int STEP = 1;
template <>
constexpr int STEP<bfloat16> = 2;

// sums += STEP inputs of one row times STEP inputs of sixteen outputs.
inline void multiply_add(Floats& sums, const float* x, const float* weights) { sums += *x * load(weights); }

#ifdef __AVX512BF16__
inline void multiply_add(Floats& sums, const bfloat16* x, const bfloat16* weights) {
  int32_t both;
  memcpy(&both, x, sizeof both);
  sums = (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32(both),
                                  (__m512bh)_mm512_loadu_si512(weights));
}
#endif

// packed[panel][step][c][STEP] = w[16 panel + c][STEP step ...]: what one instruction takes of sixteen outputs lies side
// by side. Outputs beyond the last are zeros.
template <typename T>
void pack(T* packed, const T* w, int64_t outputs, int64_t inputs, int threads) {
  constexpr int step = STEP<T>;
  FOR_ROWS(panel, (outputs + LANES - 1) / LANES, threads) {
    T* to = packed + panel * inputs * LANES;
    for (int64_t c = 0; c < LANES; c++) {
      int64_t output = panel * LANES + c;
      for (int64_t i = 0; i < inputs; i += step)
        for (int j = 0; j < step; j++) to[i * LANES + c * step + j] = output < outputs ? w[output * inputs + i + j] : T{};
    }
  }
}

// The first `count` of sixteen sums, plus bias when there is one.
template <typename T, typename O>
inline void put_sums(O* to, Floats sums, const T* bias, int64_t count) {
  if (count >= LANES) {
    store(to, bias ? sums + load(bias) : sums);
    return;
  }
  float lanes[LANES];
  store(lanes, sums);
  for (int64_t i = 0; i < count; i++) store_one(to + i, bias ? lanes[i] + load_one(bias + i) : lanes[i]);
}

// sums[r][p] += `steps` instructions' worth of inputs of row r times those of panel p. `between`: numbers from one step of
// a row to the next. `ahead` lies as far behind weights that will be read next as those of `packed` that it stands for.
// Inlined by order: sums that are handed over lie in memory.
template <int ROWS, int PANELS, typename T>
__attribute__((always_inline)) inline void add_products(Floats (&sums)[ROWS][PANELS], const T* x, int64_t x_stride,
                                                        int64_t between, const T* packed, int64_t panel_stride,
                                                        const T* ahead, int64_t steps) {
  constexpr int64_t size = LANES * STEP<T>;
  auto step = [&](int64_t i) {
    for (int r = 0; r < ROWS; r++)
      for (int p = 0; p < PANELS; p++)
        multiply_add(sums[r][p], x + r * x_stride + i * between, packed + p * panel_stride + i * size);
  };
  int64_t i = 0;
  for (; i + LINE_STEPS <= steps; i += LINE_STEPS) {
    for (int p = 0; p < PANELS; p++) __builtin_prefetch(ahead + p * panel_stride + i * size);
    for (int j = 0; j < LINE_STEPS; j++) step(i + j);
  }
  for (; i < steps; i++) step(i);
}

// ROWS x 16 PANELS results plus bias (when there is one). `outputs`: how many of them are wanted.
template <int ROWS, int PANELS, typename T, typename O>
inline void multiply_tile(O* out, int64_t out_stride, const T* x, const T* packed, const T* ahead, const T* bias,
                          int64_t inputs, int64_t outputs) {
  Floats sums[ROWS][PANELS] = {};
  add_products(sums, x, inputs, STEP<T>, packed, inputs * LANES, ahead, inputs / STEP<T>);
  for (int p = 0; p < PANELS; p++)
    for (int r = 0; r < ROWS; r++)
      put_sums(out + r * out_stride + p * LANES, sums[r][p], bias ? bias + p * LANES : bias, outputs - p * LANES);
}

// All rows below one another, in tiles. Each asks for one line in LINE_STEPS of the weights that come after these: a
// processor that reads ahead by itself does so while the first tile waits, and then not until the next weights.
template <int PANELS, typename T, typename O>
inline void multiply_rows(O* out, int64_t out_stride, const T* x, const T* packed, const T* bias, int64_t rows,
                          int64_t inputs, int64_t outputs) {
  const T* next = packed + PANELS * inputs * LANES;
  int64_t row = 0, tile = 0;
#define TILES(ROWS)                                                                                          \
  for (; row + ROWS <= rows; row += ROWS, tile++)                                                            \
    multiply_tile<ROWS, PANELS>(out + row * out_stride, out_stride, x + row * inputs, packed,                \
                                next + tile % LINE_STEPS * STEP<T> * LANES, bias, inputs, outputs);
  TILES(TILE_ROWS) TILES(4) TILES(2) TILES(1)
#undef TILES
}

// out [rows, outputs] = x w^T (+ bias).
template <typename T, typename O>
void multiply(O* out, const T* x, const T* packed, const T* bias, int64_t rows, int64_t outputs, int64_t inputs,
              int threads) {
  int64_t panels = (outputs + LANES - 1) / LANES, groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  int64_t at_once = BYTES_AT_ONCE / (inputs * (int64_t)sizeof(T)) / TILE_ROWS * TILE_ROWS;
  if (at_once < TILE_ROWS) at_once = TILE_ROWS;
  for (int64_t first = 0; first < rows; first += at_once) {
    int64_t count = first + at_once < rows ? at_once : rows - first;
    FOR_ROWS(group, groups, threads) {
      int64_t panel = group * TILE_PANELS, last = panel + TILE_PANELS;
      auto some = [&](auto width) {
        multiply_rows<width()>(out + first * outputs + panel * LANES, outputs, x + first * inputs,
                               packed + panel * inputs * LANES, bias ? bias + panel * LANES : bias, count, inputs,
                               outputs - panel * LANES);
      };
      if (last <= panels) some(std::integral_constant<int, TILE_PANELS>());
      if (last > panels)
        for (; panel < panels; panel++) some(std::integral_constant<int, 1>());
    }
  }
}

}  // namespace
