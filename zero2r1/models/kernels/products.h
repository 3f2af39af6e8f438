// Products of bfloat16 matrices whose results stay float32: x [rows, inputs] times the transpose of a weight
// [outputs, inputs] that was laid out ahead. Only for processors that multiply bfloat16 in vectors (AVX512-BF16).

#pragma once

#include "floats.h"

#ifdef __AVX512BF16__

namespace {

constexpr int TILE_PANELS = 2;         // with 12 rows: 24 sums, 2 weights and 1 input in 32 registers
constexpr int64_t ROWS_AT_ONCE = 240;  // rows that stay in the second cache while weights pass by

// packed[panel][pair][c][2] = w[16 panel + c][2 pair, 2 pair + 1]: what one instruction takes of sixteen outputs and two
// inputs lies side by side. Outputs beyond the last are zeros.
void pack(bfloat16* packed, const bfloat16* w, int64_t outputs, int64_t inputs, int threads) {
  int64_t pairs = inputs / 2;
  FOR_ROWS(panel, (outputs + LANES - 1) / LANES, threads) {
    uint32_t* to = (uint32_t*)packed + panel * pairs * LANES;
    for (int64_t c = 0; c < LANES; c++) {
      int64_t output = panel * LANES + c;
      for (int64_t pair = 0; pair < pairs; pair++) {
        uint32_t both = 0;
        if (output < outputs) memcpy(&both, w + output * inputs + 2 * pair, sizeof both);
        to[pair * LANES + c] = both;
      }
    }
  }
}

// ROWS x 16 PANELS results. `last`: which results of the last panel are wanted.
template <int ROWS, int PANELS>
inline void multiply_tile(float* out, int64_t out_stride, const bfloat16* x, int64_t x_stride, const bfloat16* packed,
                          int64_t pairs, __mmask16 last) {
  __m512 sums[ROWS][PANELS];
  for (int r = 0; r < ROWS; r++)
    for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_setzero_ps();
  for (int64_t k = 0; k < pairs; k++) {
    __m512bh weights[PANELS];
    for (int p = 0; p < PANELS; p++)
      weights[p] = (__m512bh)_mm512_loadu_si512(packed + (p * pairs + k) * 2 * LANES);
    for (int r = 0; r < ROWS; r++) {
      int32_t both;
      memcpy(&both, x + r * x_stride + 2 * k, sizeof both);
      __m512bh numbers = (__m512bh)_mm512_set1_epi32(both);
      for (int p = 0; p < PANELS; p++) sums[r][p] = _mm512_dpbf16_ps(sums[r][p], numbers, weights[p]);
    }
  }
  for (int r = 0; r < ROWS; r++)
    for (int p = 0; p < PANELS; p++)
      _mm512_mask_storeu_ps(out + r * out_stride + p * LANES, p == PANELS - 1 ? last : (__mmask16)0xffff, sums[r][p]);
}

// All rows below one another, in tiles.
template <int PANELS>
inline void multiply_rows(float* out, int64_t out_stride, const bfloat16* x, int64_t x_stride, const bfloat16* packed,
                          int64_t pairs, int64_t rows, __mmask16 last) {
  int64_t row = 0;
#define TILES(ROWS)                                                                                                   \
  for (; row + ROWS <= rows; row += ROWS)                                                                             \
    multiply_tile<ROWS, PANELS>(out + row * out_stride, out_stride, x + row * x_stride, x_stride, packed, pairs, last);
  TILES(12) TILES(8) TILES(4) TILES(2) TILES(1)
#undef TILES
}

// out [rows, outputs] = x w^T. Every result is one sum over the inputs in their order, whatever its neighbours.
void multiply(float* out, int64_t out_stride, const bfloat16* x, int64_t x_stride, const bfloat16* packed, int64_t rows,
              int64_t outputs, int64_t inputs, int threads) {
  int64_t pairs = inputs / 2, panels = (outputs + LANES - 1) / LANES, groups = (panels + TILE_PANELS - 1) / TILE_PANELS;
  __mmask16 ends = outputs % LANES ? (1 << outputs % LANES) - 1 : 0xffff;
  for (int64_t first = 0; first < rows; first += ROWS_AT_ONCE) {
    int64_t count = first + ROWS_AT_ONCE < rows ? ROWS_AT_ONCE : rows - first;
    FOR_ROWS(group, groups, threads) {
      int64_t panel = group * TILE_PANELS, left = panels - panel;
      float* to = out + first * out_stride + panel * LANES;
      const bfloat16 *from = x + first * x_stride, *weights = packed + panel * pairs * 2 * LANES;
      __mmask16 last = left <= TILE_PANELS ? ends : 0xffff;
      if (left >= TILE_PANELS) multiply_rows<TILE_PANELS>(to, out_stride, from, x_stride, weights, pairs, count, last);
      else multiply_rows<1>(to, out_stride, from, x_stride, weights, pairs, count, last);
    }
  }
}

}  // namespace

#endif
