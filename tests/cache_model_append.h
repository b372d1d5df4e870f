/* SPDX-License-Identifier: MIT
 * Appends to the model (cache_model.h): numbers, what they should be read as - of the type of the
 * call, turned, of the type of the cache, coded - and whether there is room. All rows of a call
 * are rounded and turned at once: a fuzzer has no time for a call a number. */
#ifndef CACHE_MODEL_APPEND_H
#define CACHE_MODEL_APPEND_H

#include "cache_model.h"

/* ---- tokens ----------------------------------------------------------------------------- */

static double model_number(const cache_model *m)
{
    static const double odd[] = {
        0, -0.0, 1, 0x1p-140, -0x1p-149, (double)FLT_MAX, -(double)FLT_MAX, 0x1p-1040};
    const int64_t which = model_pick(m, 0, 400);
    const double x = (double)model_pick(m, -1000, 1000) / 64;
    if (which < 8) return odd[which];
    if (which == 8) return -(double)INFINITY;
    if (which == 9) return (double)INFINITY;
    return which == 10 ? (double)NAN : x;
}

typedef struct model_append {
    int64_t B, T;
    bool packed;
    attn_dtype dtype;
    attn_rope_spec rope;
    int64_t seq[MODEL_BATCH], n[MODEL_BATCH], cu[MODEL_BATCH + 1];
    attn_tensor rows[2]; /* as the call brings them: B T G D, packed 1 T G D */
    attn_tensor
        wide[2]; /* the same numbers as doubles, then those that they should be kept as */
} model_append;

static const int model_heads_first[] = {0, 2, 1, 3}; /* B T G D as B G T D */

static attn_tensor model_rows(const cache_model *m, const model_append *a, int side,
                              attn_dtype dtype)
{
    const int64_t width = side == 0 ? m->spec.key_width : m->spec.value_width;
    const int64_t rows = a->packed ? a->cu[a->B] : a->T, batch = a->packed ? 1 : a->B;
    attn_tensor t =
        attn_tensor_make(NULL, dtype, 4, (const int64_t[]){batch, rows, m->spec.heads, width});
    t.data = calloc((size_t)attn_tensor_count(t) + 1, attn_dtype_size(dtype));
    MODEL_REQUIRE(t.data != NULL, "the machine has memory");
    return t;
}

/* Head g of row i of entry b among the doubles. */
static double *model_wide(const model_append *a, int side, int64_t b, int64_t i, int64_t g)
{
    const attn_tensor *t = &a->wide[side];
    const int64_t row = a->packed ? a->cu[b] + i : b * t->shape[1] + i;
    return (double *)t->data + (row * t->shape[2] + g) * t->shape[3];
}

/* Keys are turned as attn_rope would do it. */
static void model_turn(const cache_model *m, const model_append *a, const attn_tensor *to)
{
    const attn_tensor *from = &a->rows[0];
    const attn_tensor x = attn_tensor_permute(*from, model_heads_first);
    const attn_tensor y = attn_tensor_permute(*to, model_heads_first);
    int64_t *at = calloc((size_t)(from->shape[0] * from->shape[1]) + 1, sizeof *at);
    MODEL_REQUIRE(at != NULL, "the machine has memory");
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t i = 0; i < a->n[b]; i++)
            at[a->packed ? a->cu[b] + i : b * from->shape[1] + i] =
                m->seq[a->seq[b]].length + i;
    const attn_tensor pos = ATTN_TENSOR(at, I64, from->shape[0], from->shape[1]);
    MODEL_REQUIRE(attn_rope(&a->rope, &x, &pos, NULL, NULL, &y, NULL) == ATTN_OK, "keys turn");
    free(at);
}

