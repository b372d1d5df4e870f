/* SPDX-License-Identifier: MIT
 * Pieces that several mechanisms are made of, each once: files piece_<topic>.c. They put
 * operations on a tape as build functions do, and need not look at errors either. A part of
 * mech.h. */
#ifndef ATTN__MECH_PIECE_H
#define ATTN__MECH_PIECE_H

#include "mech/mech.h"

/* What a softmax over keys promises, whatever the scores are. */
enum {
    ATTN__SOFT_TRAITS = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT |
                        ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS
};

/* ---- piece_additive.c: scores w . tanh(q + k) ------------------------------------------- */

/* Softmax along S of B T S where mask B S (or empty) allows. */
attn_var attn__rows_softmax(attn_tape *t, attn_var scores, attn_var mask);
/* softmax(w . tanh(q_i + k_j)) v: q B T A, k B S A, v B S E -> B T E; its weights go to output
 * slot weights. */
attn_var attn__additive_attend(const attn__build *b, const attn_attention_vars *vars,
                               attn_var w, attn_var mask, int weights);

/* ---- piece_copy.c: places of a text as its words ---------------------------------------- */

/* words B T N plus weights B T S, added where ids B S say. */
attn_var attn__copy_scatter(attn_tape *t, attn_var words, attn_var ids, attn_var weights);

/* ---- piece_coverage.c: rows that know what the rows before looked at -------------------- */

typedef struct attn__coverage {
    attn_var keys, w_c, w, mask; /* B S A, A, A, B S or empty */
} attn__coverage;

/* softmax(w . tanh(q_i + keys_j + w_c covered_ij)): q B T A -> B T S. *covered B S (empty: 0)
 * grows by every row; loss, B T, may be NULL: sum of min(row, covered). */
attn_var attn__coverage_rows(attn_tape *t, const attn__coverage *c, attn_var q,
                             attn_var *covered, attn_var *loss);

/* ---- piece_flags.c: conditions, and what they are asked about --------------------------- */

/* Broadcast; an empty one allows all. */
attn_var attn__pair_mask(attn_tape *t, attn_var a, attn_var b);
attn_var attn__flags_either(attn_tape *t, attn_var a, attn_var b);
/* x B S D or B H S D (any number of dimensions between) with 0 where mask B S (or empty) hides,
 * so that not even a NaN gets into products. */
attn_var attn__mask_rows(attn_tape *t, attn_var x, attn_var mask);
attn_var attn__positions(attn_tape *t, int64_t n); /* 0, 1 .. n - 1, reals */

/* ---- piece_graph.c: nodes that listen to their neighbours ------------------------------- */

/* Whether features are heads times width; otherwise the tape has failed. */
bool attn__graph_sound(const attn__build *b, int64_t heads, int64_t width, int64_t features);
/* edges B T T as a mask of scores B H T T; self_loops: and i of i. */
attn_var attn__graph_edges(attn_tape *t, attn_var edges, bool self_loops);

/* ---- piece_heads.c: features to heads and back, and the engine with a padding mask ------- */

/* B T HD -> B H T D, a view; and back. */
attn_var attn__heads_split(attn_tape *t, attn_var x, int64_t heads);
attn_var attn__heads_join(attn_tape *t, attn_var x);
/* x B T M through w (HD M) and into heads: B H T D. And back through w_o (O HE): B T O. */
attn_var attn__heads_from(attn_tape *t, attn_var x, attn_var w, int64_t heads);
attn_var attn__heads_to(attn_tape *t, attn_var x, attn_var w_o);
/* Tables L ..., one for each of H heads or one for all (letters L and H), as H ...; empty:
 * empty. */
attn_var attn__heads_tables(const attn__build *b, attn_var x, const char *where);
/* attn_tape_attention on q k v; mask B S of bools hides keys (empty: none); weights as made by
 * attn__build_output (absent: not wanted). vars of bias and the like: NULL or filled in. */
attn_var attn__attend(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                      attn_var mask, attn_tensor weights);
/* The same with other tensors of args beside (positions, lengths); its mask and weights are
 * those given here. */
attn_var attn__attend_with(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                           const attn_args *args, attn_var mask, attn_tensor weights);
/* The same for one part of the keys: with its lse, and blocks of the spec's sizes (or absent).
 */
attn_var attn__attend_part(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                           attn_var mask, attn_tensor block_mask, attn_var *lse);

/* The same with the log of each row's sum, which may be NULL. */
attn_var attn__attend_lse(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                          attn_var mask, attn_tensor weights, attn_var *lse);

/* Heads between weights: x asks y, B S N with keys hidden by mask, through the slots w_q, w_k, w_v
 * and w_o that stand behind each other; H heads; weights to that output slot. */
