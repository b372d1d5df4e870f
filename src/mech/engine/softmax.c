/* SPDX-License-Identifier: MIT
 * Softmax attention, everything the fused engine can do, under one name:
 *
 *     out = softmax(scores(q, k)) v,   scores = scale q.k + position terms + biases, masked
 *
 * q B H T D, k B G S D, v B G S E give out B H T E without an H x T x S matrix in memory. The
 * slots are the fields of attn_args and the parameters those of attn_spec, so this file is two
 * lists: what a slot or parameter is called, what it means and where it goes.
 * Vaswani et al. 2017 (1706.03762). Run by attn_mech_run. */
#include "mech/mech.h"

#include "attn/attention.h"

#include <string.h>

/* A slot named as the field of attn_args it fills: SLOT(name, kind, shape, about). */
#define SOFTMAX_IN  (ATTN_IN | ATTN_OPTIONAL)
#define SOFTMAX_D   (ATTN_IN | ATTN_OPTIONAL | ATTN_GRAD)
#define SOFTMAX_OUT (ATTN_OUT | ATTN_OPTIONAL)
#define SOFTMAX_SLOTS(SLOT)                                                                    \
    SLOT(q, ATTN_IN | ATTN_GRAD, "B H T D", "queries")                                         \
    SLOT(k, ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H")                               \
    SLOT(v, ATTN_IN | ATTN_GRAD, "B G S E", "values")                                          \
    SLOT(out, ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted sums of v")                       \
    SLOT(lse, SOFTMAX_OUT | ATTN_GRAD, "B H T",                                                \
         "log of the sum of exp(score), -inf for an empty row")                                \
    SLOT(weights, SOFTMAX_OUT, "B H T S", "the softmax, before dropout")                       \
    SLOT(scores, SOFTMAX_OUT, "B H T S", "the scores at scores_stage")                         \
    SLOT(bias_pre, SOFTMAX_D, "*B H T S", "added before softcap; -inf masks")                  \
    SLOT(bias, SOFTMAX_D, "*B H T S", "added after softcap; -inf masks")                       \
    SLOT(mask, SOFTMAX_D, "*B H T S", "false (0) forbids; a float mask is added")              \
    SLOT(block_mask, SOFTMAX_IN, "*B H X Y", "blocks: 0 empty, 1 full, 2 partial")             \
    SLOT(tree, SOFTMAX_IN, "*B T T",                                                           \
         "which of the last T keys, the queries' own, a query sees")                           \
    SLOT(alibi, SOFTMAX_D, "*B H", "slopes: score - slope |p - j|")                            \
    SLOT(sink, SOFTMAX_D, "*B H", "score of a key without a value")                            \
    SLOT(q_start, SOFTMAX_IN, "B", "padding rows before the queries")                          \
    SLOT(q_len, SOFTMAX_IN, "B", "queries of each sequence")                                   \
    SLOT(k_start, SOFTMAX_IN, "B", "padding rows before the keys")                             \
    SLOT(k_len, SOFTMAX_IN, "B", "keys of each sequence")                                      \
    SLOT(cu_q, SOFTMAX_IN, "N+1", "packed: where each sequence of queries begins")             \
    SLOT(cu_k, SOFTMAX_IN, "N+1", "packed: where each sequence of keys begins")                \
    SLOT(offset, SOFTMAX_IN, "B", "position of query 0 of each sequence")                      \
    SLOT(prefix, SOFTMAX_IN, "B", "keys visible in spite of causal")                           \
    SLOT(q_seg, SOFTMAX_IN, "*B T", "segment of each query")                                   \
    SLOT(k_seg, SOFTMAX_IN, "*B S", "segment of each key; equal ones see each other")          \
    SLOT(rel_table, SOFTMAX_D, "*H M", "bias by relative position; see rel")                   \
    SLOT(rel_k, SOFTMAX_D, "*H R D", "relative position vectors added to k; R is odd")         \
    SLOT(rel_v, SOFTMAX_D, "*H R E", "relative position vectors added to v; R is odd")         \
    SLOT(q_pos, SOFTMAX_IN, "*B T", "position of each query for the rotation")                 \
    SLOT(k_pos, SOFTMAX_IN, "*B S", "position of each key for the rotation")                   \
    SLOT(rope_cos, SOFTMAX_IN, "P L", "cosines by position, L pairs, in place of rope_base")   \
    SLOT(rope_sin, SOFTMAX_IN, "P L", "sines by position")                                     \
    SLOT(score_w, SOFTMAX_D, "*H D", "weights of score=additive; absent: ones")                \
    SLOT(center, SOFTMAX_D, "*B H T", "where a query looks, in positions of keys")             \
    SLOT(alpha, SOFTMAX_D, "*H", "of entmax, for each head, in place of the parameter")

