/* SPDX-License-Identifier: MIT
 * attn_tape_scan: the recurrent engine as one node. Forward is attn_scan_forward on the
 * operands as they lie, backward attn_scan_backward, which computes the states again; only the
 * operands are kept. What the engine refuses comes through with its own sentence.
 *
 *   out B H T E (B T E, T E when q has rank 3, 2), final_state N G D E, final_z N G D
 */
#include "tape/op/recurrence.h"

#include "attn/recurrent.h"

typedef struct recurrence_ask { /* attr.object; saved for the backward */
    attn_scan_spec spec;
    attn_scan_args args;
} recurrence_ask;

#define FIELD(name)                                                                            \
    {                                                                                          \
        offsetof(attn_scan_vars, name), offsetof(attn_scan_args, name),                        \
            offsetof(attn_scan_args, d_##name)                                                 \
    }
static const attn__field recurrence_fields[] = {
    FIELD(q), FIELD(k), FIELD(v), FIELD(decay), FIELD(beta), FIELD(state), FIELD(state_z)};
#undef FIELD

enum {
    RECURRENCE_FIELDS = sizeof recurrence_fields / sizeof recurrence_fields[0],
    RECURRENCE_OUTS = 3
};

/* The operands take their places among the tensors that the caller gave. */
static attn_scan_args recurrence_args(const attn__call *c, const attn_scan_args *given)
{
    attn_scan_args args = *given;
    attn__fields_place(c, recurrence_fields, RECURRENCE_FIELDS, &args);
    return args;
}

/* ---- the shape rule ---------------------------------------------------------------------- */

static attn_status recurrence_need(const attn_tensor *t, const char *name, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(t, name, error));
    if (t->rank >= 2 && t->rank <= 4) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_RANK, name, "must have 2 to 4 dimensions", 4,
                            t->rank);
}

attn_status attn__shape_scan(attn__call *c, attn_error *error)
{
    const recurrence_ask *ask = c->attr.object;
    const attn_scan_args args = recurrence_args(c, &ask->args);
    const attn_tensor *q = &args.q, *k = &args.k, *v = &args.v, *cu = &args.cu_k;
    ATTN_TRY(recurrence_need(q, "q", error));
    ATTN_TRY(recurrence_need(k, "k", error));
    ATTN_TRY(recurrence_need(v, "v", error));
    const bool packed = attn__present(cu) && cu->rank == 1 && cu->shape[0] > 0;
    const int64_t N = packed ? cu->shape[0] - 1 : q->rank > 2 ? q->shape[0] : 1;
    const int64_t state[] = {N, k->rank > 3 ? k->shape[1] : 1, k->shape[k->rank - 1],
                             v->shape[v->rank - 1]};
    attn_tensor out = *q;
    out.shape[q->rank - 1] = state[3];
    attn__out_like(c, 0, &out);
    attn__out_set(c, 1, c->real, 4, state);
    attn__out_set(c, 2, c->real, 3, state);
    c->n_out = RECURRENCE_OUTS;
    return ATTN_OK;
}

/* ---- forward and backward ---------------------------------------------------------------- */

attn_status attn__recurrence_forward(attn__call *c)
{
    const recurrence_ask *ask = c->attr.object;
    attn_scan_args args = recurrence_args(c, &ask->args);
    args.out = c->out[0];
    if (c->wanted[1]) args.final_state = c->out[1];
    if (c->wanted[2]) args.final_z = c->out[2];
    ATTN_TRY(attn_scan_forward(c->ctx, &ask->spec, &args, c->error));
    return attn__fields_keep(c, sizeof *ask);
}

attn_status attn__recurrence_backward(attn__call *c)
{
    const recurrence_ask *ask = c->saved;
    attn_scan_args args = recurrence_args(c, &ask->args);
    args.d_out = c->d_out[0];
    args.d_final_state = c->d_out[1];
    args.d_final_z = c->d_out[2];
    ATTN_TRY(attn__fields_targets(c, recurrence_fields, RECURRENCE_FIELDS, &args));
    ATTN_TRY(attn_scan_backward(c->ctx, &ask->spec, &args, c->error));
    return attn__fields_add(c, recurrence_fields, RECURRENCE_FIELDS, &args);
}

/* ---- the public function ----------------------------------------------------------------- */

/* Structs of other sizes are refused before anything in them is read. */
static attn_status recurrence_fill(recurrence_ask *ask, const attn_scan_spec *spec,
                                   const attn_scan_args *args)
{
    const attn_scan_spec plain = {.size = sizeof plain};
    const attn_scan_args none = {.size = sizeof none};
    if ((spec && spec->size != sizeof *spec) || (args && args->size != sizeof *args))
        return ATTN_E_VERSION;
    *ask = (recurrence_ask){spec ? *spec : plain, args ? *args : none};
    attn__fields_clear(recurrence_fields, RECURRENCE_FIELDS, &ask->args);
    ask->args.final_state = ask->args.final_z = (attn_tensor){0};
    return ATTN_OK;
}

attn_var attn_tape_scan(attn_tape *t, const attn_scan_spec *spec, const attn_scan_vars *vars,
                        const attn_scan_args *args, attn_var *final_state, attn_var *final_z)
{
    recurrence_ask ask;
    attn_var in[RECURRENCE_FIELDS] = {{0}}, out[RECURRENCE_OUTS];
    attn_var *const last[] = {final_state, final_z};
    uint32_t wanted = 1;
    for (int i = 0; i < 2; i++)
        if (last[i]) *last[i] = (attn_var){0}, wanted |= 2U << i;
    if (recurrence_fill(&ask, spec, args) != ATTN_OK) {
        const bool first = spec && spec->size != sizeof *spec;
        return attn__var_fail(t, ATTN_E_VERSION, "scan",
                              first ? "size of spec is not that of attn_scan_spec"
                                    : "size of args is not that of attn_scan_args",
                              (int64_t)(first ? sizeof *spec : sizeof *args),
                              (int64_t)(first ? spec->size : args->size));
    }
    attn__fields_vars(recurrence_fields, RECURRENCE_FIELDS, vars, in);
    const attn__attr attr = {.object = &ask};
    (void)attn__apply(t, ATTN__OP_scan, RECURRENCE_FIELDS, in, &attr, RECURRENCE_OUTS, out,
                      wanted);
    for (int i = 0; i < 2; i++)
        if (last[i]) *last[i] = out[1 + i];
    return out[0];
}
