/* SPDX-License-Identifier: MIT
 * Back through the nodes, the youngest first. A node runs when a gradient has come to one of
 * its results; it adds to the gradients of its operands, which are all older. So a gradient is
 * complete when the walk reaches the node that made its variable, and it is the sum of its
 * parts in one fixed order.
 *
 * What a node has saved and the gradients of its results are freed as soon as it has run. A
 * checkpoint is a node that becomes a segment of nodes, behind all others, when its turn comes
 * (checkpoint.c); the walk goes through them and then on where it was. */
#include "tape/graph.h"

#include <string.h>

static const char backward_name[] = "attn_tape_backward";

/* ---- one node ---------------------------------------------------------------------------- */

static bool backward_has_come(const attn_tape *t, const attn__node *node)
{
    for (int i = 0; i < node->n_out; i++) {
        const int64_t id = node->operand[node->n_in + i].id;
        if (id >= 0 && t->vars[id].grad) return true;
    }
    return false;
}

static bool backward_stands_twice(const attn__node *node, int i)
{
    for (int j = 0; j < i; j++)
        if (node->operand[j].id == node->operand[i].id) return true;
    return false;
}

/* A variable that is an operand twice gets its second gradient beside the first, so that no
 * body writes one array by two names. */
static attn_status backward_open_in(attn__call *c, const attn__node *node, int i)
{
    attn_tape *t = c->tape;
    const attn__operand *operand = &node->operand[i];
    c->in[i] = operand->id >= 0 ? operand->value : (attn_tensor){0};
    if (operand->id < 0 || !t->vars[operand->id].needs) return ATTN_OK;
    attn__variable *v = &t->vars[operand->id];
    if (!attn__var_grad(t, v, &c->fresh[i])) return ATTN_E_MEMORY;
    c->d_in[i] = attn__var_grad_tensor(t, v);
    if (!backward_stands_twice(node, i)) return ATTN_OK;
    const int64_t count = attn_tensor_count(c->d_in[i]);
    const size_t size = attn_dtype_size(c->real);
    c->d_in[i].data = attn__call_temp(c, count, size);
    if (!c->d_in[i].data) return ATTN_E_MEMORY;
    memset(c->d_in[i].data, 0, (size_t)count * size);
    c->fresh[i] = true;
    return ATTN_OK;
}

static attn_status backward_open(attn__call *c, const attn__node *node)
{
    for (int i = 0; i < node->n_in; i++) ATTN_TRY(backward_open_in(c, node, i));
    for (int i = 0; i < node->n_out; i++) {
        const attn__operand *result = &node->operand[node->n_in + i];
        c->out[i] = result->value;
        if (result->id >= 0)
            c->d_out[i] = attn__var_grad_tensor(c->tape, &c->tape->vars[result->id]);
    }
    return ATTN_OK;
}

static void backward_add_doubles(attn__call *c, const attn__node *node)
{
    for (int i = 0; i < node->n_in; i++) {
        if (!attn__present(&c->d_in[i]) || !backward_stands_twice(node, i)) continue;
        const attn_tensor d =
            attn__var_grad_tensor(c->tape, &c->tape->vars[node->operand[i].id]);
        attn__fold(c, c->d_in[i].data, &d);
    }
}

static attn_status backward_run(attn__call *c, const attn__node *node)
{
    const attn__op_run run = attn__ops[c->op].flags & ATTN__OP_VIEW
                                 ? attn__view_backward
                                 : attn__op_body_of(c->tape, c->op)->backward;
    ATTN_TRY(backward_open(c, node));
    const attn__fpenv saved = attn__fpenv_enter();
    const attn_status s = run(c);
    if (s == ATTN_OK) backward_add_doubles(c, node);
    attn__fpenv_leave(saved);
    return s;
}

static attn_status backward_node(attn_tape *t, const attn__node *node, attn_error *error)
{
    attn_error said = {.status = ATTN_OK};
    attn__call c = {.tape = t,
                    .ctx = t->ctx,
                    .k = t->kernels,
                    .real = t->config.dtype,
                    .op = node->op,
                    .attr = node->attr,
                    .n_in = node->n_in,
                    .n_out = node->n_out,
                    .error = &said};
    if (node->saved) {
        c.saved = attn__block_data(node->saved);
        c.saved_size = node->saved->size;
    }
    const attn_status s = backward_run(&c, node);
    attn__call_end(&c);
    if (s == ATTN_OK) return s;
    if (said.status != s)
        attn__fail(&said, s, attn__ops[node->op].name,
                   s == ATTN_E_MEMORY ? "out of memory in its backward" : attn_status_text(s));
    *error = said;
    return s;
}

