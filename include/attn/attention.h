/* SPDX-License-Identifier: MIT
 * Exact softmax attention, fused: out = softmax(scores(q, k)) v without an n x n matrix.
 *
 * One call:
 *     attn_tensor q = ATTN_TENSOR(qp, F32, B, H, T, D), k = ..., v = ..., o = ...;
 *     attn_forward(NULL, &ATTN_SPEC(.causal = true),
 *                  &ATTN_ARGS(.q = q, .k = k, .v = v, .out = o), NULL);
 *
 * Letters: B batch, H query heads, G key/value heads, T queries, S keys, D key width, E value
 * width. Query i of sequence b stands at position p = i + offset, key j at position j.
 *
 * Order of the modifications, always:
 *     score q.k (+ q.rel_k), or another of attn_score_kind -> scale -> + bias_pre -> softcap
 *     -> + bias - alibi |p - j| + rel_table - (j - center)^2 / (2 sigma^2) -> tile callback ->
 *     masks (they intersect) -> softmax (with the sink), or another of attn_norm_kind
 *     -> dropout -> weighted sum of v (+ rel_v)
 * Every combination is legal. A row without an allowed key gives 0 and lse -inf. */
#ifndef ATTN_ATTENTION_H
#define ATTN_ATTENTION_H

#include "attn/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_cache attn_cache; /* attn/cache.h */

/* ---- the options ----------------------------------------------------------------------- */

/* Where query 0 stands when T and S differ. Asking for anything that uses positions with T != S
 * and ATTN_ALIGN_UNSET is an error: we never guess. */
typedef enum attn_align {
    ATTN_ALIGN_UNSET,        /* legal when no option uses positions, or T == S everywhere */
    ATTN_ALIGN_TOP_LEFT,     /* offset 0 */
    ATTN_ALIGN_BOTTOM_RIGHT, /* offset S - T: the last query stands at the last key */
    ATTN_ALIGN_OFFSET        /* spec.offset, or args.offset per sequence */
} attn_align;

/* Which key/value head serves query head h. */
typedef enum attn_head_map {
    ATTN_HEADS_INTERLEAVED, /* h / (H / G): neighbours share */
    ATTN_HEADS_TILED        /* h % G */
} attn_head_map;

/* Which two elements of a head a rotation turns. */
typedef enum attn_rope_kind {
    ATTN_ROPE_NONE,
    ATTN_ROPE_HALF,       /* (t, t + R/2) */
    ATTN_ROPE_INTERLEAVED /* (2t, 2t + 1) */
} attn_rope_kind;

/* What args.rel_table is looked up by. */
typedef enum attn_rel_kind {
    ATTN_REL_NONE,
    ATTN_REL_BUCKET, /* T5: logarithmic buckets of j - p; rel_table is H x buckets */
    ATTN_REL_GRID,   /* Swin: positions are cells of a height x width grid, row major;
                        rel_table is H x (2 height - 1)(2 width - 1) */
    ATTN_REL_OFFSET  /* clip(j - p, -R, R) + R; rel_table is H x (2 R + 1) */
} attn_rel_kind;

/* How a query and a key meet, after any rotation. */
typedef enum attn_score_kind {
    ATTN_SCORE_DOT,     /* q.k */
    ATTN_SCORE_L2,      /* -|q - k|^2, from the differences */
    ATTN_SCORE_ADDITIVE /* sum over d of w_d tanh(q_d + k_d), w = args.score_w */
} attn_score_kind;

/* What makes weights of scores. m: the keys the row may see; a: spec.norm_shift, or -ln m with
 * spec.norm_count. The first, and TOP_K, know lse; the others have none, as input or output. */
