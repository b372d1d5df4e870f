/* SPDX-License-Identifier: MIT
 * Nystrom attention with explicit matrices, one head after the other. */
#include "oracle/mech_pattern.h"

typedef struct nystrom_head {
    int64_t T, D, E, m;
    const double *q, *k, *v, *mask;
    double *ql, *kl, *some; /* m D, m D, m */
} nystrom_head;

static double *nystrom_product(gallery_call *c, const double *a, const double *b, int64_t n,
                               int64_t k, int64_t m)
{
    double *y = gallery_new(c, n * m);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            for (int64_t x = 0; x < k; x++) y[i * m + j] += a[i * k + x] * b[x * m + j];
    return y;
}

/* softmax(a b^T / sqrt(D)) over the columns that are shown. */
static double *nystrom_weights(gallery_call *c, const nystrom_head *z, const double *a,
                               int64_t n, const double *b, int64_t m, const double *shown)
{
    double *w = gallery_new(c, n * m);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < m; j++)
            w[i * m + j] =
                shown && shown[j] == 0
                    ? -GALLERY_INF
                    : pattern_dot(a + i * z->D, b + j * z->D, z->D) / sqrt((double)z->D);
        pattern_softmax(w + i * m, m);
    }
    return w;
}

static void nystrom_means(nystrom_head *z)
{
    for (int64_t s = 0; s < z->m; s++) {
        double count = 0;
        for (int64_t i = s * z->T / z->m; i < (s + 1) * z->T / z->m; i++)
            count += !z->mask || z->mask[i] != 0;
        z->some[s] = count > 0;
        for (int64_t i = s * z->T / z->m; i < (s + 1) * z->T / z->m; i++)
            for (int64_t d = 0; d < z->D && (!z->mask || z->mask[i] != 0); d++) {
                z->ql[s * z->D + d] += z->q[i * z->D + d] / count;
                z->kl[s * z->D + d] += z->k[i * z->D + d] / count;
            }
    }
}

/* c I - x */
static double *nystrom_from(gallery_call *call, double c, const double *x, int64_t m)
{
    double *y = gallery_new(call, m * m);
    for (int64_t i = 0; i < m * m; i++) y[i] = (i / m == i % m ? c : 0) - x[i];
    return y;
}

static double *nystrom_invert(gallery_call *c, const double *a, int64_t m)
{
    double *z = gallery_new(c, m * m), norm = 0;
    for (int64_t j = 0; j < m; j++) {
        double sum = 0;
        for (int64_t i = 0; i < m; i++) sum += a[i * m + j];
        norm = fmax(norm, sum);
    }
    for (int64_t i = 0; i < m * m && norm > 0; i++) z[i] = a[i % m * m + i / m] / norm;
    for (int64_t n = 0; n < gallery_i(c, "iterations"); n++) {
        const double *az = nystrom_product(c, a, z, m, m, m);
        double *y = nystrom_from(c, 7, az, m);
        y = nystrom_from(c, 15, nystrom_product(c, az, y, m, m, m), m);
        y = nystrom_from(c, 13, nystrom_product(c, az, y, m, m, m), m);
        z = nystrom_product(c, z, y, m, m, m);
        for (int64_t i = 0; i < m * m; i++) z[i] /= 4;
    }
    return z;
}

static void nystrom_convolve(gallery_call *c, const nystrom_head *z, const double *w,
                             double *out)
{
    const int64_t K = gallery_size(c, 'K');
    for (int64_t i = 0; i < z->T; i++)
        for (int64_t x = 0; x < K; x++) {
            const int64_t j = i + x - K / 2;
            if (j < 0 || j >= z->T || (z->mask && z->mask[j] == 0)) continue;
            for (int64_t e = 0; e < z->E; e++) out[i * z->E + e] += w[x] * z->v[j * z->E + e];
        }
}

static void nystrom_one(gallery_call *c, nystrom_head *z, double *out, double *residual)
{
    const int64_t m = z->m;
    nystrom_means(z);
    double *a = nystrom_weights(c, z, z->ql, m, z->kl, m, z->some);
    for (int64_t i = 0; i < m * m; i++)
        if (z->some[i / m] == 0) a[i] = 0;
    const double *inverse = nystrom_invert(c, a, m);
    const double *near = nystrom_weights(c, z, z->q, z->T, z->kl, m, z->some);
    const double *far = nystrom_weights(c, z, z->ql, m, z->k, z->T, z->mask);
    const double *found = nystrom_product(c, far, z->v, m, z->T, z->E);
    const double *told =
        nystrom_product(c, near, nystrom_product(c, inverse, found, m, m, z->E), z->T, m, z->E);
    const double *aza = nystrom_product(c, nystrom_product(c, a, inverse, m, m, m), a, m, m, m);
    for (int64_t i = 0; i < z->T * z->E; i++) out[i] = told[i];
    for (int64_t i = 0; i < m * m; i++) *residual = fmax(*residual, fabs(aza[i] - a[i]));
}

static void nystrom_oracle(gallery_call *c)
{
    const int64_t H = gallery_size(c, 'H'), T = gallery_size(c, 'T'), D = gallery_size(c, 'D');
    const int64_t E = gallery_size(c, 'E'), asked = gallery_i(c, "landmarks");
    for (int64_t bh = 0; bh < gallery_size(c, 'B') * H && T > 0; bh++) {
        nystrom_head z = {T, D, E, asked < T ? asked : T};
        z.q = gallery_at(c, "q") + bh * T * D;
        z.k = gallery_at(c, "k") + bh * T * D;
        z.v = gallery_at(c, "v") + bh * T * E;
        z.mask = gallery_at(c, "mask") ? gallery_at(c, "mask") + bh / H * T : NULL;
        z.ql = gallery_new(c, z.m * D);
        z.kl = gallery_new(c, z.m * D);
        z.some = gallery_new(c, z.m);
        double *out = gallery_at(c, "out") + bh * T * E;
        nystrom_one(c, &z, out, gallery_at(c, "residual") + bh);
        if (gallery_at(c, "w_conv"))
            nystrom_convolve(c, &z, gallery_at(c, "w_conv") + bh % H * gallery_size(c, 'K'),
                             out);
    }
}

static const char *const nystrom_cases[] = {
    "B=2,T=11;landmarks=3", "H=1,T=9;landmarks=4,iterations=3;mask,w_conv",
    "B=1,H=3,T=7,E=2,K=5;landmarks=2;mask", "B=1,T=3;landmarks=8,iterations=2", NULL};

/* The residual is a small difference of large numbers. */
const gallery_oracle gallery_oracle_nystrom = {
    .cases = nystrom_cases, .run = nystrom_oracle, .f32 = 1e-3};
