/* SPDX-License-Identifier: MIT
 * Rows that attend within groups: lists of queries and keys are gathered next to each other, go
 * through the fused engine as packed sequences, and come back where they were. What a group
 * costs is its own pairs, whatever its rows are: residue classes, buckets, clusters, blocks.
 *
 * Groups are done a segment at a time. When there are several, each is a checkpoint: the
 * gathered rows of one segment are all that is ever kept. Where the segments end depends on
 * one batch entry alone, and so do the bits of every sum. */
#include "mech/mech.h"

enum {
    GROUPS_ROWS = 1 << 14, /* gathered keys of a segment, about */
    GROUPS_PAIRS = 64,     /* flags that weigh as much as a key */
    GROUPS_PARTS = 16,     /* results joined at a time */
    GROUPS_LEVELS = 12     /* joined again: more than there can be */
};

typedef struct groups_call {
    attn_spec spec;
    attn__groups g;
    const int64_t *q_first, *k_first; /* n + 1 */
} groups_call;

typedef struct groups_segment {
    const groups_call *call;
    int64_t from, to;
} groups_segment;

/* ---- one segment ------------------------------------------------------------------------- */

/* The rows that a list names in groups from .. to, and where each group of them begins. */
static attn_var groups_list(attn_tape *t, const groups_segment *s, attn__rows_fn fn,
                            const int64_t *first, int64_t **rows, attn_tensor *cu)
{
    const int64_t n = first[s->to] - first[s->from], groups = s->to - s->from;
    int64_t *begin = attn__tape_memory(t, groups + 1, sizeof *begin);
    *rows = attn__tape_memory(t, n, sizeof **rows);
    if (!begin || !*rows) return (attn_var){0};
    for (int64_t g = 0; g <= groups; g++) begin[g] = first[s->from + g] - first[s->from];
    for (int64_t g = 0; g < groups; g++)
        (void)fn(s->call->g.user, s->from + g, *rows + begin[g]);
    *cu = attn_tensor_make(begin, ATTN_DTYPE_I64, 1, (const int64_t[]){groups + 1});
    return attn__tape_ids(t, *rows, ATTN_DIMS(n));
}

static int64_t groups_longest(const int64_t *first, int64_t from, int64_t to)
{
    int64_t most = 0;
    for (int64_t g = from; g < to; g++) most = attn__max(most, first[g + 1] - first[g]);
    return most;
}

/* One flag for every pair of a group. */
static attn_tensor groups_mask(attn_tape *t, const groups_segment *s, const int64_t *q,
                               const int64_t *k)
{
    const groups_call *c = s->call;
    const int64_t T = groups_longest(c->q_first, s->from, s->to);
    const int64_t S = groups_longest(c->k_first, s->from, s->to);
    uint8_t *mask = attn__tape_memory(t, (s->to - s->from) * T * S, 1);
    for (int64_t g = s->from; mask && g < s->to; g++) {
        const int64_t *from = q + c->q_first[g] - c->q_first[s->from];
        const int64_t *to = k + c->k_first[g] - c->k_first[s->from];
        for (int64_t i = 0; i < c->q_first[g + 1] - c->q_first[g]; i++)
            c->g.sees(c->g.user, g, from[i], c->k_first[g + 1] - c->k_first[g], to,
                      mask + ((g - s->from) * T + i) * S);
    }
    return attn_tensor_make(mask, ATTN_DTYPE_U8, 4,
                            (const int64_t[]){s->to - s->from, 1, T, S});
}

/* Hidden keys are another document than everything that asks. */
static void groups_hide(attn_tape *t, const groups_segment *s, const int64_t *k,
                        attn_args *args)
{
    const groups_call *c = s->call;
    const int64_t n = c->k_first[s->to] - c->k_first[s->from];
    uint8_t *seg = attn__tape_memory(t, n + 1, 1);
    if (!seg) return;
    for (int64_t j = 0; j < n; j++) seg[j] = c->g.visible[k[j]];
    seg[n] = 1;
    args->k_seg = attn_tensor_make(seg, ATTN_DTYPE_U8, 1, &n);
    args->q_seg = attn_tensor_make(seg + n, ATTN_DTYPE_U8, 1, (const int64_t[]){1});
}

static void groups_run(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    const groups_segment *s = user;
    const groups_call *c = s->call;
    attn_args args = ATTN_ARGS(.q = {0});
    int64_t *q = NULL, *k = NULL;
    const attn_var from = groups_list(t, s, c->g.q, c->q_first, &q, &args.cu_q);
    const attn_var to = groups_list(t, s, c->g.k, c->k_first, &k, &args.cu_k);
    if (!attn__given(from) || !attn__given(to)) return;
    if (c->g.visible) groups_hide(t, s, k, &args);
    if (c->g.sees) args.mask = groups_mask(t, s, q, k);
    const attn_attention_vars vars = {.q = attn_tape_embedding(t, in[0], from, -1),
                                      .k = attn_tape_embedding(t, in[1], to, -1),
                                      .v = attn_tape_embedding(t, in[2], to, -1)};
    out[0] = attn_tape_attention(t, &c->spec, &vars, &args, &out[1]);
    attn_tape_drop(t, vars.q);
    attn_tape_drop(t, vars.k);
    attn_tape_drop(t, vars.v);
}

/* ---- all of them ------------------------------------------------------------------------- */

static const int64_t *groups_first(attn_tape *t, const attn__groups *g, attn__rows_fn fn)
{
    int64_t *first = attn__tape_memory(t, g->n + 1, sizeof *first);
    if (first) first[0] = 0;
    for (int64_t i = 0; first && i < g->n; i++) first[i + 1] = first[i] + fn(g->user, i, NULL);
    return first;
}

