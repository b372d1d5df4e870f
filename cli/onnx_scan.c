/* SPDX-License-Identifier: MIT
 * The ONNX operator LinearAttention (opset 27) as one call of attn_scan_forward.
 *
 *   inputs   query key value past_state? decay? beta?
 *   outputs  output present_state
 *
 * Rank 3 is B L (heads width), read in place through strides. decay is B L (heads width) or B L
 * heads, beta B L heads or B L 1. Which of decay and beta count is what update_rule says. */
#include "conformance.h"

#include <math.h>
#include <string.h>

enum { Q, K, V, PAST, DECAY, BETA }; /* inputs */
enum { OUTPUT, PRESENT };            /* outputs */

#define TRY(expr)                                                                              \
    do {                                                                                       \
        attn_status try_status = (expr);                                                       \
        if (try_status != ATTN_OK) return try_status;                                          \
    } while (0)

static const struct scan_rule {
    const char *name;
    attn_scan_update update;
    bool decays, learns;
} scan_rules[] = {{"linear", ATTN_SCAN_LINEAR, false, false},
                  {"gated", ATTN_SCAN_LINEAR, true, false},
                  {"delta", ATTN_SCAN_DELTA, false, true},
                  {"gated_delta", ATTN_SCAN_DELTA, true, true}};

static attn_status scan_rule_of(onnx_case *c, const struct scan_rule **rule)
{
    const char *name = attn_onnx_text(c->node, "update_rule", "gated_delta");
    for (size_t i = 0; i < sizeof scan_rules / sizeof scan_rules[0]; i++) {
        *rule = &scan_rules[i];
        if (strcmp(scan_rules[i].name, name) == 0) return ATTN_OK;
    }
    return onnx_fail(c, ATTN_E_ENUM, "update_rule",
                     "must be linear, gated, delta or gated_delta");
}

/* B L heads (or B L 1, for all heads) as B heads L. */
static attn_status scan_by_head(onnx_case *c, const char *where, attn_tensor t, int64_t heads,
                                attn_tensor *view)
{
    if (t.rank != 3 || (t.shape[2] != heads && t.shape[2] != 1))
        return onnx_fail(c, ATTN_E_SHAPE, where, "must be B L heads, or B L 1");
    *view = attn_tensor_permute(t, (int[]){0, 2, 1});
    if (view->shape[1] == 1) view->stride[1] = 0;
    view->shape[1] = heads;
    return ATTN_OK;
}

static attn_status scan_rates(onnx_case *c, const struct scan_rule *rule, int64_t heads,
                              attn_scan_args *args)
{
    const attn_tensor decay = c->in[DECAY], beta = c->in[BETA];
    if (rule->decays && !onnx_present(decay))
        return onnx_fail(c, ATTN_E_NULL, "decay", "is required by this update rule");
    if (rule->learns && !onnx_present(beta))
        return onnx_fail(c, ATTN_E_NULL, "beta", "is required by this update rule");
    if (rule->decays && decay.rank == 3 && decay.shape[2] == heads)
        TRY(scan_by_head(c, "decay", decay, heads, &args->decay));
    else if (rule->decays)
        TRY(onnx_heads(c, "decay", decay, heads, &args->decay));
    return rule->learns ? scan_by_head(c, "beta", beta, heads, &args->beta) : ATTN_OK;
}

static attn_status scan_outputs(onnx_case *c, int64_t heads, attn_scan_args *args)
{
    const attn_tensor q = c->in[Q];
    const int64_t width = args->v.shape[3];
    const int64_t flat[] = {q.shape[0], args->q.shape[2], heads * width};
    const int64_t full[] = {q.shape[0], heads, args->q.shape[2], width};
    const int64_t state[] = {q.shape[0], args->k.shape[1], args->k.shape[3], width};
    const attn_tensor past = c->in[PAST];
    TRY(onnx_new(c, q.dtype, q.rank, q.rank == 3 ? flat : full, &c->got[OUTPUT]));
    TRY(onnx_heads(c, "output", c->got[OUTPUT], heads, &args->out));
    TRY(onnx_new(c, onnx_present(past) ? past.dtype : q.dtype, 4, state, &c->got[PRESENT]));
    args->final_state = c->got[PRESENT];
    return ATTN_OK;
}

attn_status onnx_scan(onnx_case *c)
{
    const struct scan_rule *rule;
    const int64_t q_heads = attn_onnx_int(c->node, "q_num_heads", 0);
    const int64_t k_heads = attn_onnx_int(c->node, "kv_num_heads", 0);
    attn_scan_args args = ATTN_SCAN_ARGS(.state = c->in[PAST]);
    TRY(scan_rule_of(c, &rule));
    TRY(onnx_heads(c, "query", c->in[Q], q_heads, &args.q));
    TRY(onnx_heads(c, "key", c->in[K], k_heads, &args.k));
    TRY(onnx_heads(c, "value", c->in[V], k_heads, &args.v));
    TRY(scan_rates(c, rule, args.k.shape[1], &args));
    TRY(scan_outputs(c, args.q.shape[1], &args));
    /* A scale that is no float becomes NaN, which is refused; 0 is the default, 1 / sqrt(D). */
    const double scale = attn_onnx_float(c->node, "scale", (double)NAN);
    const attn_scan_spec spec =
        ATTN_SCAN_SPEC(.update = rule->update,
                       .scale = attn_onnx_has(c->node, "scale") ? scale : 0);
    return attn_scan_forward(c->ctx, &spec, &args, &c->error);
}
