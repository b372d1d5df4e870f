/* SPDX-License-Identifier: MIT
 * A tape: tensors go through operations now, gradients come back later.
 *
 *     attn_tape *t;
 *     attn_tape_create(&t, NULL, NULL, NULL);
 *     attn_var x = attn_tape_input(t, ATTN_TENSOR(xs, F32, 8, 3));       data: no gradient
 *     attn_var w = attn_tape_param(t, ATTN_TENSOR(ws, F32, 3, 1));       wanted: a gradient
 *     attn_var y = attn_tape_matmul(t, x, w);
 *     attn_var loss = attn_tape_mean(t, attn_tape_mul(t, y, y), ATTN_ALL, false);
 *     attn_status s = attn_tape_backward(t, loss, NULL);       also says if a step above failed
 *     attn_tensor dw = attn_tape_grad(t, w);                           3 x 1, owned by the tape
 *     attn_tape_destroy(t);
 *
 * Operations run at once and give a variable, a small handle. Shapes broadcast as in NumPy:
 * aligned at the right, a size of 1 fits any. Any strides will do, and a dimension counts from
 * the end when it is negative. Reals are f32, or f64 when the tape was made so; indices are
 * integers of any type, conditions bool or u8. The memory behind an input or a parameter stays
 * the caller's, and must stay and keep its contents until the backward is done.
 *
 * Errors stick: the first one is kept, every later operation gives the empty variable and does
 * nothing, and attn_tape_status or attn_tape_backward tells. So a page of formulas needs one
 * look at its end. The bits of a result do not depend on threads or instruction set. */
#ifndef ATTN_TAPE_H
#define ATTN_TAPE_H

#include "attn/attention.h"
#include "attn/recurrent.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_tape attn_tape;

/* A value on a tape. All zero: empty, which stands for an operand that is not given. */
typedef struct attn_var {
    const attn_tape *tape;
    int32_t id;
    uint32_t age; /* of the tape when it was made: handles from before a reset are refused */
} attn_var;

/* ---- 1 the tape ------------------------------------------------------------------------ */

typedef struct attn_tape_config {
    size_t size;      /* sizeof(attn_tape_config); ATTN_TAPE_CONFIG() fills it */
    attn_dtype dtype; /* of its reals: F32 or F64; NONE: F32 */
    bool compute;     /* only compute: nothing is recorded, there is no backward */
    bool keep;        /* saved values survive a backward, so that another one can follow */
} attn_tape_config;

ATTN_API attn_status attn_tape_create(attn_tape **tape, attn_ctx *ctx,
                                      const attn_tape_config *config, attn_error *error);
ATTN_API void attn_tape_destroy(attn_tape *tape); /* NULL is legal */
/* Forgets every variable and error; memory is given back. */
ATTN_API void attn_tape_reset(attn_tape *tape);
ATTN_API attn_status attn_tape_status(const attn_tape *tape, attn_error *error);
ATTN_API void attn_tape_clear(attn_tape *tape); /* forgets the error and nothing else */
ATTN_API size_t attn_tape_memory(const attn_tape *tape); /* bytes it holds now */

ATTN_API attn_var attn_tape_input(attn_tape *t, attn_tensor x); /* any dtype; not copied */
ATTN_API attn_var attn_tape_param(attn_tape *t, attn_tensor x); /* any float; not copied */
ATTN_API attn_var attn_tape_scalar(attn_tape *t, double x);     /* a real of rank 0 */
/* A view of the value, absent for the empty variable or after attn_tape_drop. */
ATTN_API attn_tensor attn_tape_value(const attn_tape *t, attn_var x);
/* After a backward: dense reals of the shape of x; absent where no gradient came. Only of
 * parameters and of variables that were retained before it; the latter hold what the latest
 * backward brought. */
ATTN_API attn_tensor attn_tape_grad(const attn_tape *t, attn_var x);
ATTN_API void attn_tape_retain(attn_tape *t, attn_var x);
/* The caller will not look at x again: its memory goes as soon as no backward needs it. */
ATTN_API void attn_tape_drop(attn_tape *t, attn_var x);

