// The products of a backward pass: gradient times weight (`multiply_back`), and a gradient's transpose times an input
// (`multiply_outer`).
//
// Both are sums over rows of the second factor, which is laid out ahead (`pack_rows`). The rows of the first may be picked
// out of a larger matrix. A result is one sum over its terms in their order, in float32, whatever the number of threads.

#pragma once

#include "products.h"

namespace {

constexpr int64_t BLOCK_ROWS = 96;  // of results: with as many terms of both factors they fill half of a second cache
constexpr int64_t TERMS = 2048;     // of a sum before it is put down in float32

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

// Some rows of a matrix, the first ones where there is no index.
template <typename T>
struct Rows {
  const T* numbers;
  const int64_t* index;
  int64_t stride;

  const T* at(int64_t row) const { return numbers + (index ? index[row] : row) * stride; }
};

// One step of a panel: STEP rows of sixteen columns, column by column. `second` is null behind the last row.
inline void interleave(bfloat16* to, const bfloat16* first, const bfloat16* second) {
#ifdef __AVX512F__
  Halves lower, upper = {};
  memcpy(&lower, first, sizeof lower);
  if (second) memcpy(&upper, second, sizeof upper);
  __m512i both = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)upper), 16);
  _mm512_storeu_si512(to, _mm512_or_si512(both, _mm512_cvtepu16_epi32((__m256i)lower)));
#else
  for (int c = 0; c < LANES; c++) to[2 * c] = first[c], to[2 * c + 1] = second ? second[c] : bfloat16{};
#endif
}

// packed[panel][step][c][STEP] = rows[STEP step ...][column + 16 panel + c] for the rows from `start` to `stop` - 1, as
// `pack` lays out the transpose. columns: a multiple of sixteen. A panel has `steps` steps.
template <typename T>
inline void pack_columns(T* packed, int64_t steps, const Rows<T>& rows, int64_t start, int64_t stop, int64_t column,
                         int64_t columns) {
  for (int64_t row = start; row < stop; row += STEP<T>, packed += LANES * STEP<T>) {
    const T *first = rows.at(row) + column, *second = row + 1 < stop ? rows.at(row + 1) + column : nullptr;
    for (int64_t c = 0; c < columns; c += LANES)
      interleave(packed + c * steps * STEP<T>, first + c, second ? second + c : second);
  }
}

// All columns of a matrix, its rows dealt to the threads in runs.
template <typename T>
void pack_rows(T* packed, const T* numbers, int64_t count, int64_t columns, int threads) {
  constexpr int64_t run = 32;
  FOR_ROWS(number, (count + run - 1) / run, threads) {
    int64_t start = number * run;
    pack_columns(packed + start * LANES, (count + STEP<T> - 1) / STEP<T>, Rows<T>{numbers, nullptr, columns}, start,
                 lesser(start + run, count), 0, columns);
  }
}

// Where some results go: to `out`, or, when more terms are to come, to `waiting`.
template <typename T>
struct Results {
  T* out;
  float* waiting;
  int64_t stride;
  bool is_added;  // to what is in `out`
  bool is_first, is_last;

  Floats begin(int64_t at) const { return !is_first ? load(waiting + at) : is_added ? load(out + at) : Floats{}; }
  void end(int64_t at, Floats sums) const { is_last ? store(out + at, sums) : store(waiting + at, sums); }
};

// The terms of a product that are summed at a time. Rows of the first factor lie in sixteens, `sixteenth` numbers from one
// to the next of them and `stride` numbers from one row to the next in them; a step is `between` numbers from the next.
template <typename T>
struct Terms {
  const T *left, *packed;
  int64_t stride, sixteenth, between;
  int64_t panel_stride, steps;

  const T* at(int64_t row) const { return left + row / LANES * sixteenth + row % LANES * stride; }
};

