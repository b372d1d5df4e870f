/* SPDX-License-Identifier: MIT
 * Reformer: a token attends to those that a random projection sends to the same bucket.
 *
 *     bucket_r(x) = argmax [x R_r ; -x R_r]                        of 2 N buckets, in round r
 *     sort tokens by (bucket, position), cut into chunks; a query sees its chunk and the one
 *     before (the first one sees the last), of these those in its bucket
 *     out_i = softmax over all rounds' keys j != i of x_i . x_j / (|x_j| sqrt(D)), times v_j
 *
 * qk B H T D is query and key in one (keys with length 1), v B H T E, rotations R D N of normal
 * numbers, the same for all heads: one draw for each of R rounds. A token sees itself only when
 * no round shows it anything else; public code reaches the same by a large negative score. A
 * pair that several rounds show counts once (once=true, the same as subtracting the log of how
 * often it is shown) or as often as it is shown. Each round is a softmax of its own; they
 * become one by their log-sums. chunk 0 means twice the mean bucket, T / N, as in the paper. T
 * need not divide: the last chunk is shorter. N = 0 is one bucket, and with a chunk of T then
 * all pairs are seen. causal hides later positions, but which tokens share a chunk depends on
 * all of them. Hashes and order carry no gradient. mask B T hides keys, which
 * keep their places in the order: padding moves the chunks' ends, so give it equal rows.
 * Kitaev et al. 2020 (2001.04451). */
#include "mech/mech.h"

