/* SPDX-License-Identifier: MIT
 * The steps of the model (cache_model.h): tokens and what they should be read as, operations on
 * model and cache, what is compared after each, and a run from its beginning to its end. */
#ifndef CACHE_MODEL_STEPS_H
#define CACHE_MODEL_STEPS_H

#include "cache_model.h"

/* ---- tokens ----------------------------------------------------------------------------- */

static double model_number(const cache_model *m, attn_dtype dtype)
{
    static const double odd[] = {
        0, -0.0, 1, 0x1p-140, -0x1p-149, (double)FLT_MAX, -(double)FLT_MAX, 0x1p-1040};
    const int64_t which = model_pick(m, 0, 400);
    double x = (double)model_pick(m, -1000, 1000) / 64;
    if (which < 8) x = odd[which];
    if (which == 8) x = -(double)INFINITY;
    if (which == 9) x = (double)INFINITY;
    if (which == 10) x = (double)NAN;
    return model_rounded(dtype, x);
}

/* The numbers that a row of input should be read as. */
static void model_side(const cache_model *m, int side, int64_t g, int64_t width, double *x)
{
    const attn_cache_format *f = side == 0 ? &m->spec.key : &m->spec.value;
    for (int64_t d = 0; d < width; d++) x[d] = model_rounded(model_dtype(f), x[d]);
    model_keep(f, g, width, x);
}

/* Keys as attn_rope leaves them, in the type of the cache. */
static void model_turn(const cache_model *m, const attn_rope_spec *rope, int64_t position,
                       attn_dtype dtype, double x[MODEL_WIDTH])
{
    const int64_t D = m->spec.key_width;
    double in[MODEL_WIDTH], out[MODEL_WIDTH];
    if (rope->kind == ATTN_ROPE_NONE) return;
    attn_tensor wide = ATTN_TENSOR(x, F64, 1, D), pos = ATTN_TENSOR(&position, I64, 1);
    attn_tensor a = attn_tensor_make(in, dtype, 2, (const int64_t[]){1, D});
    attn_tensor b =
        attn_tensor_make(out, model_dtype(&m->spec.key), 2, (const int64_t[]){1, D});
    MODEL_REQUIRE(attn_tensor_copy(a, wide, NULL) == ATTN_OK, "keys are what they were");
    MODEL_REQUIRE(attn_rope(rope, &a, &pos, NULL, NULL, &b, NULL) == ATTN_OK, "keys turn");
    MODEL_REQUIRE(attn_tensor_copy(wide, b, NULL) == ATTN_OK, "turned keys can be read");
}

typedef struct model_append {
    int64_t B, T;
    bool packed;
    attn_dtype dtype;
    attn_rope_spec rope;
    int64_t seq[MODEL_BATCH], n[MODEL_BATCH], cu[MODEL_BATCH + 1];
} model_append;

static const model_token *model_token_new(cache_model *m, const model_append *a, int64_t b,
                                          int64_t i, int64_t position)
{
    const attn_cache_spec *s = &m->spec;
    model_token *t = calloc(1, sizeof *t);
    MODEL_REQUIRE(t != NULL, "the machine has memory");
    t->next = m->tokens;
    m->tokens = t;
    for (int64_t g = 0; g < s->heads; g++) {
        double *k = t->number[0][g], *v = t->number[1][g];
        memcpy(k, m->input[0][b][i][g], sizeof t->number[0][g]);
        memcpy(v, m->input[1][b][i][g], sizeof t->number[1][g]);
        model_turn(m, &a->rope, position, a->dtype, k);
        model_side(m, 0, g, s->key_width, k);
        if (s->latent)
            memcpy(v, k + s->value_from, (size_t)s->value_width * sizeof *v);
        else
            model_side(m, 1, g, s->value_width, v);
    }
    return t;
}

/* A ring forgets what it has no room for. */
static void model_forget_old(cache_model *m, int64_t seq)
{
    const attn_cache_spec *s = &m->spec;
    model_seq *q = &m->seq[seq];
    for (int64_t i = s->sinks; s->kind == ATTN_CACHE_RING && i < q->length; i++)
        if (q->length - i > s->capacity - s->sinks) q->key[i] = NULL;
}