#define SOFTMAX_ROW(name, kind, shape, about)    {#name, kind, shape, about},
#define SOFTMAX_NUMBER(name, kind, shape, about) SLOT_##name,
enum { SOFTMAX_SLOTS(SOFTMAX_NUMBER) SLOT_positions };

static const attn_slot softmax_slots[] = {
    SOFTMAX_SLOTS(SOFTMAX_ROW){"positions", SOFTMAX_IN, "*B T",
                               "sets q_pos, and k_pos where T is S and it is not given"},
    {0}};

/* PARAM(name, kind, fallback, choices, about, what it sets in the spec). */
#define SOFTMAX_PARAMS(PARAM)                                                                  \
    PARAM(scale, 'f', "0", NULL, "factor of the score; 0: 1 / sqrt(D), 1 if additive",         \
          s.scale = p.f)                                                                       \
    PARAM(softcap, 'f', "0", NULL, "c tanh(score / c); 0: none", s.softcap = p.f)              \
    PARAM(causal, 'b', "false", NULL, "keys up to the query's position", s.causal = p.i)       \
    PARAM(align, 'e', "unset", "unset|top_left|bottom_right|offset",                           \
          "where query 0 stands when T and S differ", s.align = (attn_align)p.i)               \
    PARAM(offset, 'i', "0", NULL, "position of query 0 under align=offset", s.offset = p.i)    \
    PARAM(window_left, 'i', "-1", NULL, "keys before the position; -1: all",                   \
          s.window.left = p.i)                                                                 \
    PARAM(window_right, 'i', "-1", NULL, "keys after the position; -1: all",                   \
          s.window.right = p.i)                                                                \
    PARAM(prefix, 'i', "0", NULL, "first keys, visible in spite of causal", s.prefix = p.i)    \
    PARAM(chunk, 'i', "0", NULL, "positions see their own chunk only; 0: none", s.chunk = p.i) \
    PARAM(head_map, 'e', "interleaved", "interleaved|tiled",                                   \
          "head h reads key head h/(H/G) or h%G", s.head_map = (attn_head_map)p.i)             \
    PARAM(softmax1, 'b', "false", NULL, "one more exp(0) in the sum", s.softmax1 = p.i)        \
    PARAM(dropout, 'f', "0", NULL, "probability to drop a weight", s.dropout = p.f)            \
    PARAM(seed, 'i', "0", NULL, "of the dropout", s.seed = (uint64_t)p.i)                      \
    PARAM(rope, 'e', "none", "none|half|interleaved", "rotate q and k by position",            \
          s.rope.kind = (attn_rope_kind)p.i)                                                   \
    PARAM(rope_base, 'f', "0", NULL, "of the angles; 0: 10000", s.rope.base = p.f)             \
    PARAM(rope_dims, 'i', "0", NULL, "leading elements turned; 0: all D", s.rope.dims = p.i)   \
    PARAM(rel, 'e', "none", "none|bucket|grid|offset", "how rel_table is looked up",           \
          s.rel.kind = (attn_rel_kind)p.i)                                                     \
    PARAM(rel_max_distance, 'i', "0", NULL, "of the buckets; 0: 128",                          \
          s.rel.max_distance = p.i)                                                            \
    PARAM(rel_causal, 'b', "false", NULL, "one-sided buckets", s.rel.causal_buckets = p.i)     \
    PARAM(grid_height, 'i', "0", NULL, "rows of the grid", s.rel.height = p.i)                 \
    PARAM(grid_width, 'i', "0", NULL, "columns of the grid", s.rel.width = p.i)                \
    PARAM(block_q, 'i', "0", NULL, "queries of a block of block_mask", s.block_q = p.i)        \
    PARAM(block_k, 'i', "0", NULL, "keys of a block of block_mask", s.block_k = p.i)           \
    PARAM(scores_stage, 'e', "scaled", "scaled|capped|masked", "when scores are taken",        \
          s.scores_stage = (attn_scores_stage)p.i)                                             \
    PARAM(score, 'e', "dot", "dot|l2|additive",                                                \
          "q.k, -|q - k|^2 or the sum of score_w tanh(q + k)", s.score = (attn_score_kind)p.i) \
    PARAM(center_width, 'f', "0", NULL, "keys this near to center are seen; 0: all",           \
          s.center_width = p.f)                                                                \
    PARAM(center_sigma, 'f', "0", NULL, "adds -(j - center)^2 / (2 sigma^2); 0: nothing",      \
          s.center_sigma = p.f)                                                                \
    PARAM(normaliser, 'e', "softmax", "softmax|sigmoid|relu2|linear|entmax|top_k",             \
          "what makes weights of scores", s.normaliser = (attn_norm_kind)p.i)                  \
    PARAM(norm_shift, 'f', "0", NULL, "added to scores: sigmoid, relu2, linear",               \
          s.norm_shift = p.f)                                                                  \
    PARAM(norm_count, 'b', "false", NULL, "sigmoid: -ln of the keys seen, added",              \
          s.norm_count = p.i)                                                                  \
    PARAM(norm_mean, 'b', "false", NULL, "sigmoid, relu2, linear: over the keys seen",         \
          s.norm_mean = p.i)                                                                   \
    PARAM(alpha, 'f', "0", NULL, "entmax: 1 softmax, 2 sparsemax; 0: 1.5", s.alpha = p.f)      \
    PARAM(top_k, 'i', "0", NULL, "top_k: so many largest scores", s.top_k = p.i)               \
    PARAM(precision, 'e', "exact", "exact|half",                                               \
          "half: 16-bit products, without gradients of their own",                             \
          s.precision = (attn_precision)p.i)

