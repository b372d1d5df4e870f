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
#define SOFTMAX_OUT (ATTN_OUT | ATTN_OPTIONAL)
#define SOFTMAX_SLOTS(SLOT)                                                                    \
    SLOT(q, ATTN_IN, "B H T D", "queries")                                                     \
    SLOT(k, ATTN_IN, "B G S D", "keys; G divides H")                                           \
    SLOT(v, ATTN_IN, "B G S E", "values")                                                      \
    SLOT(out, ATTN_OUT, "B H T E", "the weighted sums of v")                                   \
    SLOT(lse, SOFTMAX_OUT, "B H T", "log of the sum of exp(score), -inf for an empty row")     \
    SLOT(weights, SOFTMAX_OUT, "B H T S", "the softmax, before dropout")                       \
    SLOT(scores, SOFTMAX_OUT, "B H T S", "the scores at scores_stage")                         \
    SLOT(bias_pre, SOFTMAX_IN, "*B H T S", "added before softcap; -inf masks")                 \
    SLOT(bias, SOFTMAX_IN, "*B H T S", "added after softcap; -inf masks")                      \
    SLOT(mask, SOFTMAX_IN, "*B H T S", "false (0) forbids; a float mask is added")             \
    SLOT(block_mask, SOFTMAX_IN, "*B H X Y", "blocks: 0 empty, 1 full, 2 partial")             \
    SLOT(alibi, SOFTMAX_IN, "*B H", "slopes: score - slope |p - j|")                           \
    SLOT(sink, SOFTMAX_IN, "*B H", "score of a key without a value")                           \
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
    SLOT(rel_table, SOFTMAX_IN, "*H M", "bias by relative position; see rel")                  \
    SLOT(rel_k, SOFTMAX_IN, "*H R D", "relative position vectors added to k; R is odd")        \
    SLOT(rel_v, SOFTMAX_IN, "*H R E", "relative position vectors added to v; R is odd")        \
    SLOT(q_pos, SOFTMAX_IN, "*B T", "position of each query for the rotation")                 \
    SLOT(k_pos, SOFTMAX_IN, "*B S", "position of each key for the rotation")                   \
    SLOT(rope_cos, SOFTMAX_IN, "P L", "cosines by position, L pairs, in place of rope_base")   \
    SLOT(rope_sin, SOFTMAX_IN, "P L", "sines by position")

#define SOFTMAX_ROW(name, kind, shape, about)    {#name, kind, shape, about},
#define SOFTMAX_NUMBER(name, kind, shape, about) SLOT_##name,
enum { SOFTMAX_SLOTS(SOFTMAX_NUMBER) SLOT_positions };

static const attn_slot softmax_slots[] = {
    SOFTMAX_SLOTS(SOFTMAX_ROW){"positions", SOFTMAX_IN, "*B T",
                               "sets q_pos, and k_pos where T is S and it is not given"},
    {0}};

/* PARAM(name, kind, fallback, choices, about, what it sets in the spec). */
#define SOFTMAX_PARAMS(PARAM)                                                                  \
    PARAM(scale, 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)", s.scale = p.f)               \
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
          s.scores_stage = (attn_scores_stage)p.i)

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

static attn_status softmax_run(attn_ctx *ctx, const attn_mech_call *call, attn_error *error)
{
    attn_spec spec = softmax_spec(call);
    attn_args args = softmax_args(call);
    attn_status status = attn_forward(ctx, &spec, &args, error);
    if (status != ATTN_OK && error) softmax_rename(error);
    return status;
}

const attn_mech attn__mech_softmax = {
    .name = "softmax",
    .family = "engine",
    .about = "softmax attention, fused: every mask, bias, position, layout and precision",
    .formula = "out_i = sum_j w_ij v_j,  w_i = softmax_j(softcap(scale q_i.k_j) + bias_ij)",
    .cost = "time B H T S (D + E), memory of the outputs and a few rows per thread",
    .source = "1706.03762 (fused: 2205.14135)",
    .example = "compute softmax --random T=6,S=6,D=4,E=4 -s causal=true --want lse,weights",
    .slots = softmax_slots,
    .params = softmax_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .run = softmax_run,
};
