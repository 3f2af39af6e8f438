// The arithmetic of decoding and training that no library offers for a CPU, as plain C functions.
//
// Every function works row by row: no row's result depends on the other rows or on the number of threads. Numbers are
// read as float32 or bfloat16, computed in float32 and rounded once. Callers check shapes; nothing here does.

#include "gradients.h"
#include "layers.h"
#include "logits.h"
#include "packed.h"
#include "products.h"
#include "sampling.h"

#define EXPORT_NORM(NAME, S, T)                                                                                       \
  extern "C" void rms_norm_##NAME(T* out, S* x, const T* delta, const T* weight, int64_t rows, int64_t width,         \
                                  float eps, int threads) {                                                           \
    rms_norm(out, x, delta, weight, rows, width, eps, threads);                                                       \
  }                                                                                                                   \
  extern "C" void sum_##NAME(S* out, const S* x, const T* delta, int64_t rows, int64_t width, int threads) {          \
    sum(out, x, delta, rows, width, threads);                                                                         \
  }                                                                                                                   \
  extern "C" void rms_norm_backward_##NAME(S* dx, float* dweight, const T* gradient, const S* x, const T* weight,     \
                                           const S* beside, int64_t rows, int64_t width, float eps, int threads) {    \
    rms_norm_backward(dx, dweight, gradient, x, weight, beside, rows, width, eps, threads);                           \
  }

#define EXPORT(NAME, T)                                                                                               \
  extern "C" void silu_mul_##NAME(T* out, const T* gate, const T* up, int64_t stride, int64_t rows, int64_t width,    \
                                  int threads) {                                                                      \
    silu_mul(out, gate, up, stride, rows, width, threads);                                                            \
  }                                                                                                                   \
  extern "C" void silu_mul_backward_##NAME(T* out, T* dgate, T* dup, const T* gradient, const T* gate, const T* up,   \
                                           const int64_t* index, int64_t stride, int64_t rows, int64_t width,         \
                                           int threads) {                                                             \
    silu_mul_backward(out, dgate, dup, gradient, gate, up, index, stride, rows, width, threads);                      \
  }                                                                                                                   \
  extern "C" void rotate_##NAME(T* qkv, const float* cosines, const float* sines, const T* query_norm, const T* key_norm,\
                                int64_t rows, int64_t heads, int64_t kv_heads, int64_t width, float eps,              \
                                int threads) {                                                                        \
    rotate(qkv, cosines, sines, query_norm, key_norm, rows, heads, kv_heads, width, eps, threads);                    \
  }                                                                                                                   \
  extern "C" void put_##NAME(T* keys, T* values, const T* key, const T* value, int64_t key_stride,                    \
                             int64_t value_stride, const int32_t* tables, int64_t table_stride,                       \
                             const int32_t* positions, int64_t rows, int64_t kv_heads, int64_t width,                 \
                             int64_t value_width, int threads) {                                                      \
    put(keys, values, key, value, key_stride, value_stride, tables, table_stride, positions, rows, kv_heads, width,   \
        value_width, threads);                                                                                        \
  }                                                                                                                   \
  extern "C" void attend_##NAME(T* out, const T* query, int64_t query_stride, float scale, const T* keys,             \
                                const T* values, const int32_t* tables, int64_t table_stride,                         \
                                const int32_t* lengths, int64_t rows, int64_t heads, int64_t kv_heads,                \
                                int64_t width, int64_t value_width, float* scratch, int64_t room, int threads) {      \
    attend(out, query, query_stride, scale, keys, values, tables, table_stride, lengths, rows, heads, kv_heads,       \
           width, value_width, scratch, room, threads);                                                               \
  }                                                                                                                   \
  extern "C" void attend_packed_##NAME(T* out, const T* query, const T* keys, const T* values,                        \
                                       const Part* parts, int64_t count, const Shape* shape, float* scratch,          \
                                       int threads) {                                                                 \
    attend_packed(out, query, keys, values, parts, count, *shape, scratch, threads);                                  \
  }                                                                                                                   \
  extern "C" void attend_packed_backward_##NAME(T* dquery, float* dkeys, float* dvalues, const T* gradient,           \
                                                const T* query, const T* keys, const T* values,                       \
                                                const Part* parts, int64_t count, const Shape* shape,                 \
                                                float* scratch, int threads) {                                        \
    attend_packed_backward(dquery, dkeys, dvalues, gradient, query, keys, values, parts, count, *shape, scratch,      \
                           threads);                                                                                  \
  }                                                                                                                   \
  extern "C" void draw_##NAME(int64_t* tokens, float* logprobs, const T* logits, int64_t stride,                      \
                              const double* uniforms, float inverse, int64_t rows, int64_t vocabulary,                \
                              float* scratch, int threads) {                                                          \
    draw(tokens, logprobs, logits, stride, uniforms, inverse, rows, vocabulary, scratch, threads);                    \
  }                                                                                                                   \
  extern "C" void read_logits_##NAME(float* logprobs, float* entropy, float* normaliser, T* slope,                    \
                                     const float* logits, const int64_t* targets, float inverse, int64_t rows,        \
                                     int64_t vocabulary, int threads) {                                               \
    read_logits(logprobs, entropy, normaliser, slope, logits, targets, inverse, rows, vocabulary, threads);           \
  }