/* ---- the walk ---------------------------------------------------------------------------- */

static bool backward_keeps_grad(const attn__variable *v)
{
    return (v->param || v->retained) && !v->gone;
}

/* The node has had its turn. */
static void backward_leave(attn_tape *t, int64_t i)
{
    attn__node *node = t->nodes[i];
    for (int k = 0; k < node->n_out; k++) {
        const int64_t id = node->operand[node->n_in + k].id;
        if (id >= 0 && !backward_keeps_grad(&t->vars[id]))
            attn__block_release(t, &t->vars[id].grad);
    }
    if (t->config.keep && !t->segment) return;
    attn__node_free(t, node);
    t->nodes[i] = NULL;
}

static attn_status backward_walk(attn_tape *t, attn_error *error)
{
    int64_t i = t->n_nodes;
    for (;;) {
        while (i == attn__segment_base(t)) {
            if (!t->segment) return ATTN_OK;
            i = attn__segment_close(t);
            backward_leave(t, i);
        }
        attn__node *node = t->nodes[--i];
        if (!node || !backward_has_come(t, node)) continue;
        if (node->segment) {
            ATTN_TRY(attn__segment_open(t, i, error));
            i = t->n_nodes;
        } else {
            ATTN_TRY(backward_node(t, node, error));
            backward_leave(t, i);
        }
    }
}

/* ---- before it --------------------------------------------------------------------------- */

/* Marks what the backward will go through. */
static attn_status backward_reach(attn_tape *t, attn__variable *v, attn_error *error)
{
    v->reached = true;
    if (v->node < 0 || t->nodes[v->node]) return ATTN_OK;
    return attn__fail(error, ATTN_E_HANDLE, backward_name,
                      "an earlier backward has used up what this one needs (config.keep)");
}

static attn_status backward_reach_all(attn_tape *t, int n, const attn_var *y, attn_error *error)
{
    for (int64_t i = 0; i < t->n_vars; i++) t->vars[i].reached = false;
    for (int k = 0; k < n; k++) ATTN_TRY(backward_reach(t, &t->vars[y[k].id], error));
    for (int64_t i = t->n_nodes - 1; i >= 0; i--) {
        const attn__node *node = t->nodes[i];
        bool reached = false;
        for (int k = 0; node && k < node->n_out; k++) {
            const int64_t id = node->operand[node->n_in + k].id;
            reached = reached || (id >= 0 && t->vars[id].reached);
        }
        for (int k = 0; reached && k < node->n_in; k++) {
            const int64_t id = node->operand[k].id;
            if (id >= 0 && t->vars[id].needs) ATTN_TRY(backward_reach(t, &t->vars[id], error));
        }
    }
    return ATTN_OK;
}

static attn_status backward_check_y(attn_tape *t, attn_var y, attn_error *error)
{
    const char *why;
    const attn__variable *v = attn__var_find(t, y, &why);
    if (!v) return attn__fail(error, ATTN_E_HANDLE, backward_name, why);
    if (v->needs) return ATTN_OK;
    return attn__fail(error, ATTN_E_PARAM, backward_name,
                      t->config.compute ? "this tape only computes"
                                        : "the variable depends on no parameter");
}

static attn_status backward_check_d(const attn_tensor *y, const attn_tensor *d,
                                    attn_error *error)
{
    static const char where[] = "d_y";
    ATTN_TRY(attn__tensor_check(d, where, error));
    if (!attn__dtype_is_float(d->dtype))
        return attn__fail_name(error, ATTN_E_DTYPE, where, "a gradient must be of floats",
                               attn_dtype_name(d->dtype));
    if (!d->data && attn_tensor_count(*d) > 0)
        return attn__fail(error, ATTN_E_NULL, where, "data is NULL");
    if (d->rank != y->rank)
        return attn__fail_count(error, ATTN_E_RANK, where, "the rank must be that of y",
                                y->rank, d->rank);
    for (int i = 0; i < y->rank; i++)
        ATTN_TRY(attn__need_same(where, "the shape must be that of y", y->shape[i], d->shape[i],
                                 error));
    return ATTN_OK;
}

