/* SPDX-License-Identifier: MIT
 * The engine's one door. A call walks one way:
 *
 *   spec + args --check.c, check_data.c--> attn__problem (every doubt answered)
 *               --plan.c--> attn_plan (every choice made)
 *               --run.c--> sequences -> tasks -> panels (panel.c) -> tiles (tile.c)
 *
 * A panel is up to 48 queries in lanes; a tile is a panel against one chunk of keys. What an
 * option does to a tile stands in terms.def (scores) and masks.def (allowed pairs). */
#ifndef ATTN__ENGINE_H
#define ATTN__ENGINE_H

#include <stdatomic.h>

#include "attn/attention.h"
#include "base/base.h"
#include "engine/back_plan.h"
#include "engine/cache.h"
#include "engine/half_plan.h"
#include "engine/layout.h"
#include "engine/warm.h"
#include "kernel/kernel.h"

#define ATTN__LOG2E         0x1.71547652b82fep+0
#define ATTN__ROPE_BASE_MAX 0x1p1000
#define ATTN__LN2           0x1.62e42fefa39efp-1

/* ---- check.c: the only place that says no ------------------------------------------------ */

/* Which of the three calls: the place of its letter in args.def. */
typedef enum attn__call_kind { ATTN__FORWARD, ATTN__BACKWARD, ATTN__JVP } attn__call_kind;

/* Where keys and values come from. */
typedef enum attn__source {
    ATTN__SOURCE_TENSORS,
    ATTN__SOURCE_CACHE, /* k and v are absent */
    ATTN__SOURCE_PAGES  /* k and v are pools */
} attn__source;

/* A call in canonical form: the spec with its defaults filled in, every tensor lifted to its
 * full rank with stride 0 where it broadcasts. */
typedef struct attn__problem {
    attn__call_kind call;
    attn_spec spec;
    attn_args at;             /* what the call ignores is absent */
    int64_t N;                /* sequences */
    int64_t H, G, T, S, D, E; /* T, S: rows of q and of k */
    int64_t R;                /* turned elements of a head, 0: no rotation */
    bool turns_keys;          /* and not the queries alone */
    attn__source source;
    int64_t page;            /* keys of a page of the pools */
    attn_cache_spec held;    /* of the cache; its sizes, not what it points at */
    double k_bytes, v_bytes; /* of a key, of a value of one head */
    int64_t rel_n, shaw_n;   /* entries of rel_table, of rel_k and rel_v; 0: none */
    attn_dtype real;         /* the arithmetic: F32 or F64 */
    bool packed_q, packed_k, positional;
    bool with_data; /* data pointers are required */
} attn__problem;

attn_status attn__problem_check(attn__problem *p, attn__call_kind call, const attn_spec *spec,
                                const attn_args *args, bool with_data, attn_error *error);

/* check_shape.c: the description of args, walked by the check and by the plan's comparison. */
attn_status attn__shapes_check(attn__problem *p, const attn_args *args, attn_error *error);
/* All but the pointers of what the call uses. */
bool attn__args_same(attn__call_kind call, const attn_args *a, const attn_args *b);
/* The problem of a plan with the pointers of another call, looked at again. */
attn_status attn__problem_rebind(attn__problem *p, const attn_args *args, attn_error *error);

/* check_data.c: what only the contents can tell. */
attn_status attn__data_check(const attn__problem *p, attn_error *error);
/* Cumulative lengths over a side of so many rows; starts and lengths of its n sequences. */
attn_status attn__data_cu(const attn_tensor *cu, const char *where, int64_t rows,
                          attn_error *error);
attn_status attn__data_range(const attn_tensor *start, const attn_tensor *len,
                             const char *where, int64_t rows, int64_t n, attn_error *error);

/* alias.c: outputs may overlap nothing. */
attn_status attn__alias_check(const attn__problem *p, attn_error *error);

/* ---- seq.c: one sequence of the batch ---------------------------------------------------- */