typedef enum attn_norm_kind {
    ATTN_NORM_SOFTMAX,
    ATTN_NORM_SIGMOID, /* 1 / (1 + exp(-(s + a))) */
    ATTN_NORM_RELU2,   /* max(s + a, 0)^2 */
    ATTN_NORM_LINEAR,  /* s + a */
    ATTN_NORM_ENTMAX,  /* max((alpha - 1) s - tau, 0)^(1 / (alpha - 1)), tau so that they sum
                          to 1: alpha 1 softmax, 1.5 entmax, 2 sparsemax; a sink is a key more */
    ATTN_NORM_TOP_K    /* softmax over the spec.top_k largest scores, of equal ones the first */
} attn_norm_kind;

/* HALF is for speed: products of scores and of weights with values in 16-bit integers. By norm it
 * is nearer to the exact result than that is to its own rounding to bf16 (docs/numerics.md, section
 * 17, which also says what TOP_K and ENTMAX make of it); scores that integers are too coarse for,
 * |scale| |q| |k| above 96, are exact and as slow. A result still depends on nothing but its row.
 * attn_forward alone knows it, for f32, bf16 and f16 tensors with ATTN_SCORE_DOT and every
 * normaliser but RELU2 and LINEAR, on machines with AVX-512 VNNI; everything else - keys in a cache
 * or in pages too - runs EXACT, and attn_plan_describe says which one it is. */
typedef enum attn_precision { ATTN_PRECISION_EXACT, ATTN_PRECISION_HALF } attn_precision;

/* At which point args.scores is taken. */
typedef enum attn_scores_stage {
    ATTN_SCORES_SCALED, /* scale * (q.k + q.rel_k), or scale * another score */
    ATTN_SCORES_CAPPED, /* after bias_pre and softcap */
    ATTN_SCORES_MASKED  /* what the softmax sees, -inf where masked */
} attn_scores_stage;

typedef struct attn_window {
    bool on;
    int64_t left, right; /* keys p - left .. p + right; -1: unbounded on that side */
} attn_window;

typedef struct attn_rope_spec {
    attn_rope_kind kind;
    int64_t dims; /* R, the leading elements of a head that are turned; 0: all D */
    double base;  /* angle of pair t at position p: p * base^(-2t/R); 0: 10000 */
} attn_rope_spec;

typedef struct attn_rel_spec {
    attn_rel_kind kind;
    bool causal_buckets;   /* BUCKET: the one-sided T5 form (decoders); else both sides */
    int64_t max_distance;  /* BUCKET: 0 means 128 */
    int64_t height, width; /* GRID */
} attn_rel_spec;

/* ---- user code on tiles ---------------------------------------------------------------- */

/* A rectangle of scores of one head: queries i0 .. i0+n_i, keys j0 .. j0+n_j, natural units.
 * Element (i0 + x, j0 + y) is at s[x * i_stride + y * j_stride], float or double by dtype. */
typedef struct attn_tile {
    int64_t b, h, i0, n_i, j0, n_j;
    void *s;
    attn_dtype dtype;
    int64_t i_stride, j_stride;
} attn_tile;

typedef enum attn_tile_kind {
    ATTN_TILE_EMPTY,
    ATTN_TILE_FULL,
    ATTN_TILE_PARTIAL
} attn_tile_kind;

/* Changes scores in place; writing -inf masks the pair, and pairs masked already show it. It
 * must be a function of the element alone, because tiles are cut as the library likes; calls
 * come from several threads. */
typedef void (*attn_tile_fn)(void *user, const attn_tile *tile);
/* EMPTY: no pair of the tile is allowed. FULL: the tile callback changes nothing there and is
 * not called. PARTIAL: call it. tile->s is NULL here. */
typedef attn_tile_kind (*attn_classify_fn)(void *user, const attn_tile *tile);
/* For a spec.tile whose result is its score plus something, or -inf: its slope is 1. */
ATTN_API void attn_tile_adds(void *user, const attn_tile *tile);

/* ---- spec: what is computed ------------------------------------------------------------ */

/* For fields where 0 means "default": this is a true zero. */
#define ATTN_ZERO 0x1p-1074