typedef struct attn__asking {
    attn_var x, y, mask;
    int w_q, weights;
} attn__asking;
attn_var attn__attend_projected(const attn__build *b, const attn_spec *spec,
                                const attn__asking *a);

/* ---- piece_unit.c: directions ------------------------------------------------------------ */

/* x / |x| along dim; 0 without a gradient where |x| < 1e-12. */
attn_var attn__unit(attn_tape *t, attn_var x, int dim);

/* ---- piece_monotonic.c: alignments that move forward ------------------------------------ */

typedef struct attn__energy {
    attn_var w_q, w_k, b, w, g, r; /* A D, A C, A, A, and of one element: g, r may be empty */
} attn__energy;

/* g w/|w| . tanh(w_q q + w_k k + b) + r: q B T D, k B S C -> B T S; plain w without g. */
attn_var attn__monotonic_energy(attn_tape *t, const attn__energy *e, attn_var q, attn_var k);
/* Probabilities to stop: sigmoid of energy B (H) T S, or whether it is above 0; 0 where mask
 * B S (or empty) hides a key. */
attn_var attn__monotonic_stops(attn_tape *t, attn_var energy, attn_var mask, bool hard);
/* attn_tape_chunkwise among the keys that mask allows; w 1: a itself, u is not looked at. */
attn_var attn__monotonic_chunks(attn_tape *t, attn_var a, attn_var u, attn_var mask, int64_t w);

typedef struct attn__monotonic {
    attn_var x, y, w_q, w_k, w_uq, w_uk, w_v, r, mask; /* B T M, B S N, A M, A N .. P N, H */
    int64_t heads, chunk;
    bool hard;
} attn__monotonic;

/* Whether they have what their chunks ask for; otherwise the tape has failed. */
bool attn__monotonic_sound(const attn__build *b, const attn__monotonic *m);
/* Heads that walk by themselves, by dot products over sqrt of their width plus r: what they
 * see, B H T P/H; where they stop and what they look at, B H T S. */
attn_var attn__monotonic_heads(attn_tape *t, const attn__monotonic *m, attn_var *stops,
                               attn_var *weights);

/* ---- piece_pool.c: one row of weights over a sequence ------------------------------------ */

/* softmax over S of scores B S where mask (B S, or empty) allows, then out B E = weights
 * values, values B S E. */
attn_var attn__pool_weights(attn_tape *t, attn_var scores, attn_var mask);
attn_var attn__pool(attn_tape *t, attn_var weights, attn_var values);
/* What a mean weighs with: B S as in x B S E, one over how many mask allows, 0 elsewhere. */
attn_var attn__pool_even(attn_tape *t, attn_var x, attn_var mask);
/* The mean of x B S E over S where mask allows; 0 where nothing is. */
attn_var attn__pool_mean(attn_tape *t, attn_var x, attn_var mask);
/* x[i] of dimension 0, a view: one of several weights that share a slot. Empty: empty. */
attn_var attn__row_of(attn_tape *t, attn_var x, int64_t i);

/* ---- piece_table.c: constants and who may see whom --------------------------------------- */

/* A dense variable of this shape whose element number i is fn(arg, i). */
typedef double (*attn__table_fn)(const void *arg, int64_t i);
attn_var attn__table(attn_tape *t, attn_dims shape, attn__table_fn fn, const void *arg);
/* Rows first, first + 1, ... (n of them, which may be below 0) of the sinusoidal encoding:
 * column 2m is sin(p base^(-2m/width)), column 2m + 1 its cosine; n width. */
attn_var attn__table_sinusoid(attn_tape *t, int64_t first, int64_t n, int64_t width,
                              double base);
/* For scores B H T S that are composed: bools B 1 T S, or 1 1 T S without a mask. mask B S or
 * empty; causal: key j <= i + offset. Empty when everything is allowed. */
attn_var attn__table_allowed(attn_tape *t, attn_var mask, bool causal, int64_t offset,
                             int64_t n_queries, int64_t n_keys);

/* ---- piece_coattend.c: two sequences that look at each other ----------------------------- */

/* Rows B S D and who of them may be looked at, B S or empty. of: two slots, what is
 * hidden 0. */
typedef struct attn__sequence {
    attn_var rows, mask;
} attn__sequence;
attn__sequence attn__sequence_of(const attn__build *b, int rows, int mask);
/* softmax(q k^T) v, one head, no scale: q B T D, k B S D, v B S E, mask B S or empty. */
attn_var attn__attend_plain(attn_tape *t, attn_var q, attn_var k, attn_var v, attn_var mask);
/* Scores B S of x B S D against one vector: x.(w g), w D N and g B N; tanh of that
 * plus b 1 (or empty); and u.tanh(w x + b + g), w A D and u A, b A and g B A or empty. */