/* Gradients of y, which has one element, are added to those of every parameter. What was saved
 * is freed on the way (see keep); a second backward over it is E_HANDLE. Values that were not
 * dropped stay until a reset, and so do the 200 bytes that a variable is. After a backward that
 * failed half way gradients hold parts: attn_tape_zero_grads. */
ATTN_API attn_status attn_tape_backward(attn_tape *t, attn_var y, attn_error *error);
/* The same from n variables at once, d_y[i] of the shape of y[i]. */
ATTN_API attn_status attn_tape_backward_from(attn_tape *t, int n, const attn_var *y,
                                             const attn_tensor *d_y, attn_error *error);
ATTN_API void attn_tape_zero_grads(attn_tape *t);

/* out[0 .. n_out) = fn(in[0 .. n_in)), of which only the inputs are kept: the backward runs fn
 * again. fn must do the same both times, and reach parameters through in. False: it failed. */
typedef void (*attn_segment_fn)(attn_tape *t, void *user, const attn_var *in, attn_var *out);
ATTN_API bool attn_tape_checkpoint(attn_tape *t, attn_segment_fn fn, void *user, int n_in,
                                   const attn_var *in, int n_out, attn_var *out);

/* ---- 2 lists of numbers ---------------------------------------------------------------- */

typedef struct attn_dims { /* dimensions, or the sizes of dimensions */
    int n;
    int64_t at[ATTN_MAX_RANK];
} attn_dims;

#ifndef __cplusplus
#    define ATTN_TAPE_CONFIG(...)                                                              \
        ((attn_tape_config){.size = sizeof(attn_tape_config), __VA_ARGS__})