#define SOFTMAX_PARAM_ROW(name, kind, fallback, choices, about, set)                           \
    {#name, kind, fallback, choices, about},
static const attn_param softmax_params[] = {SOFTMAX_PARAMS(SOFTMAX_PARAM_ROW){0}};

static attn_spec softmax_spec(const attn_mech_call *call)
{
    attn_spec s = {.size = sizeof s};
    const attn_value *next = call->params;
#define SOFTMAX_SET(name, kind, fallback, choices, about, set)                                 \
    do {                                                                                       \
        const attn_value p = *next++;                                                          \
        set;                                                                                   \
    } while (0);
    SOFTMAX_PARAMS(SOFTMAX_SET)
#undef SOFTMAX_SET
    s.window.on = s.window.left != -1 || s.window.right != -1;
    /* Whoever gives an offset has said where the queries stand. */
    bool offset = s.offset != 0 || attn__present(&call->slots[SLOT_offset]);
    if (s.align == ATTN_ALIGN_UNSET && offset) s.align = ATTN_ALIGN_OFFSET;
    return s;
}

static attn_args softmax_args(const attn_mech_call *call)
{
    attn_args a = {.size = sizeof a};
#define SOFTMAX_TAKE(name, kind, shape, about) a.name = call->slots[SLOT_##name];
    SOFTMAX_SLOTS(SOFTMAX_TAKE)
#undef SOFTMAX_TAKE
    const attn_tensor *positions = &call->slots[SLOT_positions];
    if (!attn__present(positions)) return a;
    bool same = a.q.shape[2] == a.k.shape[2] && a.q.shape[0] == a.k.shape[0];
    if (!attn__present(&a.q_pos)) a.q_pos = *positions;
    if (!attn__present(&a.k_pos) && same) a.k_pos = *positions;
    return a;
}

/* The engine names fields of attn_spec in its errors; who comes here knows parameters. */
static void softmax_rename(attn_error *error)
{
    static const struct {
        const char *field, *param;
    } names[] = {{"window.left", "window_left"},
                 {"window.right", "window_right"},
                 {"rope.kind", "rope"},
                 {"rope.base", "rope_base"},
                 {"rope.dims", "rope_dims"},
                 {"rel.kind", "rel"},
                 {"rel.height", "grid_height"},
                 {"rel.width", "grid_width"},
                 {"rel.max_distance", "rel_max_distance"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(error->where, names[i].field) == 0) error->where = names[i].param;
}

/* ---- gradients ----------------------------------------------------------------------- */

#define SOFTMAX_GRADIENT(name)                                                                 \
    {                                                                                          \
        SLOT_##name, offsetof(attn_args, d_##name)                                             \
    }

/* Slots with a gradient and the fields of attn_args that take it. */
static const struct {
    int slot;
    size_t at;
} softmax_gradients[] = {
    SOFTMAX_GRADIENT(q),         SOFTMAX_GRADIENT(k),       SOFTMAX_GRADIENT(v),
    SOFTMAX_GRADIENT(out),       SOFTMAX_GRADIENT(lse),     SOFTMAX_GRADIENT(bias_pre),
    SOFTMAX_GRADIENT(bias),      SOFTMAX_GRADIENT(mask),    SOFTMAX_GRADIENT(alibi),
    SOFTMAX_GRADIENT(sink),      SOFTMAX_GRADIENT(rel_k),   SOFTMAX_GRADIENT(rel_v),
    SOFTMAX_GRADIENT(rel_table), SOFTMAX_GRADIENT(score_w), SOFTMAX_GRADIENT(center),
    SOFTMAX_GRADIENT(alpha),
};

static void softmax_take_gradients(const attn_mech_call *call, attn_args *args)
{
    const size_t n = sizeof softmax_gradients / sizeof softmax_gradients[0];
    for (size_t i = 0; i < n; i++)
        *(attn_tensor *)(void *)((char *)args + softmax_gradients[i].at) =
            call->d_slots[softmax_gradients[i].slot];
}

/* A forward pass that keeps out and lse as exact as the arithmetic, in memory of their own, and
 * the way back. What can fail is made before either runs. */
typedef struct softmax_saved {
    attn_tensor out, lse;
    void *memory, *workspace;
    size_t size, workspace_size;
    attn_plan *forward, *backward;
} softmax_saved;

static attn_status softmax_save(attn_ctx *ctx, const attn_args *a, softmax_saved *saved,
                                attn_error *error)
{
    const int64_t *q = a->q.shape, E = a->v.shape[3];
    const bool f64 = a->q.dtype == ATTN_DTYPE_F64 || a->k.dtype == ATTN_DTYPE_F64 ||
                     a->v.dtype == ATTN_DTYPE_F64;
    const attn_dtype real = f64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    const int64_t rows[] = {q[0], q[1], q[2]}, whole[] = {q[0], q[1], q[2], E};
    saved->lse = attn_tensor_make(NULL, ATTN_DTYPE_F64, 3, rows);
    saved->out = attn_tensor_make(NULL, real, 4, whole);
    int64_t n_rows = attn_tensor_count(saved->lse), n, bytes;
    if (n_rows < 0 || !attn__mul(n_rows, attn__max(E, 0), &n) ||
        !attn__add(n_rows, n, &bytes) || !attn__mul(bytes, (int64_t)sizeof(double), &bytes))
        return attn__fail(error, ATTN_E_OVERFLOW, "out", "its size does not fit in 64 bits");
    saved->size = (size_t)bytes;
    saved->memory = attn__new(ctx, saved->size);
    if (!saved->memory) return attn__fail(error, ATTN_E_MEMORY, "out", "an allocation failed");
    saved->lse.data = saved->memory;
    saved->out.data = (double *)saved->memory + n_rows;
    return ATTN_OK;
}

/* What the caller wants of out and lse, rounded once. */
static attn_status softmax_give(const attn_mech_call *call, const softmax_saved *saved,
                                attn_error *error)
{
    const attn_tensor *out = &call->slots[SLOT_out], *lse = &call->slots[SLOT_lse];
    if (attn__present(out)) ATTN_TRY(attn_tensor_copy(*out, saved->out, error));
    return attn__present(lse) ? attn_tensor_copy(*lse, saved->lse, error) : ATTN_OK;
}

static attn_status softmax_plans(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                                 softmax_saved *saved, attn_error *error)
{
    ATTN_TRY(attn_plan_create(&saved->forward, ctx, spec, args, error));
    ATTN_TRY(attn_plan_create_backward(&saved->backward, ctx, spec, args, error));
    const size_t there = attn_plan_workspace(saved->forward);
    const size_t back = attn_plan_workspace(saved->backward);
    saved->workspace_size = there > back ? there : back;
    saved->workspace = attn__new(ctx, saved->workspace_size);
    return saved->workspace
               ? ATTN_OK
               : attn__fail(error, ATTN_E_MEMORY, "workspace", "an allocation failed");
}

static attn_status softmax_both(attn_ctx *ctx, const attn_mech_call *call,
                                const attn_spec *spec, attn_args args, softmax_saved *saved,
                                attn_error *error)
{
    softmax_take_gradients(call, &args);
    args.out = saved->out;
    args.lse = saved->lse;
    if (spec->normaliser != ATTN_NORM_SOFTMAX && spec->normaliser != ATTN_NORM_TOP_K)
        args.lse = (attn_tensor){0}; /* they have none */
    ATTN_TRY(softmax_plans(ctx, spec, &args, saved, error));
    ATTN_TRY(
        attn_plan_run(saved->forward, &args, saved->workspace, saved->workspace_size, error));
    ATTN_TRY(
        attn_plan_run(saved->backward, &args, saved->workspace, saved->workspace_size, error));
    return softmax_give(call, saved, error);
}

static attn_status softmax_grad(attn_ctx *ctx, const attn_mech_call *call,
                                const attn_spec *spec, const attn_args *args, attn_error *error)
{
    softmax_saved saved = {.memory = NULL};
    if (attn__present(&args->out) || attn__present(&args->lse))
        ATTN_TRY(attn_check(spec, args, error)); /* nothing is touched when they do not fit */
    ATTN_TRY(softmax_save(ctx, args, &saved, error));
    const attn_status status = softmax_both(ctx, call, spec, *args, &saved, error);
    attn_plan_destroy(saved.forward);
    attn_plan_destroy(saved.backward);
    attn__delete(ctx, saved.workspace, saved.workspace_size);
    attn__delete(ctx, saved.memory, saved.size);
    return status;
}

static attn_status softmax_run(attn_ctx *ctx, const attn_mech_call *call, attn_error *error)
{
    attn_spec spec = softmax_spec(call);
    attn_args args = softmax_args(call);
    attn_status status = call->d_slots ? softmax_grad(ctx, call, &spec, &args, error)
                                       : attn_forward(ctx, &spec, &args, error);
    if (status != ATTN_OK && error) softmax_rename(error);
    return status;
}

const attn_mech attn__mech_softmax = {
    .name = "softmax",
    .family = "engine",
    .about = "softmax attention, fused: every mask, bias, position, layout and precision",
    .formula = "out_i = sum_j w_ij v_j,  w_i = softmax_j(softcap(scale q_i.k_j) + bias_ij)",
    .cost = "n^2: time B H T S (D + E), memory of the outputs and a few rows per thread",
    .source = "1706.03762 (fused: 2205.14135)",
    .sizes = "B=1,H=2,G=2,T=6,S=6,D=4,E=4",
    .grows = "TS",
    .example = "compute softmax --random T=6,S=6,D=4,E=4 -s causal=true --want lse,weights",
    .slots = softmax_slots,
    .params = softmax_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .run = softmax_run,
};