typedef struct attn__seq {
    int64_t b;
    int64_t q0, T, k0, S; /* rows q0 .. q0+T of q, k0 .. k0+S of k */
    int64_t qb, kb;       /* batch entry of q and of k */
    int64_t iq, jk;       /* operand index of query 0 and key 0 */
    int64_t held, wave;   /* sequence of the cache; split: the first chunk in flight */
    /* cascade.c: leading chunks that a joint has done, 0: none; which joint, its lane there, who
     * is next; who comes next with the same front, and the first whose front is at this index */
    int64_t shared, joint, lane, next, twin, fronts;
    int64_t offset, prefix;
} attn__seq;

attn__seq attn__seq_get(const attn__problem *p, int64_t b);
/* The last of n pieces, n > 0, that begins at or before x; starts never falls. */
int64_t attn__last_start(const int64_t *starts, int64_t n, int64_t x);
/* Byte address of element (a, b, c, d) of a tensor of rank 4 (or less: trailing zeros). */
void *attn__at(const attn_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d);
/* Element (a, b) of a tensor of integers. */
int64_t attn__int_at(const attn_tensor *t, int64_t a, int64_t b);
/* Element (a, b) of a tensor of floats. */
double attn__float_at(const attn_tensor *t, int64_t a, int64_t b);

/* The same elements at the same indices: an output may stand in for this input. */
bool attn__same_view(const attn_tensor *a, const attn_tensor *b);

/* ---- plan.c: the only place that chooses ------------------------------------------------- */

enum { ATTN__PANELS = 8, ATTN__SLOT_HEAD = 64, ATTN__THETAS = 128 };

/* Tasks of up to so many panels, at most. */
int64_t attn__plan_tasks(const attn__problem *p, int64_t each);

struct attn_plan {
    uint32_t magic;
    attn__problem problem;
    attn_score_kind score; /* DOT when the scale is zero */
    double q_factor, coef; /* queries are packed times the first (its sign), scores taken times
                              the second, which gives units of log 2 */
    double sign;           /* of the distance, or of the weights of the features */
    double slope;          /* of the scaled score, as tangents see it */
    bool plain;     /* scores are products, and masks that know no score their only change */
    attn_args args; /* as given, to compare with those of a run */
    attn_ctx *ctx;
    const attn__kernels *kernels;
    attn__layout at;
    int threads;
    int panels_per_task;
    bool few, late; /* few queries, tasks of one panel: few.h, late.h */
    bool split;     /* chunks of one task go to several threads */
    bool far;       /* what is asked for ahead goes to the second cache */
    int64_t max_tasks;
    int64_t slots; /* split: chunks held at once over all tasks */
    int64_t seqs, starts, trig, keys, t_keys, states, partials, scratch, joint_heads,
        joint_states; /* offsets of shared parts */
    int64_t joints;   /* at most */
    int64_t trig_n;   /* positions in the table of angles */
    int64_t bytes;
    int buckets[256];           /* REL_BUCKET: distance at which bucket i begins */
    double theta[ATTN__THETAS]; /* of the first pairs of a rotation */
    attn__back_plan back;
    attn__half_plan half;
};

/* ---- run.c: from sequences to tasks ------------------------------------------------------ */

typedef struct attn__run {
    const attn_plan *plan;
    const attn__problem *p; /* of this call: its pointers */
    char *workspace;
    attn__seq *seqs; /* [N] */
    int64_t *starts; /* [N + 1]: first task of a sequence */
    int64_t n_tasks;
    _Atomic int64_t next;
    int64_t wave_chunks;        /* split: chunks of every task in flight */
    bool wave_first;            /* nothing has been folded yet */
    int64_t ranges;             /* backward: of the sequence with the most queries */
    int64_t trig_first, trig_n; /* positions with their angles in the workspace */
    int64_t *joints, n_joints;  /* cascade.c: the first sequence of each */
} attn__run;

/* unit(r, scratch, 0 .. n - 1) on the threads of the plan, taken in ascending order. */
void attn__run_all(attn__run *r, void (*unit)(attn__run *, char *, int64_t), int64_t n);