/* ---- operations ------------------------------------------------------------------------- */

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

/* Inputs into tensors of the call, and what they are in m->input. */
static void model_append_fill(cache_model *m, const model_append *a, int side, attn_tensor *t)
{
    const attn_cache_spec *s = &m->spec;
    const int64_t width = side == 0 ? s->key_width : s->value_width;
    const int64_t rows = a->packed ? a->cu[a->B] : a->T, batch = a->packed ? 1 : a->B;
    /* heads inside of rows, for the strides */
    *t = attn_tensor_make(NULL, a->dtype, 4, (const int64_t[]){batch, rows, s->heads, width});
    t->data = calloc((size_t)attn_tensor_count(*t) + 1, attn_dtype_size(a->dtype));
    MODEL_REQUIRE(t->data != NULL, "the machine has memory");
    *t = attn_tensor_permute(*t, (const int[]){0, 2, 1, 3});
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t i = 0; i < a->n[b]; i++)
            for (int64_t g = 0; g < s->heads; g++)
                for (int64_t d = 0; d < width; d++) {
                    const double x = model_number(m, a->dtype);
                    double value = x;
                    const int64_t at = (a->packed ? 0 : b) * t->stride[0] + g * t->stride[1] +
                                       ((a->packed ? a->cu[b] : 0) + i) * t->stride[2] + d;
                    const attn_tensor to = attn_tensor_make(
                        (char *)t->data + at * (int64_t)attn_dtype_size(a->dtype), a->dtype, 1,
                        (const int64_t[]){1});
                    m->input[side][b][i][g][d] = x;
                    MODEL_REQUIRE(attn_tensor_copy(to, ATTN_TENSOR(&value, F64, 1), NULL) ==
                                      ATTN_OK,
                                  "inputs are written");
                }
}

/* Whether scales by column were asked to keep what is no number. */
static bool model_append_wild(const cache_model *m, const model_append *a)
{
    const attn_cache_format *const f[] = {&m->spec.key, &m->spec.value};
    for (int side = 0; side < (m->spec.latent ? 1 : 2); side++)
        for (int64_t b = 0; b < a->B && f[side]->columns.data; b++)
            for (int64_t i = 0; i < a->n[b]; i++)
                for (int64_t g = 0; g < m->spec.heads; g++)
                    for (int64_t d = 0; d < (side ? m->spec.value_width : m->spec.key_width);
                         d++)
                        if (!isfinite(m->input[side][b][i][g][d])) return true;
    return false;
}

/* The model's answer: keys join, or the status that says why not. */
static attn_status model_append_plain(cache_model *m, const model_append *a)
{
    const attn_cache_spec *s = &m->spec;
    int64_t used, shared;
    if (model_append_wild(m, a)) return ATTN_E_PARAM;
    const int64_t longest = s->longest                    ? s->longest
                            : s->kind == ATTN_CACHE_PAGED ? s->page * s->pages
                                                          : s->capacity;
    for (int64_t b = 0; b < a->B; b++)
        if (m->seq[a->seq[b]].length + a->n[b] > longest) return ATTN_E_FULL;
    for (int64_t b = 0; b < a->B; b++) {
        model_seq *q = &m->seq[a->seq[b]];
        for (int64_t i = 0; i < a->n[b]; i++, q->length++) {
            model_page_write(m, a->seq[b], q->length / model_span(m));
            q->key[q->length] = model_token_new(m, a, b, i, q->length);
        }
        model_forget_old(m, a->seq[b]);
    }
    model_page_count(m, &used, &shared);
    return s->kind == ATTN_CACHE_PAGED && used > s->pages ? ATTN_E_FULL : ATTN_OK;
}

