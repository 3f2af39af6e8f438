// From logits to the log-probability of a given token, and back.

#pragma once

#include "floats.h"

namespace {

constexpr int BLOCK = 128;  // numbers that are summed in float32 before their sum joins others; as in policy/sampler.py

struct Normaliser {
  float top;       // max z, with z = logit / temperature
  double total;    // sum of e^(z - top)
  double weighed;  // sum of e^(z - top) (z - top); a word without a chance counts nothing
};

template <typename T>
inline float largest_of(const T* z, int64_t vocabulary, float inverse) {
  int64_t whole = vocabulary / LANES * LANES;
  Floats tops = all(-INFINITY);
  for (int64_t v = 0; v < whole; v += LANES) {
    Floats here = load(z + v) * inverse;
    tops = here > tops ? here : tops;
  }
  float top = largest(tops);
  for (int64_t v = whole; v < vocabulary; v++) top = std::fmax(top, load_one(z + v) * inverse);
  return top;
}

// The last few of a row as one vector, filled up with -infinity.
template <typename T>
inline Floats rest_of(const T* z, int64_t count) {
  float lanes[LANES];
  for (int64_t i = 0; i < LANES; i++) lanes[i] = i < count ? load_one(z + i) : -INFINITY;
  return load(lanes);
}

template <typename T>
inline Normaliser normaliser_of(const T* z, int64_t vocabulary, float inverse) {
  Normaliser found = {largest_of(z, vocabulary, inverse), 0.0, 0.0};
  for (int64_t block = 0; block < vocabulary; block += BLOCK) {
    int64_t end = block + BLOCK < vocabulary ? block + BLOCK : vocabulary;
    Floats odds = {}, weighed = {};
    for (int64_t v = block; v < end; v += LANES) {
      Floats depth = (v + LANES <= end ? load(z + v) : rest_of(z + v, end - v)) * inverse - found.top;
      Floats here = exp(depth);
      odds += here;
      weighed += here > Floats{} ? here * depth : Floats{};
    }
    found.total += sum(odds);
    found.weighed += sum(weighed);
  }
  return found;
}

// softmax(z) - onehot(target) of one row. May be written over the logits themselves.
template <typename T>
inline void write_slope(T* slope, const float* z, int64_t target, float normaliser, float inverse, int64_t vocabulary) {
  float odds = exp(all(z[target] * inverse - normaliser))[0];
  int64_t v = 0;
  for (; v + LANES <= vocabulary; v += LANES) store(slope + v, exp(load(z + v) * inverse - normaliser));
  Floats last = exp(rest_of(z + v, vocabulary - v) * inverse - normaliser);
  for (int64_t i = v; i < vocabulary; i++) store_one(slope + i, last[i - v]);
  store_one(slope + target, odds - 1.0f);
}

// Of each row: log-probability of its target, entropy, and max z + log total, in nats; and the slope where it is wanted,
// while the row is at hand.
template <typename T>
void read_logits(float* logprobs, float* entropy, float* normaliser, T* slope, const float* logits,
                 const int64_t* targets, float inverse, int64_t rows, int64_t vocabulary, int threads) {
  FOR_ROWS(row, rows, threads) {
    const float* z = logits + row * vocabulary;
    Normaliser found = normaliser_of(z, vocabulary, inverse);
    double log_total = std::log(found.total);
    logprobs[row] = (float)((double)(z[targets[row]] * inverse - found.top) - log_total);
    entropy[row] = (float)(log_total - found.weighed / found.total);
    normaliser[row] = (float)(found.top + log_total);
    if (slope) write_slope(slope + row * vocabulary, z, targets[row], normaliser[row], inverse, vocabulary);
  }
}

}  // namespace
