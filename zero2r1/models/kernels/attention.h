// Attention over a paged cache, one query token a row.

#pragma once

#include "floats.h"

namespace {

constexpr int64_t AHEAD = 4;  // blocks that are asked for before they are read

// Token `row` goes to place `positions[row]` of the pages in row `row` of `tables`.
template <typename T>
void put(T* keys, T* values, const T* key, const T* value, int64_t key_stride, int64_t value_stride,
         const int32_t* tables, int64_t table_stride, const int32_t* positions, int64_t rows, int64_t kv_heads,
         int64_t width, int64_t value_width, int threads) {
  FOR_ROWS(row, rows, threads) {
    int64_t page = tables[row * table_stride + positions[row] / LANES], place = positions[row] % LANES;
    for (int64_t head = 0; head < kv_heads; head++) {
      T* column = keys + (page * kv_heads + head) * width * LANES + place;
      for (int64_t i = 0; i < width; i++) column[i * LANES] = key[row * key_stride + head * width + i];
      memcpy(values + ((page * kv_heads + head) * LANES + place) * value_width,
             value + row * value_stride + head * value_width, value_width * sizeof(T));
    }
  }
}

// scores[r][t] = q_r . k_t of QUERIES queries and the LANES tokens of one page.
template <int QUERIES, typename T>
void score(float* scores, int64_t room, const float* query, const T* keys, int64_t width) {
  Floats sums[QUERIES][4] = {};  // four sums each: an addition waits four cycles for the one before it
  for (int64_t i = 0; i < width; i += 4)
    for (int j = 0; j < 4; j++) {
      Floats key = load(keys + (i + j) * LANES);
      for (int r = 0; r < QUERIES; r++) sums[r][j] += query[r * width + i + j] * key;
    }
  for (int r = 0; r < QUERIES; r++) store(scores + r * room, (sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]));
}

// sums[r] += weights[r][t] v_t over the first `count` of some rows, CHUNK * LANES columns. The weights of a sum lie
// `sum_step` numbers after those of the one before it, and those of a row `row_step` after those of the one before it.
template <int SUMS, int CHUNK, typename T>
inline void mix(float* sums, const float* weights, int64_t sum_step, int64_t row_step, const T* values, int64_t count,
                int64_t width) {
  Floats here[SUMS][CHUNK];
  for (int r = 0; r < SUMS; r++)
    for (int c = 0; c < CHUNK; c++) here[r][c] = load(sums + r * width + c * LANES);
  for (int64_t t = 0; t < count; t++)
    for (int c = 0; c < CHUNK; c++) {
      Floats value = load(values + t * width + c * LANES);
      for (int r = 0; r < SUMS; r++) here[r][c] += weights[r * sum_step + t * row_step] * value;
    }
  for (int r = 0; r < SUMS; r++)
    for (int c = 0; c < CHUNK; c++) store(sums + r * width + c * LANES, here[r][c]);
}

// All columns.
template <int SUMS, typename T>
inline void mix_wide(float* sums, const float* weights, int64_t sum_step, int64_t row_step, const T* values,
                     int64_t count, int64_t width) {
  int64_t c = 0;
  for (; c + 4 * LANES <= width; c += 4 * LANES)
    mix<SUMS, 4>(sums + c, weights, sum_step, row_step, values + c, count, width);
  for (; c < width; c += LANES) mix<SUMS, 1>(sums + c, weights, sum_step, row_step, values + c, count, width);
}

// scores become e^(score - max); returns 1 / their sum. Tokens from `length` on count nothing.
inline float soften(float* scores, int64_t length) {
  int64_t end = (length + LANES - 1) / LANES * LANES;
  for (int64_t t = length; t < end; t++) scores[t] = -INFINITY;
  Floats tops = all(-INFINITY), total = {};
  for (int64_t t = 0; t < end; t += LANES) {
    Floats here = load(scores + t);
    tops = here > tops ? here : tops;
  }
  Floats top = all(largest(tops));
  for (int64_t t = 0; t < end; t += LANES) {
    Floats odds = exp(load(scores + t) - top);
    store(scores + t, odds);
    total += odds;
  }
  return 1.0f / sum(total);
}

