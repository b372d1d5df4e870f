/* SPDX-License-Identifier: MIT
 * Parts of a case as calls of their own: every operand becomes a view of just the rows that
 * matter. The library promises the same bits for the part as for the whole. */
#include "support/support.h"

#include <string.h>

/* Right aligned to full dimensions; main tensors of one dimension less lack the heads. */
static attn_tensor view_lift(attn_tensor t, int full, bool main)
{
    while (t.dtype != ATTN_DTYPE_NONE && t.rank < full) {
        int at = main && t.rank == full - 1 ? 1 : 0;
        for (int i = t.rank; i > at; i--) {
            t.shape[i] = t.shape[i - 1];
            t.stride[i] = t.stride[i - 1];
        }
        t.shape[at] = 1;
        t.stride[at] = 0;
        t.rank++;
    }
    return t;
}

static attn_tensor view_rows(attn_tensor t, int dim, int64_t begin, int64_t count)
{
    int64_t bytes = t.stride[dim] * begin * (int64_t)attn_dtype_size(t.dtype);
    if (t.dtype == ATTN_DTYPE_NONE) return t;
    t.data = (char *)t.data + bytes;
    t.shape[dim] = count;
    return t;
}

/* The same for an operand that may broadcast there. */
static attn_tensor view_some(attn_tensor t, int dim, int64_t begin, int64_t count)
{
    return t.dtype == ATTN_DTYPE_NONE || t.shape[dim] == 1 ? t
                                                           : view_rows(t, dim, begin, count);
}

typedef struct view_cut {
    const test_case *c;
    const test_span *s;
    int64_t n, begin, count, row, key; /* row, key: of operands B H T S */
} view_cut;

static view_cut view_cut_make(const test_case *c, int64_t n, int64_t begin, int64_t end)
{
    const test_span *s = &c->span[n];
    return (view_cut){.c = c,
                      .s = s,
                      .n = n,
                      .begin = begin,
                      .count = end - begin,
                      .row = (c->q_packed ? 0 : s->q_row) + begin,
                      .key = c->k_packed ? 0 : s->k_row};
}

static attn_tensor view_queries(const view_cut *cut, attn_tensor t)
{
    return view_rows(view_rows(t, 0, cut->s->q_batch, 1), 2, cut->s->q_row + cut->begin,
                     cut->count);
}

static attn_tensor view_keys(const view_cut *cut, attn_tensor t)
{
    t = view_lift(t, 4, true);
    return view_rows(view_some(t, 0, cut->s->k_batch, 1), 2, cut->s->k_row, cut->s->S);
}

static attn_tensor view_pairs(const view_cut *cut, attn_tensor t)
{
    t = view_some(view_lift(t, 4, false), 0, cut->n, 1);
    return view_some(view_some(t, 2, cut->row, cut->count), 3, cut->key, cut->s->S);
}

/* Pairs without their keys. */
static attn_tensor view_centers(const view_cut *cut, attn_tensor t)
{
    t = view_some(view_lift(t, 3, false), 0, cut->n, 1);
    return view_some(t, 2, cut->row, cut->count);
}

/* Outputs do not broadcast: a dimension of 1 is cut as any other. */
static attn_tensor view_written(const view_cut *cut, attn_tensor t)
{
    t = view_rows(view_lift(t, 4, true), 0, cut->n, 1);
    return view_rows(view_rows(t, 2, cut->row, cut->count), 3, cut->key, cut->s->S);
}

static attn_tensor view_per_head(const view_cut *cut, attn_tensor t)
{
    return view_some(view_lift(t, 2, false), 0, cut->n, 1);
}

static attn_tensor view_row_ids(const view_cut *cut, attn_tensor t, bool keys)
{
    int64_t batch = keys ? cut->s->k_batch : cut->s->q_batch;
    int64_t row = keys ? cut->s->k_row : cut->s->q_row + cut->begin;
    t = view_some(view_lift(t, 2, false), 0, batch, 1);
    return view_some(t, 1, row, keys ? cut->s->S : cut->count);
}

