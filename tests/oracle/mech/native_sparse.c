/* SPDX-License-Identifier: MIT
 * Native sparse attention, one query at a time: summaries by loops, worth by counting the keys
 * that two blocks share. */
#include "oracle/mech_pattern.h"

typedef struct native_sizes {
    int64_t H, G, T, D, E, block, stride, select, n;
    double *keys, *values; /* summaries: B G n D, B G n E */
} native_sizes;

static double native_gelu(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* One summary of x, which starts at its block: W numbers to y. */
static void native_squash(gallery_call *c, const char *side, const double *x, int64_t W,
                          double *y)
{
    const int64_t L = gallery_i(c, "block"), M = gallery_size(c, 'M');
    char name[3][8];
    snprintf(name[0], sizeof name[0], "pos_%s", side);
    snprintf(name[1], sizeof name[1], "w1_%s", side);
    snprintf(name[2], sizeof name[2], "w2_%s", side);
    const double *pos = gallery_at(c, name[0]), *w1 = gallery_at(c, name[1]);
    const double *w2 = gallery_at(c, name[2]);
    for (int64_t e = 0; e < W && !w1; e++)
        for (int64_t l = 0; l < L; l++)
            y[e] += (x[l * W + e] + (pos ? pos[l * W + e] : 0)) / (double)L;
    for (int64_t m = 0; m < M && w1; m++) {
        double s = 0;
        for (int64_t z = 0; z < L * W; z++)
            s += w1[m * L * W + z] * (x[z] + (pos ? pos[z] : 0));
        for (int64_t e = 0; e < W; e++) y[e] += w2[e * M + m] * native_gelu(s);
    }
}

static native_sizes native_open(gallery_call *c)
{
    native_sizes z = {.H = gallery_size(c, 'H'),
                      .G = gallery_size(c, 'G'),
                      .T = gallery_size(c, 'T'),
                      .D = gallery_size(c, 'D'),
                      .E = gallery_size(c, 'E'),
                      .block = gallery_i(c, "block"),
                      .stride = gallery_i(c, "stride"),
                      .select = gallery_i(c, "select")};
    while (z.n * z.stride + z.block <= z.T) z.n++;
    const int64_t lines = gallery_size(c, 'B') * z.G;
    z.keys = gallery_new(c, lines * z.n * z.D);
    z.values = gallery_new(c, lines * z.n * z.E);
    for (int64_t x = 0; x < lines * z.n; x++) {
        const int64_t row = x / z.n * z.T + x % z.n * z.stride;
        native_squash(c, "k", gallery_at(c, "k") + row * z.D, z.D, z.keys + x * z.D);
        native_squash(c, "v", gallery_at(c, "v") + row * z.E, z.E, z.values + x * z.E);
    }
    return z;
}

/* Scores of q against n rows, of which seen(x) are allowed, to weights. */
static void native_softmax(const native_sizes *z, const double *q, const double *k, int64_t n,
                           const double *seen, double *row)
{
    for (int64_t j = 0; j < n; j++)
        row[j] = seen[j] != 0 ? pattern_dot(q, k + j * z->D, z->D) / sqrt((double)z->D)
                              : -GALLERY_INF;
    pattern_softmax(row, n);
}

static void native_add(const native_sizes *z, double gate, const double *row, const double *v,
                       int64_t n, double *out)
{
    for (int64_t j = 0; j < n; j++)
        for (int64_t e = 0; e < z->E; e++)
            out[e] += row[j] * v[j * z->E + e] / (1 + exp(-gate));
}

static void native_summary_weights(gallery_call *c, const native_sizes *z, int64_t bh,
                                   int64_t i, double *row)
{
    const int64_t group = bh / (z->H / z->G);
    double *seen = gallery_new(c, z->n);
    for (int64_t m = 0; m < z->n; m++) {
        const int64_t last = m * z->stride + z->block - 1;
        seen[m] = gallery_i(c, "strict") ? last < i : last <= i;
    }
    native_softmax(z, gallery_at(c, "q") + (bh * z->T + i) * z->D,
                   z->keys + group * z->n * z->D, z->n, seen, row);
}

/* worth of every block that begins at or before i; returns how many. */
static int64_t native_worth(gallery_call *c, const native_sizes *z, int64_t group, int64_t i,
                            double *worth)
{
    const int64_t heads = z->H / z->G, count = i / z->select + 1;
    double *row = gallery_new(c, z->n);
    for (int64_t h = group * heads; h < (group + 1) * heads; h++) {
        native_summary_weights(c, z, h, i, row);
        for (int64_t m = 0; m < z->n; m++)
            for (int64_t x = m * z->stride; x < m * z->stride + z->block; x++)
                if (x / z->select < count) worth[x / z->select] += row[m] / (double)z->stride;
    }
    for (int64_t j = 0; j < count; j++)
        if (j < gallery_i(c, "first") || j + gallery_i(c, "local") >= count) worth[j] = 1e30;
    return count;
}

/* Whether block j is among the top ones. */
static bool native_chosen(const gallery_call *c, const double *worth, int64_t count, int64_t j)
{
    int64_t before = 0;
    for (int64_t x = 0; x < count; x++)
        before += worth[x] > worth[j] || (worth[x] == worth[j] && x < j);
    return before < gallery_i(c, "top");
}

static void native_token(gallery_call *c, const native_sizes *z, int64_t bh, int64_t i)
{
    const int64_t group = bh / (z->H / z->G), at = bh * z->T + i;
    const double *q = gallery_at(c, "q") + at * z->D, *gate = gallery_at(c, "gates") + at * 3;
    const double *k = gallery_at(c, "k") + group * z->T * z->D;
    const double *v = gallery_at(c, "v") + group * z->T * z->E;
    double *row = gallery_new(c, z->T + z->n), *seen = gallery_new(c, z->T);
    double *worth = gallery_new(c, z->T + z->n), *out = gallery_at(c, "out") + at * z->E;
    native_summary_weights(c, z, bh, i, row);
    native_add(z, gate[0], row, z->values + group * z->n * z->E, z->n, out);
    const int64_t count = native_worth(c, z, group, i, worth);
    for (int64_t j = 0; j < z->T; j++)
        seen[j] = j <= i && native_chosen(c, worth, count, j / z->select);
    native_softmax(z, q, k, z->T, seen, row);
    native_add(z, gate[1], row, v, z->T, out);
    for (int64_t j = 0; j < z->T; j++) seen[j] = j <= i && j > i - gallery_i(c, "window");
    native_softmax(z, q, k, z->T, seen, row);
    native_add(z, gate[2], row, v, z->T, out);
}

static void native_sparse_oracle(gallery_call *c)
{
    const native_sizes z = native_open(c);
    for (int64_t x = 0; x < gallery_size(c, 'B') * z.H * z.T; x++)
        native_token(c, &z, x / z.T, x % z.T);
}

/* Whether a small step cannot change what a group chooses at i. */
static bool native_settled(gallery_call *c, const native_sizes *z, int64_t group, int64_t i)
{
    double *worth = gallery_new(c, z->T + z->n), in = GALLERY_INF, out = 0;
    const int64_t count = native_worth(c, z, group, i, worth);
    for (int64_t j = 0; j < count; j++) {
        if (native_chosen(c, worth, count, j))
            in = fmin(in, worth[j]);
        else
            out = fmax(out, worth[j]);
    }
    return out < 0.9 * in || out == 0;
}

static void native_sparse_prepare(gallery_call *c, test_rng *rng)
{
    const native_sizes z = native_open(c);
    const int64_t heads = z.G ? z.H / z.G : 0;
    for (int64_t x = 0; x < gallery_size(c, 'B') * z.G * z.T; x++)
        for (int tries = 0; tries < 300 && !native_settled(c, &z, x / z.T, x % z.T); tries++)
            for (int64_t h = x / z.T * heads; h < (x / z.T + 1) * heads; h++)
                for (int64_t d = 0; d < z.D; d++)
                    gallery_at(c, "q")[(h * z.T + x % z.T) * z.D + d] = test_rng_normal(rng);
}

static const char *const native_sparse_cases[] = {
    "B=1,H=2,G=1,T=11,L=4,M=3,D=3,E=2;block=4,stride=2,select=2,top=3,local=1,window=3",
    "B=2,H=2,G=2,T=9,L=3,D=2,E=3;block=3,stride=2,select=4,top=1,first=0,local=0,window=2,"
    "strict=true;pos_k,w1_k,w2_k,pos_v,w1_v,w2_v",
    "B=1,H=4,G=2,T=13,L=2,M=2,D=2,E=2;block=2,stride=1,select=3,top=2,first=0,local=1,window=1;"
    "pos_k,w1_v,w2_v",
    NULL};

const gallery_oracle gallery_oracle_native_sparse = {.cases = native_sparse_cases,
                                                     .run = native_sparse_oracle,
                                                     .prepare = native_sparse_prepare};
