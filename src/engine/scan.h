/* SPDX-License-Identifier: MIT
 * The recurrent engine inside the room. A call walks the way of all calls:
 *
 *   spec + args --scan_check.c, scan_shape.c--> attn__scan_problem
 *               --scan_plan.c--> attn_scan_plan
 *               --scan_run.c--> streams -> legs -> segments -> phases
 *
 * A stream is one state: a sequence and a key/value head. It goes through the legs of a program
 * (read in the state, walk the tokens, walk them back ...), a leg through its segments of
 * tokens, a segment through the phases of its leg: functions that fill one memory from another.
 * A phase is cut into parts, of tokens or of lanes, none of which shows in a number. Either a
 * thread takes whole streams, or, when there are few, all threads share the parts of a phase.
 *
 * Two layouts of a state and its gradient: lanes are e, [D][E'], to solve for u and to read
 * out; lanes are d, [E'][D], for what belongs to q and k. Their numbers are the same chains, so
 * a state kept from one serves the other. E' is E, and one column more for z with normalise, in
 * which v is 1. */
#ifndef ATTN__ENGINE_SCAN_H
#define ATTN__ENGINE_SCAN_H

#include "attn/recurrent.h"
#include "engine/engine.h"

/* ---- scan_check.c, scan_shape.c ---------------------------------------------------------- */

typedef struct attn__scan_arg {
    const char *name;
    size_t at; /* offset in attn_scan_args */
    const char *calls;
    char kind;
    const char *dims, *of;
} attn__scan_arg;

enum {
#define SCAN_ARG(field, ...) ATTN__SCAN_ARG_##field,
#include "engine/scan_args.def"
#undef SCAN_ARG
    ATTN__N_SCAN_ARGS
};
extern const attn__scan_arg attn__scan_arg_list[ATTN__N_SCAN_ARGS]; /* scan_shape.c */

static inline attn_tensor *attn__scan_arg_of(attn_scan_args *args, int i)
{
    return (attn_tensor *)(void *)((char *)args + attn__scan_arg_list[i].at);
}
static inline const attn_tensor *attn__scan_arg_in(const attn_scan_args *args, int i)
{
    return (const attn_tensor *)(const void *)((const char *)args + attn__scan_arg_list[i].at);
}

/* A call in canonical form: tensors of full rank, stride 0 where one repeats. */
typedef struct attn__scan_problem {
    bool backward;
    attn_scan_spec spec;
    attn_scan_args at;              /* what the call ignores is absent */
    int64_t N, H, G, M, T, S, D, E; /* M: query heads of a group */
    int64_t columns;                /* E' */
    bool packed, with_data;
} attn__scan_problem;

attn_status attn__scan_problem_check(attn__scan_problem *p, bool backward,
                                     const attn_scan_spec *spec, const attn_scan_args *args,
                                     bool with_data, attn_error *error);
attn_status attn__scan_shapes_check(attn__scan_problem *p, const attn_scan_args *args,
                                    attn_error *error);
bool attn__scan_args_same(bool backward, const attn_scan_args *a, const attn_scan_args *b);
/* The problem of a plan with the pointers of another call, looked at again. */
attn_status attn__scan_rebind(attn__scan_problem *p, const attn_scan_args *args,
                              attn_error *error);

/* ---- scan_plan.c ------------------------------------------------------------------------- */

/* Offsets in bytes into the memory of a stream, all of doubles; L tokens in a segment. */
typedef struct attn__scan_layout {
    int64_t lanes_e, lanes_d; /* E' and D rounded up to vectors */
    int64_t s;                /* [D][lanes_e]: the state */
    int64_t k, a;             /* [L][lanes_d]: keys, decays (one row, if they are constant) */
    int64_t beta;             /* [L] */
    int64_t v;                /* [L][lanes_e]: values; solved: v - S k; then u */
    int64_t q;                /* [M][L][lanes_d] */
    int64_t o;                /* [M][L][lanes_e]: S^T q */
    /* backward */
    int64_t g;      /* [M][L][lanes_e]: the gradient of o */
    int64_t kept;   /* [segments + 1][D][E']: the state before a segment, and the last one */
    int64_t me;     /* [D][lanes_e]: the gradient of the state */
    int64_t sd, md; /* [E'][lanes_d]: the state and its gradient once more */
    int64_t w;  /* [L][lanes_e]: linear: the gradient of v; delta: -that of u; beta times it */
    int64_t dq; /* [M][L][lanes_d] */
    int64_t dk, x;  /* [L][lanes_d]: both parts of the gradient of k */
    int64_t y, run; /* [L][lanes_d], [lanes_d]: the gradient of the decay, and of all since */
    int64_t dbeta;  /* [L] */
    int64_t bytes;
} attn__scan_layout;

struct attn_scan_plan {
    uint32_t magic;
    attn__scan_problem problem;
    attn_scan_args args; /* as given */
    attn_ctx *ctx;
    const attn__kernels *kernels; /* of f64 */
    int threads;
    int64_t streams, segment, parts, slots; /* parts 1: a thread takes whole streams */
    attn__scan_layout at;
    int64_t memory; /* offsets in the workspace: of the slots, and of */
    int64_t totals; /* [streams][lanes_d + 1]: gradients of a constant decay and beta */
    int64_t bytes;
};

