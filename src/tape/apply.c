/* SPDX-License-Identifier: MIT
 * One operation: operands are looked up, the shape rule says what comes out, memory is found
 * for all of it, and only then the forward runs. What follows cannot fail, so an operation has
 * happened as a whole or not at all. */
#include "tape/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct apply_job {
    attn__call c;
    const attn__op *op;
    const attn_var *in;
    bool needs;                         /* an operand wants a gradient */
    attn__block *memory[ATTN__OP_MOST]; /* of the results */
    attn__node *node;
    attn_var made[ATTN__OP_MOST];
} apply_job;

const attn__op_body *attn__op_body_of(const attn_tape *t, attn__op_index op)
{
    return t->config.dtype == ATTN_DTYPE_F64 ? &attn__ops_f64[op] : &attn__ops_f32[op];
}

/* ---- before the numbers ------------------------------------------------------------------ */

static attn_status apply_lookup(apply_job *job, attn_error *error)
{
    attn__call *c = &job->c;
    for (int i = 0; i < c->n_in; i++) {
        const char *why;
        if (!job->in[i].tape) continue;
        const attn__variable *v = attn__var_find(c->tape, job->in[i], &why);
        if (!v) return attn__fail(error, ATTN_E_HANDLE, job->op->name, why);
        c->in[i] = v->value;
        job->needs = job->needs || v->needs;
    }
    if (job->op->flags & ATTN__OP_NO_GRAD) job->needs = false;
    c->recording = job->needs && c->tape->pauses == 0;
    return ATTN_OK;
}

static attn_status apply_shape(apply_job *job, attn_error *error)
{
    attn__call *c = &job->c;
    ATTN_TRY(job->op->shape(c, error));
    for (int i = 0; i < c->n_out; i++)
        ATTN_TRY(attn__tensor_check(&c->out[i], job->op->name, error));
    return ATTN_OK;
}

static attn_status apply_reserve(apply_job *job)
{
    attn__call *c = &job->c;
    ATTN_TRY(attn__var_room(c->tape, c->n_out));
    for (int i = 0; i < c->n_out && !(job->op->flags & ATTN__OP_VIEW); i++) {
        const size_t size = attn_dtype_size(c->out[i].dtype);
        if (!c->wanted[i]) continue;
        job->memory[i] = attn__block_new(c->tape, (size_t)attn_tensor_count(c->out[i]) * size);
        if (!job->memory[i]) return ATTN_E_MEMORY;
        c->out[i].data = attn__block_data(job->memory[i]);
    }
    if (c->recording) job->node = attn__node_new(c->tape, c->n_in, c->n_out);
    return c->recording && !job->node ? ATTN_E_MEMORY : ATTN_OK;
}

static attn_status apply_forward(apply_job *job)
{
    const attn__op_run forward = attn__op_body_of(job->c.tape, job->c.op)->forward;
    if (job->op->flags & ATTN__OP_VIEW) return ATTN_OK;
    const attn__fpenv saved = attn__fpenv_enter();
    const attn_status s = forward(&job->c);
    attn__fpenv_leave(saved);
    return s;
}

/* What went wrong inside has its own sentence, or it was memory. */
static attn_status apply_explain(const apply_job *job, attn_status s, attn_error *error)
{
    if (s == ATTN_OK || error->status == s) return s;
    if (s == ATTN_E_LIMIT)
        return attn__fail(error, s, job->op->name, "the tape holds too many variables");
    return attn__fail(error, s, job->op->name,
                      s == ATTN_E_MEMORY ? "out of memory" : attn_status_text(s));
}

/* ---- after them -------------------------------------------------------------------------- */

static void apply_add_results(apply_job *job)
{
    attn__call *c = &job->c;
    const bool view = job->op->flags & ATTN__OP_VIEW;
    if (view) job->memory[0] = attn__block_hold(c->tape->vars[job->in[0].id].memory);
    for (int i = 0; i < c->n_out; i++) {
        if (!c->wanted[i]) continue;
        job->made[i] = attn__var_add(c->tape, &c->out[i], job->memory[i]);
        job->memory[i] = NULL;
        c->tape->vars[job->made[i].id].needs =
            job->needs && attn__dtype_is_float(c->out[i].dtype);
    }
}

