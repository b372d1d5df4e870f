/* SPDX-License-Identifier: MIT
 * What the oracles of the alignments share: scores of one row by hand, and its weighted sum.
 *
 *     s_j = scale q.k_j + bias, -inf where hidden;   out = sum_j w_j v_j
 *
 * An oracle says how weights follow from the scores of a row. Where they have kinks it says how
 * far the row is from one, and inputs are moved until no row is near. */
#ifndef ATTN_TESTS_ALIGN_H
#define ATTN_TESTS_ALIGN_H

#include "gallery_case.h"

typedef struct align_row {
    gallery_call *c;
    int64_t b, h, i, S;
    const double *s; /* S scores, -inf where hidden */
} align_row;

typedef void (*align_weigh)(const align_row *r, double *w); /* w is 0 before */

static inline double *align_slot(gallery_call *c, const char *name)
{
    return attn_mech_slot(c->mech, name) < 0 ? NULL : gallery_at(c, name);
}

static inline int64_t align_head(gallery_call *c, int64_t h)
{
    return h / (gallery_size(c, 'H') / gallery_size(c, 'G'));
}

static inline double align_score(gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t H = gallery_size(c, 'H'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    const int64_t G = gallery_size(c, 'G'), D = gallery_size(c, 'D');
    const double *bias = align_slot(c, "bias"), *mask = align_slot(c, "mask");
    const double *q = gallery_at(c, "q") + ((b * H + h) * T + i) * D;
    const double *k = gallery_at(c, "k") + ((b * G + align_head(c, h)) * S + j) * D;
    const double scale = gallery_f(c, "scale");
    double s = 0;
    if ((mask && mask[b * S + j] == 0) || (gallery_i(c, "causal") && j > i))
        return -GALLERY_INF;
    for (int64_t d = 0; d < D; d++) s += q[d] * k[d];
    return s * (scale != 0 ? scale : 1 / sqrt((double)D)) +
           (bias ? bias[((b * H + h) * T + i) * S + j] : 0);
}

/* Calls row for every query with its scores. */
static inline void align_rows(gallery_call *c, void (*row)(const align_row *r, void *user),
                              void *user)
{
    const int64_t S = gallery_size(c, 'S');
    double *s = gallery_new(c, S);
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t h = 0; h < gallery_size(c, 'H'); h++)
            for (int64_t i = 0; i < gallery_size(c, 'T'); i++) {
                for (int64_t j = 0; j < S; j++) s[j] = align_score(c, b, h, i, j);
                row(&(align_row){c, b, h, i, S, s}, user);
            }
}

static inline void align_sum(const align_row *r, const double *w)
{
    gallery_call *c = r->c;
    const int64_t E = gallery_size(c, 'E'), T = gallery_size(c, 'T'), H = gallery_size(c, 'H');
    const int64_t at = (r->b * H + r->h) * T + r->i;
    const double *v =
        gallery_at(c, "v") + (r->b * gallery_size(c, 'G') + align_head(c, r->h)) * r->S * E;
    double *out = gallery_at(c, "out") + at * E, *weights = align_slot(c, "weights");
    for (int64_t j = 0; j < r->S; j++) {
        if (weights) weights[at * r->S + j] = w[j];
        for (int64_t e = 0; e < E; e++) out[e] += w[j] * v[j * E + e];
    }
}

typedef struct align_plan {
    align_weigh weigh;
    double (*margin)(const align_row *r);
    double *w, least;
} align_plan;

static inline void align_one(const align_row *r, void *user)
{
    align_plan *p = user;
    for (int64_t j = 0; j < r->S; j++) p->w[j] = 0;
    p->weigh(r, p->w);
    align_sum(r, p->w);
}

static inline void align_run(gallery_call *c, align_weigh weigh)
{
    align_plan p = {.weigh = weigh, .w = gallery_new(c, gallery_size(c, 'S'))};
    align_rows(c, align_one, &p);
}

/* ---- sums and softmax over some of a row ------------------------------------------------- */

static inline double align_top(const align_row *r)
{
    double top = -GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++) top = fmax(top, r->s[j]);
    return top;
}

static inline int64_t align_seen(const align_row *r)
{
    int64_t n = 0;
    for (int64_t j = 0; j < r->S; j++) n += r->s[j] > -GALLERY_INF;
    return n;
}

/* over: which keys take part, NULL for all. */
static inline void align_softmax(const align_row *r, const bool *over, double *w)
{
    const double top = align_top(r);
    double sum = 0;
    for (int64_t j = 0; j < r->S; j++) {
        const bool in = r->s[j] > -GALLERY_INF && (!over || over[j]);
        sum += w[j] = in ? exp(r->s[j] - top) : 0;
    }
    for (int64_t j = 0; j < r->S && sum > 0; j++) w[j] /= sum;
}

/* How many keys come before key j: larger scores, and equal ones in front of it. */
static inline int64_t align_before(const align_row *r, int64_t j)
{
    int64_t n = 0;
    for (int64_t i = 0; i < r->S; i++) n += r->s[i] > r->s[j] || (r->s[i] == r->s[j] && i < j);
    return n;
}

/* ---- away from kinks --------------------------------------------------------------------- */

static inline void align_least(const align_row *r, void *user)
{
    align_plan *p = user;
    if (align_seen(r) > 0) p->least = fmin(p->least, p->margin(r));
}

/* Moves q a little until every row is this far from a kink, or enough has been tried. */
static inline void align_away(gallery_call *c, test_rng *rng,
                              double (*margin)(const align_row *r))
{
    const int64_t n = gallery_size(c, 'B') * gallery_size(c, 'H') * gallery_size(c, 'T') *
                      gallery_size(c, 'D');
    for (int tries = 0; tries < 300; tries++) {
        align_plan p = {.margin = margin, .least = GALLERY_INF};
        align_rows(c, align_least, &p);
        if (p.least > 0.004) return;
        for (int64_t i = 0; i < n; i++)
            gallery_at(c, "q")[i] =
                (double)(float)(gallery_at(c, "q")[i] + 0.1 * test_rng_normal(rng));
    }
}

/* ---- Gumbel noise ------------------------------------------------------------------------ */

/* Of the pair, by the words of the seed. */
static inline double align_noise(const align_row *r, int64_t j)
{
    const uint64_t seed = (uint64_t)gallery_i(r->c, "seed");
    const uint32_t key[2] = {(uint32_t)(seed & 0xFFFFFFFF), (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)(j / 4), (uint32_t)r->i, (uint32_t)r->h,
                                 (uint32_t)r->b};
    uint32_t words[4];
    oracle_philox(counter, key, words);
    return -log(-log(((double)words[j % 4] + 0.5) / 4294967296.0));
}

#endif
