/* SPDX-License-Identifier: MIT
 * One state at a time, one token at a time, as the formulas stand: the state forgets, learns,
 * is read. Shares no code with the library. */
#include "oracle_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct scan_state {
    const oracle_scan_call *c;
    int64_t b, g;
    double *s, *z; /* D E, D */
} scan_state;

static double scan_decay(const scan_state *x, int64_t token, int64_t d)
{
    const oracle_scan_call *c = x->c;
    const int64_t at = (c->span[x->b].row * c->G + x->g) * c->S + token;
    const int64_t place[] = {0, x->g, x->g * c->D + d, at, at * c->D + d};
    return c->decay_rank ? exp(c->decay[place[c->decay_rank]]) : 1;
}

static double scan_beta(const scan_state *x, int64_t token)
{
    const oracle_scan_call *c = x->c;
    if (c->beta_rank == 0) return 1;
    return c->beta_rank == 1 ? c->beta[x->g]
                             : c->beta[(c->span[x->b].row * c->G + x->g) * c->S + token];
}

static void scan_forget(const scan_state *x, int64_t token)
{
    const oracle_scan_call *c = x->c;
    for (int64_t d = 0; d < c->D; d++) {
        const double a = scan_decay(x, token, d);
        for (int64_t e = 0; e < c->E; e++) x->s[d * c->E + e] *= a;
        x->z[d] *= a;
    }
}

static void scan_learn(const scan_state *x, int64_t token)
{
    const oracle_scan_call *c = x->c;
    const int64_t at = (c->span[x->b].row * c->G + x->g) * c->S + token;
    const double *k = c->k + at * c->D, *v = c->v + at * c->E;
    for (int64_t e = 0; e < c->E; e++) {
        double u = v[e];
        if (c->delta) {
            for (int64_t d = 0; d < c->D; d++) u -= x->s[d * c->E + e] * k[d];
            u *= scan_beta(x, token);
        }
        for (int64_t d = 0; d < c->D; d++) x->s[d * c->E + e] += k[d] * u;
    }
    for (int64_t d = 0; d < c->D; d++) x->z[d] += k[d];
}

static void scan_read(const scan_state *x, int64_t row)
{
    const oracle_scan_call *c = x->c;
    const int64_t group = c->H / c->G;
    for (int64_t m = 0; c->out && m < group; m++) {
        const int64_t h = c->tiled ? m * c->G + x->g : x->g * group + m;
        const int64_t at = (c->span[x->b].row * c->H + h) * c->T + row;
        double divisor = c->normalise ? c->eps : 1;
        for (int64_t d = 0; c->normalise && d < c->D; d++)
            divisor += c->scale * c->q[at * c->D + d] * x->z[d];
        for (int64_t e = 0; e < c->E; e++) {
            double sum = 0;
            for (int64_t d = 0; d < c->D; d++) sum += c->q[at * c->D + d] * x->s[d * c->E + e];
            c->out[at * c->E + e] = divisor == 0 ? 0 : c->scale * sum / divisor;
        }
    }
}

static void scan_one(const scan_state *x)
{
    const oracle_scan_call *c = x->c;
    const oracle_scan_span *span = &c->span[x->b];
    const int64_t at = x->b * c->G + x->g, cells = c->D * c->E;
    for (int64_t i = 0; i < cells; i++) x->s[i] = c->state ? c->state[at * cells + i] : 0;
    for (int64_t d = 0; d < c->D; d++) x->z[d] = c->state_z ? c->state_z[at * c->D + d] : 0;
    for (int64_t t = 0; t < span->S; t++) {
        scan_forget(x, span->k0 + t);
        scan_learn(x, span->k0 + t);
        if (!c->whole) scan_read(x, span->q0 + t);
    }
    for (int64_t t = 0; c->whole && t < span->T; t++) scan_read(x, span->q0 + t);
    if (c->final_state && cells > 0)
        memcpy(c->final_state + at * cells, x->s, (size_t)cells * sizeof(double));
    if (c->final_z && c->D > 0)
        memcpy(c->final_z + at * c->D, x->z, (size_t)c->D * sizeof(double));
}

void oracle_scan(const oracle_scan_call *c)
{
    double *memory = malloc((size_t)(c->D * (c->E + 1) + 1) * sizeof(double));
    if (!memory) abort();
    for (int64_t b = 0; b < c->N; b++)
        for (int64_t g = 0; g < c->G; g++)
            scan_one(&(scan_state){c, b, g, memory, memory + c->D * c->E});
    free(memory);
}
