// The small steps of a layer, each in one pass over its data: norm, gate and rotation, forward and back.

#pragma once

#include "floats.h"

namespace {

// x += delta (when there is one); out = x / sqrt(mean(x^2) + eps) * weight
// The stream x may be wider than the rest.
template <typename S, typename T>
void rms_norm(T* out, S* x, const T* delta, const T* weight, int64_t rows, int64_t width, float eps, int threads) {
  FOR_ROWS(row, rows, threads) {
    S* here = x + row * width;
    T* to = out + row * width;
    Floats squares = {};
    for (int64_t i = 0; i < width; i += LANES) {
      if (delta) store(here + i, load(here + i) + load(delta + row * width + i));
      Floats values = load(here + i);
      squares += values * values;
    }
    float scale = 1.0f / std::sqrt(sum(squares) / width + eps);
    for (int64_t i = 0; i < width; i += LANES) store(to + i, load(here + i) * scale * load(weight + i));
  }
}

// out = x + delta
template <typename S, typename T>
void sum(S* out, const S* x, const T* delta, int64_t rows, int64_t width, int threads) {
  FOR_ROWS(row, rows, threads) {
    for (int64_t i = row * width; i < (row + 1) * width; i += LANES) store(out + i, load(x + i) + load(delta + i));
  }
}

// The gradients of y = x / sqrt(mean(x^2) + eps) * weight: with s = 1 / sqrt(...) and g = gradient * weight,
// dx = s g - x s^3 mean(g x) + beside (when there is one) and dweight = sum over rows of gradient x s. The sum is left in
// pieces of BAND rows, so that it does not depend on the number of threads.
constexpr int BAND = 64;

template <typename S, typename T>
void rms_norm_backward(S* dx, float* dweight, const T* gradient, const S* x, const T* weight, const S* beside,
                       int64_t rows, int64_t width, float eps, int threads) {
  FOR_ROWS(band, (rows + BAND - 1) / BAND, threads) {
    float* sums = dweight + band * width;
    for (int64_t i = 0; i < width; i++) sums[i] = 0.0f;
    int64_t end = (band + 1) * BAND < rows ? (band + 1) * BAND : rows;
    for (int64_t row = band * BAND; row < end; row++) {
      const S* here = x + row * width;
      const T* pull = gradient + row * width;
      Floats squares = {}, products = {};
      for (int64_t i = 0; i < width; i += LANES) {
        Floats values = load(here + i);
        squares += values * values;
        products += values * load(pull + i) * load(weight + i);
      }
      float scale = 1.0f / std::sqrt(sum(squares) / width + eps);
      float back = scale * scale * scale * sum(products) / width;
      for (int64_t i = 0; i < width; i += LANES) {
        Floats values = load(here + i), g = load(pull + i);
        Floats through = scale * g * load(weight + i) - back * values;
        store(dx + row * width + i, beside ? through + load(beside + row * width + i) : through);
        store(sums + i, load(sums + i) + g * values * scale);
      }
    }
  }
}

// out = silu(gate) * up
template <typename T>
void silu_mul(T* out, const T* gate, const T* up, int64_t stride, int64_t rows, int64_t width, int threads) {
  FOR_ROWS(row, rows, threads) {
    for (int64_t i = 0; i < width; i += LANES) {
      Floats values = load(gate + row * stride + i);
      store(out + row * width + i, values / (1.0f + exp(-values)) * load(up + row * stride + i));
    }
  }
}

// Its gradients: with s = sigmoid(gate), dgate = gradient up s (1 + gate (1 - s)) and dup = gradient gate s. `out` gets
// what silu_mul gives, once more. With an index, row i's gate and up are those of row index[i].
template <typename T>
void silu_mul_backward(T* out, T* dgate, T* dup, const T* gradient, const T* gate, const T* up, const int64_t* index,
                       int64_t stride, int64_t rows, int64_t width, int threads) {
  FOR_ROWS(row, rows, threads) {
    for (int64_t i = 0; i < width; i += LANES) {
      int64_t to = row * width + i, from = (index ? index[row] : row) * stride + i;
      Floats g = load(gradient + to), z = load(gate + from), u = load(up + from), s = 1.0f / (1.0f + exp(-z));
      store(out + to, z * s * u);
      store(dgate + to, g * u * s * (1.0f + z * (1.0f - s)));
      store(dup + to, g * z * s);
    }
  }
}

// Rows of `size` bytes, in the order of the index.
inline void gather_rows(char* out, const char* from, const int64_t* index, int64_t rows, int64_t size, int threads) {
  FOR_ROWS(row, rows, threads) memcpy(out + row * size, from + index[row] * size, size);
}

// One head turned: (a, b) -> (a cos - b sin, b cos + a sin).
template <typename T>
inline void turn(T* to, const T* from, const float* cosine, const float* sine, int64_t width) {
  int64_t half = width / 2, i = 0;
  for (; i + LANES <= half; i += LANES) {
    Floats a = load(from + i), b = load(from + half + i);
    store(to + i, a * load(cosine + i) - b * load(sine + i));
    store(to + half + i, b * load(cosine + half + i) + a * load(sine + half + i));
  }
  if (i == half) return;
  float a[LANES / 2], b[LANES / 2];  // half a vector is left of heads whose width is an odd multiple of 16
  for (int64_t j = 0; j < LANES / 2; j++) a[j] = load_one(from + i + j), b[j] = load_one(from + half + i + j);
  for (int64_t j = 0; j < LANES / 2; j++) {
    store_one(to + i + j, a[j] * cosine[i + j] - b[j] * sine[i + j]);
    store_one(to + half + i + j, b[j] * cosine[half + i + j] + a[j] * sine[half + i + j]);
  }
}

// In place: each head normed (when there are weights) and rotated, (a, b) -> (a cos - b sin, b cos + a sin).
template <typename T>
void rotate(T* qkv, const float* cosines, const float* sines, const T* query_norm, const T* key_norm, int64_t rows,
            int64_t heads, int64_t kv_heads, int64_t width, float eps, int threads) {
  int64_t stride = (heads + 2 * kv_heads) * width;
  FOR_ROWS(row, rows, threads) {
    for (int64_t head = 0; head < heads + kv_heads; head++) {
      T* at = qkv + row * stride + head * width;
      const T* norm = head < heads ? query_norm : key_norm;
      if (norm) {
        Floats squares = {};
        for (int64_t i = 0; i < width; i += LANES) squares += load(at + i) * load(at + i);
        float scale = 1.0f / std::sqrt(sum(squares) / width + eps);
        for (int64_t i = 0; i < width; i += LANES) store(at + i, load(at + i) * scale * load(norm + i));
      }
      turn(at, at, cosines + row * width, sines + row * width, width);
    }
  }
}

}  // namespace