// One layer's keys or values: of each page, a block of `size` numbers for each head.
template <typename T>
struct Blocks {
  const T* numbers;
  const int32_t* table;  // the pages of one row
  int64_t num_pages, kv_heads, size;

  const T* at(int64_t page, int64_t head) const { return numbers + (table[page] * kv_heads + head) * size; }

  // Asks for the block that is read AHEAD blocks after this one. How far behind the last block that would be: 0 or more
  // when there is none.
  int64_t fetch_after(int64_t page, int64_t head) const {
    for (head += AHEAD; head >= kv_heads; head -= kv_heads) page++;
    if (page >= num_pages) return (page - num_pages) * kv_heads + head;
    const T* from = at(page, head);
    for (int64_t i = 0; i < size; i += 64 / (int64_t)sizeof(T)) __builtin_prefetch(from + i);
    return -1;
  }
};

// Calls work(first, how many as a constant) for 0 .. count - 1 in groups of at most four.
template <typename Work>
inline void in_fours(int64_t count, Work work) {
  int64_t first = 0;
  for (; first + 4 <= count; first += 4) work(first, std::integral_constant<int, 4>());
  if (count - first == 3) work(first, std::integral_constant<int, 3>());
  if (count - first == 2) work(first, std::integral_constant<int, 2>());
  if (count - first == 1) work(first, std::integral_constant<int, 1>());
}

// softmax(scale * q K^T) V of each row. All heads of a page are read before the next page, and a few blocks ahead are
// asked for: the machine cannot guess the next page. scratch: for each thread H * (room + D + D_v) numbers.
template <typename T>
void attend(T* out, const T* query, int64_t query_stride, float scale, const T* keys, const T* values,
            const int32_t* tables, int64_t table_stride, const int32_t* lengths, int64_t rows, int64_t heads,
            int64_t kv_heads, int64_t width, int64_t value_width, float* scratch, int64_t room, int threads) {
  int64_t shared = heads / kv_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t row = 0; row < rows; row++) {
    float* scores = scratch + thread_number() * heads * (room + width + value_width);
    float *scaled = scores + heads * room, *sums = scaled + heads * width;
    const int32_t* table = tables + row * table_stride;
    int64_t length = lengths[row];
    for (int64_t i = 0; i < heads * width; i++) scaled[i] = load_one(query + row * query_stride + i) * scale;
    for (int64_t i = 0; i < heads * value_width; i++) sums[i] = 0.0f;
    int64_t num_pages = (length + LANES - 1) / LANES;
    Blocks<T> of_keys = {keys, table, num_pages, kv_heads, width * LANES};
    Blocks<T> of_values = {values, table, num_pages, kv_heads, LANES * value_width};
    for (int64_t page = 0; page < num_pages; page++)
      for (int64_t head = 0; head < kv_heads; head++) {
        int64_t behind = of_keys.fetch_after(page, head);
        if (behind >= 0) of_values.fetch_after(0, behind - AHEAD);
        in_fours(shared, [&](int64_t first, auto queries) {
          int64_t r = head * shared + first;
          score<queries()>(scores + r * room + page * LANES, room, scaled + r * width, of_keys.at(page, head), width);
        });
      }
    float factors[heads];
    for (int64_t r = 0; r < heads; r++) factors[r] = soften(scores + r * room, length);
    for (int64_t page = 0; page < num_pages; page++)
      for (int64_t head = 0; head < kv_heads; head++) {
        of_values.fetch_after(page, head);
        const T* here = of_values.at(page, head);
        int64_t start = page * LANES, count = length - start < LANES ? length - start : LANES;
        in_fours(shared, [&](int64_t first, auto queries) {
          int64_t r = head * shared + first;
          mix_wide<queries()>(sums + r * value_width, scores + r * room + start, room, 1, here, count, value_width);
        });
      }
    for (int64_t r = 0; r < heads; r++)
      for (int64_t i = 0; i < value_width; i += LANES)
        store(out + (row * heads + r) * value_width + i, load(sums + r * value_width + i) * factors[r]);
  }
}

}  // namespace
