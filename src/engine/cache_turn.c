/* SPDX-License-Identifier: MIT
 * Cosines and sines of a token's position, found once for all its heads: attn_rope's numbers. */
#include "engine/cache_rows.h"

void attn__cache_thetas(const attn__cache_job *job)
{
    if (attn__present(&job->cos)) return;
    for (int64_t t = 0; t < job->R / 2; t++)
        job->cache->theta[t] = attn__root_power(job->rope.base, t, job->R / 2);
}

void attn__cache_angles(const attn__cache_job *job, int64_t b, int64_t i, int64_t position)
{
    const attn_cache *c = job->cache;
    const int64_t at = attn__cache_job_position(job, b, i, position);
    for (int64_t t = 0; t < job->R / 2; t++) {
        double *turn = &c->turn[2 * t];
        if (attn__present(&job->cos)) {
            turn[0] = attn__float_at(&job->cos, at, t);
            turn[1] = attn__float_at(&job->sin, at, t);
        } else {
            attn__sincos((double)at * c->theta[t], &turn[1], &turn[0]);
        }
    }
}
