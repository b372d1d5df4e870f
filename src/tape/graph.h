/* SPDX-License-Identifier: MIT
 * The inside of a tape: memory, variables and nodes. Only the files named below look here;
 * operations see an attn__call.
 *
 * A value is a tensor over a block of memory that is counted: the variable holds it until it is
 * dropped, views hold the block of what they look at, and a node holds what its backward reads.
 * What the caller brought has no block. Nodes stand in the order in which they were made, and
 * every operand of a node is older than the node. */
#ifndef ATTN__TAPE_GRAPH_H
#define ATTN__TAPE_GRAPH_H

#include "tape/tape.h"

/* ---- memory.c ---------------------------------------------------------------------------- */

typedef struct attn__block {
    size_t size; /* of the data, which lies behind */
    int64_t holders;
} attn__block;

void *attn__tape_new(attn_tape *t, size_t size); /* counted by attn_tape_memory */
void attn__tape_delete(attn_tape *t, void *ptr, size_t size);
attn__block *attn__block_new(attn_tape *t, size_t size); /* one holder; NULL: no memory */
void *attn__block_data(attn__block *block);              /* aligned to 64 */
attn__block *attn__block_of(void *data);                 /* and back */
attn__block *attn__block_hold(attn__block *block);       /* NULL is legal, here and below */
void attn__block_release(attn_tape *t, attn__block **block);
/* Room for n elements of size in *array, which holds *room of them; at least doubled. */
attn_status attn__tape_grow(attn_tape *t, void **array, int64_t *room, int64_t n, size_t size);

/* ---- variables and nodes ----------------------------------------------------------------- */

typedef struct attn__variable {
    attn_tensor value;   /* its shape stays when the value is gone */
    attn__block *memory; /* NULL: the caller's */
    attn__block *grad;   /* dense reals; NULL: none came */
    int64_t node;        /* that made it; -1: none */
    uint32_t age;        /* handles carry it */
    bool needs;          /* a gradient goes through here */
    bool param, retained;
    bool gone;    /* dropped: handles are refused */
    bool reached; /* by the backward that runs */
} attn__variable;

typedef struct attn__operand {
    attn_tensor value; /* data NULL unless the backward reads it */
    attn__block *memory;
    int64_t id; /* -1: not given, or a result that nobody wanted */
    bool lent;  /* checkpoint.c: the variable was gone and has its value back for a while */
} attn__operand;

typedef struct attn__node {
    attn__op_index op;
    int n_in, n_out;
    attn__attr attr;
    attn__block *saved;
    struct attn__segment *segment; /* not an operation but a checkpoint */
    attn__operand operand[];       /* n_in of them, then n_out results */
} attn__node;

struct attn_tape {
    uint32_t magic, age;
    attn_ctx *ctx;
    attn_tape_config config;
    const attn__kernels *kernels;
    attn_error error; /* status OK: none */
    size_t memory;
    attn__variable *vars;
    int64_t n_vars, vars_room;
    attn__node **nodes; /* NULL where a backward has used one up */
    int64_t n_nodes, nodes_room;
    int pauses;                    /* above 0: nothing is recorded, needs go on */
    bool walking;                  /* a backward runs */
    struct attn__segment *segment; /* the innermost one that is being walked */
};

/* ---- tape.c ------------------------------------------------------------------------------ */

bool attn__tape_alive(const attn_tape *t);
bool attn__tape_ready(const attn_tape *t); /* alive and without an error */
attn_status attn__tape_fail(attn_tape *t, const attn_error *error); /* sticks, if the first */
void attn__tape_shrink(attn_tape *t, int64_t n_vars, int64_t n_nodes); /* frees the youngest */

/* ---- var.c ------------------------------------------------------------------------------- */

/* NULL, and a sentence, when x is no variable of t. */
attn__variable *attn__var_find(const attn_tape *t, attn_var x, const char **why);
attn_status attn__var_room(attn_tape *t, int64_t more); /* the next `more` adds cannot fail */
attn_var attn__var_add(attn_tape *t, const attn_tensor *value, attn__block *memory);
attn_var attn__var_handle(const attn_tape *t, int64_t id); /* id -1: the empty one */
void attn__var_forget(attn_tape *t, attn__variable *v);    /* its value; handles are refused */
/* Its gradient, made of zeros when there is none; *fresh: it was. NULL: no memory. */
void *attn__var_grad(attn_tape *t, attn__variable *v, bool *fresh);
attn_tensor attn__var_grad_tensor(const attn_tape *t, const attn__variable *v); /* or absent */

/* ---- node.c ------------------------------------------------------------------------------ */

/* Room for it in the list as well. NULL: no memory. */
attn__node *attn__node_new(attn_tape *t, int n_in, int n_out);
void attn__node_add(attn_tape *t, attn__node *node);
void attn__node_free(attn_tape *t, attn__node *node);

/* ---- apply.c, call.c --------------------------------------------------------------------- */

const attn__op_body *attn__op_body_of(const attn_tape *t, attn__op_index op);
void attn__call_end(attn__call *c); /* frees temps */

/* ---- fold.c ------------------------------------------------------------------------------ */

/* to += x, both of one rank and shape, x dense reals; where to has stride 0, in f64 over all
 * that falls on one element, in row-major order. */
void attn__fold(const attn__call *c, const void *x, const attn_tensor *to);

typedef struct attn__fold_dim {
    int64_t n, from, to; /* extent, strides in elements */
} attn__fold_dim;

typedef struct attn__fold_plan {
    const void *x;
    void *to;
    int n_kept, n_summed;
    attn__fold_dim kept[ATTN_MAX_RANK],
        summed[ATTN_MAX_RANK]; /* innermost last, at least one */
    int64_t strips;            /* of the innermost kept dimension */
} attn__fold_plan;

enum { ATTN__FOLD_STRIP = 32 };

/* op/core.h: strips [begin, end) of plan. */
void attn__fold_strips_f32(void *plan, int64_t begin, int64_t end);
void attn__fold_strips_f64(void *plan, int64_t begin, int64_t end);

/* ---- backward.c, view.c, checkpoint.c --------------------------------------------------- */

attn_status attn__view_backward(attn__call *c); /* d_out[0] back through the view to d_in[0] */
/* Runs the segment of checkpoint nodes[i] again, recording: its nodes are the youngest now, and
 * the gradients of its results are theirs. */
attn_status attn__segment_open(attn_tape *t, int64_t i, attn_error *error);
/* The innermost segment is through: forgets what it made. Returns the node that it stands for.
 */
int64_t attn__segment_close(attn_tape *t);
int64_t attn__segment_base(const attn_tape *t); /* its first node; 0 outside of any */
void attn__segment_free(attn_tape *t, struct attn__segment *segment);

#endif