typedef struct attn_spec {
    size_t size;    /* sizeof(attn_spec); ATTN_SPEC() fills it */
    double scale;   /* 0: 1 / sqrt(D); 1 for ATTN_SCORE_ADDITIVE */
    double softcap; /* c: score = c tanh(score / c); 0: none */
    bool causal;    /* j <= p */
    bool softmax1;  /* one more weight exp(0) in the sum, going nowhere */
    attn_window window;
    int64_t prefix; /* prefix-LM: keys j < prefix are visible in spite of causal */
    int64_t chunk;  /* chunked: p / chunk == j / chunk (rounded down); 0: none */
    attn_align align;
    int64_t offset; /* ATTN_ALIGN_OFFSET */
    attn_head_map head_map;
    attn_rope_spec rope;
    attn_rel_spec rel;
    int64_t block_q, block_k; /* sizes of the blocks of args.block_mask */
    double dropout; /* probability to drop a weight; kept ones are scaled by 1/(1-p) */
    uint64_t seed;
    attn_scores_stage scores_stage;
    attn_tile_fn tile;
    attn_classify_fn classify;
    void *user;
    attn_tile_fn tile_slope; /* gradients: finds the scores that tile found, leaves the
                                derivative of its result by each in their place */
    attn_score_kind score;
    double center_width; /* of args.center c: keys ceil(c - width) <= j <= floor(c + width) are
                            seen; 0: all. A limit, no gradient passes through it */
    double center_sigma; /* - (j - c)^2 / (2 sigma^2) is added to the score; 0: nothing */
    attn_norm_kind normaliser;
    double norm_shift; /* SIGMOID, RELU2, LINEAR: added to every score */
    bool norm_count;   /* SIGMOID: -ln m instead */
    bool norm_mean;    /* SIGMOID, RELU2, LINEAR: every weight is divided by m */
    double alpha;      /* ENTMAX, 1 .. 4; 0: 1.5. Below 1.01 it is softmax */
    int64_t top_k;     /* TOP_K, at least 1 */
    attn_precision precision;
    bool keys_turned; /* keys come rotated, as attn_cache_append can leave them: rope turns the
                          queries alone */
} attn_spec;

/* ---- args: what it is computed on ------------------------------------------------------ */

/* Absent tensors have dtype NONE (all zero). q, k, v and at least one output are required.
 * Ranks: 4 as written; 3 means one head (B T D), 2 means one sequence of one head (T D).
 *
 * Packed: with cu_q (and cu_k) the sequences lie behind each other in T (S) and the batch
 * dimension of q and out (k and v) is 1. Sequence b is rows cu_q[b] .. cu_q[b+1].
 * Padded: q_start, q_len, k_start, k_len cut sequence b out of row b of the batch; start is
 * the number of padding rows before it. Rows outside a sequence receive 0 and lse -inf.
 * i and j count from the start of the sequence in positions, masks by position and dropout.
 * Operands "B H T S" are indexed by the row in the tensor when padded, and within the sequence
 * when packed. They broadcast: right-aligned, each dimension full, 1 or missing. */