void attn__run_go(const attn_plan *plan, const attn__problem *p, void *workspace);

/* ---- panel.c: queries in lanes ----------------------------------------------------------- */

typedef struct attn__panel {
    bool fresh;                               /* nothing folded yet: the state is not written */
    bool closed;                              /* its rows are out */
    bool stairs;                              /* lo is 0, hi never falls from lane to lane */
    int n, w;                                 /* queries, and lanes: n rounded up to the step */
    int64_t any_lo, any_hi;                   /* keys that some lane may see */
    int64_t all_lo, all_hi;                   /* keys that every lane may see */
    int64_t h[ATTN__PANEL];                   /* head */
    int64_t i[ATTN__PANEL];                   /* query of the sequence */
    int64_t p[ATTN__PANEL];                   /* its position */
    int64_t lo[ATTN__PANEL], hi[ATTN__PANEL]; /* keys by causal, window, prefix and chunk */
    int64_t reach[ATTN__SLICES];              /* the largest hi of each slice of lanes */
    void *qt, *rq, *wt;
    double *sm, *sl, *so; /* the state: maximum, sum, outputs */
    char *memory;         /* the parts of attn__layout inside a panel */
    int16_t *hq;          /* half: the queries, what one is worth, those not rounded */
    float *hq_unit;
    uint64_t h_bad;
    struct attn__norm *norm;
} attn__panel;

int64_t attn__panels_count(const attn__problem *p, int64_t T);
void attn__panel_open(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                      int64_t index, attn__panel *panel, char *memory);
void attn__panel_reset(const attn__run *r, attn__panel *panel);
/* The rows of t (q or out) that belong to the lanes. */
void attn__panel_rows(const attn__seq *seq, const attn__panel *panel, const attn_tensor *t,
                      char **rows);
void attn__panel_lanes(const attn__run *r, const attn__seq *seq, int64_t g, int64_t index,
                       attn__panel *panel);
void attn__panel_reach(attn__panel *panel); /* from hi */
/* Rows of t (of the shape of q or out) of the lanes as reals: in place, or in memory
 * [n][width], turned by their positions when asked. */
void attn__panel_stage(const attn__run *r, const attn__seq *seq, const attn__panel *panel,
                       const attn_tensor *t, bool turn, char *memory, const void **rows);
/* The queries, staged so, into qt and rq. */
void attn__panel_queries(const attn__run *r, char *scratch, const attn__seq *seq,
                         attn__panel *panel, char *memory, const void **rows);
/* Those rows alone. */
void attn__panel_pack(const attn__run *r, char *scratch, attn__panel *panel, char *memory,
                      const void **rows);
void attn__panel_memory(const attn_plan *plan, attn__panel *panel, char *memory);
void attn__panel_relative(const attn__run *r, char *scratch, attn__panel *panel); /* rq */
/* dst[r][l] = lane l . row r of the panel's relative table; memory: for the table. */
void attn__panel_table(const attn__run *r, const attn__panel *panel, const attn_tensor *table,
                       const void *lanes, void *memory, void *dst);
/* panel_close.c */
/* Rows of out, a tensor of the shape of q or out, from so [width][w] times inv [w]. */
void attn__panel_write(const attn__run *r, char *scratch, const attn__seq *seq,
                       const attn__panel *panel, const attn_tensor *out, const double *so,
                       const double *inv);
/* A row of n reals as out holds rows. */
void attn__write_row(const attn__kernels *k, const attn_tensor *out, int64_t n, const void *row,
                     void *dst);
void attn__panel_close(const attn__run *r, char *scratch, const attn__seq *seq,
                       attn__panel *panel); /* unless it is closed */
/* A fresh panel whose one chunk lies in scratch, as a tile leaves it. */
void attn__panel_close_one(const attn__run *r, char *scratch, const attn__seq *seq,
                           attn__panel *panel);

