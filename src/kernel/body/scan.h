/* SPDX-License-Identifier: MIT
 * A state that tokens walk through, S [rows][lanes], in f64 whatever a real is. For each token
 *
 *   S *= a (early) -> before = rows . S -> S += rows lanes^T -> solve -> reads = rows . S
 *     -> S += after -> S *= a (late)
 *
 * Every lane is a column of its own and every number one chain: an element of S along the
 * tokens, what is read of it along the rows. So a few rows of S may stay in registers while a
 * block of tokens goes by, the reads waiting in memory for the next rows; only with solve,
 * which wants to know all of S before it adds to it, the tokens come one by one. */
#ifndef ATTN__BODY_SCAN_H
#define ATTN__BODY_SCAN_H

enum {
    SCAN_BLOCK = 32, /* tokens between two visits to the rows of S in memory */
    SCAN_V = 4,      /* vectors side by side */
    SCAN_R = D_TILE_V * D_TILE_R >= 16 ? 4 : 2,
    SCAN_TALL = SCAN_R * SCAN_V, /* rows of a single vector */
    SCAN_BROAD = SCAN_R * 2      /* vectors of a row when the tokens come one by one: their sums
                                    wait for each other, so there are more of them at once */
};

/* ---- addresses --------------------------------------------------------------------------- */

static inline int64_t K(scan_token)(const attn__scan *s, int64_t i)
{
    return s->back ? s->n - 1 - i : i;
}

static inline const double *K(scan_row)(const attn__scan_side *side, int64_t t, int m)
{
    return side->rows + t * side->row_step + m * side->row_head;
}

static inline double *K(scan_lane)(const attn__scan_side *side, int64_t t, int m)
{
    return side->lanes + t * side->lane_step + m * side->lane_head;
}

/* ---- a piece of S in registers ----------------------------------------------------------- */

/* S = a S: a number for each row, or one for each lane. */
static inline __attribute__((always_inline)) void K(scan_decay)(const attn__scan *s, int64_t t,
                                                                int64_t r0, int64_t c, d_vec *S,
                                                                const int R, const int nv)
{
    const double *a = s->a + t * s->a_step;
    const bool lanes = s->decay == ATTN__SCAN_LANES;
    if (lanes) {
        UNROLL(8)
        for (int v = 0; v < nv; v++) {
            const d_vec x = d_load(a + c + v * D_LANES);
            UNROLL(16)
            for (int r = 0; r < R; r++) S[r * nv + v] = d_mul(S[r * nv + v], x);
        }
        return;
    }
    UNROLL(16)
    for (int r = 0; r < R; r++) {
        const d_vec x = d_set(a[r0 + r]);
        UNROLL(8)
        for (int v = 0; v < nv; v++) S[r * nv + v] = d_mul(S[r * nv + v], x);
    }
}

/* lanes += rows . S, going on with the chains that the rows above have begun. */
static inline __attribute__((always_inline)) void K(scan_read)(const attn__scan_side *side,
                                                               int64_t t, int64_t r0, int64_t c,
                                                               const d_vec *S, const int R,
                                                               const int nv)
{
    for (int m = 0; m < side->n; m++) {
        const double *row = K(scan_row)(side, t, m) + r0;
        double *lane = K(scan_lane)(side, t, m) + c;
        d_vec sum[SCAN_BROAD];
        UNROLL(8)
        for (int v = 0; v < nv; v++) sum[v] = d_load(lane + v * D_LANES);
        UNROLL(16)
        for (int r = 0; r < R; r++) {
            const d_vec x = d_set(row[r]);
            UNROLL(8)
            for (int v = 0; v < nv; v++) sum[v] = d_fma(x, S[r * nv + v], sum[v]);
        }
        UNROLL(8)
        for (int v = 0; v < nv; v++) d_store(lane + v * D_LANES, sum[v]);
    }
}

/* S += rows lanes^T */
static inline __attribute__((always_inline)) void K(scan_add)(const attn__scan_side *side,
                                                              int64_t t, int64_t r0, int64_t c,
                                                              d_vec *S, const int R,
                                                              const int nv)
{
    for (int m = 0; m < side->n; m++) {
        const double *row = K(scan_row)(side, t, m) + r0;
        const double *lane = K(scan_lane)(side, t, m) + c;
        d_vec u[SCAN_BROAD];
        UNROLL(8)
        for (int v = 0; v < nv; v++) u[v] = d_load(lane + v * D_LANES);
        UNROLL(16)
        for (int r = 0; r < R; r++) {
            const d_vec x = d_set(row[r]);
            UNROLL(8)
            for (int v = 0; v < nv; v++) S[r * nv + v] = d_fma(x, u[v], S[r * nv + v]);
        }
    }
}

