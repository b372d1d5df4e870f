/* SPDX-License-Identifier: MIT
 * The ONNX operator Attention (opsets 23, 24, 25) as one call of attn_forward.
 *
 *   inputs   Q K V attn_mask? past_key? past_value? nonpad_kv_seqlen?
 *   outputs  Y present_key? present_value? qk_matmul_output?
 *
 * Rank 3 is B L (heads width), read in place through strides. The cache is past then new keys.
 * Query i stands at i + offset; offset is the length of the past, or nonpad - L, or 0: this is
 * align = OFFSET. A mask shorter than the keys forbids the rest. */
#include "conformance.h"

#include <math.h>
#include <string.h>

enum { Q, K, V, MASK, PAST_KEY, PAST_VALUE, NONPAD }; /* inputs */
enum { Y, PRESENT_KEY, PRESENT_VALUE, QK };           /* outputs */
enum { ONNX_FLOAT64 = 11, QK_RAW = 0, QK_CAPPED, QK_MASKED, QK_WEIGHTS };

#define TRY(expr)                                                                              \
    do {                                                                                       \
        attn_status try_status = (expr);                                                       \
        if (try_status != ATTN_OK) return try_status;                                          \
    } while (0)

static attn_status attention_copy(onnx_case *c, attn_tensor to, attn_tensor from)
{
    return attn_tensor_copy(to, from, &c->error);
}

/* past then now along the rows of B G L D, as a new array. */
static attn_status attention_join(onnx_case *c, attn_tensor past, attn_tensor now,
                                  attn_tensor *all)
{
    if (!onnx_present(past)) return *all = now, ATTN_OK;
    if (past.rank != 4) return onnx_fail(c, ATTN_E_RANK, "past", "the rank must be 4");
    int64_t shape[4], n = past.shape[2];
    memcpy(shape, now.shape, sizeof shape);
    shape[2] += n;
    TRY(onnx_new(c, now.dtype, 4, shape, all));
    TRY(attention_copy(c, attn_tensor_slice(*all, 2, 0, n), past));
    return attention_copy(c, attn_tensor_slice(*all, 2, n, shape[2]), now);
}

/* Masks as a whole: bool stays bool, anything else is added. */
static attn_status attention_mask(onnx_case *c, int64_t n_keys, attn_tensor *mask)
{
    attn_tensor given = c->in[MASK];
    *mask = given;
    int last = given.rank - 1;
    if (!onnx_present(given) || last < 0 || given.shape[last] >= n_keys) return ATTN_OK;
    int64_t shape[ATTN_MAX_RANK], n = given.shape[last];
    memcpy(shape, given.shape, sizeof shape);
    shape[last] = n_keys;
    TRY(onnx_new(c, given.dtype, given.rank, shape, mask));
    if (given.dtype != ATTN_DTYPE_BOOL) {
        float forbidden = -INFINITY;
        attn_tensor fill = attn_tensor_make(&forbidden, ATTN_DTYPE_F32, given.rank, shape);
        memset(fill.stride, 0, sizeof fill.stride);
        TRY(attention_copy(c, *mask, fill));
    }
    return attention_copy(c, attn_tensor_slice(*mask, last, 0, n), given);
}

/* Softmax asked for in f64 while the data is narrower: widen the operands. */
static attn_status attention_precision(onnx_case *c, attn_tensor *t)
{
    bool wide = attn_onnx_int(c->node, "softmax_precision", 0) == ONNX_FLOAT64;
    if (!wide || t->dtype == ATTN_DTYPE_F64) return ATTN_OK;
    attn_tensor narrow = *t;
    TRY(onnx_new(c, ATTN_DTYPE_F64, narrow.rank, narrow.shape, t));
    return attention_copy(c, *t, narrow);
}

static attn_status attention_inputs(onnx_case *c, attn_args *args)
{
    int64_t q_heads = attn_onnx_int(c->node, "q_num_heads", 0);
    int64_t k_heads = attn_onnx_int(c->node, "kv_num_heads", 0);
    attn_tensor k, v;
    TRY(onnx_heads(c, "Q", c->in[Q], q_heads, &args->q));
    TRY(onnx_heads(c, "K", c->in[K], k_heads, &k));
    TRY(onnx_heads(c, "V", c->in[V], k_heads, &v));
    TRY(attention_join(c, c->in[PAST_KEY], k, &args->k));
    TRY(attention_join(c, c->in[PAST_VALUE], v, &args->v));
    c->got[PRESENT_KEY] = args->k;
    c->got[PRESENT_VALUE] = args->v;
    TRY(attention_precision(c, &args->q));
    TRY(attention_precision(c, &args->k));
    TRY(attention_precision(c, &args->v));
    TRY(attention_mask(c, args->k.shape[2], &args->mask));
    args->k_len = c->in[NONPAD];
    return ATTN_OK;
}

