/* SPDX-License-Identifier: MIT
 * attn_tape_attention: the fused engine as one node. Forward is attn_forward on the operands as
 * they lie, backward is attn_backward from what it left; nothing of size T x S is kept. What
 * the engine refuses comes through with its own sentence.
 *
 *   out B H T E, lse B H T      (B T E, B T or T E, T when q has rank 3 or 2)
 *
 * The engine works in f64 exactly when q, k or v is f64, so these three are made to agree with
 * the tape first; narrower types go in as they are. */
#include "tape/op/attention.h"

typedef struct attention_ask { /* attr.object; saved for the backward */
    attn_spec spec;
    attn_args args;
} attention_ask;

#define FIELD(name)                                                                            \
    {                                                                                          \
        offsetof(attn_attention_vars, name), offsetof(attn_args, name),                        \
            offsetof(attn_args, d_##name)                                                      \
    }
static const attn__field attention_fields[] = {
    FIELD(q),     FIELD(k),       FIELD(v),      FIELD(bias_pre),  FIELD(bias),
    FIELD(mask),  FIELD(alibi),   FIELD(sink),   FIELD(rel_table), FIELD(rel_k),
    FIELD(rel_v), FIELD(score_w), FIELD(center), FIELD(alpha)};
#undef FIELD

enum {
    ATTENTION_Q,
    ATTENTION_K,
    ATTENTION_V,
    ATTENTION_PRODUCTS, /* q, k, v decide about the arithmetic */
    ATTENTION_FIELDS = sizeof attention_fields / sizeof attention_fields[0]
};

/* Whether the weights are exponentials over their sum, so that there is an lse. */
static bool attention_sums(const attn_spec *spec)
{
    return spec->normaliser == ATTN_NORM_SOFTMAX || spec->normaliser == ATTN_NORM_TOP_K;
}

/* The operands take their places among the tensors that the caller gave. */
static attn_args attention_args(const attn__call *c, const attn_args *given)
{
    attn_args args = *given;
    attn__fields_place(c, attention_fields, ATTENTION_FIELDS, &args);
    return args;
}

/* ---- the shape rule ---------------------------------------------------------------------- */

attn_status attn__shape_attention(attn__call *c, attn_error *error)
{
    const attention_ask *ask = c->attr.object;
    const attn_args args = attention_args(c, &ask->args);
    const attn_tensor *q = &args.q, *v = &args.v;
    ATTN_TRY(attn__tensor_check(q, "q", error));
    ATTN_TRY(attn__tensor_check(v, "v", error));
    if (q->rank < 2 || q->rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, "q", "must have 2 to 4 dimensions", 4,
                                q->rank);
    if (v->rank < 2 || v->rank > 4)
        return attn__fail_count(error, ATTN_E_RANK, "v", "must have 2 to 4 dimensions", 4,
                                v->rank);
    attn_tensor out = *q;
    out.shape[q->rank - 1] = v->shape[v->rank - 1];
    attn__out_like(c, 0, &out);
    attn__out_set(c, 1, c->real, q->rank - 1, q->shape);
    return ATTN_OK;
}

/* ---- forward ----------------------------------------------------------------------------- */

static attn_status attention_settle(attn__call *c, attn_args *args)
{
    for (int i = ATTENTION_Q; i < ATTENTION_PRODUCTS; i++) {
        attn_tensor *t = attn__field_at(args, attention_fields[i].arg);
        const bool wide = t->dtype == ATTN_DTYPE_F64 || c->real == ATTN_DTYPE_F64;
        if (!wide || t->dtype == c->real || !attn__dtype_is_float(t->dtype)) continue;
        if (attn__tensor_check(t, "", NULL) != ATTN_OK || !t->data) continue;
        const void *data = attn__call_reals(c, t);
        if (!data) return ATTN_E_MEMORY;
        *t = attn_tensor_make(NULL, c->real, t->rank, t->shape);
        t->data = (void *)(uintptr_t)data; /* only read */
    }
    return ATTN_OK;
}

attn_status attn__attention_forward(attn__call *c)
{
    const attention_ask *ask = c->attr.object;
    attn_args args = attention_args(c, &ask->args);
    ATTN_TRY(attention_settle(c, &args));
    args.out = c->out[0];
    if (attention_sums(&ask->spec)) args.lse = c->out[1];
    ATTN_TRY(attn_forward(c->ctx, &ask->spec, &args, c->error));
    return attn__fields_keep(c, sizeof *ask);
}

/* ---- backward ---------------------------------------------------------------------------- */

attn_status attn__attention_backward(attn__call *c)
{
    const attention_ask *ask = c->saved;
    attn_args args = attention_args(c, &ask->args);
    ATTN_TRY(attention_settle(c, &args));
    args.out = c->out[0];
    args.d_out = c->d_out[0];
    if (attention_sums(&ask->spec)) {
        args.lse = c->out[1];
        args.d_lse = c->d_out[1];
    }
    ATTN_TRY(attn__fields_targets(c, attention_fields, ATTENTION_FIELDS, &args));
    ATTN_TRY(attn_backward(c->ctx, &ask->spec, &args, c->error));
    return attn__fields_add(c, attention_fields, ATTENTION_FIELDS, &args);
}

/* ---- the public function ----------------------------------------------------------------- */

/* Structs of other sizes are refused before anything in them is read. */
static attn_status attention_ask_fill(attention_ask *ask, const attn_spec *spec,
                                      const attn_args *args)
{
    const attn_spec plain = {.size = sizeof plain};
    const attn_args none = {.size = sizeof none};
    if ((spec && spec->size != sizeof *spec) || (args && args->size != sizeof *args))
        return ATTN_E_VERSION;
    *ask = (attention_ask){spec ? *spec : plain, args ? *args : none};
    attn__fields_clear(attention_fields, ATTENTION_FIELDS, &ask->args);
    return ATTN_OK;
}

attn_var attn_tape_attention(attn_tape *t, const attn_spec *spec,
                             const attn_attention_vars *vars, const attn_args *args,
                             attn_var *lse)
{
    attention_ask ask;
    attn_var in[ATTENTION_FIELDS] = {{0}}, out[2];
    if (lse) *lse = (attn_var){0};
    if (attention_ask_fill(&ask, spec, args) != ATTN_OK) {
        const bool first = spec && spec->size != sizeof *spec;
        return attn__var_fail(t, ATTN_E_VERSION, "attention",
                              first ? "size of spec is not that of attn_spec (ATTN_SPEC)"
                                    : "size of args is not that of attn_args (ATTN_ARGS)",
                              (int64_t)(first ? sizeof *spec : sizeof *args),
                              (int64_t)(first ? spec->size : args->size));
    }
    if (lse && !attention_sums(&ask.spec))
        return attn__var_fail(t, ATTN_E_PARAM, "attention",
                              "lse: this normaliser has no log-sum-exp", 0, 0);
    attn__fields_vars(attention_fields, ATTENTION_FIELDS, vars, in);
    const attn__attr attr = {.object = &ask};
    (void)attn__apply(t, ATTN__OP_attention, ATTENTION_FIELDS, in, &attr, 2, out, 3);
    if (lse)
        *lse = out[1];
    else
        attn_tape_drop(t, out[1]);
    return out[0];
}