/* What the numbers become before they are coded: turned, and of the type of the cache. */
static void model_round(const cache_model *m, model_append *a, int side)
{
    const attn_dtype dtype = model_dtype(side == 0 ? &m->spec.key : &m->spec.value);
    const attn_tensor kept = model_rows(m, a, side, dtype);
    if (side == 0 && a->rope.kind != ATTN_ROPE_NONE)
        model_turn(m, a, &kept);
    else
        model_copy(kept, a->wide[side]);
    model_copy(a->wide[side], kept);
    free(kept.data);
}

static void model_token_fill(const cache_model *m, const model_append *a, int64_t b, int64_t i,
                             model_token *t)
{
    const attn_cache_spec *s = &m->spec;
    for (int64_t g = 0; g < s->heads; g++) {
        double *k = t->number[0][g], *v = t->number[1][g];
        memcpy(k, model_wide(a, 0, b, i, g), (size_t)s->key_width * sizeof *k);
        model_keep(&s->key, g, s->key_width, k);
        if (s->latent) {
            memcpy(v, k + s->value_from, (size_t)s->value_width * sizeof *v);
            continue;
        }
        memcpy(v, model_wide(a, 1, b, i, g), (size_t)s->value_width * sizeof *v);
        model_keep(&s->value, g, s->value_width, v);
    }
}

/* The tokens of all its entries, one behind the other. */
static const model_token *model_tokens(cache_model *m, model_append *a)
{
    const size_t n = (size_t)a->cu[a->B];
    model_block *block = malloc(sizeof *block + n * sizeof block->token[0]);
    MODEL_REQUIRE(block != NULL, "the machine has memory");
    block->next = m->blocks;
    m->blocks = block;
    model_round(m, a, 0);
    if (!m->spec.latent) model_round(m, a, 1);
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t i = 0; i < a->n[b]; i++)
            model_token_fill(m, a, b, i, &block->token[a->cu[b] + i]);
    return block->token;
}

/* A ring forgets what it has no room for. */
static void model_forget_old(cache_model *m, int64_t seq)
{
    const attn_cache_spec *s = &m->spec;
    model_seq *q = &m->seq[seq];
    for (int64_t i = s->sinks; s->kind == ATTN_CACHE_RING && i < q->length; i++)
        if (q->length - i > s->capacity - s->sinks) q->key[i] = NULL;
}

/* ---- the operation ---------------------------------------------------------------------- */

static void model_append_draw(cache_model *m, model_append *a)
{
    const attn_cache_spec *s = &m->spec;
    static const attn_rope_kind kinds[] = {ATTN_ROPE_NONE, ATTN_ROPE_HALF,
                                           ATTN_ROPE_INTERLEAVED};
    int64_t order[MODEL_SEQS], rows = 0;
    a->B = model_pick(m, 0, s->sequences);
    a->packed = model_pick(m, 0, 1);
    a->dtype = (attn_dtype)MODEL_AMONG(m, ATTN_DTYPE_F32, ATTN_DTYPE_F32, ATTN_DTYPE_F64,
                                       ATTN_DTYPE_BF16, ATTN_DTYPE_F16);
    a->rope.kind = kinds[model_pick(m, 0, 2)];
    a->rope.dims = s->key_width - s->key_width % 2;
    if (a->rope.dims == 0) a->rope.kind = ATTN_ROPE_NONE;
    a->rope.base = (double)MODEL_AMONG(m, 0, 500);
    for (int64_t b = 0; b < s->sequences; b++) order[b] = b;
    a->T = a->cu[0] = 0;
    for (int64_t b = 0; b < a->B; b++) {
        const int64_t x = model_pick(m, b, s->sequences - 1), seq = order[x];
        const int64_t most = MODEL_AMONG(m, 0, 1, 1, 1, 3, 20, 70, 700);
        order[x] = order[b];
        a->seq[b] = seq;
        a->n[b] = model_pick(m, 0, most);
        if (rows + a->n[b] > MODEL_KEYS) a->n[b] = 0;
        rows += a->n[b];
        a->cu[b + 1] = rows;
        if (a->n[b] > a->T) a->T = a->n[b];
    }
    if (!a->packed) a->T += model_pick(m, 0, 1);
}