/* attn_tape_sum(t, x, ATTN_DIMS(-2, -1), false); sizes alike: ATTN_DIMS(8, -1, 3). */
#    define ATTN_DIMS(...)                                                                     \
        ((attn_dims){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#    define ATTN_ALL ((attn_dims){-1, {0}}) /* every dimension */
#endif

/* ---- 3 one element at a time ----------------------------------------------------------- */

ATTN_API attn_var attn_tape_add(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_sub(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_mul(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_div(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_maximum(attn_tape *t, attn_var a, attn_var b); /* ties: a */
ATTN_API attn_var attn_tape_minimum(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_add_scalar(attn_tape *t, attn_var a, double b);
ATTN_API attn_var attn_tape_mul_scalar(attn_tape *t, attn_var a, double b);
ATTN_API attn_var attn_tape_pow_scalar(attn_tape *t, attn_var a, double b); /* a^b */
ATTN_API attn_var attn_tape_pow(attn_tape *t, attn_var a, attn_var b);      /* a > 0 */
ATTN_API attn_var attn_tape_clamp(attn_tape *t, attn_var a, double low, double high);
ATTN_API attn_var attn_tape_neg(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_abs(attn_tape *t, attn_var a); /* slope 0 at 0 */
ATTN_API attn_var attn_tape_exp(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_log(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_sqrt(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_rsqrt(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_sin(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_cos(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_tanh(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_sigmoid(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_relu(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_leaky_relu(attn_tape *t, attn_var a, double slope);
ATTN_API attn_var attn_tape_elu(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_gelu(attn_tape *t, attn_var a);      /* by erf */
ATTN_API attn_var attn_tape_gelu_tanh(attn_tape *t, attn_var a); /* the approximation */
ATTN_API attn_var attn_tape_silu(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_softplus(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_erf(attn_tape *t, attn_var a);

/* c ? a : b. Comparisons give bool, without gradient. */
ATTN_API attn_var attn_tape_where(attn_tape *t, attn_var c, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_less(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_less_equal(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_equal(attn_tape *t, attn_var a, attn_var b);
ATTN_API attn_var attn_tape_not(attn_tape *t, attn_var c);
/* The value of a, no gradient. The value of hard, the gradient of soft (straight-through). */
ATTN_API attn_var attn_tape_stop(attn_tape *t, attn_var a);
ATTN_API attn_var attn_tape_straight_through(attn_tape *t, attn_var hard, attn_var soft);

/* ---- 4 over dimensions ----------------------------------------------------------------- */

/* keep: reduced dimensions stay, with size 1. An empty max is an error, an empty sum 0. */
ATTN_API attn_var attn_tape_sum(attn_tape *t, attn_var a, attn_dims dims, bool keep);
ATTN_API attn_var attn_tape_mean(attn_tape *t, attn_var a, attn_dims dims, bool keep);
ATTN_API attn_var attn_tape_max(attn_tape *t, attn_var a, attn_dims dims, bool keep);
ATTN_API attn_var attn_tape_logsumexp(attn_tape *t, attn_var a, attn_dims dims, bool keep);
ATTN_API attn_var attn_tape_norm(attn_tape *t, attn_var a, attn_dims dims, bool keep); /* L2 */
ATTN_API attn_var attn_tape_cumsum(attn_tape *t, attn_var a, int dim);
ATTN_API attn_var attn_tape_cumprod(attn_tape *t, attn_var a, int dim);
/* mask: bool, broadcast, false forbids; empty: all allowed. All forbidden: 0. */
ATTN_API attn_var attn_tape_softmax(attn_tape *t, attn_var a, attn_var mask, int dim);
ATTN_API attn_var attn_tape_log_softmax(attn_tape *t, attn_var a, int dim);
/* Indices, i64, without gradient; ties go to the lowest. */
ATTN_API attn_var attn_tape_argmax(attn_tape *t, attn_var a, int dim, bool keep);
/* The n largest, falling; or all, rising or falling; stable. indices may be NULL. */
ATTN_API attn_var attn_tape_topk(attn_tape *t, attn_var a, int64_t n, int dim,
                                 attn_var *indices);
ATTN_API attn_var attn_tape_sort(attn_tape *t, attn_var a, int dim, bool falling,
                                 attn_var *indices);

/* ---- 5 products ------------------------------------------------------------------------ */

/* c = a b, or c += a b: a ... M K, b ... K N, c ... M N; leading dimensions broadcast; any
 * strides. a, b: f64 f32 bf16 f16, c: f64 or f32. No tape needed. */
ATTN_API attn_status attn_matmul(attn_ctx *ctx, const attn_tensor *a, const attn_tensor *b,
                                 const attn_tensor *c, bool add, attn_error *error);
/* Whether large products go to a BLAS, whose bits are its own (option ATTN_CBLAS). */
ATTN_API bool attn_matmul_has_blas(void);
/* The same on a tape; rank 1 counts as a row (a) or a column (b) that disappears again. */
ATTN_API attn_var attn_tape_matmul(attn_tape *t, attn_var a, attn_var b);

typedef enum attn_activation {
#define ACTIVATION(NAME, name) ATTN_ACT_##NAME,
#include "attn/activation.def"
#undef ACTIVATION
} attn_activation;

/* act(x w^T + b): x ... K, w N K, b N or empty. */
ATTN_API attn_var attn_tape_linear(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                   attn_activation act);

/* ---- 6 moving elements ------------------------------------------------------------------ */

/* Views where strides allow it, else copies. One size of reshape may be -1: what is left. */
ATTN_API attn_var attn_tape_reshape(attn_tape *t, attn_var a, attn_dims shape);
ATTN_API attn_var attn_tape_permute(attn_tape *t, attn_var a, attn_dims order);
ATTN_API attn_var attn_tape_transpose(attn_tape *t, attn_var a, int dim_a, int dim_b);
ATTN_API attn_var attn_tape_expand(attn_tape *t, attn_var a, attn_dims shape); /* -1: as is */
ATTN_API attn_var attn_tape_unsqueeze(attn_tape *t, attn_var a, int dim);
ATTN_API attn_var attn_tape_squeeze(attn_tape *t, attn_var a, int dim);
ATTN_API attn_var attn_tape_slice(attn_tape *t, attn_var a, int dim, int64_t begin,
                                  int64_t end); /* negative: from the end; end beyond it: it */
ATTN_API attn_var attn_tape_pad(attn_tape *t, attn_var a, int dim, int64_t before,
                                int64_t after, double value); /* negative: cuts */
ATTN_API attn_var attn_tape_roll(attn_tape *t, attn_var a, int dim, int64_t by);
ATTN_API attn_var attn_tape_flip(attn_tape *t, attn_var a, int dim);
ATTN_API attn_var attn_tape_concat(attn_tape *t, int n, const attn_var *parts, int dim);
ATTN_API attn_var attn_tape_stack(attn_tape *t, int n, const attn_var *parts, int dim);
/* Into n equal parts. False: it failed. */
ATTN_API bool attn_tape_split(attn_tape *t, attn_var a, int dim, int n, attn_var *parts);
ATTN_API attn_var attn_tape_cast(attn_tape *t, attn_var a); /* any dtype to reals */

/* table N D, ids any shape -> ids' shape + D. padding: that row gives 0 and gets nothing; -1.
 */
ATTN_API attn_var attn_tape_embedding(attn_tape *t, attn_var table, attn_var ids,
                                      int64_t padding);
/* y[.. i ..] = a[.. ids[i] ..] along dim, ids of rank 1. */
ATTN_API attn_var attn_tape_index_select(attn_tape *t, attn_var a, int dim, attn_var ids);
/* y[i][j] = a[i][ids[i][j]] along dim: shape of ids; the other dims of a are at least as
 * large. */
ATTN_API attn_var attn_tape_gather(attn_tape *t, attn_var a, int dim, attn_var ids);
/* a, plus src added where ids say: y[i][ids[i][j]] += src[i][j] along dim. */
ATTN_API attn_var attn_tape_scatter_add(attn_tape *t, attn_var a, int dim, attn_var ids,
                                        attn_var src);
ATTN_API attn_var attn_tape_one_hot(attn_tape *t, attn_var ids, int64_t classes);

/* ---- 7 normalisation and chance --------------------------------------------------------- */

/* Over the last n dims, those of w (and b); w, b may be empty. eps 0: 1e-5. */
ATTN_API attn_var attn_tape_layernorm(attn_tape *t, attn_var x, int n, attn_var w, attn_var b,
                                      double eps);
ATTN_API attn_var attn_tape_rmsnorm(attn_tape *t, attn_var x, attn_var w, double eps);
/* x N C ...; w, b C. groups of channels of one sample. */
ATTN_API attn_var attn_tape_groupnorm(attn_tape *t, attn_var x, int64_t groups, attn_var w,
                                      attn_var b, double eps);
/* Over all but C. mean, var: C, the caller's running estimates, updated in training by
 * momentum (0: 0.1) with the unbiased variance, used in place of the batch's otherwise. */
ATTN_API attn_var attn_tape_batchnorm(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                      attn_tensor mean, attn_tensor var, bool train,
                                      double momentum, double eps);
/* Philox by (seed, element number): the same seed drops the same elements. */
ATTN_API attn_var attn_tape_dropout(attn_tape *t, attn_var x, double p, uint64_t seed);
/* softmax((logits + Gumbel noise) / temperature) over dim; hard: its one-hot, gradient of the
 * soft one. */
ATTN_API attn_var attn_tape_gumbel_softmax(attn_tape *t, attn_var logits, double temperature,
                                           bool hard, int dim, uint64_t seed);
/* One draw from softmax(logits) over the last dim, i64; and its log-probability (REINFORCE). */
ATTN_API attn_var attn_tape_categorical(attn_tape *t, attn_var logits, uint64_t seed);
ATTN_API attn_var attn_tape_log_prob(attn_tape *t, attn_var logits, attn_var ids);

/* ---- 8 pictures and series -------------------------------------------------------------- */

typedef struct attn_conv { /* zeros are the defaults: stride 1, dilation 1, groups 1 */
    int64_t stride[2], dilation[2], padding[2], output_padding[2], groups;
} attn_conv;

/* x N C L or N C H W; w M C/groups K.., b M or empty; 1d uses element 0 of each pair. conv
 * NULL: defaults. output_padding is for the transposes, and not looked at here. */
ATTN_API attn_var attn_tape_conv1d(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                   const attn_conv *conv);
ATTN_API attn_var attn_tape_conv2d(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                   const attn_conv *conv);
/* The transpose of conv2d: w C M/groups K K. */
ATTN_API attn_var attn_tape_conv2d_transpose(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                             const attn_conv *conv);
ATTN_API attn_var attn_tape_conv1d_transpose(attn_tape *t, attn_var x, attn_var w, attn_var b,
                                             const attn_conv *conv);

typedef struct attn_pool { /* stride 0: size; padding counts for the mean unless exclude_pad */
    int64_t size[2], stride[2], padding[2], dilation[2];
    bool exclude_pad;
} attn_pool;

/* N C H W (or N C L with element 0 and size[1] = 0). */
ATTN_API attn_var attn_tape_max_pool(attn_tape *t, attn_var x, const attn_pool *pool);
ATTN_API attn_var attn_tape_avg_pool(attn_tape *t, attn_var x, const attn_pool *pool);
ATTN_API attn_var attn_tape_adaptive_avg_pool(attn_tape *t, attn_var x, attn_dims size);
ATTN_API attn_var attn_tape_adaptive_max_pool(attn_tape *t, attn_var x, attn_dims size);
/* N C H W to the given H W; corners: pixel centres at the corners meet. */
ATTN_API attn_var attn_tape_upsample_bilinear(attn_tape *t, attn_var x, attn_dims size,
                                              bool corners);
ATTN_API attn_var attn_tape_upsample_nearest(attn_tape *t, attn_var x, attn_dims size);
/* grid N Ho Wo 2: (x, y) in -1 .. 1; bilinear, 0 outside; gradient to x and grid. */
ATTN_API attn_var attn_tape_grid_sample(attn_tape *t, attn_var x, attn_var grid, bool corners);
/* The same at (x, y) counted in pixels, 0 0 the centre of the first: whole numbers are exact.
 */
ATTN_API attn_var attn_tape_pixel_sample(attn_tape *t, attn_var x, attn_var at);
ATTN_API attn_var attn_tape_pixel_shuffle(attn_tape *t, attn_var x, int64_t factor);
ATTN_API attn_var attn_tape_pixel_unshuffle(attn_tape *t, attn_var x, int64_t factor);

/* One direction's weights: w_x G*H I, w_h G*H H, b_x and b_h G*H or empty; G = 3 gates r z n of
 * a GRU, 4 gates i f g o of an LSTM. */
typedef struct attn_cell {
    attn_var w_x, w_h, b_x, b_h;
} attn_cell;

/* x B T I, h0 (c0) B H per direction or empty; mask B T bool or empty: where false the state
 * passes unchanged and the output is 0. n_cells 2: bidirectional, outputs side by side; states
 * then D B H. Gives y B T n*H; last states through h (c), may be NULL. */
ATTN_API attn_var attn_tape_gru(attn_tape *t, attn_var x, attn_var h0, attn_var mask,
                                int n_cells, const attn_cell *cells, attn_var *h);
ATTN_API attn_var attn_tape_lstm(attn_tape *t, attn_var x, attn_var h0, attn_var c0,
                                 attn_var mask, int n_cells, const attn_cell *cells,
                                 attn_var *h, attn_var *c);

/* ---- 9 losses --------------------------------------------------------------------------- */

typedef enum attn_reduction {
    ATTN_REDUCE_MEAN,
    ATTN_REDUCE_SUM,
    ATTN_REDUCE_NONE
} attn_reduction;

/* logits ... C, ids of the leading dims. Targets equal to ignore count nothing (the mean is
 * over the others; 0 when there are none); -1 - no class has that number - for none. */
ATTN_API attn_var attn_tape_cross_entropy(attn_tape *t, attn_var logits, attn_var ids,
                                          double smoothing, int64_t ignore,
                                          attn_reduction reduction);
/* Of one shape, nothing broadcasts; the mean over nothing is 0. bce: logits, and targets in
 * 0 .. 1. */
ATTN_API attn_var attn_tape_bce(attn_tape *t, attn_var logits, attn_var target,
                                attn_reduction reduction);
ATTN_API attn_var attn_tape_mse(attn_tape *t, attn_var a, attn_var b, attn_reduction reduction);
ATTN_API attn_var attn_tape_l1(attn_tape *t, attn_var a, attn_var b, attn_reduction reduction);
ATTN_API attn_var attn_tape_huber(attn_tape *t, attn_var a, attn_var b, double delta,
                                  attn_reduction reduction);
/* log_probs T B C; targets B S; lengths B: -log of the sum over alignments; blank a class.
 * Impossible alignments: +inf, gradient 0. The mean is over B. */
ATTN_API attn_var attn_tape_ctc(attn_tape *t, attn_var log_probs, attn_var targets,
                                attn_var input_lengths, attn_var target_lengths, int64_t blank,
                                attn_reduction reduction);

/* ---- 10 attention ----------------------------------------------------------------------- */

/* Variables in place of the tensors of attn_args; those that are empty come from args (which
 * may be NULL), so masks, lengths and tables that take no gradient can be given there. Their
 * memory must outlive the tape's use of it, as that of inputs. */
typedef struct attn_attention_vars {
    attn_var q, k, v, bias_pre, bias, mask, alibi, sink, rel_table, rel_k, rel_v;
    attn_var score_w, center, alpha;
} attn_attention_vars;

/* One fused node: keeps q, k, v, out and lse. lse may be NULL; it has a gradient too. Where the
 * normaliser has none, asking for it is an error. */
ATTN_API attn_var attn_tape_attention(attn_tape *t, const attn_spec *spec,
                                      const attn_attention_vars *vars, const attn_args *args,
                                      attn_var *lse);

/* The same for attn_scan_args. */
typedef struct attn_scan_vars {
    attn_var q, k, v, decay, beta, state, state_z;
} attn_scan_vars;

/* One node of the recurrent engine; keeps its operands alone. final_state (N G D E, in the
 * tape's arithmetic) and final_z may be NULL; they have gradients too. */
ATTN_API attn_var attn_tape_scan(attn_tape *t, const attn_scan_spec *spec,
                                 const attn_scan_vars *vars, const attn_scan_args *args,
                                 attn_var *final_state, attn_var *final_z);

/* y_ij = sum over a of w_a tanh(q_ia + k_ja): q ... T A, k ... S A, w A -> ... T S. The scores
 * of ATTN_SCORE_ADDITIVE where a matrix of them is needed. */
ATTN_API attn_var attn_tape_additive_scores(attn_tape *t, attn_var q, attn_var k, attn_var w);
/* Alignments that move forward along keys. p ... T S: the probability to stop at a key when it
 * is reached; a row starts where the one before it stopped, row 0 at first ... S (empty: at key
 * 0). Gives the expected alignment ... T S; rows may sum to less than 1. */
ATTN_API attn_var attn_tape_monotonic(attn_tape *t, attn_var p, attn_var first);
/* out_j = sum over k = j .. j+w-1 of a_k exp(u_j) / sum of exp(u) over keys k-w+1 .. k: what
 * stopped at k is shared out by a softmax over the chunk that ends there. w 0: all keys up to
 * k. a, u ... S; u -inf: such a key takes nothing. */
ATTN_API attn_var attn_tape_chunkwise(attn_tape *t, attn_var a, attn_var u, int64_t w);

#ifdef __cplusplus
}
#endif
#endif