static attn__operand apply_operand(const attn_tape *t, attn_var x, bool keep)
{
    if (!x.tape) return (attn__operand){.id = -1};
    attn__operand operand = {.value = t->vars[x.id].value, .id = x.id};
    if (keep)
        operand.memory = attn__block_hold(t->vars[x.id].memory);
    else
        operand.value.data = NULL;
    return operand;
}

static void apply_write_node(apply_job *job)
{
    attn__call *c = &job->c;
    attn__node *node = job->node;
    node->op = c->op;
    node->attr = c->attr;
    node->saved = attn__block_of(c->saved);
    c->saved = NULL;
    for (int i = 0; i < c->n_in; i++)
        node->operand[i] =
            apply_operand(c->tape, job->in[i], job->op->flags & ATTN__OP_NEEDS_IN);
    for (int i = 0; i < c->n_out; i++)
        node->operand[c->n_in + i] =
            apply_operand(c->tape, job->made[i], job->op->flags & ATTN__OP_NEEDS_OUT);
    attn__node_add(c->tape, node);
    job->node = NULL;
}

/* Gives back what has found no owner. */
static void apply_end(apply_job *job)
{
    attn__block *saved = attn__block_of(job->c.saved);
    attn__call_end(&job->c);
    attn__block_release(job->c.tape, &saved);
    attn__node_free(job->c.tape, job->node);
    for (int i = 0; i < ATTN__OP_MOST; i++) attn__block_release(job->c.tape, &job->memory[i]);
}

static attn_status apply_run(apply_job *job, attn_error *error)
{
    ATTN_TRY(apply_lookup(job, error));
    ATTN_TRY(apply_shape(job, error));
    attn_status s = apply_reserve(job);
    if (s == ATTN_OK) s = apply_forward(job);
    ATTN_TRY(apply_explain(job, s, error));
    apply_add_results(job);
    if (job->node) apply_write_node(job);
    return ATTN_OK;
}

/* A sentence about an operand by its own name (what the engine says) names the operation too.
 */
static void apply_name(const attn__op *op, attn_error *error)
{
    if (error->name[0] || (error->where && strcmp(error->where, op->name) == 0)) return;
    snprintf(error->name, sizeof error->name, "operation %s", op->name);
}

/* ---- the two doors ----------------------------------------------------------------------- */

static void apply_deliver(apply_job *job, int n_out, attn_var *out)
{
    for (int i = 0; i < job->c.n_out; i++) {
        if (out && i < n_out)
            out[i] = job->made[i];
        else if (i > 0)
            attn_tape_drop(job->c.tape, job->made[i]);
    }
}

attn_var attn__apply(attn_tape *t, attn__op_index op, int n_in, const attn_var *in,
                     const attn__attr *attr, int n_out, attn_var *out, uint32_t wanted)
{
    attn_error error = {.status = ATTN_OK};
    for (int i = 0; out && i < n_out; i++) out[i] = (attn_var){0};
    if (!attn__tape_ready(t)) return (attn_var){0};
    if (n_in > ATTN__OP_MOST)
        return attn__var_fail(t, ATTN_E_LIMIT, attn__ops[op].name, "too many operands",
                              ATTN__OP_MOST, n_in);
    apply_job job = {.op = &attn__ops[op],
                     .in = in,
                     .c = {.tape = t,
                           .ctx = t->ctx,
                           .k = t->kernels,
                           .real = t->config.dtype,
                           .op = op,
                           .n_in = n_in,
                           .again = t->walking,
                           .error = &error}};
    if (attr) job.c.attr = *attr;
    for (int i = 0; i < ATTN__OP_MOST; i++) job.c.wanted[i] = i == 0 || (wanted >> i & 1);
    const attn_status s = apply_run(&job, &error);
    apply_end(&job);
    if (s != ATTN_OK) {
        apply_name(job.op, &error);
        attn__tape_fail(t, &error);
    } else {
        apply_deliver(&job, n_out, out);
    }
    return job.made[0];
}

attn_var attn__apply1(attn_tape *t, attn__op_index op, int n_in, const attn_var *in,
                      const attn__attr *attr)
{
    return attn__apply(t, op, n_in, in, attr, 1, NULL, 1);
}