EXPORT_NORM(float32, float, float)
EXPORT_NORM(bfloat16, bfloat16, bfloat16)
EXPORT_NORM(mixed, float, bfloat16)
EXPORT(float32, float)
EXPORT(bfloat16, bfloat16)

extern "C" void gather(char* out, const char* from, const int64_t* index, int64_t rows, int64_t size, int threads) {
  gather_rows(out, from, index, rows, size, threads);
}

#define EXPORT_PACK(NAME, T)                                                                                          \
  extern "C" void pack_##NAME(T* packed, const T* weight, int64_t outputs, int64_t inputs, int threads) {             \
    pack(packed, weight, outputs, inputs, threads);                                                                   \
  }

#define EXPORT_PRODUCT(NAME, T, O)                                                                                    \
  extern "C" void product_##NAME(O* out, const T* x, const T* packed, const T* bias, int64_t rows, int64_t outputs,   \
                                 int64_t inputs, int threads) {                                                       \
    multiply(out, x, packed, bias, rows, outputs, inputs, threads);                                                   \
  }

EXPORT_PACK(float32, float)
EXPORT_PRODUCT(float32_float32, float, float)

#ifdef __AVX512BF16__
EXPORT_PACK(bfloat16, bfloat16)
EXPORT_PRODUCT(bfloat16_float32, bfloat16, float)
EXPORT_PRODUCT(bfloat16_bfloat16, bfloat16, bfloat16)
extern "C" void pack_rows_bfloat16(bfloat16* packed, const bfloat16* numbers, int64_t rows, int64_t columns, int threads) {
  pack_rows(packed, numbers, rows, columns, threads);
}
extern "C" void multiply_back_bfloat16(bfloat16* out, const bfloat16* left, const int64_t* index, int64_t stride,
                                       const bfloat16* packed, int64_t rows, int64_t columns, int64_t terms, int is_added,
                                       float* scratch, int threads) {
  multiply_back(out, Rows<bfloat16>{left, index, stride}, packed, rows, columns, terms, is_added, scratch, threads);
}
extern "C" void multiply_outer_bfloat16(bfloat16* out, const bfloat16* left, const int64_t* index, int64_t stride,
                                        const bfloat16* packed, int64_t rows, int64_t columns, int64_t terms, float* scratch,
                                        int threads) {
  multiply_outer(out, Rows<bfloat16>{left, index, stride}, packed, rows, columns, terms, scratch, threads);
}
extern "C" int has_bfloat16_products() { return 1; }
#else
extern "C" int has_bfloat16_products() { return 0; }
#endif