static void model_do_append(cache_model *m)
{
    model_append a = {.B = 0};
    model_append_draw(m, &a);
    attn_cache_new rows = ATTN_CACHE_NEW(.rope = a.rope);
    model_append_fill(m, &a, 0, &rows.k);
    if (!m->spec.latent) model_append_fill(m, &a, 1, &rows.v);
    rows.seq = ATTN_TENSOR(a.seq, I64, a.B);
    if (a.packed)
        rows.cu = ATTN_TENSOR(a.cu, I64, a.B + 1);
    else
        rows.len = ATTN_TENSOR(a.n, I64, a.B);
    memcpy(m->backup, m->seq, sizeof m->seq);
    const attn_status want = model_append_plain(m, &a);
    if (want != ATTN_OK) memcpy(m->seq, m->backup, sizeof m->seq);
    MODEL_REQUIRE(attn_cache_append(m->cache, &rows, NULL) == want, "append answers");
    free(rows.k.data);
    free(rows.v.data);
}

static void model_do_fork(cache_model *m)
{
    const int64_t n = m->spec.sequences, from = model_pick(m, -1, n);
    const int64_t to = model_pick(m, -1, n);
    attn_status want = ATTN_OK;
    if (from < 0 || to < 0 || from >= n || to >= n)
        want = ATTN_E_PAGE;
    else if (from == to)
        want = ATTN_E_DUP;
    else if (m->seq[to].length > 0)
        want = ATTN_E_LENGTH;
    else
        m->seq[to] = m->seq[from];
    MODEL_REQUIRE(attn_cache_fork(m->cache, from, to, NULL) == want, "fork answers");
}

static void model_do_truncate(cache_model *m)
{
    const int64_t n = m->spec.sequences, seq = model_pick(m, -1, n);
    attn_status want = seq < 0 || seq >= n ? ATTN_E_PAGE : ATTN_OK;
    int64_t length = model_pick(m, -1, 30);
    if (want == ATTN_OK) {
        model_seq *q = &m->seq[seq];
        if (model_pick(m, 0, 1)) length = q->length - length;
        want = length < 0 || length > q->length ? ATTN_E_POSITION : ATTN_OK;
        for (int64_t i = length; want == ATTN_OK && i < q->length; i++) q->key[i] = NULL;
        if (want == ATTN_OK) q->length = length;
        model_page_tidy(m, seq);
    }
    MODEL_REQUIRE(attn_cache_truncate(m->cache, seq, length, NULL) == want, "truncate answers");
}

static void model_do_evict(cache_model *m)
{
    const int64_t sequences = m->spec.sequences, seq = model_pick(m, -1, sequences);
    attn_status want = seq < 0 || seq >= sequences ? ATTN_E_PAGE : ATTN_OK;
    const int64_t length = want == ATTN_OK ? m->seq[seq].length : 0;
    const int64_t first = model_pick(m, -1, length + 1);
    const int64_t n = model_pick(m, -1, MODEL_AMONG(m, 1, 3, 70, 700));
    if (want == ATTN_OK && (first < 0 || first > length || n < 0 || n > length - first))
        want = ATTN_E_POSITION;
    if (want == ATTN_OK) {
        for (int64_t i = first; i < first + n; i++) m->seq[seq].key[i] = NULL;
        model_page_tidy(m, seq);
    }
    MODEL_REQUIRE(attn_cache_evict(m->cache, seq, first, n, NULL) == want, "evict answers");
}

static void model_do_clear(cache_model *m)
{
    const int64_t n = m->spec.sequences, seq = model_pick(m, -1, n);
    const attn_status want = seq < 0 || seq >= n ? ATTN_E_PAGE : ATTN_OK;
    if (want == ATTN_OK) memset(&m->seq[seq], 0, sizeof m->seq[seq]);
    MODEL_REQUIRE(attn_cache_clear(m->cache, seq, NULL) == want, "clear answers");
}

/* Everything goes on with the cache that its entries make. */
static void model_do_restore(cache_model *m)
{
    enum { MOST = 32 };
    const char *names[MOST];
    attn_tensor tensors[MOST];
    attn_cache *other = NULL;
    int64_t n = 0;
    while (n < MOST && (names[n] = attn_cache_entry(m->cache, n, &tensors[n])) != NULL) n++;
    MODEL_REQUIRE(n < MOST, "entries end");
    MODEL_REQUIRE(attn_cache_restore(&other, NULL, 0, n, names, tensors, NULL) == ATTN_OK,
                  "a cache comes back");
    attn_cache_destroy(m->cache);
    m->cache = other;
}