/* Where query 0 stands. */
static attn_status attention_offset(onnx_case *c, attn_spec *spec, attn_args *args)
{
    spec->align = ATTN_ALIGN_OFFSET;
    attn_tensor nonpad = c->in[NONPAD];
    if (onnx_present(c->in[PAST_KEY])) spec->offset = c->in[PAST_KEY].shape[2];
    if (!onnx_present(nonpad) || onnx_present(c->in[PAST_KEY])) return ATTN_OK;
    if (nonpad.rank != 1)
        return onnx_fail(c, ATTN_E_RANK, "nonpad_kv_seqlen", "the rank must be 1");
    TRY(onnx_new(c, ATTN_DTYPE_I64, 1, nonpad.shape, &args->offset));
    TRY(attention_copy(c, args->offset, nonpad));
    for (int64_t b = 0; b < nonpad.shape[0]; b++)
        ((int64_t *)args->offset.data)[b] -= args->q.shape[2];
    return ATTN_OK;
}

static void attention_spec(const onnx_case *c, attn_spec *spec)
{
    const attn_onnx_node *node = c->node;
    /* A scale that is no float becomes NaN, which is refused. */
    double scale =
        attn_onnx_has(node, "scale") ? attn_onnx_float(node, "scale", (double)NAN) : 0;
    bool zero = attn_onnx_has(node, "scale") && scale == 0;
    spec->scale = zero ? ATTN_ZERO : scale;
    spec->softcap = attn_onnx_float(node, "softcap", 0);
    spec->causal = attn_onnx_int(node, "is_causal", 0) != 0;
    int64_t left = attn_onnx_int(node, "left_window_size", -1);
    int64_t right = attn_onnx_int(node, "right_window_size", -1);
    spec->window = (attn_window){.on = left != -1 || right != -1, .left = left, .right = right};
}

/* Y in the layout of Q, and the matrix of scores or weights when it is asked for. */
static attn_status attention_outputs(onnx_case *c, attn_spec *spec, attn_args *args)
{
    attn_tensor q = c->in[Q];
    const int64_t *n = args->q.shape;
    int64_t heads = n[1], width = args->v.shape[3];
    const int64_t flat[] = {n[0], n[2], heads * width}, full[] = {n[0], heads, n[2], width};
    TRY(onnx_new(c, q.dtype, q.rank, q.rank == 3 ? flat : full, &c->got[Y]));
    TRY(onnx_heads(c, "Y", c->got[Y], heads, &args->out));
    if (!onnx_present(c->want[QK])) return ATTN_OK;
    const int64_t square[] = {n[0], heads, n[2], args->k.shape[2]};
    TRY(onnx_new(c, q.dtype, 4, square, &c->got[QK]));
    static const attn_scores_stage stages[] = {[QK_RAW] = ATTN_SCORES_SCALED,
                                               [QK_CAPPED] = ATTN_SCORES_CAPPED,
                                               [QK_MASKED] = ATTN_SCORES_MASKED};
    int64_t mode = attn_onnx_int(c->node, "qk_matmul_output_mode", 0);
    if (mode < QK_RAW || mode > QK_WEIGHTS)
        return onnx_fail(c, ATTN_E_ENUM, "qk_matmul_output_mode", "must be 0 to 3");
    if (mode == QK_WEIGHTS) return args->weights = c->got[QK], ATTN_OK;
    spec->scores_stage = stages[mode];
    args->scores = c->got[QK];
    return ATTN_OK;
}

/* Before masking the operator shows every pair, also with keys that are only padding. */
static attn_status attention_unmasked(onnx_case *c, const attn_spec *spec, attn_args *args)
{
    bool all = onnx_present(args->k_len) && onnx_present(args->scores);
    if (!all || spec->scores_stage == ATTN_SCORES_MASKED) return ATTN_OK;
    attn_spec plain = ATTN_SPEC(.scale = spec->scale, .softcap = spec->softcap,
                                .scores_stage = spec->scores_stage);
    attn_args pairs =
        ATTN_ARGS(.q = args->q, .k = args->k, .v = args->v, .scores = args->scores);
    args->scores = (attn_tensor){0};
    return attn_forward(c->ctx, &plain, &pairs, &c->error);
}

attn_status onnx_attention(onnx_case *c)
{
    attn_spec spec = ATTN_SPEC(.causal = false);
    attn_args args = ATTN_ARGS(.q = {0});
    attention_spec(c, &spec);
    TRY(attention_inputs(c, &args));
    TRY(attention_offset(c, &spec, &args));
    TRY(attention_outputs(c, &spec, &args));
    TRY(attention_unmasked(c, &spec, &args));
    return attn_forward(c->ctx, &spec, &args, &c->error);
}
