// Sixteen floats at a time: reading and writing them as float32 or bfloat16, their sum, largest and exponential.
// Vectors are the extension of gcc and clang; a machine with narrower registers gets them in pieces.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;  // also the tokens of a page

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

struct bfloat16 {
  uint16_t bits;
};

inline Floats all(float value) { return value - Floats{}; }

inline Floats load(const float* from) {
  Floats values;
  memcpy(&values, from, sizeof values);
  return values;
}

inline void store(float* to, Floats values) { memcpy(to, &values, sizeof values); }

inline Floats load(const bfloat16* from) {
  Halves halves;
  memcpy(&halves, from, sizeof halves);
#ifdef __AVX512F__  // one instruction, where gcc 12 makes four of the portable line
  return (Floats)((Words)_mm512_cvtepu16_epi32((__m256i)halves) << 16);
#else
  return (Floats)(__builtin_convertvector(halves, Words) << 16);
#endif
}

inline void store(bfloat16* to, Floats values) {  // to the nearest, ties to even; a NaN keeps its upper bits
#ifdef __AVX512BF16__  // numbers below 1e-38 become 0
  __m256bh halves = _mm512_cvtneps_pbh((__m512)values);
#else
  Words bits = (Words)values;
  Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Words kept = (bits >> 16) | 0x40;
  Halves halves = __builtin_convertvector(values == values ? rounded : kept, Halves);
#endif
  memcpy(to, &halves, sizeof halves);
}

inline float load_one(const float* from) { return *from; }

inline float load_one(const bfloat16* from) {
  uint32_t bits = (uint32_t)from->bits << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline void store_one(float* to, float value) { *to = value; }

inline void store_one(bfloat16* to, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  to->bits = value == value ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : (bits >> 16) | 0x40;
}

inline float sum(Floats values) {
  float lanes[LANES];
  store(lanes, values);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}

inline float largest(Floats values) {
  float lanes[LANES];
  store(lanes, values);
  float top = lanes[0];
  for (int i = 1; i < LANES; i++) top = lanes[i] > top ? lanes[i] : top;
  return top;
}

// e^x to about 1e-7 of itself, 0 below -87, infinity above 88, NaN for NaN: 2^n * e^r with n the nearest whole number
// to x / ln 2 and r the rest.
inline Floats exp(Floats x) {
  Floats whole = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  Ints n = (Ints)whole - 0x4b400000;
  whole -= 12582912.0f;
  Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Floats p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Floats scale = (Floats)((n + 127) << 23);
  Floats value = x > all(88.0f) ? all(INFINITY) : p * scale;
  return x < all(-87.0f) ? Floats{} : value;
}

int thread_number() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// Rows are dealt in even runs; fewer threads where there is little to do.
#define FOR_ROWS(i, n, threads) _Pragma("omp parallel for schedule(static) num_threads(threads) if (threads > 1)") \
  for (int64_t i = 0; i < n; i++)

}  // namespace