static inline __attribute__((always_inline)) void
K(scan_load)(const attn__scan *s, int64_t r0, int64_t c, d_vec *S, const int R, const int nv)
{
    UNROLL(16)
    for (int r = 0; r < R; r++) {
        UNROLL(8)
        for (int v = 0; v < nv; v++)
            S[r * nv + v] = d_load(s->state + (r0 + r) * s->ld + c + v * D_LANES);
    }
}

static inline __attribute__((always_inline)) void K(scan_store)(const attn__scan *s, int64_t r0,
                                                                int64_t c, const d_vec *S,
                                                                const int R, const int nv)
{
    UNROLL(16)
    for (int r = 0; r < R; r++) {
        UNROLL(8)
        for (int v = 0; v < nv; v++)
            d_store(s->state + (r0 + r) * s->ld + c + v * D_LANES, S[r * nv + v]);
    }
}

/* ---- without solve: rows of S stay, tokens go by ----------------------------------------- */

static inline __attribute__((always_inline)) void
K(scan_rows)(const attn__scan *s, int64_t i0, int64_t i1, int64_t r0, int64_t c, const int R,
             const int nv, const bool early, const bool late)
{
    d_vec S[SCAN_TALL];
    K(scan_load)(s, r0, c, S, R, nv);
    for (int64_t i = i0; i < i1; i++) {
        const int64_t t = K(scan_token)(s, i);
        if (early && s->decay) K(scan_decay)(s, t, r0, c, S, R, nv);
        if (early) K(scan_read)(&s->before, t, r0, c, S, R, nv);
        K(scan_add)(&s->updates, t, r0, c, S, R, nv);
        K(scan_read)(&s->reads, t, r0, c, S, R, nv);
        if (late) K(scan_add)(&s->after, t, r0, c, S, R, nv);
        if (late && s->decay) K(scan_decay)(s, t, r0, c, S, R, nv);
    }
    K(scan_store)(s, r0, c, S, R, nv);
}

static inline __attribute__((always_inline)) void
K(scan_column)(const attn__scan *s, int64_t i0, int64_t i1, int64_t c, const int R,
               const int nv, const bool early, const bool late)
{
    int64_t r = 0;
    for (; r + R <= s->rows; r += R) K(scan_rows)(s, i0, i1, r, c, R, nv, early, late);
    for (; r < s->rows; r++) K(scan_rows)(s, i0, i1, r, c, 1, nv, early, late);
}

/* What is read begins at 0. */
static inline void K(scan_clear)(const attn__scan *s, const attn__scan_side *side, int64_t i0,
                                 int64_t i1)
{
    for (int64_t i = i0; i < i1; i++)
        for (int m = 0; m < side->n; m++)
            memset(K(scan_lane)(side, K(scan_token)(s, i), m), 0,
                   (size_t)s->w * sizeof(double));
}

static inline __attribute__((always_inline)) void
K(scan_wide)(const attn__scan *s, int64_t i0, int64_t i1, const bool early, const bool late)
{
    int64_t c = 0;
    for (; c + SCAN_V * D_LANES <= s->w; c += SCAN_V * D_LANES)
        K(scan_column)(s, i0, i1, c, SCAN_R, SCAN_V, early, late);
    for (; c < s->w; c += D_LANES) K(scan_column)(s, i0, i1, c, SCAN_TALL, 1, early, late);
}

static void K(scan_stream)(const attn__scan *s)
{
    for (int64_t i = 0; i < s->n; i += SCAN_BLOCK) {
        const int64_t end = i + SCAN_BLOCK < s->n ? i + SCAN_BLOCK : s->n;
        K(scan_clear)(s, &s->before, i, end);
        K(scan_clear)(s, &s->reads, i, end);
        if (s->late || s->after.n > 0)
            K(scan_wide)(s, i, end, false, true);
        else if (s->decay || s->before.n > 0)
            K(scan_wide)(s, i, end, true, false);
        else
            K(scan_wide)(s, i, end, false, false);
    }
}

/* ---- with solve: one token after the other ----------------------------------------------- */

