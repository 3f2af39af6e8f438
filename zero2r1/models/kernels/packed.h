// Attention of many tokens at once, each over its own sequence up to and with itself, and the gradients.
//
// The forward pass does for a query what `attend` of attention.h does, in the same order: a token gets the same bits when
// it is sampled and when it is learned from. Sequences lie in a row of tokens, and several may begin with the same ones:
// `places` says where each of a sequence's tokens is. A part of one asks for the results of its tokens from `first` to
// `length` - 1; those before it belong to another part, or to another sequence.

#pragma once

#include "attention.h"

namespace {

constexpr int64_t CHUNK_TOKENS = 256;  // positions of a sequence that a thread takes at a time

struct Shape {
  int64_t heads, kv_heads, width, value_width;
  int64_t query_stride, key_stride, value_stride;  // numbers from one token to the next
  int64_t room;                                    // scores of a query: the longest sequence, rounded up to whole pages
  float scale;

  int64_t shared() const { return heads / kv_heads; }
  int64_t most() const { return LANES * shared(); }  // queries of a block
};

struct Part {
  const int64_t* places;
  int64_t length, first;
  int64_t shift;  // queries and results lie so many rows before the keys
  int64_t copy;   // row of its own share of the gradient of its first `first` keys and values
};

// Positions `start` to `stop - 1` of a part, on one page, in all heads that share a key head.
struct Block {
  const Part* own;
  int64_t start, stop, head, shared;

  int64_t rows() const { return (stop - start) * shared; }
  int64_t position(int64_t row) const { return start + row / shared; }
  int64_t place(int64_t row) const { return own->places[position(row)] - own->shift; }
  int64_t query_head(int64_t row) const { return head * shared + row % shared; }
};

// Calls work(block) for the positions from `start` to `stop - 1` that are the part's own, page by page.
template <typename Work>
inline void in_blocks(const Part& own, int64_t head, int64_t shared, int64_t start, int64_t stop, Work work) {
  if (start < own.first) start = own.first;
  while (start < stop) {
    int64_t end = (start / LANES + 1) * LANES;
    work(Block{&own, start, end < stop ? end : stop, head, shared});
    start = end;
  }
}

// [positions, width] of one head as pages in which the tokens lie side by side, in float32.
template <typename T>
void turn_pages(float* turned, const T* rows, int64_t stride, const int64_t* places, int64_t count, int64_t width) {
  for (int64_t t = 0; t < count; t += LANES)
    for (int64_t c = 0; c < LANES; c++)
      for (int64_t i = 0; i < width; i++)
        turned[t * width + i * LANES + c] = t + c < count ? load_one(rows + places[t + c] * stride + i) : 0.0f;
}

template <typename S, typename T>
inline void scaled(S* to, const T* from, int64_t width, float factor) {
  for (int64_t i = 0; i < width; i += LANES) store(to + i, load(from + i) * factor);
}

// The queries of a block times the scale.
template <typename T>
inline void take_queries(float* to, const T* query, const Block& block, const Shape& shape) {
  for (int64_t r = 0; r < block.rows(); r++)
    scaled(to + r * shape.width, query + block.place(r) * shape.query_stride + block.query_head(r) * shape.width,
           shape.width, shape.scale);
}

// scores[r][t] = rows[r] . token t, on all pages up to the block's.
inline void score_pages(float* scores, int64_t room, const float* rows, const float* turned, const Block& block,
                        int64_t width) {
  for (int64_t t = 0; t < block.stop; t += LANES)
    in_fours(block.rows(), [&](int64_t r, auto queries) {
      score<queries()>(scores + r * room + t, room, rows + r * width, turned + t * width, width);
    });
}

// sums[r] = sum over t of weights[r][t] flat[t].
inline void mix_pages(float* sums, const float* weights, int64_t room, const float* flat, const Block& block,
                      int64_t width) {
  for (int64_t i = 0; i < block.rows() * width; i++) sums[i] = 0.0f;
  in_fours(block.rows(), [&](int64_t r, auto queries) {
    mix_wide<queries()>(sums + r * width, weights + r * room, room, 1, flat, block.stop, width);
  });
}

// sums[t] += sum over r of weights[r][t] rows[r].
inline void mix_back(float* sums, const float* weights, int64_t room, const float* rows, const Block& block,
                     int64_t width) {
  in_fours(block.stop, [&](int64_t t, auto tokens) {
    mix_wide<tokens()>(sums + t * width, weights + t, 1, room, rows, block.rows(), width);
  });
}

// softmax(scale * q K^T) V of each token. scratch: for each thread (room + most) (D + D_v) + most * room numbers.
template <typename T>
void attend_packed(T* out, const T* query, const T* keys, const T* values, const Part* parts, int64_t count,
                   const Shape& shape, float* scratch, int threads) {
  int64_t room = shape.room, most = shape.most(), width = shape.width, value_width = shape.value_width;
  int64_t chunks = (room + CHUNK_TOKENS - 1) / CHUNK_TOKENS;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t task = 0; task < count * shape.kv_heads * chunks; task++) {
    int64_t start = (chunks - 1 - task % chunks) * CHUNK_TOKENS;  // the longest ones first
    int64_t head = task / chunks % shape.kv_heads;
    const Part& own = parts[task / chunks / shape.kv_heads];
    int64_t stop = start + CHUNK_TOKENS < own.length ? start + CHUNK_TOKENS : own.length;
    if (start >= own.length || stop <= own.first) continue;
    float* turned = scratch + thread_number() * ((room + most) * (width + value_width) + most * room);
    float *flat = turned + room * width, *scores = flat + room * value_width, *queries = scores + most * room;
    float* sums = queries + most * width;
    turn_pages(turned, keys + head * width, shape.key_stride, own.places, stop, width);
    for (int64_t t = 0; t < stop; t++)
      scaled(flat + t * value_width, values + own.places[t] * shape.value_stride + head * value_width, value_width, 1.0f);
    in_blocks(own, head, shape.shared(), start, stop, [&](const Block& block) {
      take_queries(queries, query, block, shape);
      score_pages(scores, room, queries, turned, block, width);
      float factors[most];
      for (int64_t r = 0; r < block.rows(); r++) factors[r] = soften(scores + r * room, block.position(r) + 1);
      mix_pages(sums, scores, room, flat, block, value_width);
      for (int64_t r = 0; r < block.rows(); r++)
        scaled(out + (block.place(r) * shape.heads + block.query_head(r)) * value_width, sums + r * value_width,
               value_width, factors[r]);
    });
  }
}

