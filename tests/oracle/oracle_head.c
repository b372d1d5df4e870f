/* SPDX-License-Identifier: MIT
 * What every answer of the oracle walks over: one sequence and head after the other, its keys
 * turned once, its queries one at a time, and which weights dropout keeps. */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

bool oracle_head_make(oracle_head *w, const oracle_problem *p)
{
    size_t row = (size_t)(p->D + 1) * sizeof(oracle_real), keys = (size_t)p->S + 1;
    *w = (oracle_head){.p = p, .n = -1, .h = p->H};
    w->keys = malloc(keys * row);
    w->key_mags = malloc(keys * row);
    w->query = malloc(2 * row);
    return w->keys && w->key_mags && w->query;
}

void oracle_head_free(oracle_head *w)
{
    free(w->keys);
    free(w->key_mags);
    free(w->query);
    *w = (oracle_head){0};
}

static void head_keys(const oracle_head *w)
{
    const oracle_problem *p = w->p;
    for (int64_t j = 0; j < w->s->S; j++) {
        oracle_row key = oracle_head_key(w, j);
        int64_t m = oracle_head_key_position(w, j);
        if (p->flip == ORACLE_FLIP_ROPE_POSITION) m += j == 0;
        oracle_turn(p, &p->k, (int64_t[]){w->s->k_batch, w->g, w->s->k_row + j}, m, &key);
    }
}

bool oracle_head_next(oracle_head *w)
{
    const oracle_problem *p = w->p;
    bool tiled = (p->spec.head_map == ATTN_HEADS_TILED) != (p->flip == ORACLE_FLIP_HEAD_MAP);
    if (++w->h >= p->H) {
        w->h = 0;
        w->n++;
    }
    if (w->n >= p->N || p->H == 0) return false;
    w->s = &p->sequence[w->n];
    w->g = tiled ? w->h % p->G : w->h / (p->H / p->G);
    head_keys(w);
    return true;
}

oracle_pair oracle_head_pair(const oracle_head *w, int64_t i, int64_t j)
{
    const oracle_problem *p = w->p;
    return (oracle_pair){.n = w->n,
                         .h = w->h,
                         .g = w->g,
                         .i = i,
                         .j = j,
                         .p = i + w->s->offset,
                         .row = p->q_packed ? i : w->s->q_row + i,
                         .key = p->k_packed ? j : w->s->k_row + j};
}

int64_t oracle_head_key_position(const oracle_head *w, int64_t j)
{
    const oracle_problem *p = w->p;
    if (!p->k_pos.data) return j;
    return oracle_read_int(&p->k_pos, w->s->k_batch, w->s->k_row + j, 0, 0);
}

int64_t oracle_head_query_position(const oracle_head *w, int64_t i)
{
    const oracle_problem *p = w->p;
    if (!p->q_pos.data) return i + w->s->offset;
    return oracle_read_int(&p->q_pos, w->s->q_batch, w->s->q_row + i, 0, 0);
}

oracle_row oracle_head_key(const oracle_head *w, int64_t j)
{
    return (oracle_row){w->keys + j * w->p->D, w->key_mags + j * w->p->D};
}

oracle_row oracle_head_query(const oracle_head *w, int64_t i)
{
    const oracle_problem *p = w->p;
    oracle_row query = {w->query, w->query + p->D};
    oracle_turn(p, &p->q, (int64_t[]){w->s->q_batch, w->h, w->s->q_row + i},
                oracle_head_query_position(w, i), &query);
    return query;
}

oracle_real oracle_head_kept(const oracle_head *w, int64_t i, int64_t j)
{
    const attn_spec *spec = &w->p->spec;
    if (spec->dropout == 0) return 1;
    uint32_t low = (uint32_t)spec->seed, high = (uint32_t)(spec->seed >> 32), word[4];
    bool swap = w->p->flip == ORACLE_FLIP_DROPOUT_KEY;
    oracle_philox((uint32_t[]){(uint32_t)(j >> 2), (uint32_t)i, (uint32_t)w->h, (uint32_t)w->n},
                  (uint32_t[]){swap ? high : low, swap ? low : high}, word);
    if ((oracle_real)word[j & 3] < floorl((oracle_real)spec->dropout * 0x1p32L)) return 0;
    return w->p->flip == ORACLE_FLIP_DROPOUT_KEEP ? 1 : 1 / (1 - (oracle_real)spec->dropout);
}