/* Where query i of head h looks: args.center. */
double attn__center_at(const attn__problem *p, const attn__seq *seq, int64_t h, int64_t i);

/* Query head number member of the group that key/value head g serves. */
int64_t attn__panel_head(const attn__problem *p, int64_t g, int64_t member);
/* Head and query of the first lane of panel index. */
void attn__panel_first(const attn__problem *p, const attn__seq *seq, int64_t g, int64_t index,
                       int64_t *h, int64_t *i);

/* ---- tile.c, tile_scores.c: a panel against a chunk -------------------------------------- */

typedef struct attn__tile {
    const attn__run *r;
    const attn__seq *seq;
    const attn__panel *panel;
    char *scratch;
    attn__warm *warm; /* or NULL */
    int64_t g;
    int64_t j0, n;        /* keys j0 .. j0+n of the sequence */
    void *s;              /* [n][w] */
    int w;                /* the panel's, or narrow (few.h) */
    double coef;          /* what s is still to be multiplied by, to be in units of log 2 */
    bool masked, stairs;  /* allowed counts; it forbids what lies behind hi and no more */
    int64_t open, shut;   /* keys open .. shut of the sequence: every lane may see them */
    void *top;            /* [w]: the largest scores of these, if they are wanted; or NULL */
    uint64_t *allowed;    /* [n]: bit l: query of lane l may see the key */
    const uint64_t *held; /* bits of the keys held0 on that are not forgotten; NULL: all */
    int64_t held0;
    /* For a derivative: [n][w], filled on the way by the softcap and the tile callback. */
    void *capped, *slope;
    void *ds;                     /* [n][w]: the derivative by the scores */
    struct attn__back_tile *back; /* whose sums it joins */
    uint64_t *counts; /* [n], where no sign of a weight tells: bit l: it counts; or NULL */
} attn__tile;

typedef struct attn__staged {
    const void *k, *v; /* of key 0 of the chunk */
    int64_t k_stride, v_stride;
    bool few, late; /* nothing is staged, there are rows: few.h, late.h */
    attn__rows k_rows, v_rows;
    int64_t n_rows, n_next; /* late: rows of the chunk, and of keys behind the rows of values */
    const uint64_t *held;   /* bits of its keys that are not forgotten; NULL: all */
} attn__staged;

/* The first part of attn__tile_run: narrows the tile and makes its scores through all terms. s and
 * allowed hold memory for the tile as it comes; s moves with the first key. */
bool attn__tile_prepare(attn__tile *t, int64_t chunk0, const attn__staged *staged);
/* dst[j][l] = row j of the tile's keys . lane l, where lanes can see the key. */
void attn__tile_product(const attn__tile *t, const void *rows, int64_t stride, int64_t depth,
                        const void *lanes, void *dst);
/* The scores of a tile so, and what top wants. */
void attn__tile_dot(const attn__tile *t, const void *keys, int64_t stride);
/* The tile cut into slices that skip lanes which see no key any more; memory asked for on the
 * way. for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);) */
typedef struct attn__slice {
    int64_t j, n; /* keys of the sequence */
    int lane;     /* the first in use */
} attn__slice;
attn__slice attn__tile_slices(const attn__tile *t);
bool attn__tile_next(const attn__tile *t, attn__slice *slice);
/* Row of the lane in an operand B H T S, at the tile's first key. */
const void *attn__operand_row(const attn__tile *t, const attn_tensor *operand, int l);
int attn__tile_first_lane(const attn__tile *t, int64_t j, int64_t *until);
/* Where slices of lanes stop to see keys j .. j + n of the tile, counted from j: lanes rise with
 * the query, so a causal mask stops the first ones first. to: where not all of one see any more. */
void attn__tile_stops(const attn__tile *t, int64_t j, int64_t n, int64_t *stop, int64_t *to);
/* All lanes see all of its keys first .. first + n. */
bool attn__tile_open(const attn__tile *t, int64_t first, int64_t n);
/* keep[x], bit l: the weight of key first + x for lane l is not dropped. */
void attn__tile_keep(const attn__tile *t, int64_t first, int64_t n, uint64_t *keep);
/* Scores, weights, weighted sum of the chunk at key `chunk`, by m, l, acc of the scratch. False:
 * nothing allowed, and they were not written. */
