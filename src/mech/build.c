/* SPDX-License-Identifier: MIT
 * From slots to a tape and back, once for every mechanism that is composed of operations:
 *
 *   slots -> variables -> mech->build -> results -> backward, if gradients are asked for ->
 * slots
 *
 * Reals are f64 when a slot holds f64, else f32. Outputs are copied to the caller at the end,
 * when nothing can fail any more. Called by registry.c. */
#include "mech/mech.h"

#include <string.h>

enum { BUILD_SLOTS = ATTN_MAX_SLOTS };

typedef struct build_state {
    const attn_mech *mech;
    const attn_mech_call *call;
    attn_tape *t;
    attn_var in[BUILD_SLOTS], out[BUILD_SLOTS];
    bool wanted[BUILD_SLOTS];
} build_state;

static bool build_is_out(const build_state *s, int i)
{
    return s->mech->slots[i].kind & ATTN_OUT;
}

/* The gradient that belongs to slot i, absent where there is none. */
static attn_tensor build_gradient(const build_state *s, int i)
{
    return s->call->d_slots ? s->call->d_slots[i] : (attn_tensor){0};
}

static attn_dtype build_real(const attn_mech *mech, const attn_mech_call *call)
{
    for (int i = 0; mech->slots[i].name; i++)
        if (call->slots[i].dtype == ATTN_DTYPE_F64 && !(mech->slots[i].kind & ATTN_OUT))
            return ATTN_DTYPE_F64;
    return ATTN_DTYPE_F32;
}

/* A broadcast slot with the dimensions that it leaves out, of size 1. */
static attn_tensor build_whole(const attn_slot *slot, attn_tensor t)
{
    const int rank = attn__shape_rank(slot->shape), missing = rank - t.rank;
    if (!attn__present(&t) || slot->shape[0] != '*' || missing <= 0) return t;
    memmove(t.shape + missing, t.shape, (size_t)t.rank * sizeof t.shape[0]);
    memmove(t.stride + missing, t.stride, (size_t)t.rank * sizeof t.stride[0]);
    for (int d = 0; d < missing; d++) t.shape[d] = 1, t.stride[d] = 0;
    t.rank = rank;
    return t;
}

static void build_open(build_state *s)
{
    for (int i = 0; s->mech->slots[i].name; i++) {
        const attn_slot *slot = &s->mech->slots[i];
        const attn_tensor x = build_whole(slot, s->call->slots[i]), d = build_gradient(s, i);
        s->wanted[i] = build_is_out(s, i) && (attn__present(&x) || attn__present(&d));
        if (build_is_out(s, i) || !attn__present(&x)) continue;
        s->in[i] = attn__present(&d) ? attn_tape_param(s->t, x) : attn_tape_input(s->t, x);
    }
}

/* The shape of what build left in slot i; a single number may stand for a shape of ones. */
static attn_status build_fits(build_state *s, int i, const attn_tensor *want, attn_error *error)
{
    const attn_tensor got = attn_tape_value(s->t, s->out[i]);
    bool same = attn__present(&got) && got.rank == want->rank;
    for (int d = 0; same && d < want->rank; d++) same = got.shape[d] == want->shape[d];
    if (same) return ATTN_OK;
    if (attn__present(&got) && attn_tensor_count(got) == 1 && attn_tensor_count(*want) == 1) {
        attn_dims shape = {.n = want->rank};
        memcpy(shape.at, want->shape, sizeof shape.at);
        s->out[i] = attn_tape_reshape(s->t, s->out[i], shape);
        return attn_tape_status(s->t, error);
    }
    return attn__fail(error, ATTN_E_SHAPE, s->mech->slots[i].name,
                      "its size is not the one that this call gives");
}

static attn_status build_check(build_state *s, attn_error *error)
{
    ATTN_TRY(attn_tape_status(s->t, error));
    for (int i = 0; s->mech->slots[i].name; i++) {
        const attn_tensor d = build_gradient(s, i), *x = &s->call->slots[i];
        if (!s->wanted[i]) continue;
        ATTN_TRY(build_fits(s, i, attn__present(x) ? x : &d, error));
        if (attn__present(&d)) ATTN_TRY(build_fits(s, i, &d, error));
    }
    return ATTN_OK;
}

