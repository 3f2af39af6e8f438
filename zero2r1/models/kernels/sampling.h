// From logits to a token.

#pragma once

#include "logits.h"

namespace {

// The first v with e_0 + ... + e_v > u * total, e = exp((z - max z) / temperature), and log(e_v / total).
template <typename T>
void draw(int64_t* tokens, float* logprobs, const T* logits, int64_t stride, const double* uniforms, float inverse,
          int64_t rows, int64_t vocabulary, float* scratch, int threads) {
  int64_t num_blocks = (vocabulary + BLOCK - 1) / BLOCK;
  FOR_ROWS(row, rows, threads) {
    const T* z = logits + row * stride;
    float* sums = scratch + row * num_blocks;
    bool is_sound = true;
    float top = largest_of(z, vocabulary, inverse);
    double total = 0.0;
    for (int64_t block = 0; block < num_blocks; block++) {
      int64_t end = (block + 1) * BLOCK < vocabulary ? (block + 1) * BLOCK : vocabulary;
      Floats odds = {};
      for (int64_t v = block * BLOCK; v < end; v += LANES)
        odds += exp((v + LANES <= end ? load(z + v) : rest_of(z + v, end - v)) * inverse - top);
      sums[block] = sum(odds);
      total += sums[block];
    }
    is_sound = total - total == 0.0 && top - top == 0.0f;
    double target = uniforms[row] * total, before = 0.0;
    int64_t block = 0, last = 0;
    for (int64_t b = 0; b < num_blocks; b++) if (sums[b] > 0.0f) last = b;
    while (block < last && before + sums[block] <= target) before += sums[block++];
    int64_t token = block * BLOCK, end = token + BLOCK < vocabulary ? token + BLOCK : vocabulary;
    int64_t possible = token;  // the last with a chance: the block's sum was rounded, so the target may lie beyond it
    for (int64_t v = token; v < end; v++) {
      float odds = exp(all(load_one(z + v) * inverse - top))[0];
      if (odds > 0.0f) possible = v;
      before += odds;
      if (before > target) break;
    }
    tokens[row] = possible;
    logprobs[row] = is_sound ? (float)(load_one(z + possible) * inverse - top - std::log(total)) : NAN;
  }
}

}  // namespace
