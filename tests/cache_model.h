/* SPDX-License-Identifier: MIT
 * A cache as plain arrays, and random operations on both: for test_cache_model and fuzz_cache.
 *
 * A sequence of the model is a list of keys, each with the numbers it should be read as or
 * nothing when it is forgotten, and for each page-long piece of the list the name of the page it
 * stands in. A page with a new name is one page more. The includer says what a broken promise
 * does, MODEL_REQUIRE(kept, promise), and where choices come from. */
#ifndef CACHE_MODEL_H
#define CACHE_MODEL_H

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attn/cache.h"

enum { MODEL_SEQS = 5, MODEL_HEADS = 3, MODEL_WIDTH = 11, MODEL_KEYS = 2100, MODEL_BATCH = 5 };
enum { MODEL_RUN = 64 }; /* keys read at once */

typedef struct model_choices {
    int64_t (*pick)(void *user, int64_t low, int64_t high); /* both included */
    void *user;
} model_choices;

/* What a token should be read as: [k, v][head][element]. */
typedef struct model_token {
    double number[2][MODEL_HEADS][MODEL_WIDTH];
} model_token;

/* Those of one append. */
typedef struct model_block {
    struct model_block *next;
    model_token token[];
} model_block;

/* Behind its length, and behind the page of its last key, all is 0. */
typedef struct model_seq {
    int64_t length;
    const model_token *key[MODEL_KEYS]; /* NULL: forgotten */
    int64_t page[MODEL_KEYS];           /* 0: none */
} model_seq;

typedef struct cache_model {
    model_choices from;
    attn_cache *cache;
    attn_cache_spec spec;
    float columns[4][MODEL_HEADS * MODEL_WIDTH];
    model_block *blocks;
    int64_t names; /* of pages, so far */
    model_seq seq[MODEL_SEQS], backup[MODEL_SEQS];
} cache_model;

static int64_t model_pick(const cache_model *m, int64_t low, int64_t high)
{
    return m->from.pick(m->from.user, low, high);
}

static int64_t model_among(const cache_model *m, const int64_t *list, int64_t n)
{
    return list[model_pick(m, 0, n - 1)];
}
#define MODEL_AMONG(m, ...)                                                                    \
    model_among((m), (const int64_t[]){__VA_ARGS__},                                           \
                (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

/* ---- what numbers become ---------------------------------------------------------------- */

/* Every number rounded to the type of `to`. */
static void model_copy(attn_tensor to, attn_tensor from)
{
    MODEL_REQUIRE(attn_tensor_copy(to, from, NULL) == ATTN_OK, "numbers are rounded");
}

static bool model_coded(const attn_cache_format *f)
{
    return f->type == ATTN_CACHE_I8 || f->type == ATTN_CACHE_I4;
}

static attn_dtype model_dtype(const attn_cache_format *f)
{
    static const attn_dtype dtypes[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64, ATTN_DTYPE_BF16,
                                        ATTN_DTYPE_F16, ATTN_DTYPE_F32, ATTN_DTYPE_F32};
    return dtypes[f->type];
}

/* docs/numerics.md, section "Coded keys and values", for one number. */
static float model_decoded(const attn_cache_format *f, float x, float scale, float zero)
{
    const float most = f->type == ATTN_CACHE_I8 ? 127 : 7;
    const float least = f->asymmetric ? -most - 1 : -most;
    float q = nearbyintf(fminf(fmaxf((x - zero) / scale, least), most));
    if (isnan(scale)) return NAN;
    if (isinf(fmaf(q, scale, zero))) q -= copysignf(1, q);
    return fmaf(q, scale, zero);
}

static void model_scale(const attn_cache_format *f, int64_t n, const double *x, float *scale,
                        float *zero)
{
    const float most = f->type == ATTN_CACHE_I8 ? 127 : 7;
    float low = n > 0 ? (float)x[0] : 0, high = low;
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, (float)x[i]);
        high = fmaxf(high, (float)x[i]);
        finite = finite && isfinite(x[i]);
    }
    *zero = 0;
    if (f->asymmetric) {
        *scale = fmaxf(high / (2 * most + 1) - low / (2 * most + 1), FLT_MIN);
        *zero = fmaf(most + 1, *scale, low);
    } else {
        *scale = fmaxf(fmaxf(-low, high) / most, FLT_MIN);
    }
    if (!finite) *scale = NAN;
}

/* x [n], already of the type that rows are rounded to. */
static void model_keep(const attn_cache_format *f, int64_t g, int64_t n, double *x)
{
    const float *columns = f->columns.data, *offsets = f->offsets.data;
    float scale = 0, zero = 0;
    if (!model_coded(f)) return;
    model_scale(f, n, x, &scale, &zero);
    for (int64_t i = 0; i < n; i++) {
        if (columns) scale = columns[g * n + i];
        if (columns) zero = offsets ? offsets[g * n + i] : 0;
        x[i] = (double)model_decoded(f, (float)x[i], scale, zero);
    }
}

/* ---- a cache ---------------------------------------------------------------------------- */