typedef struct attn_args {
    size_t size;                /* sizeof(attn_args); ATTN_ARGS() fills it */
    attn_tensor q, k, v;        /* B H T D, B G S D, B G S E: f64 f32 bf16 f16 */
    attn_tensor out;            /* B H T E */
    attn_tensor lse;            /* B H T: natural log of the sum of exp(score) */
    attn_tensor weights;        /* B H T S: the softmax, before dropout */
    attn_tensor scores;         /* B H T S: see spec.scores_stage */
    attn_tensor bias_pre, bias; /* B H T S, any float; -inf masks the pair */
    attn_tensor mask;           /* B H T S: bool or u8, 0 forbids; a float adds */
    attn_tensor block_mask;     /* B H ceil(T/block_q) ceil(S/block_k), u8:
                                   attn_tile_kind (others: PARTIAL); FULL ignores
                                   a bool mask there */
    attn_tensor alibi, sink;    /* B H: slopes; scores of the sink */
    attn_tensor q_start, q_len, k_start, k_len; /* B, integers */
    attn_tensor cu_q, cu_k;                     /* B + 1, integers */
    attn_tensor offset, prefix;                 /* B: in place of the fields of the spec */
    attn_tensor q_seg, k_seg;       /* B T, B S, integers: only equal ones see each other */
    attn_tensor rel_table;          /* H N */
    attn_tensor rel_k, rel_v;       /* H 2R+1 D, H 2R+1 E: Shaw, by clip(j - p, -R, R) */
    attn_tensor q_pos, k_pos;       /* B T, B S: positions for the rotation only */
    attn_tensor rope_cos, rope_sin; /* P R/2: in place of the base */
    attn_tensor score_w;            /* H D: weights of ATTN_SCORE_ADDITIVE; absent: ones */
    attn_tensor center;             /* B H T: where a query looks, in positions of keys; an
                                       operand as B H T S without its S */

    /* attn_backward: out and lse above are what the forward call left. Gradients come in for
     * out and lse (absent: 0), and go out for what is given here, each of the shape of its
     * tensor: what broadcasts is summed. Other calls ignore these. */
    attn_tensor d_out, d_lse;
    attn_tensor d_q, d_k, d_v, d_bias_pre, d_bias, d_mask, d_alibi, d_sink, d_rel_table,
        d_rel_k, d_rel_v, d_score_w, d_center;

    /* attn_jvp: tangents come in (absent: 0) and go out. Other calls ignore these. */
    attn_tensor t_q, t_k, t_v, t_bias_pre, t_bias;
    attn_tensor t_out, t_lse;

    attn_tensor alpha, d_alpha; /* H: ENTMAX, in place of spec.alpha; its gradient. It has no
                                   tangent: attn_jvp holds it still */

    /* Keys and values from a cache (attn/cache.h), without k and v: those of sequence
     * cache_seq[b], as many as there are, or the first k_len[b]. S is the spec.longest of the
     * cache; forgotten keys are masked. */
    const attn_cache *cache;
    attn_tensor cache_seq; /* N, integers, may repeat; absent: 0 .. N - 1 */
    /* Keys and values in pools k: P G page D and v: P G page E: key j of sequence b is row
     * j % page of page page_table[b][j / page]. k_len is required, S is M page, and entries
     * behind a length are not looked at. Calls with gradients take neither this nor a cache. */
    attn_tensor page_table; /* N M, integers */
    /* N T T, bool or u8: the last T keys of a sequence are those of its own queries, and query
     * i sees number x of them only where tree[i][x]. It joins the masks and moves nobody:
     * positions are what they were, so siblings are told apart by q_pos and by this alone. */
    attn_tensor tree;
} attn_args;

#ifndef __cplusplus
#    define ATTN_SPEC(...) ((attn_spec){.size = sizeof(attn_spec), __VA_ARGS__})
#    define ATTN_ARGS(...) ((attn_args){.size = sizeof(attn_args), __VA_ARGS__})
#    define ATTN_WINDOW(l, r)                                                                  \
        {                                                                                      \
            .on = true, .left = (l), .right = (r)                                              \
        }
#endif

/* ---- 1 one call ------------------------------------------------------------------------ */

/* Checks, plans, allocates the workspace, runs. spec NULL: plain softmax attention. On failure
 * no output has been touched. */
ATTN_API attn_status attn_forward(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                                  attn_error *error);
/* Says what attn_forward would say of spec and args, and does nothing. */
ATTN_API attn_status attn_check(const attn_spec *spec, const attn_args *args,
                                attn_error *error);

/* ---- 2 plan and run -------------------------------------------------------------------- */

typedef struct attn_plan attn_plan;

typedef struct attn_plan_info {
    const char *isa;       /* kernel table */
    attn_dtype arithmetic; /* f32 or f64 */
    int threads;
    int64_t chunk, panel;     /* keys folded at once; queries worked on at once */
    int64_t tasks;            /* pieces shared out among the threads, at most */
    bool split_keys;          /* few rows: the keys are shared out as well */
    size_t workspace;         /* bytes */
    double flops, bytes;      /* of unmasked work, by the largest lengths */
    attn_precision precision; /* of the products */
} attn_plan_info;

