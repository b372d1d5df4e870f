/* SPDX-License-Identifier: MIT
 * The steps of the model (cache_model.h): operations on model and cache, what is compared after
 * each, and a run from its beginning to its end. */
#ifndef CACHE_MODEL_STEPS_H
#define CACHE_MODEL_STEPS_H

#include "cache_model_append.h"

/* ---- operations ------------------------------------------------------------------------- */

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
        model_seq_copy(m, &m->seq[to], &m->seq[from]);
    MODEL_REQUIRE(attn_cache_fork(m->cache, from, to, NULL) == want, "fork answers");
}

static void model_shorten(cache_model *m, int64_t seq, int64_t length)
{
    model_seq *q = &m->seq[seq];
    const int64_t before = q->length;
    for (int64_t i = length; i < before; i++) q->key[i] = NULL;
    q->length = length;
    model_page_tidy(m, seq, before);
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
        if (want == ATTN_OK) model_shorten(m, seq, length);
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
        model_page_tidy(m, seq, length);
    }
    MODEL_REQUIRE(attn_cache_evict(m->cache, seq, first, n, NULL) == want, "evict answers");
}

static void model_do_clear(cache_model *m)
{
    const int64_t n = m->spec.sequences, seq = model_pick(m, -1, n);
    const attn_status want = seq < 0 || seq >= n ? ATTN_E_PAGE : ATTN_OK;
    if (want == ATTN_OK) model_shorten(m, seq, 0);
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

/* Of n keys read at once, element by element. */
static void model_check_rows(const model_token *const *want, int64_t n, int side, int64_t heads,
                             int64_t width, const double *x)
{
    for (int64_t g = 0; g < heads; g++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t d = 0; d < width; d++)
                MODEL_REQUIRE(model_same(*x++, want[i]->number[side][g][d]),
                              side == 0 ? "a key is read back" : "a value is read back");
}

/* Keys at positions i .. i + n of a sequence, all held or all forgotten. */
static void model_check_keys(const cache_model *m, int64_t seq, int64_t i, int64_t n)
{
    const attn_cache_spec *s = &m->spec;
    const model_token *const *want = &m->seq[seq].key[i];
    static double k[MODEL_RUN * MODEL_HEADS * MODEL_WIDTH], v[sizeof k / sizeof k[0]];
    const attn_tensor to_k = ATTN_TENSOR(k, F64, s->heads, n, s->key_width);
    const attn_tensor to_v = ATTN_TENSOR(v, F64, s->heads, n, s->value_width);
    const attn_status status = attn_cache_read(m->cache, seq, i, n, to_k, to_v, NULL);
    MODEL_REQUIRE(status == (want[0] ? ATTN_OK : ATTN_E_POSITION), "read answers");
    if (!want[0]) return;
    model_check_rows(want, n, 0, s->heads, s->key_width, k);
    model_check_rows(want, n, 1, s->heads, s->value_width, v);
}

static void model_check_seq(const cache_model *m, int64_t seq)
{
    const model_seq *q = &m->seq[seq];
    for (int64_t i = 0, n; i < q->length; i += n) {
        for (n = 1; n < MODEL_RUN && i + n < q->length && q->key[i] && q->key[i + n];) n++;
        for (int64_t x = i; x < i + n; x++)
            MODEL_REQUIRE(attn_cache_holds(m->cache, seq, x) == (q->key[x] != NULL),
                          "holds is right");
        model_check_keys(m, seq, i, n);
    }
    MODEL_REQUIRE(!attn_cache_holds(m->cache, seq, q->length), "nothing beyond");
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

/* One after the other, in the same memory: a third of a megabyte that is fresh costs a fuzzer more
 * than most operations. */
static cache_model *model_begin(model_choices from)
{
    static cache_model only;
    static const model_seq empty;
    cache_model *m = &only;
    for (int b = 0; b < MODEL_SEQS; b++) {
        model_seq_copy(m, &m->seq[b], &empty);
        model_seq_copy(m, &m->backup[b], &empty);
    }
    m->from = from;
    m->blocks = NULL;
    m->names = 0;
    model_draw(m);
    MODEL_REQUIRE(attn_cache_create(&m->cache, NULL, &m->spec, NULL) == ATTN_OK,
                  "a cache is made");
    return m;
}

static void model_end(cache_model *m)
{
    model_check_all(m);
    attn_cache_destroy(m->cache);
    for (model_block *b = m->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
}

#endif
