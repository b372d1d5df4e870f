/* SPDX-License-Identifier: MIT
 * What a cache holds, for people: lengths, and rows as numbers again. */
#include "engine/cache_rows.h"
#include "engine/check_tensor.h"

#include <string.h>

int64_t attn_cache_length(const attn_cache *cache, int64_t seq)
{
    if (attn__cache_seq_check(cache, seq, "seq", NULL) != ATTN_OK) return -1;
    return cache->length[seq];
}

bool attn_cache_holds(const attn_cache *cache, int64_t seq, int64_t position)
{
    if (position < 0 || position >= attn_cache_length(cache, seq)) return false;
    if (position >= cache->spec.sinks && position < cache->start[seq]) return false;
    return attn__cache_word(cache, seq, attn__cache_place(cache, position), 1) != 0;
}

static attn_status read_range(const attn_cache *c, int64_t seq, int64_t first, int64_t n,
                              attn_error *error)
{
    ATTN_TRY(attn__cache_range_check(c, seq, first, n, error));
    for (int64_t i = first; i < first + n; i++)
        if (!attn_cache_holds(c, seq, i))
            return attn__fail_count(error, ATTN_E_POSITION, "first",
                                    "a position is not held any more",
                                    attn__cache_next(c, seq, i), i);
    return ATTN_OK;
}

static attn_status read_tensor(const attn_cache *c, const attn_tensor *t, const char *where,
                               int64_t n, int64_t width, attn_error *error)
{
    const int64_t want[] = {c->spec.heads, n, width};
    if (!attn__present(t)) return ATTN_OK;
    ATTN_TRY(attn__check_floats(t, where, error));
    if (t->rank != 3)
        return attn__fail_count(error, ATTN_E_RANK, where, "must be heads x keys x width", 3,
                                t->rank);
    for (int i = 0; i < 3; i++)
        if (t->shape[i] != want[i])
            return attn__fail_count(error, ATTN_E_SHAPE, where, "must be heads x keys x width",
                                    want[i], t->shape[i]);
    ATTN_TRY(attn__check_data(t, where, error));
    if (attn__tensor_self_overlap(t))
        return attn__fail(error, ATTN_E_ALIAS, where, "an output reaches an element twice");
    if (attn__cache_overlaps(c, t))
        return attn__fail(error, ATTN_E_ALIAS, where, "lies in the cache itself");
    return ATTN_OK;
}

/* n numbers of a row, as floats or as they lie, into a tensor that is to have them so. */
static void read_numbers(const attn_cache *c, const attn__rows *row, attn_dtype dtype,
                         int64_t n, void *dst)
{
    if (dtype == ATTN_DTYPE_F32)
        c->kernels->widen_rows[row->kind](row, 1, n, dst);
    else
        memcpy(dst, row->row[0], (size_t)n * attn_dtype_size(dtype));
}

/* One row of head g, into row i of t: at once where it is read as floats or as it lies, else a
 * block at a time. Doubles are no floats. */
static void read_row(const attn_cache *c, int side, int64_t g, int64_t row, int64_t i,
                     const attn_tensor *t)
{
    const bool latent = side == 1 && c->spec.latent;
    const int from_side = latent ? 0 : side;
    const int64_t skip = latent ? c->spec.value_from : 0, width = t->shape[2];
    const attn_dtype dtype = c->side[from_side].dtype;
    const bool dense = t->stride[2] == 1 || width == 1, wide = dtype == ATTN_DTYPE_F64;
    const bool same = dense && (t->dtype == dtype || (t->dtype == ATTN_DTYPE_F32 && !wide));
    const attn_dtype as = same ? t->dtype : dtype;
    const int64_t piece = same ? width : ATTN__BLOCK;
    union {
        double f64[ATTN__BLOCK];
        float f32[ATTN__BLOCK];
        uint16_t half[ATTN__BLOCK];
    } block;
    for (int64_t e = 0; e < width; e += piece) {
        const void *at;
        const attn__rows from = attn__cache_row(c, from_side, g, row, skip + e, &at);
        const int64_t n = attn__min(piece, width - e);
        void *dst = attn__at(t, g, i, e, 0);
        read_numbers(c, &from, as, n, same ? dst : &block);
        if (same) continue;
        attn_tensor to = attn_tensor_make(dst, t->dtype, 1, &n);
        to.stride[0] = t->stride[2];
        (void)attn_tensor_copy(to, attn_tensor_make(&block, as, 1, &n),
                               NULL); /* both are good */
    }
}

static void read_side(const attn_cache *c, int side, int64_t seq, int64_t first,
                      const attn_tensor *t)
{
    if (!attn__present(t) || t->shape[2] == 0) return;
    for (int64_t i = 0; i < t->shape[1]; i++) {
        const int64_t place = attn__cache_place(c, first + i);
        const int64_t page = attn__cache_pages(c, seq)[place / c->span];
        for (int64_t g = 0; g < c->spec.heads; g++)
            read_row(c, side, g, attn__cache_first_row(c, page, g) + place % c->span, i, t);
    }
}

attn_status attn_cache_read(const attn_cache *cache, int64_t seq, int64_t first, int64_t n,
                            attn_tensor k, attn_tensor v, attn_error *error)
{
    ATTN_TRY(read_range(cache, seq, first, n, error));
    ATTN_TRY(read_tensor(cache, &k, "k", n, cache->spec.key_width, error));
    ATTN_TRY(read_tensor(cache, &v, "v", n, cache->spec.value_width, error));
    if (attn__present(&k) && attn__present(&v) && attn__tensor_overlap(&k, &v))
        return attn__fail(error, ATTN_E_ALIAS, "v", "overlaps k");
    const attn__fpenv saved = attn__fpenv_enter();
    read_side(cache, 0, seq, first, &k);
    read_side(cache, 1, seq, first, &v);
    attn__fpenv_leave(saved);
    return ATTN_OK;
}
