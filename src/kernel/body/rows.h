/* SPDX-License-Identifier: MIT
 * Rows that lie anywhere (attn__rows), one after the other as reals. Floats are widened; a coded
 * element is fma(q, scale, zero) in f32 with the scale and zero of its row, or of its column,
 * and is then a real. Each number is one operation, so vectors and plain loops agree.
 * Called by the engine for chunks of a cache or of pages. */
#ifndef ATTN__BODY_ROWS_H
#define ATTN__BODY_ROWS_H

/* Rows that lie behind each other, as those of a page do, are one long row. */
static inline __attribute__((always_inline)) void
K(widen_float_rows)(const attn__rows *rows, int64_t n, int64_t width, void *dst,
                    void (*const widen)(int64_t n, const void *src, void *dst))
{
    const int64_t bytes = width * attn__row_form_of(rows->kind).bits / 8;
    for (int64_t i = 0, m; i < n; i += m) {
        const char *first = rows->row[i];
        for (m = 1; i + m < n && (const char *)rows->row[i + m] == first + m * bytes;) m++;
        widen(m * width, first, (real *)dst + i * width);
    }
}

/* The whole vectors of row i; returns how many numbers they hold. */
static inline __attribute__((always_inline)) int64_t
K(decode_vectors)(const attn__row_kind kind, const attn__rows *rows, int64_t i, int64_t width,
                  real *dst)
{
    int64_t d = 0;
#if REAL_BITS == 32
    const void *row =
        rows->row[i]; /* what is written may be anything, so nothing is asked twice */
    const float *columns = rows->scale ? NULL : rows->columns;
    const float *offsets = rows->scale ? NULL : rows->offsets;
    v_vec scale = v_set(rows->scale ? rows->scale[i] : 0);
    v_vec zero = v_set(rows->scale && rows->zero ? rows->zero[i] : 0);
    for (; d + V_LANES <= width; d += V_LANES) {
        const v_vec q = kind == ATTN__ROW_I8 ? s_load_i8(row, d) : s_load_i4(row, d);
        if (columns) scale = v_load(columns + d);
        if (offsets) zero = v_load(offsets + d);
        v_store(dst + d, v_fma(q, scale, zero));
    }
#endif
    (void)kind, (void)rows, (void)i, (void)width, (void)dst;
    return d;
}

/* n whole numbers that share a scale. */
static void K(decode_row)(int64_t n, const int8_t *restrict q, float scale, float zero,
                          real *restrict dst)
{
    for (int64_t d = 0; d < n; d++) dst[d] = (real)__builtin_fmaf((float)q[d], scale, zero);
}

static void K(decode_columns)(int64_t n, const int8_t *restrict q, const float *restrict scale,
                              const float *restrict zero, real *restrict dst)
{
    if (zero)
        for (int64_t d = 0; d < n; d++)
            dst[d] = (real)__builtin_fmaf((float)q[d], scale[d], zero[d]);
    else
        for (int64_t d = 0; d < n; d++)
            dst[d] = (real)__builtin_fmaf((float)q[d], scale[d], 0.0f);
}

/* Elements from .. from + n of row i. */
static void K(decode)(const attn__rows *rows, int64_t i, int64_t from, int64_t n,
                      const int8_t *q, real *dst)
{
    if (rows->scale)
        K(decode_row)(n, q, rows->scale[i], rows->zero ? rows->zero[i] : 0.0f, dst);
    else
        K(decode_columns)
    (n, q, rows->columns + from, rows->offsets ? rows->offsets + from : NULL, dst);
}

/* n elements of halves of bytes, n even or the last of a row. */
static void K(unpack_i4)(int64_t n, const uint8_t *restrict src, int8_t *restrict q)
{
    for (int64_t d = 0; d + 1 < n; d += 2) {
        const int byte = src[d / 2];
        q[d] = (int8_t)(((byte & 15) ^ 8) - 8);
        q[d + 1] = (int8_t)((byte >> 4 ^ 8) - 8);
    }
    if (n % 2) q[n - 1] = (int8_t)(((src[n / 2] & 15) ^ 8) - 8);
}

static void K(widen_rows_i8)(const attn__rows *rows, int64_t n, int64_t width, void *dst)
{
    for (int64_t i = 0; i < n; i++) {
        real *to = (real *)dst + i * width;
        const int64_t d = K(decode_vectors)(ATTN__ROW_I8, rows, i, width, to);
        if (d < width)
            K(decode)(rows, i, d, width - d, (const int8_t *)rows->row[i] + d, to + d);
    }
}

static void K(widen_rows_i4)(const attn__rows *rows, int64_t n, int64_t width, void *dst)
{
    enum { PIECE = 256 };
    int8_t q[PIECE];
    for (int64_t i = 0; i < n; i++) {
        real *to = (real *)dst + i * width;
        for (int64_t d = K(decode_vectors)(ATTN__ROW_I4, rows, i, width, to), m; d < width;
             d += m) {
            m = width - d < PIECE ? width - d : PIECE;
            K(unpack_i4)(m, (const uint8_t *)rows->row[i] + d / 2, q);
            K(decode)(rows, i, d, m, q, to + d);
        }
    }
}

#define FLOAT_ROWS(type, widen)                                                                \
    static void K(widen_rows_##type)(const attn__rows *rows, int64_t n, int64_t width,         \
                                     void *dst)                                                \
    {                                                                                          \
        K(widen_float_rows)(rows, n, width, dst, K(widen));                                    \
    }
#if REAL_BITS == 32
FLOAT_ROWS(f64, widen_f64)
FLOAT_ROWS(f32, widen_real)
#else
FLOAT_ROWS(f64, widen_real)
FLOAT_ROWS(f32, widen_f32)
#endif
FLOAT_ROWS(bf16, widen_bf16)
FLOAT_ROWS(f16, widen_f16)
#undef FLOAT_ROWS

#endif