enum { QK, V, ROTATIONS, MASK, OUT, BUCKETS };
static const attn_slot slots[] = {
    [QK] = {"qk", ATTN_IN | ATTN_GRAD, "B H T D", "queries, and keys up to their length"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [ROTATIONS] = {"rotations", ATTN_PARAM, "R D N", "of every round, drawn, not learned"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [BUCKETS] = {"buckets", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B H R T",
                 "where each round put each token"},
    {0}};

enum { CHUNK, CAUSAL, SAME_BUCKET, ONCE };
static const attn_param params[] = {
    [CHUNK] = {"chunk", 'i', "64", NULL, "tokens of a chunk; 0: twice the mean bucket, T / N"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "no key behind the query"},
    [SAME_BUCKET] = {"same_bucket", 'b', "true", NULL,
                     "chunks may hold several buckets: see one"},
    [ONCE] = {"once", 'b', "true", NULL, "a pair counts once, whatever the rounds"},
    {0}};

enum { LSH_ROWS = 128 }; /* queries of a chunk that are done together */

typedef struct lsh {
    int64_t B, H, T, R, chunk, chunks, parts;
    bool causal, same_bucket, once;
    const uint8_t *visible; /* B H T, or NULL */
    int64_t *bucket, *at;   /* B H R T by token: its bucket, its chunk */
    int64_t *order;         /* B H R T: tokens as they are sorted */
    uint8_t *alone;         /* B H T: nothing but itself to see */
} lsh;

/* ---- who sees whom ----------------------------------------------------------------------- */

/* Whether j may be seen where a round puts it next to i; line: b, h and round. */
static bool lsh_round_allows(const lsh *p, int64_t line, int64_t i, int64_t j)
{
    const int64_t *bucket = p->bucket + line * p->T;
    return i != j && !(p->causal && j > i) && !(p->same_bucket && bucket[i] != bucket[j]);
}

static bool lsh_round_shows(const lsh *p, int64_t line, int64_t i, int64_t j)
{
    const int64_t own = p->at[line * p->T + i], other = p->at[line * p->T + j];
    return lsh_round_allows(p, line, i, j) &&
           (other == own || other == (own ? own : p->chunks) - 1);
}

static bool lsh_earlier_shows(const lsh *p, int64_t line, int64_t i, int64_t j)
{
    for (int64_t first = line / p->R * p->R; first < line; first++)
        if (lsh_round_shows(p, first, i, j)) return true;
    return false;
}

/* Keys of a group are next to its queries. */
static void lsh_sees(const void *user, int64_t g, int64_t q, int64_t n, const int64_t *k,
                     uint8_t *flags)
{
    const lsh *p = user;
    const int64_t line = g / p->parts / p->chunks, base = q / p->T * p->T, i = q - base;
    for (int64_t x = 0; x < n; x++) {
        const int64_t j = k[x] - base;
        flags[x] =
            lsh_round_allows(p, line, i, j) && !(p->once && lsh_earlier_shows(p, line, i, j));
        if (i == j && p->alone[q] && line % p->R == 0) flags[x] = 1;
    }
}

/* ---- groups: a part of a chunk asks the chunk and the one before ------------------------- */

/* Sorted tokens from .. to of a line, as far as there are so many. */
static int64_t lsh_sorted(const lsh *p, int64_t line, int64_t from, int64_t to, int64_t *rows)
{
    to = attn__min(to, p->T);
    for (int64_t x = from; rows && x < to; x++)
        rows[x - from] = line / p->R * p->T + p->order[line * p->T + x];
    return attn__max(to - from, 0);
}

static int64_t lsh_queries(const void *user, int64_t g, int64_t *rows)
{
    const lsh *p = user;
    const int64_t chunk = g / p->parts, first = chunk % p->chunks * p->chunk;
    const int64_t from = first + g % p->parts * LSH_ROWS;
    return lsh_sorted(p, chunk / p->chunks, from, attn__min(from + LSH_ROWS, first + p->chunk),
                      rows);
}

static int64_t lsh_keys(const void *user, int64_t g, int64_t *rows)
{
    const lsh *p = user;
    const int64_t line = g / p->parts / p->chunks, c = g / p->parts % p->chunks;
    const int64_t before = (c ? c : p->chunks) - 1;
    int64_t n = 0;
    if (lsh_queries(p, g, NULL) == 0) return 0;
    if (p->chunks > 1)
        n = lsh_sorted(p, line, before * p->chunk, (before + 1) * p->chunk, rows);
    return n + lsh_sorted(p, line, c * p->chunk, (c + 1) * p->chunk, rows ? rows + n : NULL);
}

/* Where the answers of a round belong: B H R T. */
static int64_t lsh_places(const void *user, int64_t g, int64_t *rows)
{
    const lsh *p = user;
    const int64_t line = g / p->parts / p->chunks, n = lsh_queries(p, g, rows);
    for (int64_t x = 0; x < n; x++) rows[x] += (line - line / p->R) * p->T;
    return n;
}

/* ---- buckets ----------------------------------------------------------------------------- */

/* B H R T; all 0 when there is one. */
static attn_var lsh_hash(const attn__build *b)
{
    attn_tape *t = b->t;
    if (attn__build_size(b, 'N') == 0) return (attn_var){0};
    const attn_var x = attn_tape_unsqueeze(t, attn_tape_stop(t, b->in[QK]), 2);
    const attn_var h = attn_tape_matmul(t, x, b->in[ROTATIONS]);
    const attn_var both[] = {h, attn_tape_neg(t, h)};
    return attn_tape_argmax(t, attn_tape_concat(t, 2, both, -1), -1, false);
}

/* Tokens of a line by bucket, in order within each: by counting. */
static void lsh_sort(const lsh *p, int64_t line, int64_t buckets, int64_t *count)
{
    const int64_t *bucket = p->bucket + line * p->T;
    for (int64_t c = 0; c <= buckets; c++) count[c] = 0;
    for (int64_t i = 0; i < p->T; i++) count[bucket[i] + 1]++;
    for (int64_t c = 0; c < buckets; c++) count[c + 1] += count[c];
    for (int64_t i = 0; i < p->T; i++) {
        const int64_t x = count[bucket[i]]++;
        p->order[line * p->T + x] = i;
        p->at[line * p->T + i] = x / p->chunk;
    }
}

/* Whether any round shows token i of b and h something that may be seen. */
static bool lsh_alone(const lsh *p, int64_t bh, int64_t i)
{
    for (int64_t line = bh * p->R; line < (bh + 1) * p->R; line++) {
        const int64_t own = p->at[line * p->T + i];
        const int64_t chunks[2] = {own, (own + p->chunks - 1) % p->chunks};
        for (int64_t x = 0; x < 2 * p->chunk; x++) {
            const int64_t at = chunks[x / p->chunk] * p->chunk + x % p->chunk;
            if (at >= p->T) continue;
            const int64_t j = p->order[line * p->T + at];
            if (p->visible && !p->visible[bh * p->T + j]) continue;
            if (lsh_round_shows(p, line, i, j)) return false;
        }
    }
    return true;
}

static bool lsh_room(attn_tape *t, lsh *p)
{
    const int64_t n = p->B * p->H * p->R * p->T;
    p->bucket = attn__tape_memory(t, n, sizeof *p->bucket);
    p->at = attn__tape_memory(t, n, sizeof *p->at);
    p->order = attn__tape_memory(t, n, sizeof *p->order);
    p->alone = attn__tape_memory(t, p->B * p->H * p->T, 1);
    return p->bucket && p->at && p->order && p->alone;
}

static const lsh *lsh_open(const attn__build *b)
{
    const int64_t T = attn__build_size(b, 'T'), N = attn__build_size(b, 'N');
    const int64_t asked =
        b->params[CHUNK].i ? b->params[CHUNK].i : attn__ceil_div(T, attn__max(N, 1));
    lsh p = {.B = attn__build_size(b, 'B'),
             .H = attn__build_size(b, 'H'),
             .T = T,
             .R = attn__build_size(b, 'R'),
             .chunk = attn__max(attn__min(asked, T), 1),
             .causal = b->params[CAUSAL].i,
             .same_bucket = b->params[SAME_BUCKET].i,
             .once = b->params[ONCE].i,
             .visible = attn__tape_visible(b->t, b->in[MASK], attn__build_size(b, 'H'))};
    const attn_tensor hash = attn_tape_value(b->t, lsh_hash(b));
    int64_t *count = attn__tape_memory(b->t, 2 * N + 2, sizeof *count);
    p.chunks = attn__max(attn__ceil_div(T, p.chunk), 1);
    p.parts = attn__ceil_div(p.chunk, LSH_ROWS);
    if (!lsh_room(b->t, &p) || !count) return NULL;
    for (int64_t x = 0; attn__present(&hash) && x < attn_tensor_count(hash); x++)
        p.bucket[x] = attn__get_int(hash.dtype, hash.data, x);
    for (int64_t line = 0; line < p.B * p.H * p.R; line++)
        lsh_sort(&p, line, attn__max(2 * N, 1), count);
    for (int64_t x = 0; x < p.B * p.H * T; x++) p.alone[x] = lsh_alone(&p, x / T, x % T);
    return attn__tape_keep(b->t, &p, sizeof p);
}

/* ---- build ------------------------------------------------------------------------------- */

static attn_var lsh_rounds(const attn__build *b, const lsh *p)
{
    attn_tape *t = b->t;
    const attn__groups g = {.n = p->B * p->H * p->R * p->chunks * p->parts,
                            .per = p->H * p->R * p->chunks * p->parts,
                            .q = lsh_queries,
                            .k = lsh_keys,
                            .sees = lsh_sees,
                            .user = p,
                            .visible = p->visible};
    const attn_attention_vars rows = {.q = attn__tape_rows(t, b->in[QK]),
                                      .k = attn__tape_rows(t, attn__unit(t, b->in[QK], -1)),
                                      .v = attn__tape_rows(t, b->in[V])};
    const attn_dims shape = ATTN_DIMS(p->B, p->H, p->R, p->T);
    attn_var lse;
    const attn_var o = attn__attend_groups(t, NULL, &rows, &g, &lse);
    return attn__merge_along(t, attn__rows_back(t, o, &g, lsh_places, shape),
                             attn__rows_back(t, lse, &g, lsh_places, shape), 2);
}

static void lsh_build(const attn__build *b)
{
    if (!attn__build_need(b, attn__build_size(b, 'R') > 0, ATTN_E_SHAPE, "rotations",
                          "needs at least one round", 1, attn__build_size(b, 'R')) ||
        !attn__build_need(b, b->params[CHUNK].i >= 0, ATTN_E_PARAM, "chunk",
                          "must not be negative", 0, b->params[CHUNK].i))
        return;
    const lsh *p = lsh_open(b);
    if (!p) return;
    b->out[BUCKETS] = attn__tape_ids(b->t, p->bucket, ATTN_DIMS(p->B, p->H, p->R, p->T));
    b->out[OUT] = lsh_rounds(b, p);
}

const attn_mech attn__mech_lsh = {
    .name = "lsh",
    .family = "sparse",
    .about = "tokens attend within hashed buckets, in several rounds",
    .formula = "out_i = softmax_N(x_i x_j / (|x_j| sqrt(D))) v_j, N: the bucket of i, near it "
               "when sorted",
    .cost = "n k: time R T chunk (D + E), memory R T (D + E)",
    .source = "2001.04451",
    .sizes = "B=1,H=2,T=8,D=4,E=4,R=2,N=2",
    .grows = "T",
    .example = "compute lsh -s chunk=4 --random T=12,R=2,N=2 --want out,buckets",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = lsh_build,
};