/* ---- comparison ------------------------------------------------------------------------- */

static bool model_same(double x, double y)
{
    return (isnan(x) && isnan(y)) || memcmp(&x, &y, sizeof x) == 0;
}

static void model_check_key(const cache_model *m, int64_t seq, int64_t i)
{
    const attn_cache_spec *s = &m->spec;
    const model_token *want = m->seq[seq].key[i];
    double k[MODEL_HEADS * MODEL_WIDTH], v[MODEL_HEADS * MODEL_WIDTH];
    const attn_tensor to_k = ATTN_TENSOR(k, F64, s->heads, 1, s->key_width);
    const attn_tensor to_v = ATTN_TENSOR(v, F64, s->heads, 1, s->value_width);
    MODEL_REQUIRE(attn_cache_holds(m->cache, seq, i) == (want != NULL), "holds is right");
    const attn_status status = attn_cache_read(m->cache, seq, i, 1, to_k, to_v, NULL);
    MODEL_REQUIRE(status == (want ? ATTN_OK : ATTN_E_POSITION), "read answers");
    for (int64_t g = 0; want && g < s->heads; g++) {
        for (int64_t d = 0; d < s->key_width; d++)
            MODEL_REQUIRE(model_same(k[g * s->key_width + d], want->number[0][g][d]),
                          "a key is read back");
        for (int64_t d = 0; d < s->value_width; d++)
            MODEL_REQUIRE(model_same(v[g * s->value_width + d], want->number[1][g][d]),
                          "a value is read back");
    }
}

static void model_check_seq(const cache_model *m, int64_t seq)
{
    for (int64_t i = 0; i < m->seq[seq].length; i++) model_check_key(m, seq, i);
    MODEL_REQUIRE(!attn_cache_holds(m->cache, seq, m->seq[seq].length), "nothing beyond");
    MODEL_REQUIRE(!attn_cache_holds(m->cache, seq, -1), "nothing before");
}

static void model_check_counts(const cache_model *m)
{
    attn_cache_info info;
    int64_t used, shared, held = 0;
    attn_cache_describe(m->cache, &info);
    for (int64_t b = 0; b < m->spec.sequences; b++) {
        MODEL_REQUIRE(attn_cache_length(m->cache, b) == m->seq[b].length, "lengths are right");
        for (int64_t i = 0; i < m->seq[b].length; i++) held += m->seq[b].key[i] != NULL;
    }
    MODEL_REQUIRE(info.held == held, "keys are counted");
    if (m->spec.kind != ATTN_CACHE_PAGED) return;
    model_page_count(m, &used, &shared);
    MODEL_REQUIRE(info.pages_free == m->spec.pages - used, "free and used pages are all");
    MODEL_REQUIRE(info.pages_shared == shared, "shared pages are counted");
}

static void model_check_all(const cache_model *m)
{
    model_check_counts(m);
    for (int64_t b = 0; b < m->spec.sequences; b++) model_check_seq(m, b);
}

/* ---- a run ------------------------------------------------------------------------------ */

static void model_step(cache_model *m)
{
    static void (*const steps[])(cache_model *) = {
        model_do_append, model_do_append, model_do_append,   model_do_append,   model_do_append,
        model_do_fork,   model_do_fork,   model_do_truncate, model_do_truncate, model_do_evict,
        model_do_evict,  model_do_clear,  model_do_restore};
    steps[model_pick(m, 0, sizeof steps / sizeof steps[0] - 1)](m);
    model_check_counts(m);
}

static cache_model *model_begin(model_choices from)
{
    cache_model *m = calloc(1, sizeof *m);
    MODEL_REQUIRE(m != NULL, "the machine has memory");
    m->from = from;
    model_draw(m);
    MODEL_REQUIRE(attn_cache_create(&m->cache, NULL, &m->spec, NULL) == ATTN_OK,
                  "a cache is made");
    return m;
}

static void model_end(cache_model *m)
{
    model_check_all(m);
    attn_cache_destroy(m->cache);
    for (model_token *t = m->tokens, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    free(m);
}

#endif