static attn_status build_backward(build_state *s, attn_error *error)
{
    attn_var y[BUILD_SLOTS];
    attn_tensor d_y[BUILD_SLOTS];
    int n = 0;
    for (int i = 0; s->mech->slots[i].name; i++) {
        const attn_tensor d = build_gradient(s, i);
        if (!build_is_out(s, i) || !attn__present(&d)) continue;
        if (!attn__var_needs(s->t, s->out[i])) continue; /* a constant of this call */
        y[n] = s->out[i], d_y[n++] = d;
    }
    return n ? attn_tape_backward_from(s->t, n, y, d_y, error) : ATTN_OK;
}

/* No gradient came where nothing depends on the slot: 0. */
static attn_status build_give_gradient(build_state *s, int i, attn_error *error)
{
    const double zero = 0;
    attn_tensor to = build_whole(&s->mech->slots[i], build_gradient(s, i));
    attn_tensor from = attn_tape_grad(s->t, s->in[i]);
    if (!attn__present(&from)) {
        from = to;
        from.dtype = ATTN_DTYPE_F64;
        from.data = (void *)(uintptr_t)&zero;
        memset(from.stride, 0, sizeof from.stride);
    }
    return attn_tensor_copy(to, from, error);
}

static attn_status build_give(build_state *s, attn_error *error)
{
    for (int i = 0; s->mech->slots[i].name; i++) {
        const attn_tensor d = build_gradient(s, i), *x = &s->call->slots[i];
        if (!build_is_out(s, i) && attn__present(&d))
            ATTN_TRY(build_give_gradient(s, i, error));
        if (build_is_out(s, i) && attn__present(x))
            ATTN_TRY(attn_tensor_copy(*x, attn_tape_value(s->t, s->out[i]), error));
    }
    return ATTN_OK;
}

attn_status attn__mech_build(attn_ctx *ctx, const attn_mech *mech, const attn_mech_call *call,
                             const attn__sizes *sizes, attn_error *error)
{
    const attn_tape_config config = {.size = sizeof config,
                                     .dtype = build_real(mech, call),
                                     .compute = call->d_slots == NULL};
    build_state s = {.mech = mech, .call = call};
    ATTN_TRY(attn_tape_create(&s.t, ctx, &config, error));
    build_open(&s);
    mech->build(&(attn__build){.t = s.t,
                               .mech = mech,
                               .in = s.in,
                               .out = s.out,
                               .params = call->params,
                               .sizes = sizes,
                               .wanted = s.wanted});
    attn_status status = build_check(&s, error);
    if (status == ATTN_OK) status = build_backward(&s, error);
    if (status == ATTN_OK) status = build_give(&s, error);
    attn_tape_destroy(s.t);
    return status;
}

/* ---- what build functions ask ------------------------------------------------------------ */

int64_t attn__build_size(const attn__build *b, char letter)
{
    return b->sizes->size[letter - 'A'];
}

bool attn__given(attn_var x)
{
    return x.tape != NULL;
}

bool attn__build_need(const attn__build *b, bool ok, attn_status status, const char *where,
                      const char *what, int64_t want, int64_t got)
{
    if (!ok) (void)attn__var_fail(b->t, status, where, what, want, got);
    return ok;
}

attn_tensor attn__build_output(const attn__build *b, int i)
{
    const attn_slot *slot = &b->mech->slots[i];
    attn_dims shape;
    if (!b->wanted[i]) return (attn_tensor){0};
    attn_error error;
    if (attn__shape_resolve(b->sizes, slot->name, slot->shape, &shape.n, shape.at, &error) !=
        ATTN_OK) {
        (void)attn__var_fail(b->t, error.status, slot->name, error.what, 0, 0);
        return (attn_tensor){0};
    }
    b->out[i] =
        attn__tape_contiguous(b->t, attn_tape_expand(b->t, attn_tape_scalar(b->t, 0), shape));
    return attn_tape_value(b->t, b->out[i]);
}
