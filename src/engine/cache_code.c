/* SPDX-License-Identifier: MIT
 * What an element is kept as. Floats: rounded once. Coded: a whole number q of fma(q, scale,
 * zero) in f32 (docs/numerics.md, section 18), found from the row as f32. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/cache_rows.h"
#include "engine/rotate.h"

/* Where a row comes from. */
typedef struct code_source {
    attn_dtype dtype;
    int64_t stride;
    const void *data;
} code_source;

static void code_same(size_t size, const code_source *src, int64_t first, int64_t n, char *dst)
{
    const int64_t step = src->stride * (int64_t)size;
    const char *from = (const char *)src->data + first * step;
    if (src->stride == 1) {
        memcpy(dst, from, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++, from += step, dst += size) memcpy(dst, from, size);
}

/* The f32 from which any narrower type is rounded as from x itself: what is lost leaves its trace
 * in the last bit. */
static float code_odd(double x)
{
    float y = (float)x;
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    const uint32_t off = ((double)y != x) & (x == x) & ~bits & 1; /* no branch: it is chance */
    bits += off * (2 * (uint32_t)(fabs((double)y) < fabs(x)) - 1);
    memcpy(&y, &bits, sizeof y);
    return y;
}

static bool code_half(attn_dtype dtype)
{
    return dtype == ATTN_DTYPE_BF16 || dtype == ATTN_DTYPE_F16;
}

/* Elements first .. first + n as dtype, side by side. */
static void code_convert(const attn_cache *c, const code_source *src, int64_t first, int64_t n,
                         attn_dtype dtype, void *dst)
{
    const int64_t skip = first * src->stride * (int64_t)attn_dtype_size(src->dtype);
    const attn__row to = {dtype, 1}, from = {src->dtype, src->stride};
    const char *at = (const char *)src->data + skip;
    if (n == 0) return;
    if (dtype == src->dtype)
        code_same(attn_dtype_size(dtype), src, first, n, dst);
    else if (src->dtype == ATTN_DTYPE_F32 && src->stride == 1 && code_half(dtype))
        c->kernels->narrow[dtype](n, at, dst);
    else
        attn__convert(to, dst, from, at, n);
}

static double code_element(const code_source *src, int64_t i)
{
    const int64_t at = i * src->stride;
    if (src->dtype == ATTN_DTYPE_F32) return (double)((const float *)src->data)[at];
    return attn__get(src->dtype, src->data, at);
}

/* The first R elements, turned, as doubles that are rounded once: to f64, to f32, or through
 * code_odd to halves. */
static void code_turn(const attn__cache_job *job, const code_source *src, attn_dtype dtype,
                      void *dst)
{
    const attn_cache *c = job->cache;
    float *row = dtype == ATTN_DTYPE_F32 ? dst : c->row;
    for (int64_t t = 0; t < job->R / 2; t++) {
        const double cos = c->turn[2 * t], sin = c->turn[2 * t + 1];
        int64_t i, j;
        attn__rotate_pair(job->rope, job->R, t, &i, &j);
        const double x = code_element(src, i), y = code_element(src, j);
        const double first = x * cos - y * sin, second = y * cos + x * sin;
        if (dtype == ATTN_DTYPE_F64) {
            attn__put(dtype, dst, i, first);
            attn__put(dtype, dst, j, second);
        } else if (dtype == ATTN_DTYPE_F32) {
            row[i] = first == first ? (float)first : NAN;
            row[j] = second == second ? (float)second : NAN;
        } else {
            row[i] = code_odd(first);
            row[j] = code_odd(second);
        }
    }
    if (code_half(dtype)) c->kernels->narrow[dtype](job->R, row, dst);
}

/* ---- coded ------------------------------------------------------------------------------ */

typedef struct code_range {
    float low, high; /* of q */
    float steps;     /* scales from 0 to the largest, or from the smallest to the largest */
} code_range;

/* By bits of an element and asymmetry. */
static const code_range *code_range_of(const attn__cache_side *s)
{
    static const code_range ranges[2][2] = {{{-7, 7, 7}, {-8, 7, 15}},
                                            {{-127, 127, 127}, {-128, 127, 255}}};
    return &ranges[s->bits == 8][s->asymmetric];
}

/* Smallest and largest of n numbers, 0 if there are none; false when one is not finite. */
static bool code_extent(int64_t n, const float *x, float *low, float *high)
{
    bool finite = true;
    *low = *high = n > 0 ? x[0] : 0;
    for (int64_t i = 0; i < n; i++) {
        *low = x[i] < *low ? x[i] : *low;
        *high = x[i] > *high ? x[i] : *high;
        finite = finite && fabsf(x[i]) <= FLT_MAX;
    }
    return finite;
}

/* A row with an inf or a NaN is NaN wherever it is read: its scale is. No scale is subnormal. */
static void code_measure(const attn__cache_side *s, const float *x, float *scale, float *zero)
{
    const code_range *r = code_range_of(s);
    float low, high;
    const bool finite = code_extent(s->width, x, &low, &high);
    const float reach = -low > high ? -low : high;
    *scale = s->asymmetric ? high / r->steps - low / r->steps : reach / r->steps;
    if (!(*scale >= FLT_MIN)) *scale = FLT_MIN;
    *zero = s->asymmetric ? fmaf(-r->low, *scale, low) : 0;
    if (!finite) *scale = NAN;
    if (!finite) *zero = 0;
}

/* To the nearest whole number, ties to even. NaN, of a row that is none, gives the lowest. */
static inline float code_nearest(const code_range *r, float x, float scale, float zero)
{
    float q = (x - zero) / scale;
    q = q >= r->low ? q : r->low;
    q = q <= r->high ? q : r->high;
    return (q + 0x1.8p23f) - 0x1.8p23f;
}

/* One nearer to 0 where fma(q, scale, zero) would overflow. */
static float code_finite(float q, float scale, float zero)
{
    return isinf(fmaf(q, scale, zero)) ? q - (q > 0 ? 1 : -1) : q;
}

static void code_store(const attn__cache_side *s, char *row, int64_t d, int q)
{
    if (s->bits == 8)
        row[d] = (char)q;
    else if (d % 2 == 0)
        row[d / 2] = (char)(q & 15);
    else
        row[d / 2] = (char)((row[d / 2] & 15) | (q & 15) * 16);
}

static int code_load(const attn__cache_side *s, const char *row, int64_t d)
{
    if (s->bits == 8) return (signed char)row[d];
    const int q = (unsigned char)row[d / 2] >> d % 2 * 4 & 15;
    return q >= 8 ? q - 16 : q;
}

/* Scale and zero of element d of a row of head g. */
static void code_of(const attn__cache_side *s, int64_t g, int64_t row, int64_t d, float *scale,
                    float *zero)
{
    const int64_t column = g * s->width + d;
    *scale = s->by_column ? s->columns[column] : s->scale[row];
    *zero = 0;
    if (s->asymmetric) *zero = s->by_column ? s->offsets[column] : s->zero[row];
}

static void code_encode(const attn__cache_side *s, const float *x, int64_t g, int64_t row)
{
    const code_range *r = code_range_of(s);
    char *dst = s->data + row * s->row;
    float scale = 1, zero = 0;
    if (!s->by_column) {
        code_measure(s, x, &scale, &zero);
        s->scale[row] = scale;
        if (s->asymmetric) s->zero[row] = zero;
    }
    const bool number = scale == scale, far = 256 * scale + fabsf(zero) >= 0x1p126f;
    for (int64_t d = 0; d < s->width; d++) {
        if (s->by_column) code_of(s, g, row, d, &scale, &zero);
        float q = code_nearest(r, x[d], scale, zero);
        if (far || s->by_column) q = code_finite(q, scale, zero);
        code_store(s, dst, d, number ? (int)q : 0);
    }
}

static void code_decode(const attn__cache_side *s, int64_t g, int64_t row, int64_t first,
                        int64_t n, float *x)
{
    const char *src = s->data + row * s->row;
    for (int64_t i = 0; i < n; i++) {
        float scale, zero;
        code_of(s, g, row, first + i, &scale, &zero);
        x[i] = fmaf((float)code_load(s, src, first + i), scale, zero);
    }
}

/* ---- rows ------------------------------------------------------------------------------- */

void attn__cache_put(const attn__cache_job *job, int side, const void *src, int64_t g,
                     int64_t row)
{
    attn_cache *c = job->cache;
    const attn__cache_side *s = &c->side[side];
    const attn_tensor *t = side == 0 ? &job->k : &job->v;
    const code_source from = {t->dtype, t->stride[3], src};
    const int64_t turned = side == 0 ? job->R : 0;
    char *place = s->data + row * s->row, *dst = s->coded ? (char *)c->row : place;
    if (turned) code_turn(job, &from, s->dtype, dst);
    code_convert(c, &from, turned, s->width - turned, s->dtype,
                 dst + turned * (int64_t)attn_dtype_size(s->dtype));
    if (s->coded) code_encode(s, c->row, g, row);
}

void attn__cache_get(const attn_cache *c, int side, int64_t g, int64_t row, int64_t first,
                     int64_t n, void *dst)
{
    const attn__cache_side *s = &c->side[side];
    const int64_t size = (int64_t)attn_dtype_size(s->dtype);
    if (s->coded)
        code_decode(s, g, row, first, n, dst);
    else
        memcpy(dst, s->data + row * s->row + first * size, (size_t)(n * size));
}
