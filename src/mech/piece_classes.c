/* SPDX-License-Identifier: MIT
 * Tokens a fixed step apart: within such a class neighbours are next to each other, so windows
 * with gaps are plain windows, and "every l-th key" is a short causal sequence. */
#include "mech/mech.h"

typedef struct classes {
    int64_t T, step;
} classes;

/* Class g % step of sequence and head g / step. */
static int64_t classes_rows(const void *user, int64_t g, int64_t *rows)
{
    const classes *c = user;
    const int64_t first = g % c->step, base = g / c->step * c->T;
    int64_t n = 0;
    for (int64_t i = first; i < c->T; i += c->step, n++)
        if (rows) rows[n] = base + i;
    return n;
}

attn_var attn__attend_classes(attn_tape *t, const attn_spec *spec,
                              const attn_attention_vars *vars, attn_var mask, int64_t step,
                              attn_var *lse)
{
    const attn_tensor q = attn_tape_value(t, vars->q);
    if (lse) *lse = (attn_var){0};
    if (!attn__present(&q)) return (attn_var){0};
    const int64_t B = q.shape[0], H = q.shape[1], T = q.shape[2];
    const classes c = {T, attn__max(attn__min(step, T), 1)};
    const attn__groups groups = {.n = B * H * c.step,
                                 .per = H * c.step,
                                 .q = classes_rows,
                                 .k = classes_rows,
                                 .user = attn__tape_keep(t, &c, sizeof c),
                                 .visible = attn__tape_visible(t, mask, H)};
    const attn_attention_vars rows = {.q = attn__tape_rows(t, vars->q),
                                      .k = attn__tape_rows(t, vars->k),
                                      .v = attn__tape_rows(t, vars->v)};
    const attn_var o = attn__attend_groups(t, spec, &rows, &groups, lse);
    if (lse) *lse = attn__rows_back(t, *lse, &groups, classes_rows, ATTN_DIMS(B, H, T));
    return attn__rows_back(t, o, &groups, classes_rows, ATTN_DIMS(B, H, T));
}
