/* SPDX-License-Identifier: MIT
 * The tape's one door.
 *
 * An operation is a row of ops.def and three functions: a shape rule, written once
 * (op_<family>.c, with the public attn_tape_<name>), and a forward and a backward, written once
 * and compiled for f32 and f64 (op/<family>.h through ops_f32.c and ops_f64.c). All three get
 * an attn__call. What a call needs from the tape - dense operands, scratch, threads - is in
 * call.c; what happens to variables, nodes and gradients is in tape.c and the files that it
 * names. */
#ifndef ATTN__TAPE_H
#define ATTN__TAPE_H

#include "attn/tape.h"
#include "base/base.h"
#include "kernel/kernel.h"

/* ---- the list of operations -------------------------------------------------------------- */

enum {
    ATTN__OP_MOST = 32, /* operands or results of one operation */
    ATTN__OP_VIEW = 1,  /* the result is memory of operand 0 seen otherwise; no forward runs */
    ATTN__OP_NEEDS_IN = 2,  /* the backward reads the operands */
    ATTN__OP_NEEDS_OUT = 4, /* the backward reads the results */
    ATTN__OP_NO_GRAD = 8    /* results carry no gradient; there is no backward */
};

typedef enum attn__op_index {
#define OP(name, flags) ATTN__OP_##name,
#define OP_0(name)      ATTN__OP_##name,
#define OP_VIEW(name)   ATTN__OP_##name,
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW
    ATTN__N_OPS
} attn__op_index;

/* What an operation was asked besides its operands; what the places mean is the family's. */
typedef struct attn__attr {
    int64_t i[16];
    double f[4];
    attn_dims dims;
    const void *object; /* must outlive the tape */
} attn__attr;

/* One forward or one backward. Rows without a tensor have dtype NONE. */
typedef struct attn__call {
    attn_tape *tape;
    attn_ctx *ctx;
    const attn__kernels *k; /* of the tape's arithmetic */
    attn_dtype real;        /* F32 or F64 */
    attn__op_index op;
    attn__attr attr;
    int n_in, n_out;
    attn_tensor in[ATTN__OP_MOST];  /* any strides and dtypes that the shape rule let through */
    attn_tensor out[ATTN__OP_MOST]; /* dense; the shape rule sets dtype, rank and shape */
    bool wanted[ATTN__OP_MOST];     /* forward: out i will be looked at (optional results) */
    bool recording;                 /* forward: a backward may follow */
    bool again; /* forward of a checkpoint's second run: effects beside out are not repeated */
    attn_error *error; /* where a body whose engine says no leaves the sentence */
    attn_tensor d_out[ATTN__OP_MOST]; /* backward: dense reals; absent: 0 */
    attn_tensor d_in[ATTN__OP_MOST];  /* backward: dense reals to add to; absent: not asked */
    bool fresh[ATTN__OP_MOST]; /* backward: d_in[i] is all 0, so it may be written instead */
    void *saved;               /* made by attn__call_save in forward, given to backward */
    size_t saved_size;
    struct attn__temp *temps; /* freed when the call ends */
} attn__call;

/* The shape rule: looks at in, n_in, attr; sets n_out and each out's dtype, rank and shape (for
 * a view also data and stride). Refuses with the operation's name as `where`. */
typedef attn_status (*attn__op_shape)(attn__call *c, attn_error *error);
/* Fills out, or adds to d_in. Only E_MEMORY (and what an engine or matmul says) can come back.
 */
typedef attn_status (*attn__op_run)(attn__call *c);

typedef struct attn__op {
    const char *name;
    unsigned flags;
    attn__op_shape shape;
} attn__op;
typedef struct attn__op_body {
    attn__op_run forward, backward; /* NULL: none */
} attn__op_body;

extern const attn__op attn__ops[ATTN__N_OPS];              /* ops.c */
extern const attn__op_body attn__ops_f32[ATTN__N_OPS + 1]; /* ops_f32.c: op/all.h */
extern const attn__op_body attn__ops_f64[ATTN__N_OPS + 1]; /* ops_f64.c */

#define OP(name, flags) attn_status attn__shape_##name(attn__call *c, attn_error *error);
#define OP_0(name)      attn_status attn__shape_##name(attn__call *c, attn_error *error);
#define OP_VIEW(name)   attn_status attn__shape_##name(attn__call *c, attn_error *error);
#include "tape/ops.def"
#undef OP
#undef OP_0
#undef OP_VIEW

/* ---- apply.c: an operation is run and written down -------------------------------------- */

/* Runs op on n_in operands (empty variables: not given). Results go to out[0 .. n_out), where
 * out may be NULL beyond the first wanted ones (wanted bit i: result i is asked for). Returns
 * result 0. On failure, or on a tape that has failed before, all are empty and the error
 * sticks. */
attn_var attn__apply(attn_tape *t, attn__op_index op, int n_in, const attn_var *in,
                     const attn__attr *attr, int n_out, attn_var *out, uint32_t wanted);
/* The usual case: one result. */
attn_var attn__apply1(attn_tape *t, attn__op_index op, int n_in, const attn_var *in,
                      const attn__attr *attr);

/* a, copied into dense memory; any dtype. (op_core.c) */
attn_var attn__tape_contiguous(attn_tape *t, attn_var a);

/* For public functions that are made of others or look at an operand first. */
bool attn__var_live(attn_tape *t, attn_var x);         /* and the tape has not failed */
bool attn__var_needs(attn_tape *t, attn_var x);        /* a parameter stands behind it */
attn_tensor attn__var_value(attn_tape *t, attn_var x); /* absent when not live */
attn_var attn__var_fail(attn_tape *t, attn_status s, const char *op, const char *what,
                        int64_t want, int64_t got); /* sticks; the empty variable */

