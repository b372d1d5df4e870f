/* SPDX-License-Identifier: MIT
 * Monotonic heads with gates, and heads left out by the documented words of Philox. */
#include "oracle/mech_monotonic_heads.h"
#include "oracle/oracle.h"

/* Whether head h stays. */
static bool sparse_monotonic_keeps(gallery_call *c, int64_t h)
{
    const uint64_t seed = (uint64_t)gallery_i(c, "seed");
    const uint32_t key[2] = {(uint32_t)(seed & 0xFFFFFFFF), (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)(h / 4), 0, 0, 1};
    uint32_t words[4];
    oracle_philox(counter, key, words);
    return words[h % 4] >= floor(gallery_f(c, "drop") * 4294967296.0);
}

static void sparse_monotonic_losses(gallery_call *c, int64_t b, int64_t h)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), H = gallery_size(c, 'H');
    double sum = 0;
    for (int64_t x = 0; x < T * S; x++) sum += gallery_at(c, "stops")[(b * H + h) * T * S + x];
    gallery_at(c, "quantity")[b * H + h] = fabs(sum - (double)T);
}

static void sparse_monotonic_oracle(gallery_call *c)
{
    const int64_t H = gallery_size(c, 'H');
    int64_t kept = 0;
    for (int64_t h = 0; h < H; h++) {
        kept += sparse_monotonic_keeps(c, h);
        gallery_at(c, "penalty")[0] += fabs(gallery_at(c, "gate")[h]);
    }
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *o = gallery_new(c, gallery_size(c, 'T') * gallery_size(c, 'P'));
        for (int64_t h = 0; h < H; h++) {
            const double scale = sparse_monotonic_keeps(c, h) ? (double)H / (double)kept : 0;
            heads_walk(c, b, h, scale * gallery_at(c, "gate")[h], o);
            sparse_monotonic_losses(c, b, h);
        }
        heads_output(c, b, o);
    }
}

static const char *const sparse_monotonic_cases[] = {
    "B=2,T=4,S=6",        "H=1,T=3,S=7;chunk=0;mask", "B=2,H=4,T=3,S=5;chunk=1,drop=0.5,seed=7",
    "H=4,T=3,S=4;drop=1", "T=4,S=6;hard=true",        NULL};

/* quantity is the difference of nearly equal sums: three digits less in f32. */
const gallery_oracle gallery_oracle_sparse_monotonic = {
    .cases = sparse_monotonic_cases, .run = sparse_monotonic_oracle, .f32 = 1e-3};