/* p = key . S, once S has its decay and its updates. */
static inline __attribute__((always_inline)) void
K(scan_look)(const attn__scan *s, int64_t t, int64_t c, d_vec *p, const int nv)
{
    const double *key = s->key + t * s->key_step;
    const bool early = s->decay && !s->late, write = early || s->updates.n > 0;
    UNROLL(8)
    for (int v = 0; v < nv; v++) p[v] = d_set(0);
    for (int64_t r = 0; r < s->rows; r++) {
        d_vec S[SCAN_BROAD];
        K(scan_load)(s, r, c, S, 1, nv);
        if (early) K(scan_decay)(s, t, r, c, S, 1, nv);
        K(scan_add)(&s->updates, t, r, c, S, 1, nv);
        if (write) K(scan_store)(s, r, c, S, 1, nv);
        const d_vec x = d_set(key[r]);
        UNROLL(8)
        for (int v = 0; v < nv; v++) p[v] = d_fma(x, S[v], p[v]);
    }
}

/* value = value - p, and S += key (beta value)^T; o = reads of the one row of queries. */
static inline __attribute__((always_inline)) void K(scan_learn)(const attn__scan *s, int64_t t,
                                                                int64_t c, const d_vec *p,
                                                                const int nv,
                                                                const bool reading)
{
    const double *key = s->key + t * s->key_step;
    const double *query = reading ? K(scan_row)(&s->reads, t, 0) : NULL;
    double *value = s->value + t * s->value_step + c;
    d_vec u[SCAN_BROAD], o[SCAN_BROAD];
    UNROLL(8)
    for (int v = 0; v < nv; v++) {
        const d_vec rest = d_sub(s->from_zero ? d_set(0) : d_load(value + v * D_LANES), p[v]);
        d_store(value + v * D_LANES, rest);
        u[v] = d_mul(d_set(s->beta[t]), rest);
        o[v] = d_set(0);
    }
    for (int64_t r = 0; r < s->rows; r++) {
        d_vec S[SCAN_BROAD];
        const d_vec x = d_set(key[r]);
        K(scan_load)(s, r, c, S, 1, nv);
        UNROLL(8)
        for (int v = 0; v < nv; v++) {
            S[v] = d_fma(x, u[v], S[v]);
            if (reading) o[v] = d_fma(d_set(query[r]), S[v], o[v]);
        }
        if (s->late && s->decay) K(scan_decay)(s, t, r, c, S, 1, nv);
        K(scan_store)(s, r, c, S, 1, nv);
    }
    if (!reading) return;
    UNROLL(8)
    for (int v = 0; v < nv; v++) d_store(K(scan_lane)(&s->reads, t, 0) + c + v * D_LANES, o[v]);
}

/* The other queries of the group: lanes += rows . S over all rows. */
static inline __attribute__((always_inline)) void K(scan_others)(const attn__scan *s, int64_t t,
                                                                 int64_t c, const int nv)
{
    attn__scan_side others = s->reads;
    others.n--;
    others.rows += others.row_head;
    others.lanes += others.lane_head;
    for (int m = 0; m < others.n; m++)
        memset(K(scan_lane)(&others, t, m) + c, 0, (size_t)(nv * D_LANES) * sizeof(double));
    for (int64_t r = 0; r < s->rows; r++) {
        d_vec S[SCAN_BROAD];
        K(scan_load)(s, r, c, S, 1, nv);
        K(scan_read)(&others, t, r, c, S, 1, nv);
    }
}

static inline __attribute__((always_inline)) void K(scan_tokens)(const attn__scan *s, int64_t c,
                                                                 const int nv)
{
    d_vec p[SCAN_BROAD];
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t t = K(scan_token)(s, i);
        K(scan_look)(s, t, c, p, nv);
        if (s->reads.n > 0)
            K(scan_learn)(s, t, c, p, nv, true);
        else
            K(scan_learn)(s, t, c, p, nv, false);
        if (s->reads.n > 1) K(scan_others)(s, t, c, nv);
    }
}

static void K(scan_solve)(const attn__scan *s)
{
    int64_t c = 0;
    for (; c + SCAN_BROAD * D_LANES <= s->w; c += SCAN_BROAD * D_LANES)
        K(scan_tokens)(s, c, SCAN_BROAD);
    if (SCAN_BROAD > SCAN_V && c + SCAN_V * D_LANES <= s->w) {
        K(scan_tokens)(s, c, SCAN_V);
        c += SCAN_V * D_LANES;
    }
    for (; c < s->w; c += D_LANES) K(scan_tokens)(s, c, 1);
}

static void K(scan)(const attn__scan *s)
{
    if (s->key)
        K(scan_solve)(s);
    else
        K(scan_stream)(s);
}

#endif
