/* SPDX-License-Identifier: MIT
 * Three words of the vocabulary that body/few.h alone needs.
 *   v_columns    y[i] = word i of V_LANES rows, for V_COLUMNS words at byte `at` of each
 *   v_store4  p[4 j + l] = lane j of x[l], for four vectors
 *   v_held8   eight vectors are in registers here: where there are 16, gcc lets a sum wait in
 *             memory rather than a word, and each addition to it then waits for that
 * Rows are read in the widest pieces of which y takes all: nothing waits in memory for its turn,
 * and the pieces meet in registers. Vectors of few lanes turn a square. */
#ifndef ATTN__VEC_FEW_H
#define ATTN__VEC_FEW_H

#define VEC_COLUMNS_SQUARE(v, lanes)                                                           \
    static inline void v##_columns(const char *const *row, int64_t at, v##_vec *y)             \
    {                                                                                          \
        UNROLL(16)                                                                             \
        for (int i = 0; i < (lanes); i++) y[i] = v##_words(row[i] + at);                       \
        v##_transpose(y);                                                                      \
    }

#define VEC_STORE4(v, number, lanes)                                                           \
    static inline void v##_store4(number *p, const v##_vec *x)                                 \
    {                                                                                          \
        number room[4 * (lanes)];                                                              \
        UNROLL(4)                                                                              \
        for (int l = 0; l < 4; l++) v##_store(room + l * (lanes), x[l]);                       \
        for (int j = 0; j < (lanes); j++)                                                      \
            for (int l = 0; l < 4; l++) p[4 * j + l] = room[l * (lanes) + j];                  \
    }

#define VEC_HELD8(v)                                                                           \
    static inline __attribute__((always_inline)) void v##_held8(v##_vec *x)                    \
    {                                                                                          \
        __asm__(""                                                                             \
                : "+x"(x[0]), "+x"(x[1]), "+x"(x[2]), "+x"(x[3]), "+x"(x[4]), "+x"(x[5]),      \
                  "+x"(x[6]), "+x"(x[7]));                                                     \
    }

/* 4 x 4 in every 128 bits. */
#define VEC_TURN4(vec, op)                                                                     \
    static inline void s_turn4(const vec *x, vec *y)                                           \
    {                                                                                          \
        const vec a = op##_unpacklo_ps(x[0], x[1]), b = op##_unpackhi_ps(x[0], x[1]);          \
        const vec c = op##_unpacklo_ps(x[2], x[3]), d = op##_unpackhi_ps(x[2], x[3]);          \
        y[0] = op##_shuffle_ps(a, c, 0x44);                                                    \
        y[1] = op##_shuffle_ps(a, c, 0xEE);                                                    \
        y[2] = op##_shuffle_ps(b, d, 0x44);                                                    \
        y[3] = op##_shuffle_ps(b, d, 0xEE);                                                    \
    }

#if defined(ATTN__VEC_AVX512_H)

enum { S_COLUMNS = 8, D_COLUMNS = D_LANES };

VEC_TURN4(__m512, _mm512)

static inline __m512 s_two_rows(const char *low, const char *high)
{
    const __m256 a = _mm256_loadu_ps((const float *)(const void *)low);
    const __m256 b = _mm256_loadu_ps((const float *)(const void *)high);
    return _mm512_mask_broadcast_f32x8(_mm512_castps256_ps512(a), 0xFF00, b);
}

/* Eight words of two rows make a vector; two vectors give four words of four rows, twice. */
static inline void s_columns(const char *const *row, int64_t at, s_vec *y)
{
    __m512 low[4], high[4];
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        const __m512 a = s_two_rows(row[i] + at, row[i + 4] + at);
        const __m512 b = s_two_rows(row[i + 8] + at, row[i + 12] + at);
        low[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        high[i] = _mm512_shuffle_f32x4(a, b, 0xDD);
    }
    s_turn4(low, y);
    s_turn4(high, y + 4);
}

static inline void s_store4(float *p, const s_vec *x)
{
    __m512 y[4];
    s_turn4(x, y); /* quarter b of y[i]: key 4 b + i */
    const __m512 a = _mm512_shuffle_f32x4(y[0], y[1], 0x44);
    const __m512 b = _mm512_shuffle_f32x4(y[2], y[3], 0x44);
    const __m512 c = _mm512_shuffle_f32x4(y[0], y[1], 0xEE);
    const __m512 d = _mm512_shuffle_f32x4(y[2], y[3], 0xEE);
    _mm512_storeu_ps(p, _mm512_shuffle_f32x4(a, b, 0x88));
    _mm512_storeu_ps(p + 16, _mm512_shuffle_f32x4(a, b, 0xDD));
    _mm512_storeu_ps(p + 32, _mm512_shuffle_f32x4(c, d, 0x88));
    _mm512_storeu_ps(p + 48, _mm512_shuffle_f32x4(c, d, 0xDD));
}

#elif defined(ATTN__VEC_AVX2_H)

enum { S_COLUMNS = 4, D_COLUMNS = D_LANES };

VEC_TURN4(__m256, _mm256)

/* Four words of two rows make a vector. */
static inline void s_columns(const char *const *row, int64_t at, s_vec *y)
{
    __m256 x[4];
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        const __m128 low = _mm_loadu_ps((const float *)(const void *)(row[i] + at));
        const __m128 high = _mm_loadu_ps((const float *)(const void *)(row[i + 4] + at));
        x[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
    }
    s_turn4(x, y);
}

static inline void s_store4(float *p, const s_vec *x)
{
    __m256 y[4];
    s_turn4(x, y); /* half b of y[i]: key 4 b + i */
    UNROLL(2)
    for (int i = 0; i < 4; i += 2) {
        _mm256_storeu_ps(p + 4 * i, _mm256_permute2f128_ps(y[i], y[i + 1], 0x20));
        _mm256_storeu_ps(p + 16 + 4 * i, _mm256_permute2f128_ps(y[i], y[i + 1], 0x31));
    }
}

#else

enum { S_COLUMNS = S_LANES, D_COLUMNS = D_LANES };
VEC_COLUMNS_SQUARE(s, S_LANES)
VEC_STORE4(s, float, S_LANES)

#endif

VEC_COLUMNS_SQUARE(d, D_LANES)
VEC_STORE4(d, double, D_LANES)
#undef VEC_COLUMNS_SQUARE
#undef VEC_STORE4
#undef VEC_TURN4

#if defined(ATTN__VEC_AVX2_H)
VEC_HELD8(s)
VEC_HELD8(d)
#else
#    define s_held8(x) ((void)(x))
#    define d_held8(x) ((void)(x))
#endif
#undef VEC_HELD8

#endif
