/* SPDX-License-Identifier: MIT
 * The pointing decoder one entry, one round and one word at a time. */
#include "oracle/mech_feature.h"

#include <stdio.h>

typedef struct decoder_state {
    int64_t T, L, P, b;
    const double *x, *mask;
    double *h, *cell;
    int64_t s, e;
    double *gap; /* of the closest race that was decided */
} decoder_state;

static const double *decoder_weight(gallery_call *c, const char *what, const char *which)
{
    char name[32];
    snprintf(name, sizeof name, "%s_%s", what, which);
    return gallery_at(c, name);
}

static double decoder_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void decoder_lstm(gallery_call *c, decoder_state *d)
{
    const int64_t L = d->L, W = 2 * L;
    const double *bias = gallery_at(c, "b"), *x_s = d->x + d->s * W, *x_e = d->x + d->e * W;
    double *gate = gallery_new(c, 4 * L);
    for (int64_t r = 0; r < 4 * L; r++)
        gate[r] = feature_dot(gallery_at(c, "w_x") + r * 2 * W, x_s, W) +
                  feature_dot(gallery_at(c, "w_x") + r * 2 * W + W, x_e, W) +
                  feature_dot(gallery_at(c, "w_h") + r * L, d->h, L) + (bias ? bias[r] : 0);
    for (int64_t i = 0; i < L; i++) {
        d->cell[i] = decoder_sigmoid(gate[L + i]) * d->cell[i] +
                     decoder_sigmoid(gate[i]) * tanh(gate[2 * L + i]);
        d->h[i] = decoder_sigmoid(gate[3 * L + i]) * tanh(d->cell[i]);
    }
}

/* The larger of two, and how clear that was. */
static double decoder_max(const decoder_state *d, double a, double b)
{
    if (a != b) *d->gap = fmin(*d->gap, fabs(a - b));
    return fmax(a, b);
}

/* to[i] = max_p(w[p][i] z + bias[p][i]) */
static void decoder_maxout(const decoder_state *d, const double *w, const double *bias,
                           int64_t n, const double *z, int64_t width, double *to)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = -GALLERY_INF;
        for (int64_t p = 0; p < d->P; p++)
            to[i] = decoder_max(d, to[i],
                                feature_dot(w + (p * n + i) * width, z, width) +
                                    (bias ? bias[p * n + i] : 0));
    }
}

static void decoder_hmn(gallery_call *c, const decoder_state *d, const char *which, int64_t s,
                        double *scores)
{
    const int64_t L = d->L, W = 2 * L;
    double *seen = gallery_new(c, 5 * L), *z = gallery_new(c, 3 * L),
           *mn = gallery_new(c, 2 * L);
    for (int64_t i = 0; i < L; i++) seen[i] = d->h[i];
    for (int64_t i = 0; i < W; i++) {
        seen[L + i] = d->x[s * W + i];
        seen[L + W + i] = d->x[d->e * W + i];
    }
    for (int64_t i = 0; i < L; i++)
        z[W + i] = tanh(feature_dot(decoder_weight(c, "w_d", which) + i * 5 * L, seen, 5 * L));
    for (int64_t t = 0; t < d->T; t++) {
        for (int64_t i = 0; i < W; i++) z[i] = d->x[t * W + i];
        decoder_maxout(d, decoder_weight(c, "w_1", which), decoder_weight(c, "b_1", which), L,
                       z, 3 * L, mn);
        decoder_maxout(d, decoder_weight(c, "w_2", which), decoder_weight(c, "b_2", which), L,
                       mn, L, mn + L);
        decoder_maxout(d, decoder_weight(c, "w_3", which), decoder_weight(c, "b_3", which), 1,
                       mn, 2 * L, scores + t);
    }
}

static int64_t decoder_best(const decoder_state *d, const double *scores)
{
    int64_t best = 0;
    double top = -GALLERY_INF;
    for (int64_t t = 0; t < d->T; t++) {
        if (d->mask && d->mask[t] == 0) continue;
        if (scores[t] > top) best = t;
        top = decoder_max(d, top, scores[t]);
    }
    return best;
}

/* One round into logits 2 T; true when the guess stayed what it was. */
static bool decoder_round(gallery_call *c, decoder_state *d, double *logits)
{
    const int64_t s = d->s, e = d->e;
    decoder_lstm(c, d);
    decoder_hmn(c, d, "start", s, logits);
    d->s = decoder_best(d, logits);
    decoder_hmn(c, d, "end", d->s, logits + d->T);
    d->e = decoder_best(d, logits + d->T);
    return d->s == s && d->e == e;
}

static void decoder_entry(gallery_call *c, decoder_state *d)
{
    const int64_t rounds = gallery_i(c, "iterations"), T = d->T;
    double *steps = gallery_at(c, "steps") + d->b * rounds * 2 * T;
    bool still = false;
    for (int64_t k = 0; k < rounds; k++, steps += 2 * T) {
        if (!still) {
            const bool same = decoder_round(c, d, steps);
            still = same && k > 0 && gallery_i(c, "stop");
        } else {
            for (int64_t i = 0; i < 2 * T; i++) steps[i] = steps[i - 2 * T];
        }
        for (int64_t i = 0; i < 2 * T; i++) gallery_at(c, "out")[d->b * 2 * T + i] = steps[i];
    }
    gallery_at(c, "span")[d->b * 2] = (double)d->s;
    gallery_at(c, "span")[d->b * 2 + 1] = (double)d->e;
}

/* Returns the closest race of all. */
static double decoder_run(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), L = gallery_size(c, 'L');
    const double *x = feature_rows(c, "x", "mask", B * T, 2 * L);
    double gap = GALLERY_INF;
    for (int64_t b = 0; b < B && T > 0; b++) {
        decoder_state d = {.T = T, .L = L, .P = gallery_size(c, 'P'), .b = b, .gap = &gap};
        d.x = x + b * T * 2 * L, d.mask = feature_mask(c, "mask", b, T);
        d.h = gallery_new(c, L), d.cell = gallery_new(c, L);
        while (d.mask && d.s < T && d.mask[d.s] == 0) d.s++;
        for (int64_t t = 0; t < T; t++)
            if (!d.mask || d.mask[t] != 0) d.e = t;
        if (d.s == T) d.s = 0;
        decoder_entry(c, &d);
    }
    return gap;
}

static void dcn_decoder_oracle(gallery_call *c)
{
    (void)decoder_run(c);
}

/* Differences tell nothing across a race that turns between their points: drawn again until no
 * race is close. */
static void decoder_prepare(gallery_call *c, test_rng *rng)
{
    const int64_t n = gallery_size(c, 'B') * gallery_size(c, 'T') * 2 * gallery_size(c, 'L');
    for (int tries = 0; tries < 100 && decoder_run(c) < 0.01; tries++)
        for (int64_t i = 0; i < n; i++)
            gallery_at(c, "x")[i] = (double)(float)test_rng_normal(rng);
}

static const char *const decoder_cases[] = {
    "B=3,T=6,L=2,P=3,K=4", "B=2,T=4,L=3,P=2,K=3;iterations=3,stop=false;mask,b",
    "B=2,T=4,L=2,P=1,K=6;iterations=6;mask,b_1_start,b_2_start,b_3_start,b_1_end,b_2_end,b_3_"
    "end",
    NULL};

const gallery_oracle gallery_oracle_dcn_decoder = {
    .cases = decoder_cases, .run = dcn_decoder_oracle, .prepare = decoder_prepare};