/* ---- call.c: what a shape rule or a body asks of the tape ------------------------------- */

/* Shape rules. dim counted from the end when negative; -1 when there is no such dimension. */
int attn__dim(int rank, int64_t dim);
/* The numbers of dims.at[] as bits; false (and the error filled) when one is wrong or twice. */
bool attn__dim_bits(const char *op, int rank, const attn_dims *dims, uint32_t *bits,
                    attn_error *error);
attn_status attn__shape_broadcast(const char *op, const attn_tensor *a, const attn_tensor *b,
                                  attn_tensor *out, attn_error *error); /* rank and shape */
attn_status attn__need_real(const attn__call *c, int i,
                            attn_error *error); /* operand i: floats */
attn_status attn__need_int(const attn__call *c, int i, attn_error *error);
attn_status attn__need_bool(const attn__call *c, int i, attn_error *error); /* bool or u8 */
attn_status attn__need_rank(const attn__call *c, int i, int least, int most, attn_error *error);
attn_status attn__need_same(const char *op, const char *what, int64_t want, int64_t got,
                            attn_error *error);
/* out[i] = dense tensor of this dtype and shape. */
void attn__out_set(attn__call *c, int i, attn_dtype dtype, int rank, const int64_t *shape);
void attn__out_like(attn__call *c, int i, const attn_tensor *like); /* reals of that shape */

/* Bodies, outside of shared pieces. NULL, always: out of memory (return ATTN_E_MEMORY). */
void *attn__call_temp(attn__call *c, int64_t count,
                      size_t size); /* lives until the call ends */
void *attn__call_save(attn__call *c, int64_t count, size_t size); /* until the backward; once */
/* t as dense row-major reals: in place when it is that, else copied into a temp. */
const void *attn__call_reals(attn__call *c, const attn_tensor *t);
const int64_t *attn__call_ints(attn__call *c, const attn_tensor *t);
const uint8_t *attn__call_bools(attn__call *c, const attn_tensor *t); /* 0 or 1 each */
/* to = from: one shape, any types and strides. */
void attn__call_copy(const attn__call *c, const attn_tensor *to, const attn_tensor *from);
/* t (or the gradient it stands for) as dense reals of the broadcast shape. */
const void *attn__call_expand(attn__call *c, const attn_tensor *t, const attn_tensor *shape);
/* d (dense reals, a broadcast operand's shape) += x (dense reals of the wider shape), summed in
 * f64 over what broadcasts, rows ascending. */
attn_status attn__call_reduce(attn__call *c, const void *x, const attn_tensor *shape,
                              const attn_tensor *d);
/* body(arg, from, to) over fixed pieces of [0, n), at least grain each, on the context's
 * threads. Pieces do not depend on the number of threads. */
void attn__call_share(const attn__call *c, int64_t n, int64_t grain,
                      void (*body)(void *arg, int64_t from, int64_t to), void *arg);

/* A tensor around dim: before x n x after. */
typedef struct attn__axis {
    int64_t before, n, after;
} attn__axis;
attn__axis attn__axis_of(const attn_tensor *t, int dim);

/* ---- fields.c: an engine as a node ------------------------------------------------------- */

/* Operand i of the node: where it lies in the struct of variables, in the engine's args, and its
 * gradient there. */
typedef struct attn__field {
    size_t var, arg, grad;
} attn__field;

attn_tensor *attn__field_at(void *args, size_t offset);
/* The operands take their places among the tensors that the caller gave. */
void attn__fields_place(const attn__call *c, const attn__field *fields, int n, void *args);
void attn__fields_clear(const attn__field *fields, int n, void *args); /* no gradients */
/* vars NULL: nothing. */
void attn__fields_vars(const attn__field *fields, int n, const void *vars, attn_var *in);
/* attr.object, of that size, is copied for the backward, if there may be one. */
attn_status attn__fields_keep(attn__call *c, size_t size);
/* Where the engine writes gradients: in place, if nothing has come before; and their way from
 * there to what had come. */
attn_status attn__fields_targets(attn__call *c, const attn__field *fields, int n, void *args);
attn_status attn__fields_add(attn__call *c, const attn__field *fields, int n, void *args);

/* ---- matmul.c, matmul_run.c, matmul_blas.c: products of matrices ------------------------ */

/* c = a b or c += a b as attn_matmul, unchecked; k is the table of the arithmetic, which is f64
 * when any of the three is. E_MEMORY alone can come back, and then c is as it was. */
attn_status attn__matmul(attn_ctx *ctx, const attn__kernels *k, attn_tensor a, attn_tensor b,
                         attn_tensor c, bool add);

typedef struct attn__matrix { /* of the first item of a batch; strides in elements */
    char *data;
    attn_dtype dtype;
    int64_t row, col;
} attn__matrix;

typedef struct attn__batch_dim {
    int64_t n, a, b, c; /* size, strides */
} attn__batch_dim;

typedef struct attn__product {
    attn_ctx *ctx;
    const attn__kernels *k;
    int64_t M, N, K, items;
    attn__matrix a, b, c; /* M K, K N, M N */
    int n_dims;
    attn__batch_dim dims[ATTN_MAX_RANK];
    bool add, pack_a, pack_b, stage_c; /* operands, blocks of c that pass through scratch */
    int64_t rows, cols;                /* of a task */
} attn__product;

attn_status attn__product_run(attn__product *p); /* sets the choices itself */
/* The matrices of item i. */
void attn__product_item(const attn__product *p, int64_t i, attn__matrix *a, attn__matrix *b,
                        attn__matrix *c);
/* True: a BLAS is in this build, suits this product and has done it. */
bool attn__product_blas(const attn__product *p);

#endif