// Loops over sums are unrolled by order: gcc would decide so only after it has left the sums in memory.
template <int ROWS, int PANELS, typename T>
inline void sum_tile(const Results<T>& to, const Terms<T>& of, int64_t row, int64_t panel, int64_t line) {
  Floats sums[ROWS][PANELS];
  int64_t at = row * to.stride + panel * LANES;
  _Pragma("GCC unroll 8")
  for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 3")
    for (int p = 0; p < PANELS; p++) sums[r][p] = to.begin(at + r * to.stride + p * LANES);
  const T *packed = of.packed + panel * of.panel_stride, *ahead = packed + PANELS * of.panel_stride;
  add_products(sums, of.at(row), of.stride, of.between, packed, of.panel_stride, ahead + line * LANES * STEP<T>, of.steps);
  _Pragma("GCC unroll 8")
  for (int r = 0; r < ROWS; r++)
    _Pragma("GCC unroll 3")
    for (int p = 0; p < PANELS; p++) to.end(at + r * to.stride + p * LANES, sums[r][p]);
}

template <int PANELS, typename T>
inline void sum_rows(const Results<T>& to, const Terms<T>& of, int64_t rows, int64_t panel) {
  int64_t row = 0, line = 0;
  for (; row + TILE_ROWS <= rows; row += TILE_ROWS, line++) sum_tile<TILE_ROWS, PANELS>(to, of, row, panel, line % LINE_STEPS);
  for (; row < rows; row++) sum_tile<1, PANELS>(to, of, row, panel, 0);
}

template <typename T>
inline void sum_block(const Results<T>& to, const Terms<T>& of, int64_t rows) {
  int64_t panels = to.stride / LANES, panel = 0;
  for (; panel + TILE_PANELS <= panels; panel += TILE_PANELS) sum_rows<TILE_PANELS>(to, of, rows, panel);
  for (; panel < panels; panel++) sum_rows<1>(to, of, rows, panel);
}

// Rows of results that a thread takes at a time: whole sixteens.
inline int64_t block_of(int64_t rows, int threads) {
  return lesser(BLOCK_ROWS, ((rows + threads - 1) / threads + LANES - 1) / LANES * LANES);
}

// Memory of one thread, in numbers of float32: a block of the first factor, and its waiting sums.
inline int64_t scratch_of(int64_t columns) { return BLOCK_ROWS * (TERMS + columns); }

// out [rows, columns] = left w, where w [terms, columns] was packed, plus what is in `out` already (when it is added).
template <typename T>
void multiply_back(T* out, const Rows<T>& left, const T* packed, int64_t rows, int64_t columns, int64_t terms,
                   bool is_added, float* scratch, int threads) {
  int64_t block = block_of(rows, threads), steps = (terms + STEP<T> - 1) / STEP<T>;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row += block) {
    float* waiting = scratch + thread_number() * scratch_of(columns);
    T* copy = (T*)(waiting + BLOCK_ROWS * columns);
    int64_t count = lesser(block, rows - row);
    for (int64_t term = 0; term < terms; term += TERMS) {
      int64_t some = lesser(TERMS, terms - term), stride = left.stride;
      const T* from = left.numbers + row * left.stride + term;
      if (left.index) {
        for (int64_t r = 0; r < count; r++) memcpy(copy + r * some, left.at(row + r) + term, some * sizeof(T));
        from = copy, stride = some;
      }
      Terms<T> of = {from, packed + term * LANES, stride, LANES * stride, STEP<T>, steps * LANES * STEP<T>, some / STEP<T>};
      sum_block(Results<T>{out + row * columns, waiting, columns, is_added, term == 0, term + some == terms}, of, count);
    }
  }
}

// out [rows, columns] = left^T right, where left [terms, rows] and right [terms, columns], which was packed.
template <typename T>
void multiply_outer(T* out, const Rows<T>& left, const T* packed, int64_t rows, int64_t columns, int64_t terms,
                    float* scratch, int threads) {
  int64_t block = block_of(rows, threads), steps = (terms + STEP<T> - 1) / STEP<T>;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row += block) {
    float* waiting = scratch + thread_number() * scratch_of(columns);
    T* turned = (T*)(waiting + BLOCK_ROWS * columns);
    int64_t count = lesser(block, rows - row);
    for (int64_t term = 0; term < terms; term += TERMS) {
      int64_t stop = lesser(term + TERMS, terms), some = (stop - term + STEP<T> - 1) / STEP<T>;
      pack_columns(turned, some, left, term, stop, row, count);
      Terms<T> of = {turned, packed + term * LANES, STEP<T>, some * LANES * STEP<T>, LANES * STEP<T>,
                     steps * LANES * STEP<T>, some};
      sum_block(Results<T>{out + row * columns, waiting, columns, false, term == 0, stop == terms}, of, count);
    }
  }
}

}  // namespace
