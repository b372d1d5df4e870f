/* SPDX-License-Identifier: MIT
 * Where sequence b lies in the tensors. Packed sides have cumulative lengths, padded sides a
 * row of the batch with an optional start and length, caches know; everything after this counts
 * from the start of the sequence. */
#include "engine/engine.h"

void *attn__at(const attn_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d)
{
    if (!t->data) return NULL; /* nothing to reach: a tensor without elements */
    int64_t index = a * t->stride[0] + b * t->stride[1] + c * t->stride[2] + d * t->stride[3];
    return (char *)t->data + index * (int64_t)attn_dtype_size(t->dtype);
}

int64_t attn__int_at(const attn_tensor *t, int64_t a, int64_t b)
{
    return attn__get_int(t->dtype, t->data, a * t->stride[0] + b * t->stride[1]);
}

double attn__float_at(const attn_tensor *t, int64_t a, int64_t b)
{
    return attn__get(t->dtype, t->data, a * t->stride[0] + b * t->stride[1]);
}

bool attn__same_view(const attn_tensor *a, const attn_tensor *b)
{
    bool same = a->data == b->data && a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++)
        same = a->stride[i] == b->stride[i] || (a->shape[i] <= 1 && b->shape[i] <= 1);
    return same;
}

int64_t attn__last_start(const int64_t *starts, int64_t n, int64_t x)
{
    int64_t low = 0, high = n;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (starts[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows [*first, *first + *n) of one side. */
static void seq_side(const attn_tensor *cu, const attn_tensor *start, const attn_tensor *len,
                     int64_t rows, int64_t b, int64_t *first, int64_t *n)
{
    if (attn__present(cu)) {
        *first = attn__int_at(cu, b, 0);
        *n = attn__int_at(cu, b + 1, 0) - *first;
        return;
    }
    *first = attn__present(start) ? attn__int_at(start, b, 0) : 0;
    *n = attn__present(len) ? attn__int_at(len, b, 0) : rows - *first;
}

static int64_t seq_offset(const attn__problem *p, const attn__seq *seq)
{
    if (p->spec.align == ATTN_ALIGN_BOTTOM_RIGHT) return seq->S - seq->T;
    if (p->spec.align != ATTN_ALIGN_OFFSET) return 0;
    return attn__present(&p->at.offset) ? attn__int_at(&p->at.offset, seq->b, 0)
                                        : p->spec.offset;
}

/* Of a cache: as many keys as there are, unless k_len says fewer. */
static void seq_held(const attn__problem *p, attn__seq *seq)
{
    const attn_tensor *held = &p->at.cache_seq;
    seq->held = attn__present(held) ? attn__int_at(held, seq->b, 0) : seq->b;
    if (!attn__present(&p->at.k_len)) seq->S = attn_cache_length(p->at.cache, seq->held);
}

attn__seq attn__seq_get(const attn__problem *p, int64_t b)
{
    const attn_args *at = &p->at;
    attn__seq seq = {.b = b};
    seq_side(&at->cu_q, &at->q_start, &at->q_len, p->T, b, &seq.q0, &seq.T);
    seq_side(&at->cu_k, &at->k_start, &at->k_len, p->S, b, &seq.k0, &seq.S);
    if (p->source == ATTN__SOURCE_CACHE) seq_held(p, &seq);
    seq.qb = p->packed_q ? 0 : b;
    seq.kb = p->packed_k ? 0 : b;
    seq.iq = p->packed_q ? 0 : seq.q0;
    seq.jk = p->packed_k ? 0 : seq.k0;
    seq.offset = seq_offset(p, &seq);
    seq.prefix = attn__present(&at->prefix) ? attn__int_at(&at->prefix, b, 0) : p->spec.prefix;
    return seq;
}