/* False when the cut is inside a block. */
static bool view_blocks(const view_cut *cut, attn_tensor *t)
{
    const attn_spec *s = &cut->c->spec;
    if (t->dtype == ATTN_DTYPE_NONE) return true;
    *t = view_some(view_lift(*t, 4, false), 0, cut->n, 1);
    if (t->shape[2] != 1 && cut->row % s->block_q) return false;
    if (t->shape[3] != 1 && cut->key % s->block_k) return false;
    *t = view_some(*t, 2, cut->row / s->block_q, (cut->count + s->block_q - 1) / s->block_q);
    *t = view_some(*t, 3, cut->key / s->block_k, (cut->s->S + s->block_k - 1) / s->block_k);
    return true;
}

static attn_tensor view_output(test_arena *arena, const attn_tensor *like, int rank,
                               const int64_t *shape)
{
    attn_tensor none = {0};
    return like->dtype == ATTN_DTYPE_NONE ? none : test_tensor(arena, like->dtype, rank, shape);
}

static void view_outputs(const view_cut *cut, test_arena *arena, attn_args *part)
{
    const attn_args *a = &cut->c->args;
    attn_tensor q = view_lift(a->q, 4, true), v = view_lift(a->v, 4, true);
    int64_t shape[4] = {1, q.shape[1], cut->count, v.shape[3]};
    part->out = view_output(arena, &a->out, 4, shape);
    part->lse = view_output(arena, &a->lse, 3, shape);
    shape[3] = cut->s->S;
    part->weights = view_output(arena, &a->weights, 4, shape);
    part->scores = view_output(arena, &a->scores, 4, shape);
}

static bool view_inputs(const view_cut *cut, attn_args *part)
{
    part->q = view_queries(cut, view_lift(part->q, 4, true));
    part->k = view_keys(cut, part->k);
    part->v = view_keys(cut, part->v);
    part->bias_pre = view_pairs(cut, part->bias_pre);
    part->bias = view_pairs(cut, part->bias);
    part->mask = view_pairs(cut, part->mask);
    part->center = view_centers(cut, part->center);
    part->alibi = view_per_head(cut, part->alibi);
    part->sink = view_per_head(cut, part->sink);
    part->q_seg = view_row_ids(cut, part->q_seg, false);
    part->q_pos = view_row_ids(cut, part->q_pos, false);
    part->k_seg = view_row_ids(cut, part->k_seg, true);
    part->k_pos = view_row_ids(cut, part->k_pos, true);
    part->q_start = part->q_len = part->k_start = part->k_len = (attn_tensor){0};
    part->cu_q = part->cu_k = part->offset = part->prefix = (attn_tensor){0};
    return view_blocks(cut, &part->block_mask);
}

bool test_case_part(const test_case *c, int64_t n, int64_t begin, int64_t end,
                    test_arena *arena, attn_spec *spec, attn_args *args, test_user *user)
{
    view_cut cut = view_cut_make(c, n, begin, end);
    *spec = c->spec;
    *args = c->args;
    *user = c->user;
    if (c->spec.dropout > 0 && (n > 0 || begin > 0)) return false;
    if (!view_inputs(&cut, args)) return false;
    view_outputs(&cut, arena, args);
    spec->align = ATTN_ALIGN_OFFSET;
    spec->offset = cut.s->offset + begin;
    spec->prefix = cut.s->prefix;
    user->b_base += n;
    user->i_base += begin;
    if (spec->tile) spec->user = user;
    return true;
}

static bool view_same(const attn_tensor *whole, const attn_tensor *part, const char *name,
                      const char **what)
{
    if (whole->dtype == ATTN_DTYPE_NONE || test_same_bits(*whole, *part)) return true;
    *what = name;
    return false;
}

