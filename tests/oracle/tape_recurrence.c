/* SPDX-License-Identifier: MIT
 * Scans by the oracle of recurrences: both updates, every form of decay and beta, queries of
 * the whole, grouped heads of both maps, first states, normalised or not.
 *
 * Operands in the order of attn_scan_vars. i: B H G T S D E, then delta, whole, normalise,
 * tiled; f: scale, eps. */
#include <math.h>

#include "oracle_scan.h"
#include "tape_case.h"

enum { Q, K, V, DECAY, BETA, STATE, STATE_Z };
enum { B, H, G, T, S, D, E, DELTA, WHOLE, NORMALISE, TILED };
enum { SCALE, EPS, SPANS = 7 };

static void recurrence_draw_options(tape_draw *d)
{
    d->i[DELTA] = test_rng_chance(d->rng, 50);
    d->i[WHOLE] = test_rng_chance(d->rng, 25);
    d->i[NORMALISE] = !d->i[DELTA] && test_rng_chance(d->rng, 50);
    d->i[TILED] = test_rng_chance(d->rng, 30);
    d->f[SCALE] = test_rng_chance(d->rng, 50) ? 0.375 : 0;
    d->f[EPS] = d->i[NORMALISE] ? 0.25 : 0;
    d->i[B] = test_rng_range(d->rng, 1, 3);
    d->i[G] = test_rng_range(d->rng, 1, 2);
    d->i[H] = d->i[G] * test_rng_range(d->rng, 1, 3);
    d->i[S] = tape_size(d, 0);
    d->i[T] = d->i[WHOLE] ? tape_size(d, 0) : d->i[S];
    d->i[D] = tape_size(d, 1);
    d->i[E] = tape_size(d, 1);
}

/* x = factor |x| + shift: positive sums of keys, decays below 1, states that do not run away.
 */
static void recurrence_fold(const attn_tensor *t, double factor, double shift)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do test_put(t, index, factor * fabs(test_get(t, index)) + shift);
    while (test_index_next(t, index));
}

static void recurrence_draw_rates(tape_draw *d)
{
    const int64_t *n = d->i;
    const int64_t shapes[5][4] = {
        {0}, {n[G]}, {n[G], n[D]}, {n[B], n[G], n[S]}, {n[B], n[G], n[S], n[D]}};
    const int decay = (int)test_rng_range(d->rng, 0, 4);
    const int beta = n[DELTA] ? (int)test_rng_range(d->rng, 0, 2) : 0;
    if (decay > 0)
        recurrence_fold(tape_reals(d, decay, shapes[decay], true), -0.25, 0);
    else
        tape_absent(d);
    if (beta > 0)
        recurrence_fold(tape_reals(d, 2 * beta - 1, shapes[2 * beta - 1], true), 0.25, 0.125);
    else
        tape_absent(d);
}

static void recurrence_draw(tape_draw *d)
{
    recurrence_draw_options(d);
    const int64_t *n = d->i;
    const double width = sqrt((double)n[D]);
    const attn_tensor *q = tape_reals(d, TAPE_DIMS(n[B], n[H], n[T], n[D]), true);
    const attn_tensor *k = tape_reals(d, TAPE_DIMS(n[B], n[G], n[S], n[D]), true);
    tape_reals(d, TAPE_DIMS(n[B], n[G], n[S], n[E]), true);
    recurrence_fold(k, 0.75 / width, 0.125 / width);
    if (n[NORMALISE]) recurrence_fold(q, 1, 0.125);
    recurrence_draw_rates(d);
    if (test_rng_chance(d->rng, 50))
        tape_reals(d, TAPE_DIMS(n[B], n[G], n[D], n[E]), true);
    else
        tape_absent(d);
    if (n[NORMALISE] && test_rng_chance(d->rng, 50))
        recurrence_fold(tape_reals(d, TAPE_DIMS(n[B], n[G], n[D]), true), 1, 0.125);
    else
        tape_absent(d);
}

static void recurrence_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                             attn_var *out)
{
    const attn_scan_vars vars = {in[Q],    in[K],     in[V],      in[DECAY],
                                 in[BETA], in[STATE], in[STATE_Z]};
    attn_scan_spec spec = ATTN_SCAN_SPEC(.scale = d->f[SCALE], .whole = d->i[WHOLE] != 0,
                                         .normalise = d->i[NORMALISE] != 0, .eps = d->f[EPS]);
    if (d->i[DELTA]) spec.update = ATTN_SCAN_DELTA;
    if (d->i[TILED]) spec.head_map = ATTN_HEADS_TILED;
    out[0] = attn_tape_scan(t, &spec, &vars, NULL, &out[1], d->i[NORMALISE] ? &out[2] : NULL);
}

static void recurrence_oracle(const tape_draw *d, const double *const *in,
                              const attn_tensor *shape, double *const *out)
{
    const int64_t *n = d->i;
    oracle_scan_span span[SPANS];
    (void)shape;
    for (int64_t b = 0; b < n[B]; b++) span[b] = (oracle_scan_span){b, 0, n[S], 0, n[T]};
    const oracle_scan_call call = {.delta = n[DELTA] != 0,
                                   .whole = n[WHOLE] != 0,
                                   .normalise = n[NORMALISE] != 0,
                                   .tiled = n[TILED] != 0,
                                   .scale =
                                       d->f[SCALE] != 0 ? d->f[SCALE] : 1 / sqrt((double)n[D]),
                                   .eps = d->f[EPS],
                                   .N = n[B],
                                   .H = n[H],
                                   .G = n[G],
                                   .T = n[T],
                                   .S = n[S],
                                   .D = n[D],
                                   .E = n[E],
                                   .decay_rank = in[DECAY] ? d->in[DECAY].rank : 0,
                                   .beta_rank = in[BETA] ? d->in[BETA].rank : 0,
                                   .span = span,
                                   .q = in[Q],
                                   .k = in[K],
                                   .v = in[V],
                                   .decay = in[DECAY],
                                   .beta = in[BETA],
                                   .state = in[STATE],
                                   .state_z = in[STATE_Z],
                                   .out = out[0],
                                   .final_state = out[1],
                                   .final_z = n[NORMALISE] ? out[2] : NULL};
    oracle_scan(&call);
}

const tape_case tape_case_scan = {"scan", 3, recurrence_draw, recurrence_apply,
                                  .oracle = recurrence_oracle};