/* Whether it is the same number for all tokens. */
static inline bool attn__scan_constant(const attn_tensor *t)
{
    return attn__present(t) && t->stride[2] == 0 && t->shape[2] == 1 && t->shape[0] == 1;
}

/* ---- scan_run.c: streams, legs, segments, phases ----------------------------------------- */

typedef struct attn__scan_seq {
    int64_t b, row;       /* its number, its entry of the batch */
    int64_t k0, S, q0, T; /* tokens k0 .. k0+S, queries q0 .. q0+T of the tensors */
} attn__scan_seq;

/* Piece `part` of a phase on segment n tokens from t0 of a stream. */
typedef struct attn__scan_job {
    const attn_scan_plan *plan;
    const attn__scan_problem *p;
    attn__scan_seq seq;
    int64_t stream, g;
    char *memory, *workspace;
    int64_t t0, n, index; /* tokens or queries of the segment, and its number */
    bool tokens, queries; /* which of both the leg walks */
    int64_t part, parts;
} attn__scan_job;

typedef void (*attn__scan_phase)(const attn__scan_job *j);

enum { ATTN__SCAN_PHASES = 10 };
typedef enum attn__scan_count {
    ATTN__SCAN_ONCE,
    ATTN__SCAN_TOKENS,
    ATTN__SCAN_QUERIES
} attn__scan_count;

typedef struct attn__scan_leg {
    attn__scan_count count; /* segments */
    bool tokens, queries, back;
    attn__scan_phase phase[ATTN__SCAN_PHASES]; /* NULL behind the last */
} attn__scan_leg;

/* Ends with a leg without phases. */
const attn__scan_leg *attn__scan_program(const attn__scan_problem *p);      /* forward */
const attn__scan_leg *attn__scan_back_program(const attn__scan_problem *p); /* scan_back.c */
void attn__scan_go(const attn_scan_plan *plan, const attn__scan_problem *p, void *workspace);

static inline double *attn__scan_at(const attn__scan_job *j, int64_t offset)
{
    return (double *)(void *)(j->memory + offset);
}
/* Query head number m of the group. */
int64_t attn__scan_head(const attn__scan_job *j, int64_t m);
/* The part's share [*from, *to) of n items; cuts are at multiples of grain. */
void attn__scan_share(const attn__scan_job *j, int64_t n, int64_t grain, int64_t *from,
                      int64_t *to);

/* ---- scan_rows.c: tensors in, tensors out ------------------------------------------------ */

/* Phases: tokens and queries of the segment as doubles; the state at the start and end. */
void attn__scan_stage(const attn__scan_job *j);
void attn__scan_load(const attn__scan_job *j);
void attn__scan_store(const attn__scan_job *j);
/* Lanes [from, to) of s [D][lanes_e] from a tensor N G D E and one N G D, absent: 0. */
void attn__scan_state_in(const attn__scan_job *j, const attn_tensor *t, const attn_tensor *z,
                         int64_t from, int64_t to, double *s);
/* And back; s is made tidy. */
void attn__scan_state_out(const attn__scan_job *j, const attn_tensor *t, const attn_tensor *z,
                          int64_t from, int64_t to, double *s);
/* x [n], made tidy, as row (a, b, c) of t. */
void attn__scan_write(const attn__scan_job *j, const attn_tensor *t, int64_t a, int64_t b,
                      int64_t c, int64_t n, double *x);
/* Rows that no sequence covers = 0. */
void attn__scan_fill(const attn__scan_problem *p);

/* ---- scan_walk.c: the kernel on the memory of a stream ----------------------------------- */

/* The part's lanes of e or of d: vectors by the handful. */
void attn__scan_lanes_e(const attn__scan_job *j, int64_t *from, int64_t *to);
void attn__scan_lanes_d(const attn__scan_job *j, int64_t *from, int64_t *to);
/* A scan over lanes [from, to) of a state with lanes of e ([D] rows) or d ([E'] rows). */
attn__scan attn__scan_over_e(const attn__scan_job *j, double *s, int64_t from, int64_t to);
attn__scan attn__scan_over_d(const attn__scan_job *j, double *s, int64_t from, int64_t to);
/* n memories [L][rows ld] and [L][lanes ld] at these offsets, from this lane. */
attn__scan_side attn__scan_pair(const attn__scan_job *j, int64_t n, int64_t rows,
                                int64_t rows_ld, int64_t lanes, int64_t lanes_ld, int64_t lane);
/* The scan solves: its values come from, and their rests go to, this memory [L][lanes_e]. */
void attn__scan_solve(const attn__scan_job *j, attn__scan *s, int64_t value, int64_t lane,
                      bool from_zero);
/* The tokens of the segment go into s, its queries read it into o. */
void attn__scan_forward(const attn__scan_job *j, int64_t from, int64_t to, bool reading);

#endif