bool attn__tile_run(const attn__tile *panel_at, int64_t chunk, const attn__staged *staged);
void attn__tile_write(const attn__tile *panel_at, int64_t chunk, const attn__staged *staged);
/* acc, with m and l behind it as in scratch, joins the state of the panel. */
void attn__tile_fold(const attn__run *r, const char *acc, attn__panel *panel);

/* ---- terms.c, rel.c: what is added to scores, in the order of terms.def ----------------- */

typedef enum attn__stage { ATTN__AT_SCALED, ATTN__AT_CAPPED, ATTN__AT_MASKED } attn__stage;
void attn__terms_apply(attn__tile *t, attn__stage until);
enum {
#define TERM(name, stage) ATTN__TERM_##name,
#include "engine/terms.def"
#undef TERM
    ATTN__N_TERMS
};
bool attn__term_on(int term, const attn__problem *p);
/* Index into rel_table for a query at p and a key at j. */
int64_t attn__rel_index(const attn_plan *plan, const attn__problem *p, int64_t pos, int64_t j);
void attn__rel_thresholds(attn_plan *plan);
/* dst[j][l] += table[entry][l], the entry of lane l for key j; both of the panel's width. */
void attn__shaw_add(const attn__tile *t, const void *table, void *dst);
int64_t attn__shaw_index(const attn__problem *p, int64_t pos, int64_t j); /* of rel_k, rel_v */

/* ---- masks.c: which pairs are allowed, by masks.def ------------------------------------- */

/* Narrows the tile's keys and sets masked and allowed. False when no pair is left. */
bool attn__masks_apply(attn__tile *t);

/* ---- stage.c: rows as reals -------------------------------------------------------------- */

/* n elements of a row, any float dtype, stride in elements, as contiguous reals. */
void attn__stage_row(const attn__kernels *k, attn_dtype dtype, const void *src, int64_t stride,
                     int64_t n, void *dst);
/* Whether rows of this tensor can be read in place. */
bool attn__stage_direct(const attn__kernels *k, const attn_tensor *t);
/* Rows of one head of t, in place or in memory; *stride is that of the result. */
const void *attn__stage_rows(const attn__kernels *k, const attn_tensor *t, int64_t b, int64_t g,
                             int64_t row0, int64_t n, char *memory, int64_t *stride);
attn__staged attn__stage_reals(const attn__run *r, char *scratch, const attn__seq *seq,
                               int64_t g, int64_t j0, int64_t j1);
/* The same for a tile; nothing where the half mode has its own. */
attn__staged attn__stage_chunk(const attn__run *r, char *scratch, const attn__seq *seq,
                               int64_t g, int64_t j0, int64_t j1);
/* A table H n width, the rows of head h, dense. */
void attn__stage_table(const attn__kernels *k, const attn_tensor *table, int64_t h,
                       void *memory);
static inline size_t attn__real_size(const attn__kernels *k)
{
    return k->dtype == ATTN_DTYPE_F64 ? sizeof(double) : sizeof(float);
}
static inline double attn__real_get(const attn__kernels *k, const void *x, int64_t i)
{
    return k->dtype == ATTN_DTYPE_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}
static inline void attn__real_put(const attn__kernels *k, void *x, int64_t i, double value)
{
    if (k->dtype == ATTN_DTYPE_F64)
        ((double *)x)[i] = value;
    else
        ((float *)x)[i] = (float)value;
}

/* ---- output.c --------------------------------------------------------------------------- */

/* Writes 0, -inf and so on where no sequence reaches. */
void attn__output_fill(const attn__run *r);
/* Every element of t, of rank 4 or absent, = 0; parallel. */
void attn__output_zero(const attn__run *r, const attn_tensor *t);

#endif