attn_var attn__score_general(attn_tape *t, attn_var x, attn_var w, attn_var g);
attn_var attn__score_activated(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_var g);
attn_var attn__score_additive(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_var g,
                              attn_var u);
/* w.[x; y; x y] with w 3D is own + row.y: row B T D, own B T. swap: x is the second of the
 * two. */
typedef struct attn__trilinear {
    attn_var row, own;
} attn__trilinear;
attn__trilinear attn__trilinear_of(attn_tape *t, attn_var x, attn_var w, bool swap);
/* BiDAF's question to context: B 1 D, the rows of x weighed by their best match in y; s is
 * attn__trilinear_of x. */
attn_var attn__flow_back(attn_tape *t, attn__sequence x, attn__sequence y, attn__trilinear s,
                         attn_var *weights);
/* DCN's coattention for rows B T D, which are rows of x: softmax(rows y^T) [y; summary] B T 2D,
 * summary = softmax(y x^T) x. */
attn_var attn__coattend(attn_tape *t, attn_var rows, attn__sequence x, attn__sequence y,
                        attn_var *summary);

/* ---- piece_scores.c: a matrix of scores that is never whole ------------------------------ */

/* Of s_ij = a_i.b_j, a B T D and b B S D, without a T x S matrix. max, B T: the largest s_ij
 * over the b_j that mask B S allows (-inf: none). mass, B S: sum_i w_i softmax_j(s_ij), w B T.
 * mix, B T E: sum_j tanh(s_ij) v_j, v B S E. */
attn_var attn__score_max(attn_tape *t, attn_var a, attn_var b, attn_var mask);
attn_var attn__score_mass(attn_tape *t, attn_var w, attn_var a, attn_var b, attn_var mask);
attn_var attn__score_mix(attn_tape *t, attn_var a, attn_var b, attn_var v);

/* ---- piece_tri.c: a query, a key and a context ------------------------------------------- */

/* All pairs of a row of a B S D and a row of b B J D, multiplied or added: B SJ D. */
attn_var attn__tri_products(attn_tape *t, attn_var a, attn_var b);
attn_var attn__tri_sums(attn_tape *t, attn_var a, attn_var b);
/* The values u of contexts, or c in their place where its width D is E. */
attn_var attn__tri_values(const attn__build *b, attn_var u, attn_var c);
/* B SJ: both are allowed, by flags B S and B J; empty when both are. */
attn_var attn__tri_mask(const attn__build *b, attn_var keys, attn_var contexts);
/* Attention in heads: q B T D, keys B SJ D, values B SJ E to B T E. Slot weights is
 * "B H T S J". */
typedef struct attn__tri {
    attn_var q, keys, values, mask;
    double scale; /* and score: as in attn_spec */
    attn_score_kind score;
    attn_var score_w; /* A of all heads, or empty */
    int64_t heads;
} attn__tri;
attn_var attn__tri_attend(const attn__build *b, const attn__tri *tri, int weights);
/* The forms without weights differ in their scale alone. */
extern const attn_slot attn__tri_slots[];
extern const attn_param attn__tri_params[];
void attn__tri_dot_build(const attn__build *b, double scale);

/* ---- piece_series.c: what the steps of a loop leave -------------------------------------- */

enum { ATTN__SERIES_LEVELS = 8, ATTN__SERIES_PARTS = 16 };

/* Begins as {.t = t, .dim = dim}; parts are concatenated along dim. own: nobody else looks at
 * them, so they are dropped as they are joined. none: the shape when there was no step. A loop
 * ends when a step gives the empty variable: the tape has failed. */
typedef struct attn__series {
    attn_tape *t;
    bool own;
    int dim, n[ATTN__SERIES_LEVELS];
    attn_var part[ATTN__SERIES_LEVELS][ATTN__SERIES_PARTS];
} attn__series;
void attn__series_add(attn__series *s, attn_var part);
attn_var attn__series_end(attn__series *s, attn_dims none);

/* ---- piece_picture.c: pictures B C Y X --------------------------------------------------- */

/* a b; 0, and the tape has failed, when it does not fit. */
int64_t attn__size_times(attn_tape *t, int64_t a, int64_t b);
/* B C Y X -> B YX C, a view; and back to the height and width of like. */
attn_var attn__pixels(attn_tape *t, attn_var x);
attn_var attn__pixels_back(attn_tape *t, attn_var pixels, attn_var like);
/* B C Y X -> its rows BY X C, or its columns BX Y C; and back to the sizes of like. */
attn_var attn__lines(attn_tape *t, attn_var x, bool along_x);
attn_var attn__lines_back(attn_tape *t, attn_var lines, attn_var like, bool along_x);
/* Flags B Y X -> BY X, or BX Y; empty stays empty. */
attn_var attn__flag_lines(attn_tape *t, attn_var flags, bool along_x);
/* The mean over dims, which are dropped; 0 over no place at all, where 0 / 0 would spoil every
 * gradient. */