/* Numbers, rounded to the type of the call. */
static void model_append_fill(cache_model *m, model_append *a, int side)
{
    a->wide[side] = model_rows(m, a, side, ATTN_DTYPE_F64);
    a->rows[side] = model_rows(m, a, side, a->dtype);
    const int64_t width = a->wide[side].shape[3];
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t i = 0; i < a->n[b]; i++)
            for (int64_t g = 0; g < m->spec.heads; g++)
                for (int64_t d = 0; d < width; d++)
                    model_wide(a, side, b, i, g)[d] = model_number(m);
    model_copy(a->rows[side], a->wide[side]);
    model_copy(a->wide[side], a->rows[side]);
}

/* Whether scales by column were asked to keep what is no number. */
static bool model_append_wild(const cache_model *m, const model_append *a)
{
    const attn_cache_format *const f[] = {&m->spec.key, &m->spec.value};
    for (int side = 0; side < (m->spec.latent ? 1 : 2); side++) {
        const double *x = a->wide[side].data;
        for (int64_t n = attn_tensor_count(a->wide[side]); f[side]->columns.data && n > 0; n--)
            if (!(fabs(*x++) <= (double)FLT_MAX)) return true;
    }
    return false;
}

/* The model's answer: keys join, or the status that says why not. */
static attn_status model_append_plain(cache_model *m, model_append *a)
{
    const attn_cache_spec *s = &m->spec;
    int64_t used, shared;
    const int64_t longest = s->longest                    ? s->longest
                            : s->kind == ATTN_CACHE_PAGED ? s->page * s->pages
                                                          : s->capacity;
    for (int64_t b = 0; b < a->B; b++)
        if (m->seq[a->seq[b]].length + a->n[b] > longest) return ATTN_E_FULL;
    if (model_append_wild(m, a)) return ATTN_E_PARAM;
    const model_token *token = model_tokens(m, a);
    for (int64_t b = 0; b < a->B; b++) {
        model_seq *q = &m->seq[a->seq[b]];
        for (int64_t i = 0; i < a->n[b]; i++, q->length++) {
            model_page_write(m, a->seq[b], q->length / model_span(m));
            q->key[q->length] = token++;
        }
        model_forget_old(m, a->seq[b]);
    }
    model_page_count(m, &used, &shared);
    return s->kind == ATTN_CACHE_PAGED && used > s->pages ? ATTN_E_FULL : ATTN_OK;
}

static attn_cache_new model_append_call(const cache_model *m, model_append *a)
{
    attn_cache_new rows = ATTN_CACHE_NEW(.rope = a->rope);
    rows.k = attn_tensor_permute(a->rows[0], model_heads_first);
    if (!m->spec.latent) rows.v = attn_tensor_permute(a->rows[1], model_heads_first);
    rows.seq = ATTN_TENSOR(a->seq, I64, a->B);
    if (a->packed)
        rows.cu = ATTN_TENSOR(a->cu, I64, a->B + 1);
    else
        rows.len = ATTN_TENSOR(a->n, I64, a->B);
    return rows;
}

static void model_do_append(cache_model *m)
{
    model_append a = {.B = 0};
    model_append_draw(m, &a);
    model_append_fill(m, &a, 0);
    if (!m->spec.latent) model_append_fill(m, &a, 1);
    const attn_cache_new rows = model_append_call(m, &a);
    for (int b = 0; b < MODEL_SEQS; b++) model_seq_copy(m, &m->backup[b], &m->seq[b]);
    const attn_status want = model_append_plain(m, &a);
    for (int b = 0; want != ATTN_OK && b < MODEL_SEQS; b++)
        model_seq_copy(m, &m->seq[b], &m->backup[b]);
    MODEL_REQUIRE(attn_cache_append(m->cache, &rows, NULL) == want, "append answers");
    for (int side = 0; side < 2; side++) {
        free(a.rows[side].data);
        free(a.wide[side].data);
    }
}

#endif
