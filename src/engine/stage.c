/* SPDX-License-Identifier: MIT
 * Keys and values as the products want them: rows of contiguous reals. What already is that is
 * read in place; the rest is gathered and widened, a chunk at a time, into scratch. */
#include <string.h>

#include "engine/rotate.h"
#include "engine/source.h"

bool attn__stage_direct(const attn__kernels *k, const attn_tensor *t)
{
    return t->dtype == k->dtype && (t->stride[3] == 1 || t->shape[3] <= 1);
}

enum { STAGE_BLOCK = 64 };

/* n elements of size bytes, stride in elements, laid side by side. */
static void stage_gather(size_t size, const char *src, int64_t stride, int64_t n, char *dst)
{
    const int64_t step = stride * (int64_t)size;
    for (int64_t i = 0; i < n; i++, src += step, dst += size) memcpy(dst, src, size);
}

void attn__stage_row(const attn__kernels *k, attn_dtype dtype, const void *src, int64_t stride,
                     int64_t n, void *dst)
{
    if (stride == 1 || n <= 1) {
        k->widen[dtype](n, src, dst);
        return;
    }
    const size_t size = attn_dtype_size(dtype), real = attn__real_size(k);
    union {
        double f64[STAGE_BLOCK];
        float f32[STAGE_BLOCK];
        uint16_t half[STAGE_BLOCK];
    } block;
    for (int64_t i = 0; i < n; i += STAGE_BLOCK) {
        const int64_t m = attn__min(STAGE_BLOCK, n - i);
        stage_gather(size, (const char *)src + i * stride * (int64_t)size, stride, m,
                     (char *)&block);
        k->widen[dtype](m, &block, (char *)dst + i * (int64_t)real);
    }
}

const void *attn__stage_rows(const attn__kernels *k, const attn_tensor *t, int64_t b, int64_t g,
                             int64_t row0, int64_t n, char *memory, int64_t *stride)
{
    if (t->shape[3] == 0) { /* no numbers in a row: any address serves */
        *stride = 0;
        return memory;
    }
    if (attn__stage_direct(k, t)) {
        *stride = t->stride[2];
        return attn__at(t, b, g, row0, 0);
    }
    const int64_t width = t->shape[3], bytes = width * (int64_t)attn__real_size(k);
    const int64_t step = t->stride[2] * (int64_t)attn_dtype_size(t->dtype);
    const char *row = attn__at(t, b, g, row0, 0);
    *stride = width;
    if (t->stride[3] == 1 && t->stride[2] == width) { /* one long row */
        k->widen[t->dtype](n * width, row, memory);
        return memory;
    }
    for (int64_t j = 0; j < n; j++)
        attn__stage_row(k, t->dtype, row + j * step, t->stride[3], width, memory + j * bytes);
    return memory;
}

void attn__stage_table(const attn__kernels *k, const attn_tensor *table, int64_t h,
                       void *memory)
{
    const int64_t width = table->shape[2], bytes = width * (int64_t)attn__real_size(k);
    for (int64_t x = 0; x < table->shape[1]; x++)
        attn__stage_row(k, table->dtype, attn__at(table, h, x, 0, 0), table->stride[2], width,
                        (char *)memory + x * bytes);
}

attn__staged attn__stage_reals(const attn__run *r, char *scratch, const attn__seq *seq,
                               int64_t g, int64_t j0, int64_t j1)
{
    const attn_plan *plan = r->plan;
    const attn__problem *p = r->p;
    const attn__kernels *k = plan->kernels;
    attn__staged staged = {0};
    if (p->source != ATTN__SOURCE_TENSORS)
        return attn__source_stage(r, scratch, seq, g, j0, j1 - j0);
    if (p->turns_keys) { /* turned keys wait in the workspace */
        staged.k = attn__rotated_key(r, seq, g, j0);
        staged.k_stride = p->D;
    } else {
        staged.k = attn__stage_rows(k, &p->at.k, seq->kb, g, seq->k0 + j0, j1 - j0,
                                    scratch + plan->at.k, &staged.k_stride);
    }
    staged.v = attn__stage_rows(k, &p->at.v, seq->kb, g, seq->k0 + j0, j1 - j0,
                                scratch + plan->at.v, &staged.v_stride);
    return staged;
}

attn__staged attn__stage_chunk(const attn__run *r, char *scratch, const attn__seq *seq,
                               int64_t g, int64_t j0, int64_t j1)
{
    return r->plan->half.kernels ? (attn__staged){0}
                                 : attn__stage_reals(r, scratch, seq, g, j0, j1);
}
