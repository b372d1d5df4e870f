/* SPDX-License-Identifier: MIT
 * attn_tape_scan: the recurrent engine as one node. Forward is attn_scan_forward on the
 * operands as they lie, backward attn_scan_backward, which computes the states again; only the
 * operands are kept. What the engine refuses comes through with its own sentence.
 *
 *   out B H T E (B T E, T E when q has rank 3, 2), final_state N G D E, final_z N G D
 */
#include "tape/op/recurrence.h"

#include <string.h>

#include "attn/recurrent.h"

typedef struct recurrence_ask { /* attr.object; saved for the backward */
    attn_scan_spec spec;
    attn_scan_args args;
} recurrence_ask;

/* Operand i: where it lies in attn_scan_vars, in attn_scan_args, and its gradient there. */
typedef struct recurrence_field {
    size_t var, arg, grad;
} recurrence_field;

#define FIELD(name)                                                                            \
    {                                                                                          \
        offsetof(attn_scan_vars, name), offsetof(attn_scan_args, name),                        \
            offsetof(attn_scan_args, d_##name)                                                 \
    }
static const recurrence_field recurrence_fields[] = {
    FIELD(q), FIELD(k), FIELD(v), FIELD(decay), FIELD(beta), FIELD(state), FIELD(state_z)};
#undef FIELD

enum {
    RECURRENCE_FIELDS = sizeof recurrence_fields / sizeof recurrence_fields[0],
    RECURRENCE_OUTS = 3
};

static attn_tensor *recurrence_at(attn_scan_args *args, size_t offset)
{
    return (attn_tensor *)(void *)((char *)args + offset);
}

/* The operands take their places among the tensors that the caller gave. */
static attn_scan_args recurrence_args(const attn__call *c, const attn_scan_args *given)
{
    attn_scan_args args = *given;
    for (int i = 0; i < RECURRENCE_FIELDS; i++)
        if (attn__present(&c->in[i]))
            *recurrence_at(&args, recurrence_fields[i].arg) = c->in[i];
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
    c->attr.object = NULL; /* is the caller's, and gone by the time of the backward */
    if (!c->recording) return ATTN_OK;
    void *saved = attn__call_save(c, 1, sizeof *ask);
    if (!saved) return ATTN_E_MEMORY;
    memcpy(saved, ask, sizeof *ask);
    return ATTN_OK;
}

/* Where the engine writes the gradient of operand i: in place, if nothing has come before. */
static attn_status recurrence_target(attn__call *c, int i, attn_tensor *target)
{
    *target = c->d_in[i];
    if (!attn__present(target) || c->fresh[i]) return ATTN_OK;
    target->data =
        attn__call_temp(c, attn_tensor_count(*target), attn_dtype_size(target->dtype));
    return target->data ? ATTN_OK : ATTN_E_MEMORY;
}

attn_status attn__recurrence_backward(attn__call *c)
{
    const recurrence_ask *ask = c->saved;
    attn_scan_args args = recurrence_args(c, &ask->args);
    args.d_out = c->d_out[0];
    args.d_final_state = c->d_out[1];
    args.d_final_z = c->d_out[2];
    for (int i = 0; i < RECURRENCE_FIELDS; i++)
        ATTN_TRY(recurrence_target(c, i, recurrence_at(&args, recurrence_fields[i].grad)));
    ATTN_TRY(attn_scan_backward(c->ctx, &ask->spec, &args, c->error));
    for (int i = 0; i < RECURRENCE_FIELDS; i++) {
        const attn_tensor *d = recurrence_at(&args, recurrence_fields[i].grad);
        if (attn__present(d) && !c->fresh[i])
            ATTN_TRY(attn__call_reduce(c, d->data, d, &c->d_in[i]));
    }
    return ATTN_OK;
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
    for (int i = 0; i < RECURRENCE_FIELDS; i++)
        *recurrence_at(&ask->args, recurrence_fields[i].grad) = (attn_tensor){0};
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
    for (int i = 0; vars && i < RECURRENCE_FIELDS; i++)
        memcpy(&in[i], (const char *)vars + recurrence_fields[i].var, sizeof in[i]);
    const attn__attr attr = {.object = &ask};
    (void)attn__apply(t, ATTN__OP_scan, RECURRENCE_FIELDS, in, &attr, RECURRENCE_OUTS, out,
                      wanted);
    for (int i = 0; i < 2; i++)
        if (last[i]) *last[i] = out[1 + i];
    return out[0];
}
