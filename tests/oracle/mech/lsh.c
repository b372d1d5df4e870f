/* SPDX-License-Identifier: MIT
 * LSH attention by pairs: how often the rounds show j to i is counted from the definition, and
 * every pair weighs exp(score) as often as it counts. */
#include "oracle/mech_pattern.h"

typedef struct lsh_line { /* one sequence, head and round */
    double *bucket, *place;
    int64_t chunk, chunks;
} lsh_line;

/* The two largest of [x R; -x R]: the bucket, and how far it leads. */
static double lsh_bucket(const gallery_call *c, int64_t r, const double *x, double *lead)
{
    const int64_t N = gallery_size(c, 'N'), D = gallery_size(c, 'D');
    double best = -GALLERY_INF, bucket = 0;
    *lead = GALLERY_INF;
    for (int64_t n = 0; n < 2 * N; n++) {
        double s = 0;
        for (int64_t d = 0; d < D; d++)
            s += x[d] * gallery_at(c, "rotations")[(r * D + d) * N + n % N];
        if (n >= N) s = -s;
        *lead = fmin(*lead, s > best ? s - best : best - s);
        if (s > best) best = s, bucket = (double)n;
    }
    return bucket;
}

static lsh_line lsh_round(gallery_call *c, int64_t bh, int64_t r)
{
    const int64_t T = gallery_size(c, 'T'), N = gallery_size(c, 'N'),
                  asked = gallery_i(c, "chunk");
    lsh_line l = {.bucket = gallery_new(c, T), .place = gallery_new(c, T)};
    double lead;
    l.chunk = asked ? asked : N ? (T + N - 1) / N : T;
    if (l.chunk > T) l.chunk = T;
    l.chunks = (T + l.chunk - 1) / l.chunk;
    for (int64_t i = 0; i < T; i++)
        l.bucket[i] =
            lsh_bucket(c, r, gallery_at(c, "qk") + (bh * T + i) * gallery_size(c, 'D'), &lead);
    for (int64_t i = 0; i < T; i++)
        for (int64_t j = 0; j < T; j++)
            l.place[i] += l.bucket[j] < l.bucket[i] || (l.bucket[j] == l.bucket[i] && j < i);
    return l;
}

static bool lsh_shown(const gallery_call *c, const lsh_line *l, int64_t i, int64_t j)
{
    const int64_t at = (int64_t)l->place[i] / l->chunk, other = (int64_t)l->place[j] / l->chunk;
    if (gallery_i(c, "same_bucket") && l->bucket[i] != l->bucket[j]) return false;
    if (gallery_i(c, "causal") && j > i) return false;
    return i != j && (other == at || (other + 1) % l->chunks == at);
}

/* out of one token; times[j]: how often it sees j. */
static void lsh_token(gallery_call *c, int64_t bh, int64_t i, const double *times)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double *x = gallery_at(c, "qk") + bh * T * D, *v = gallery_at(c, "v") + bh * T * E;
    double *w = gallery_new(c, T), sum = 0;
    for (int64_t j = 0; j < T; j++) {
        const double length = sqrt(pattern_dot(x + j * D, x + j * D, D));
        const double s = pattern_dot(x + i * D, x + j * D, D) / fmax(length, 1e-12);
        sum += w[j] = times[j] > 0 ? times[j] * exp(s / sqrt((double)D)) : 0;
    }
    for (int64_t j = 0; j < T && sum > 0; j++)
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(bh * T + i) * E + e] += w[j] / sum * v[j * E + e];
}

static void lsh_sequence(gallery_call *c, int64_t bh, const lsh_line *rounds)
{
    const int64_t T = gallery_size(c, 'T'), R = gallery_size(c, 'R');
    const double *mask = gallery_at(c, "mask");
    double *times = gallery_new(c, T);
    if (mask) mask += bh / gallery_size(c, 'H') * T;
    for (int64_t i = 0; i < T; i++) {
        double all = 0;
        for (int64_t j = 0; j < T; j++) {
            times[j] = 0;
            for (int64_t r = 0; r < R; r++) times[j] += lsh_shown(c, &rounds[r], i, j);
            if (mask && mask[j] == 0) times[j] = 0;
            if (gallery_i(c, "once")) times[j] = times[j] > 0;
            all += times[j];
        }
        if (all == 0) times[i] = !mask || mask[i] != 0;
        lsh_token(c, bh, i, times);
    }
}

static void lsh_oracle(gallery_call *c)
{
    const int64_t R = gallery_size(c, 'R'), T = gallery_size(c, 'T');
    lsh_line *rounds = test_alloc(c->arena, (size_t)(R + 1) * sizeof *rounds);
    for (int64_t bh = 0; bh < gallery_size(c, 'B') * gallery_size(c, 'H') && T > 0; bh++) {
        for (int64_t r = 0; r < R; r++) {
            rounds[r] = lsh_round(c, bh, r);
            for (int64_t i = 0; i < T; i++)
                gallery_at(c, "buckets")[(bh * R + r) * T + i] = rounds[r].bucket[i];
        }
        lsh_sequence(c, bh, rounds);
    }
}

/* Tokens whose bucket a small step would change are drawn again. */
static void lsh_prepare(gallery_call *c, test_rng *rng)
{
    const int64_t D = gallery_size(c, 'D');
    const int64_t n = gallery_size(c, 'B') * gallery_size(c, 'H') * gallery_size(c, 'T');
    for (int64_t i = 0; i < n; i++)
        for (int tries = 0; tries < 1000; tries++) {
            double *x = gallery_at(c, "qk") + i * D, least = GALLERY_INF, lead;
            for (int64_t r = 0; r < gallery_size(c, 'R'); r++) {
                lsh_bucket(c, r, x, &lead);
                least = fmin(least, lead);
            }
            if (least > 0.05) break;
            for (int64_t d = 0; d < D; d++) x[d] = test_rng_normal(rng);
        }
}

static const char *const lsh_cases[] = {"B=2,T=11,N=2,R=2;chunk=3",
                                        "H=1,T=13,N=1,R=3;chunk=4,once=false;mask",
                                        "B=1,T=12,N=2,R=2,E=3;causal=true,chunk=4",
                                        "H=1,T=9,N=2,R=1;same_bucket=false,chunk=2;mask",
                                        "H=1,T=7,N=0,R=1;chunk=0;mask",
                                        "B=1,H=1,T=9,N=1,R=2,D=2,E=2;chunk=0",
                                        NULL};

const gallery_oracle gallery_oracle_lsh = {
    .cases = lsh_cases, .run = lsh_oracle, .prepare = lsh_prepare};