bool test_case_part_same(const test_case *c, int64_t n, int64_t begin, int64_t end,
                         const attn_args *part, const char **what)
{
    view_cut cut = view_cut_make(c, n, begin, end);
    attn_tensor out = view_queries(&cut, view_lift(c->args.out, 4, true));
    attn_tensor lse = view_queries(&cut, view_lift(c->args.lse, 3, true));
    attn_tensor weights = view_written(&cut, c->args.weights);
    attn_tensor scores = view_written(&cut, c->args.scores);
    return view_same(&out, &part->out, "out", what) &&
           view_same(&lse, &part->lse, "lse", what) &&
           view_same(&weights, &part->weights, "weights", what) &&
           view_same(&scores, &part->scores, "scores", what);
}

/* ---- gradients ---- */

typedef attn_tensor (*view_way)(const view_cut *cut, attn_tensor t);

/* The gradients that belong to one sequence, and how they are cut out of the whole. */
typedef struct view_grad {
    oracle_grad g;
    view_way cut;
} view_grad;

static const view_grad view_grads[] = {
    {ORACLE_GRAD_q, view_queries},      {ORACLE_GRAD_k, view_keys},
    {ORACLE_GRAD_v, view_keys},         {ORACLE_GRAD_bias, view_pairs},
    {ORACLE_GRAD_bias_pre, view_pairs}, {ORACLE_GRAD_mask, view_pairs},
    {ORACLE_GRAD_alibi, view_per_head}, {ORACLE_GRAD_sink, view_per_head},
    {ORACLE_GRAD_center, view_centers},
};
enum { VIEW_GRADS = sizeof view_grads / sizeof view_grads[0] };

static int view_dims(const view_grad *v)
{
    return v->cut == view_per_head ? 2 : v->cut == view_centers ? 3 : 4;
}

/* Whether other sequences add to the gradient as well. */
static bool view_shared(const test_case *c, const view_grad *v)
{
    const attn_tensor *t = test_grad_operand(&c->args, v->g);
    bool keys = v->cut == view_keys, main = keys || v->cut == view_queries;
    if (c->n_seq == 1 || (main && (keys ? c->k_packed : c->q_packed))) return false;
    return view_lift(*t, view_dims(v), main).shape[0] == 1;
}

bool test_case_part_grad(const test_case *c, int64_t n, test_arena *arena, attn_spec *spec,
                         attn_args *args, test_user *user)
{
    const attn_args *a = &c->args;
    view_cut cut = view_cut_make(c, n, 0, c->span[n].T);
    if (!test_case_part(c, n, 0, c->span[n].T, arena, spec, args, user)) return false;
    args->out = view_queries(&cut, view_lift(a->out, 4, true));
    args->lse = view_queries(&cut, view_lift(a->lse, 3, true));
    if (a->d_out.dtype) args->d_out = view_queries(&cut, view_lift(a->d_out, 4, true));
    if (a->d_lse.dtype) args->d_lse = view_queries(&cut, view_lift(a->d_lse, 3, true));
    for (int i = 0; i < ORACLE_N_GRADS; i++)
        *test_grad_of(args, (oracle_grad)i) = (attn_tensor){0};
    for (int i = 0; i < VIEW_GRADS; i++) {
        oracle_grad g = view_grads[i].g;
        const attn_tensor *like = test_grad_operand(args, g), *whole = test_grad_in(a, g);
        if (whole->dtype && !view_shared(c, &view_grads[i]))
            *test_grad_of(args, g) = test_tensor(arena, whole->dtype, like->rank, like->shape);
    }
    return true;
}

bool test_case_part_grad_same(const test_case *c, int64_t n, const attn_args *part,
                              const char **what)
{
    view_cut cut = view_cut_make(c, n, 0, c->span[n].T);
    for (int i = 0; i < VIEW_GRADS; i++) {
        oracle_grad g = view_grads[i].g;
        const attn_tensor *mine = test_grad_in(part, g);
        attn_tensor all = *test_grad_in(&c->args, g);
        if (!mine->dtype) continue;
        all = view_lift(all, view_dims(&view_grads[i]), g <= ORACLE_GRAD_v);
        all = view_grads[i].cut(&cut, all);
        if (!view_same(&all, mine, test_grad_name(g), what)) return false;
    }
    return true;
}