attn_var attn__picture_mean(attn_tape *t, attn_var x, attn_dims dims);
/* w M C; and w M C K L of odd sides with as much padding as keeps the size. b M or empty. */
attn_var attn__conv_1x1(attn_tape *t, attn_var x, attn_var w, attn_var b);
attn_var attn__conv_same(attn_tape *t, attn_var x, attn_var w, attn_var b, int64_t dilation);
/* The same dense memory in another shape; absent stays absent. */
attn_tensor attn__dense_as(attn_tensor dense, attn_dims shape);

/* ---- piece_sample.c: deformable convolution ---------------------------------------------- */

typedef struct attn__deform {
    attn_var x;          /* B C Y X */
    attn_var offset;     /* B N P Q: y and x in pixels, tap after tap, group after group */
    attn_var modulation; /* B N/2 P Q or empty */
    attn_var w, b;       /* M C/groups K L; M or empty */
    attn_conv conv;      /* stride and dilation filled in; output_padding is not looked at */
} attn__deform;
attn_var attn__deform_conv(attn_tape *t, const attn__deform *d); /* B M P Q */

/* ---- piece_gate.c: gates of channels and places ------------------------------------------ */

/* w2 relu(w1 z + b1) + b2; z B C, w1 R C, w2 C R, biases may be empty. */
typedef struct attn__gate_layers {
    attn_var w1, b1, w2, b2;
} attn__gate_layers;
attn_var attn__gate_hidden(attn_tape *t, attn_var z, const attn__gate_layers *w);
/* x B C Y X times a gate B C. */
attn_var attn__gate_channels(attn_tape *t, attn_var x, attn_var gate);
/* CBAM's gates: of channels B C, and of places B 1 Y X (gamma, beta: one number or empty). */
typedef struct attn__gate_map {
    attn_var w, gamma, beta; /* w 2 K L: from the maximum and from the mean */
    bool batch_norm;
    double eps;
} attn__gate_map;
attn_var attn__cbam_channels(attn_tape *t, attn_var x, const attn__gate_layers *w);
attn_var attn__cbam_places(attn_tape *t, attn_var x, const attn__gate_map *g);

/* ---- piece_window.c: a window that moves along a sequence -------------------------------- */

/* softmax over its taps of scores (B or 1) (T or 1) H taps, the weights of what tap k of place
 * i sees: i + k - taps/2 of x B T C, or causally i + k - (taps - 1). What mask hides is 0, as
 * what lies beyond the ends; renormalise: and has no weight. */
typedef struct attn__window {
    attn_var scores, mask; /* mask B T or empty */
    bool causal, renormalise;
} attn__window;
attn_var attn__window_attend(attn_tape *t, attn_var x, const attn__window *window,
                             attn_var *weights);

/* ---- piece_wave.c: distances as waves ---------------------------------------------------- */

typedef struct attn__wave {
    int64_t high, wide, stride; /* places, and pixels from place to place */
    int64_t F;                  /* waves, even: F/2 rates */
    double base;                /* of the rates */
} attn__wave;
/* The waves that keys carry: high wide x F, cosines first. */
attn_var attn__wave_places(attn_tape *t, const attn__wave *w, bool along_x);
/* What queries carry: asks ... N F holds factors of the sines, then of the cosines, of the
 * distance from a query to a key; places N F are those of the queries. */
attn_var attn__wave_turn(attn_tape *t, attn_var asks, attn_var places);

/* ---- piece_scan.c: linear and recurrent attention --------------------------------------- */

/* What broadcasts against B H T D, as a view of that shape. */
attn_var attn__decay(const attn__build *b, attn_var decay);
/* attn_tape_scan; its last state becomes out[final_state] when that is wanted (-1: none). */
attn_var attn__remember(const attn__build *b, const attn_scan_spec *spec,
                        const attn_scan_vars *vars, int final_state);

/* ---- piece_memory.c: whole numbers and bytes of a tape ----------------------------------- */

/* count elements of size bytes that live as long as the tape; NULL: it has failed. keep: a copy
 * of a struct there. */
void *attn__tape_memory(attn_tape *t, int64_t count, size_t size);
void *attn__tape_keep(attn_tape *t, const void *what, size_t size);
/* Such memory (or NULL) as indices. */
attn_var attn__tape_ids(attn_tape *t, const int64_t *ids, attn_dims shape);
/* mask B S (S may be several dimensions) as one byte for every row (b heads + h) S + s; NULL:
 * no mask, all are visible. */
const uint8_t *attn__tape_visible(attn_tape *t, attn_var mask, int64_t heads);
/* x with all dimensions but the last as one. */
attn_var attn__tape_rows(attn_tape *t, attn_var x);

#include "mech/pattern.h"

#endif