// slopes, the gradients of the weights, become those of the scores: s = p (slope - sum of p slope). Scores become p.
inline void soften_back(float* scores, float* slopes, int64_t length) {
  float factor = soften(scores, length);
  int64_t end = (length + LANES - 1) / LANES * LANES;
  Floats total = {};
  for (int64_t t = 0; t < end; t += LANES) {
    Floats odds = load(scores + t) * factor;
    store(scores + t, odds);
    total += odds * load(slopes + t);
  }
  float mean = sum(total);
  for (int64_t t = 0; t < end; t += LANES) store(slopes + t, load(scores + t) * (load(slopes + t) - mean));
}

// With P the weights and dO the gradient of the result: dV = P^T dO, dP = dO V^T, dS = P * (dP - rowsum(P * dP)),
// dQ = scale dS K, dK = scale dS^T Q. dkeys and dvalues are float32, [rows + copies, kv_heads, width]; what several
// parts have in common is added in their order. scratch: for each thread room (3 D + 2 D_v) + most (2 room + 2 D + D_v).
template <typename T>
void attend_packed_backward(T* dquery, float* dkeys, float* dvalues, const T* gradient, const T* query, const T* keys,
                            const T* values, const Part* parts, int64_t count, const Shape& shape,
                            float* scratch, int threads) {
  int64_t room = shape.room, most = shape.most(), width = shape.width, value_width = shape.value_width;
  int64_t kv_heads = shape.kv_heads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int64_t task = 0; task < count * kv_heads; task++) {
    const Part& own = parts[task / kv_heads];
    int64_t head = task % kv_heads, length = own.length;
    int64_t each = room * (3 * width + 2 * value_width) + most * (2 * room + 2 * width + value_width);
    float* turned = scratch + thread_number() * each;
    float *flat = turned + room * width, *turned_values = flat + room * width;
    float *by_keys = turned_values + room * value_width, *by_values = by_keys + room * width;
    float *scores = by_values + room * value_width, *slopes = scores + most * room, *queries = slopes + most * room;
    float *sums = queries + most * width, *pulls = sums + most * width;
    turn_pages(turned, keys + head * width, shape.key_stride, own.places, length, width);
    turn_pages(turned_values, values + head * value_width, shape.value_stride, own.places, length, value_width);
    for (int64_t t = 0; t < length; t++)
      scaled(flat + t * width, keys + own.places[t] * shape.key_stride + head * width, width, 1.0f);
    for (int64_t i = 0; i < length * width; i++) by_keys[i] = 0.0f;
    for (int64_t i = 0; i < length * value_width; i++) by_values[i] = 0.0f;
    in_blocks(own, head, shape.shared(), 0, length, [&](const Block& block) {
      take_queries(queries, query, block, shape);
      for (int64_t r = 0; r < block.rows(); r++)
        scaled(pulls + r * value_width, gradient + (block.place(r) * shape.heads + block.query_head(r)) * value_width,
               value_width, 1.0f);
      score_pages(scores, room, queries, turned, block, width);
      score_pages(slopes, room, pulls, turned_values, block, value_width);
      for (int64_t r = 0; r < block.rows(); r++)
        soften_back(scores + r * room, slopes + r * room, block.position(r) + 1);
      mix_pages(sums, slopes, room, flat, block, width);
      for (int64_t r = 0; r < block.rows(); r++)
        scaled(dquery + (block.place(r) * shape.heads + block.query_head(r)) * width, sums + r * width, width,
               shape.scale);
      mix_back(by_keys, slopes, room, queries, block, width);
      mix_back(by_values, scores, room, pulls, block, value_width);
    });
    for (int64_t t = 0; t < length; t++) {
      int64_t row = (t < own.first ? own.copy + t : own.places[t]) * kv_heads + head;
      memcpy(dkeys + row * width, by_keys + t * width, width * sizeof(float));
      memcpy(dvalues + row * value_width, by_values + t * value_width, value_width * sizeof(float));
    }
  }
  for (int64_t number = 0; number < count; number++)
    for (int64_t t = 0; t < parts[number].first; t++) {
      int64_t to = parts[number].places[t] * kv_heads, from = (parts[number].copy + t) * kv_heads;
      for (int64_t i = 0; i < kv_heads * width; i++) dkeys[to * width + i] += dkeys[from * width + i];
      for (int64_t i = 0; i < kv_heads * value_width; i++) dvalues[to * value_width + i] += dvalues[from * value_width + i];
    }
}

}  // namespace