/* Where the segment that begins at group from ends: as many whole batch entries as there is
 * room for, or a part of one. */
static int64_t groups_cut(const groups_call *c, int64_t from)
{
    int64_t whole = from, T = 0, S = 0;
    for (int64_t g = from; g < c->g.n; g++) {
        T = attn__max(T, c->q_first[g + 1] - c->q_first[g]);
        S = attn__max(S, c->k_first[g + 1] - c->k_first[g]);
        int64_t cost = c->k_first[g + 1] - c->k_first[from];
        if (c->g.sees) cost += (g + 1 - from) * T * S / GROUPS_PAIRS;
        if (cost > GROUPS_ROWS && g > from) return whole > from ? whole : g;
        if ((g + 1) % c->g.per == 0) whole = g + 1;
    }
    return c->g.n;
}

/* Results that wait to be joined: when there are enough of them they become one of the next
 * level, so each is copied a few times only. Earlier ones stand at higher levels. */
typedef struct groups_parts {
    attn_var part[GROUPS_LEVELS][GROUPS_PARTS + 1][2]; /* out, lse */
    int n[GROUPS_LEVELS];
} groups_parts;

/* The parts of a level as one, which it leaves in its first place. */
static void groups_join(attn_tape *t, groups_parts *p, int level)
{
    attn_var parts[GROUPS_PARTS + 1];
    for (int i = 0; i < 2 && p->n[level] > 1; i++) {
        for (int n = 0; n < p->n[level]; n++) parts[n] = p->part[level][n][i];
        p->part[level][0][i] = attn_tape_concat(t, p->n[level], parts, 0);
        for (int n = 0; n < p->n[level]; n++) attn_tape_drop(t, parts[n]);
    }
    if (p->n[level] > 1) p->n[level] = 1;
}

static void groups_push(groups_parts *p, int level, const attn_var *part)
{
    attn_var *to = p->part[level][p->n[level]++];
    to[0] = part[0], to[1] = part[1];
}

static void groups_add(attn_tape *t, groups_parts *p, const attn_var *part)
{
    groups_push(p, 0, part);
    for (int l = 0; l + 1 < GROUPS_LEVELS && p->n[l] == GROUPS_PARTS; l++) {
        groups_join(t, p, l);
        groups_push(p, l + 1, p->part[l][0]);
        p->n[l] = 0;
    }
}

/* Everything, in the first place of the last level. */
static void groups_close(attn_tape *t, groups_parts *p)
{
    for (int l = 0; l < GROUPS_LEVELS; l++) {
        groups_join(t, p, l);
        if (p->n[l] == 1 && l + 1 < GROUPS_LEVELS) groups_push(p, l + 1, p->part[l][0]);
    }
}

static groups_call *groups_open(attn_tape *t, const attn_spec *spec, const attn__groups *g)
{
    const groups_call call = {.spec = spec ? *spec : ATTN_SPEC(.scale = 0),
                              .g = *g,
                              .q_first = groups_first(t, g, g->q),
                              .k_first = groups_first(t, g, g->k)};
    return call.q_first && call.k_first ? attn__tape_keep(t, &call, sizeof call) : NULL;
}

/* One segment, kept whole when it is the only one. */
static bool groups_go(attn_tape *t, const groups_call *call, int64_t from, int64_t to,
                      const attn_attention_vars *rows, attn_var *out)
{
    const attn_var in[3] = {rows->q, rows->k, rows->v};
    groups_segment *s = attn__tape_keep(t, &(groups_segment){call, from, to}, sizeof *s);
    if (!s) return false;
    if (to - from < call->g.n) return attn_tape_checkpoint(t, groups_run, s, 3, in, 2, out);
    groups_run(t, s, in, out);
    return attn_tape_status(t, NULL) == ATTN_OK;
}

attn_var attn__attend_groups(attn_tape *t, const attn_spec *spec,
                             const attn_attention_vars *rows, const attn__groups *g,
                             attn_var *lse)
{
    groups_parts parts = {.n = {0}};
    if (lse) *lse = (attn_var){0};
    if (attn_tape_status(t, NULL) != ATTN_OK) return (attn_var){0};
    const groups_call *call = groups_open(t, spec, g);
    if (!call) return (attn_var){0};
    int64_t from = 0;
    do { /* once where there are no groups */
        attn_var out[2] = {{0}};
        const int64_t to = groups_cut(call, from);
        if (!groups_go(t, call, from, to, rows, out)) return (attn_var){0};
        groups_add(t, &parts, out);
        from = to;
    } while (from < g->n);
    groups_close(t, &parts);
    if (lse) *lse = parts.part[GROUPS_LEVELS - 1][0][1];
    return parts.part[GROUPS_LEVELS - 1][0][0];
}

attn_var attn__rows_back(attn_tape *t, attn_var x, const attn__groups *g, attn__rows_fn place,
                         attn_dims shape)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    int64_t *at = attn__tape_memory(t, v.shape[0], sizeof *at);
    int64_t *ids = attn__tape_memory(t, v.shape[0], sizeof *ids);
    if (!at || !ids) return (attn_var){0};
    for (int64_t i = 0, n = 0; i < g->n; i++) n += place(g->user, i, at + n);
    for (int64_t n = 0; n < v.shape[0]; n++) ids[at[n]] = n;
    const attn_var to = attn__tape_ids(t, ids, shape);
    if (v.rank == 2) return attn_tape_embedding(t, x, to, -1);
    const attn_var y = attn_tape_embedding(t, attn_tape_unsqueeze(t, x, 1), to, -1);
    return attn_tape_reshape(t, y, shape);
}