static attn_cache_format model_format(cache_model *m, int side, int64_t width)
{
    attn_cache_format f = {.type = (attn_cache_type)model_pick(m, 0, ATTN_CACHE_I4)};
    if (!model_coded(&f)) return f;
    f.asymmetric = model_pick(m, 0, 1);
    if (model_pick(m, 0, 2)) return f;
    for (int64_t i = 0; i < MODEL_HEADS * MODEL_WIDTH; i++) {
        m->columns[2 * side][i] = (float)model_pick(m, 1, 40) / 64;
        m->columns[2 * side + 1][i] = (float)model_pick(m, -40, 40) / 8;
    }
    f.columns = ATTN_TENSOR(m->columns[2 * side], F32, m->spec.heads, width);
    if (f.asymmetric)
        f.offsets = ATTN_TENSOR(m->columns[2 * side + 1], F32, m->spec.heads, width);
    return f;
}

static void model_draw_room(cache_model *m)
{
    attn_cache_spec *s = &m->spec;
    if (s->kind != ATTN_CACHE_PAGED) {
        s->capacity = MODEL_AMONG(m, 0, 1, 2, 5, 63, 64, 65, 130, 700);
        if (s->kind != ATTN_CACHE_RING) return;
        s->sinks = MODEL_AMONG(m, 0, 0, 1, 4, 64);
        if (s->capacity <= s->sinks) s->capacity = s->sinks + model_pick(m, 1, 70);
        s->longest = MODEL_KEYS;
        return;
    }
    s->page = MODEL_AMONG(m, 1, 3, 16, 64, 1000);
    s->pages = model_pick(m, 0, 2 + 1000 / s->page);
    s->longest = model_pick(m, 0, 3) ? MODEL_KEYS : model_pick(m, 1, 300);
}

static void model_draw(cache_model *m)
{
    attn_cache_spec *s = &m->spec;
    *s = ATTN_CACHE(.kind = (attn_cache_kind)model_pick(m, 0, ATTN_CACHE_PAGED));
    s->sequences = MODEL_AMONG(m, 0, 1, 2, 3, 5, 5, 5);
    s->heads = MODEL_AMONG(m, 0, 1, 2, 2, 3);
    s->key_width = MODEL_AMONG(m, 0, 1, 4, 5, 8, 11);
    s->value_width = MODEL_AMONG(m, 0, 1, 2, 7, 10);
    model_draw_room(m);
    s->key = model_format(m, 0, s->key_width);
    s->latent = model_pick(m, 0, 4) == 0;
    if (s->latent) {
        s->value_width = model_pick(m, 0, s->key_width);
        s->value_from = model_pick(m, 0, s->key_width - s->value_width);
        if (s->key.type == ATTN_CACHE_I4) s->value_from -= s->value_from % 2;
    } else {
        s->value = model_format(m, 1, s->value_width);
    }
}

static int64_t model_span(const cache_model *m)
{
    return m->spec.kind == ATTN_CACHE_PAGED ? m->spec.page : MODEL_KEYS;
}

/* ---- pages ------------------------------------------------------------------------------ */

static bool model_page_shared(const cache_model *m, int64_t seq, int64_t column)
{
    for (int64_t b = 0; b < m->spec.sequences; b++)
        if (b != seq && m->seq[b].page[column] == m->seq[seq].page[column]) return true;
    return false;
}

/* A sequence writes to a piece. */
static void model_page_write(cache_model *m, int64_t seq, int64_t column)
{
    int64_t *page = &m->seq[seq].page[column];
    if (*page == 0 || model_page_shared(m, seq, column)) *page = ++m->names;
}

static int64_t model_columns(const cache_model *m, int64_t length)
{
    return (length + model_span(m) - 1) / model_span(m);
}

/* Pieces without a key have no page; the sequence had so many keys before. */
static void model_page_tidy(cache_model *m, int64_t seq, int64_t before)
{
    model_seq *s = &m->seq[seq];
    const int64_t span = model_span(m);
    for (int64_t first = 0; first < before; first += span) {
        bool any = false;
        for (int64_t i = first; !any && i < first + span && i < s->length; i++)
            any = s->key[i] != NULL;
        if (!any) s->page[first / span] = 0;
    }
}

/* How many names there are, and how many stand in several sequences. */
static void model_page_count(const cache_model *m, int64_t *used, int64_t *shared)
{
    *used = *shared = 0;
    for (int64_t b = 0; b < m->spec.sequences; b++)
        for (int64_t i = 0; i < model_columns(m, m->seq[b].length); i++) {
            int64_t others = 0, before = 0;
            for (int64_t a = 0; m->seq[b].page[i] && a < m->spec.sequences; a++) {
                const bool same = a != b && m->seq[a].page[i] == m->seq[b].page[i];
                others += same;
                before += same && a < b;
            }
            if (m->seq[b].page[i] == 0 || before > 0) continue;
            ++*used;
            *shared += others > 0;
        }
}

/* Copies what either of them has. */
static void model_seq_copy(const cache_model *m, model_seq *to, const model_seq *from)
{
    const int64_t n = from->length > to->length ? from->length : to->length;
    memcpy(to->key, from->key, (size_t)n * sizeof to->key[0]);
    memcpy(to->page, from->page, (size_t)model_columns(m, n) * sizeof to->page[0]);
    to->length = from->length;
}

#endif
