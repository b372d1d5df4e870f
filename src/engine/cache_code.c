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
    else if (dtype == ATTN_DTYPE_F32 && src->stride == 1 && code_half(src->dtype))
        c->kernels->widen[src->dtype](n, at, dst);
    else
        attn__convert(to, dst, from, at, n);
}

/* ---- turned ----------------------------------------------------------------------------- */

/* Where doubles come or go: a number at a time. */
static void code_turn_wide(const attn__cache_job *job, const code_source *src, attn_dtype dtype,
                           void *dst)
{
    const double *c = job->cache->turn, *s = c + job->R / 2;
    for (int64_t t = 0; t < job->R / 2; t++) {
        int64_t i, j;
        attn__rotate_pair(job->rope.kind, job->R, t, &i, &j);
        const double x = attn__get(src->dtype, src->data, i * src->stride);
        const double y = attn__get(src->dtype, src->data, j * src->stride);
        attn__put(dtype, dst, i, x * c[t] - y * s[t]);
        attn__put(dtype, dst, j, y * c[t] + x * s[t]);
    }
}

/* The first R elements, turned, rounded once: halves by way of floats that know what was lost. */
static void code_turn(const attn__cache_job *job, const code_source *src, attn_dtype dtype,
                      void *dst)
{
    const attn_cache *c = job->cache;
    const double *cosine = c->turn, *sine = c->turn + job->R / 2;
    float *row = code_half(dtype) ? c->row : dst;
    int64_t first, apart;
    if (src->dtype == ATTN_DTYPE_F64 || dtype == ATTN_DTYPE_F64) {
        code_turn_wide(job, src, dtype, dst);
        return;
    }
    attn__rotate_pair(job->rope.kind, job->R, 0, &first, &apart);
    code_convert(c, src, 0, job->R, ATTN_DTYPE_F32, row);
    c->kernels->turn(job->R / 2, cosine, sine, apart, code_half(dtype), row);
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

/* A row with an inf or a NaN is NaN wherever it is read: its scale is. No scale is subnormal. */
static void code_measure(const attn_cache *c, const attn__cache_side *s, const float *x,
                         float *scale, float *zero)
{
    const code_range *r = code_range_of(s);
    float low = 0, high = 0;
    const bool finite = s->width == 0 || c->kernels->extent(s->width, x, &low, &high);
    const float reach = -low > high ? -low : high;
    *scale = s->asymmetric ? high / r->steps - low / r->steps : reach / r->steps;
    if (!(*scale >= FLT_MIN)) *scale = FLT_MIN;
    *zero = s->asymmetric ? fmaf(-r->low, *scale, low) : 0;
    if (!finite) *scale = NAN;
    if (!finite) *zero = 0;
}

/* x becomes row number `row` of head g. */
static void code_encode(const attn_cache *c, const attn__cache_side *s, const float *x,
                        int64_t g, int64_t row)
{
    const code_range *r = code_range_of(s);
    char *dst = s->data + row * s->row;
    attn__coding coding = {.bits = s->bits, .low = r->low, .high = r->high};
    float scale = 1, zero = 0;
    if (s->by_column) {
        coding.columns = true;
        coding.scale = s->columns + g * s->width;
        if (s->offsets) coding.zero = s->offsets + g * s->width;
    } else {
        code_measure(c, s, x, &scale, &zero);
        s->scale[row] = scale;
        if (s->asymmetric) s->zero[row] = zero;
        coding.scale = &scale, coding.zero = &zero;
    }
    if (scale == scale)
        c->kernels->code(&coding, s->width, x, dst);
    else
        memset(dst, 0, (size_t)s->row);
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
    if (s->coded) code_encode(c, s, c->row, g, row);
}

attn__rows attn__cache_row(const attn_cache *c, int side, int64_t g, int64_t row, int64_t first,
                           const void **at)
{
    const attn__cache_side *s = &c->side[side];
    const int64_t column = g * s->width + first;
    attn__rows rows = {.kind = s->kind, .row = at};
    *at = s->data + row * s->row + first * s->bits / 8;
    if (s->scale) rows.scale = s->scale + row;
    if (s->zero) rows.zero = s->zero + row;
    if (s->columns) rows.columns = s->columns + column;
    if (s->offsets) rows.offsets = s->offsets + column;
    return rows;
}