/* A plan fits every later args that differs in nothing but data pointers and in the contents of
 * tensors (lengths included). It is constant: several threads may run it at once, each with
 * its own workspace. The context must live as long. Pointers in args may be NULL here. */
ATTN_API attn_status attn_plan_create(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                      const attn_args *args, attn_error *error);
/* The same for attn_backward and attn_jvp. */
ATTN_API attn_status attn_plan_create_backward(attn_plan **plan, attn_ctx *ctx,
                                               const attn_spec *spec, const attn_args *args,
                                               attn_error *error);
ATTN_API attn_status attn_plan_create_jvp(attn_plan **plan, attn_ctx *ctx,
                                          const attn_spec *spec, const attn_args *args,
                                          attn_error *error);
ATTN_API void attn_plan_destroy(attn_plan *plan);           /* NULL is legal */
ATTN_API size_t attn_plan_workspace(const attn_plan *plan); /* bytes, aligned to 64 */
/* Checks args against the plan, then runs. Allocates nothing (the first call of a context
 * starts its threads). */
ATTN_API attn_status attn_plan_run(const attn_plan *plan, const attn_args *args,
                                   void *workspace, size_t workspace_size, attn_error *error);
ATTN_API void attn_plan_describe(const attn_plan *plan, attn_plan_info *info);

/* Whether table i of isa.def is in this build, on this machine, and allowed by this context
 * and by ATTN_ISA. Calls use the last usable one. */
ATTN_API bool attn_isa_usable(const attn_ctx *ctx, int i);

/* Runs rounds of independent fused multiply-adds in f32 on the calling thread, with the table
 * that calls would use, and returns how many flops that was: the ceiling to measure against. */
ATTN_API double attn_probe_fma(const attn_ctx *ctx, int64_t rounds);

/* Reads x[0 .. n) once on the calling thread, likewise, by that many streams side by side (1 to
 * 16), each with prefetches so many bytes ahead (0: none), and returns the sum: bytes read a
 * second, of memory or of a cache, are the other ceiling. NaN where nothing is read. */
ATTN_API double attn_probe_read(const attn_ctx *ctx, const float *x, int64_t n, int streams,
                                int64_t ahead);

/* ---- 3 gradients ------------------------------------------------------------------------ */

/* Reverse mode: from q, k, v, out, lse and d_out, d_lse to the gradients given in args. lse
 * must be at least as wide as the arithmetic (f32; f64 for f64 calls). Rows without an allowed
 * key, and pairs that are masked, give and get nothing, whatever they hold. Everything
 * attn_forward accepts, in O(rows) memory; a spec.tile needs its spec.tile_slope. */
ATTN_API attn_status attn_backward(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                                   attn_error *error);
/* Forward mode: from q, k, v and tangents to t_out and t_lse; out and lse too when given. */
ATTN_API attn_status attn_jvp(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                              attn_error *error);

/* ---- 4 partial results and rotations --------------------------------------------------- */

/* Merges n results over disjoint sets of keys: out[r] B H T E with lse[r] B H T, in the order
 * given, folded in f64. Empty parts (lse -inf) count nothing. out and lse may be absent. */
ATTN_API attn_status attn_merge(int64_t n, const attn_tensor *outs, const attn_tensor *lses,
                                const attn_tensor *out, const attn_tensor *lse,
                                attn_error *error);

/* y = x turned by its positions. x, y: B H T D (or fewer dimensions, as above). pos: B T or T,
 * absent: 0, 1, 2 ... cos, sin: P R/2, or B T R/2 without pos; absent: from rope->base. */
ATTN_API attn_status attn_rope(const attn_rope_spec *rope, const attn_tensor *x,
                               const attn_tensor *pos, const attn_tensor *cos,
                               const attn_tensor *sin, const attn_tensor *y, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
