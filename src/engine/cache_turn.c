/* SPDX-License-Identifier: MIT
 * Cosines and sines of a token's position, found once for all its heads: attn_rope's numbers. */
#include "engine/cache_rows.h"

/* They take longer than turning a token, so those of the last append are kept. */
void attn__cache_thetas(const attn__cache_job *job)
{
    attn_cache *c = job->cache;
    const int64_t pairs = job->R / 2;
    const double base = job->rope.base;
    if (pairs == 0 || attn__present(&job->cos)) return;
    if (c->theta_n == pairs && c->theta_base <= base && c->theta_base >= base) return;
    for (int64_t t = 0; t < pairs; t++) c->theta[t] = attn__root_power(base, t, pairs);
    c->theta_n = pairs;
    c->theta_base = base;
}

void attn__cache_angles(const attn__cache_job *job, int64_t b, int64_t i, int64_t position)
{
    const attn_cache *c = job->cache;
    const int64_t at = attn__cache_job_position(job, b, i, position);
    const int64_t pairs = job->R / 2;
    double *cosine = c->turn, *sine = c->turn + pairs;
    if (!attn__present(&job->cos)) {
        c->kernels->sincos(pairs, (double)at, c->theta, cosine, sine);
        return;
    }
    for (int64_t t = 0; t < pairs; t++) {
        cosine[t] = attn__float_at(&job->cos, at, t);
        sine[t] = attn__float_at(&job->sin, at, t);
    }
}
