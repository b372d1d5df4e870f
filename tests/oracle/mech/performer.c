/* SPDX-License-Identifier: MIT
 * The Performer with its weights written out, and the projection drawn a second time: Gaussian
 * numbers from the counters of Philox, rows made orthogonal one after the other. */
#include "linear.h"

static double performer_normal(uint64_t seed, uint64_t i)
{
    const uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    oracle_philox(counter, key, words);
    const double u = ((double)words[0] + 1) / 4294967296.0;
    return sqrt(-2 * log(u)) * cos(2 * acos(-1.0) * (double)words[1] / 4294967296.0);
}

static double performer_length(gallery_call *c, int64_t r)
{
    const int64_t R = gallery_size(c, 'R'), D = gallery_size(c, 'D');
    double sum = 0;
    if (gallery_i(c, "lengths")) return sqrt((double)D);
    for (int64_t d = 0; d < D; d++) {
        const double x =
            performer_normal((uint64_t)gallery_i(c, "seed"), (uint64_t)((R + r) * D + d));
        sum += x * x;
    }
    return sqrt(sum);
}

static double *performer_projection(gallery_call *c)
{
    const int64_t R = gallery_size(c, 'R'), D = gallery_size(c, 'D');
    const uint64_t seed = (uint64_t)gallery_i(c, "seed");
    double *w = gallery_new(c, R * D);
    for (int64_t r = 0; r < R; r++) {
        double *row = w + r * D, sum = 0;
        for (int64_t d = 0; d < D; d++) row[d] = performer_normal(seed, (uint64_t)(r * D + d));
        for (int64_t i = r - r % D; i < r; i++) {
            double along = 0;
            for (int64_t d = 0; d < D; d++) along += row[d] * w[i * D + d];
            for (int64_t d = 0; d < D; d++) row[d] -= along * w[i * D + d];
        }
        for (int64_t d = 0; d < D; d++) sum += row[d] * row[d];
        for (int64_t d = 0; d < D; d++) row[d] /= sqrt(sum);
    }
    for (int64_t i = 0; i < R * D; i++) w[i] *= performer_length(c, i / D);
    return w;
}

/* h = w x' - |x'|^2 / 2 of every row. */
static double *performer_exponents(gallery_call *c, const double *w, const double *x,
                                   int64_t rows)
{
    const int64_t R = gallery_size(c, 'R'), D = gallery_size(c, 'D');
    const double shrink = 1 / sqrt(sqrt((double)D));
    double *h = gallery_new(c, rows * R);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t r = 0; r < R; r++)
            for (int64_t d = 0; d < D; d++) {
                const double y = x[n * D + d] * shrink;
                h[n * R + r] += w[r * D + d] * y - y * y / 2;
            }
    return h;
}

/* exp less the maximum of each group of rows; 0 rows: of none. */
static void performer_exp(gallery_call *c, double *h, int64_t rows, int64_t group)
{
    const int64_t R = gallery_size(c, 'R');
    for (int64_t n = 0; n<rows; n += group> 0 ? group : rows) {
        const int64_t count = (group > 0 ? group : rows) * R;
        double top = -GALLERY_INF;
        for (int64_t i = 0; i < count; i++) top = fmax(top, h[n * R + i]);
        for (int64_t i = 0; i < count; i++)
            h[n * R + i] = exp(h[n * R + i] - (group > 0 ? top : 0)) / sqrt((double)R) +
                           gallery_f(c, "eps");
    }
}

/* A hidden key counts as one of zeros when the largest exponent is looked for. */
static double *performer_keys(gallery_call *c)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), H = gallery_size(c, 'H');
    const int64_t rows = linear_rows(c, 'S');
    const double *mask = gallery_at(c, "mask");
    double *k = gallery_new(c, rows * D);
    for (int64_t n = 0; n < rows; n++)
        for (int64_t d = 0; d < D; d++)
            if (!mask || mask[n / S / H * S + n % S] != 0)
                k[n * D + d] = gallery_at(c, "k")[n * D + d];
    return k;
}

static void performer_oracle(gallery_call *c)
{
    const bool causal = gallery_i(c, "causal") != 0;
    const double *w = gallery_at(c, "w") ? gallery_at(c, "w") : performer_projection(c);
    double *pq = performer_exponents(c, w, gallery_at(c, "q"), linear_rows(c, 'T'));
    double *pk = performer_exponents(c, w, performer_keys(c), linear_rows(c, 'S'));
    performer_exp(c, pq, linear_rows(c, 'T'), 1);
    performer_exp(c, pk, linear_rows(c, 'S'), causal ? 0 : gallery_size(c, 'S'));
    const linear_pairs pairs = {
        .pq = pq, .pk = pk, .F = gallery_size(c, 'R'), .causal = causal};
    linear_all(c, &pairs);
}

/* eps 0: with it the stabilisers, constants to the gradient, would not cancel. */
static const char *const performer_cases[] = {
    "B=2,T=5,S=7;eps=0", "T=6,S=6;causal=true,eps=0",
    "T=4,S=5,R=11;features=11,seed=9,eps=0;-w,mask",
    "T=3,S=3;seed=3,lengths=sqrt_d,eps=0,causal=true;-w", NULL};

const gallery_oracle gallery_oracle_performer = {
    .cases = performer_cases, .vary = "BE", .run = performer_oracle};