static attn_status backward_check(attn_tape *t, int n, const attn_var *y,
                                  const attn_tensor *d_y, attn_error *error)
{
    if (t->walking || t->pauses > 0)
        return attn__fail(error, ATTN_E_HANDLE, backward_name,
                          "not inside of a checkpointed segment");
    if (n < 0 || (n > 0 && (!y || !d_y)))
        return attn__fail(error, ATTN_E_NULL, backward_name, "no variables or no gradients");
    for (int i = 0; i < n; i++) {
        ATTN_TRY(backward_check_y(t, y[i], error));
        ATTN_TRY(backward_check_d(&t->vars[y[i].id].value, &d_y[i], error));
    }
    return backward_reach_all(t, n, y, error);
}

/* ---- around it --------------------------------------------------------------------------- */

static attn_status backward_seed(attn_tape *t, attn__variable *v, const attn_tensor *d)
{
    bool fresh;
    if (!attn__var_grad(t, v, &fresh)) return ATTN_E_MEMORY;
    attn__call c = {.tape = t, .ctx = t->ctx, .k = t->kernels, .real = t->config.dtype};
    const attn_tensor grad = attn__var_grad_tensor(t, v);
    const void *x = attn__call_reals(&c, d);
    const attn__fpenv saved = attn__fpenv_enter();
    if (x) attn__fold(&c, x, &grad);
    attn__fpenv_leave(saved);
    attn__call_end(&c);
    return x ? ATTN_OK : ATTN_E_MEMORY;
}

/* Gradients of results are of one backward only. */
static void backward_forget(attn_tape *t, bool retained_too)
{
    for (int64_t i = 0; i < t->n_vars; i++) {
        attn__variable *v = &t->vars[i];
        if (!backward_keeps_grad(v) || (retained_too && !v->param))
            attn__block_release(t, &v->grad);
    }
}

static attn_status backward_go(attn_tape *t, int n, const attn_var *y, const attn_tensor *d_y,
                               attn_error *error)
{
    backward_forget(t, true);
    for (int i = 0; i < n; i++)
        if (backward_seed(t, &t->vars[y[i].id], &d_y[i]) != ATTN_OK)
            return attn__fail(error, ATTN_E_MEMORY, backward_name, "out of memory");
    return backward_walk(t, error);
}

static attn_status backward_do(attn_tape *t, int n, const attn_var *y, const attn_tensor *d_y,
                               attn_error *error)
{
    ATTN_TRY(backward_check(t, n, y, d_y, error));
    t->walking = true;
    const attn_status s = backward_go(t, n, y, d_y, error);
    while (t->segment) attn__segment_close(t); /* only after a failure */
    t->walking = false;
    backward_forget(t, false);
    return s;
}

attn_status attn_tape_backward_from(attn_tape *t, int n, const attn_var *y,
                                    const attn_tensor *d_y, attn_error *error)
{
    attn_error said = {.status = ATTN_OK};
    if (!attn__tape_ready(t)) return attn_tape_status(t, error);
    if (backward_do(t, n, y, d_y, &said) == ATTN_OK) return ATTN_OK;
    if (error) *error = said;
    return attn__tape_fail(t, &said);
}

attn_status attn_tape_backward(attn_tape *t, attn_var y, attn_error *error)
{
    const double one = 1;
    const attn_tensor value = attn__var_value(t, y);
    attn_error said;
    if (attn__present(&value) && attn_tensor_count(value) != 1) {
        attn__fail_count(&said, ATTN_E_SHAPE, backward_name,
                         "the variable must have one element (else: attn_tape_backward_from)",
                         1, attn_tensor_count(value));
        if (error) *error = said;
        return attn__tape_fail(t, &said);
    }
    const attn_tensor d_y =
        attn_tensor_make((void *)(uintptr_t)&one, ATTN_DTYPE_F64, value.rank, value.shape);
    return attn_tape_backward_from(t, 1, &y, &d_y, error);
}
