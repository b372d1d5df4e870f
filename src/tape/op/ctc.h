/* SPDX-License-Identifier: MIT
 * Connectionist temporal classification (Graves et al. 2006): the probability that T frames
 * spell a target when repeats are merged and blanks taken out.
 *   log_probs T B C, targets B S, lengths B; states 0 .. 2 n of a target of length n are
 *   blank, target 0, blank, target 1 ... blank
 *   a_t(s) = p_t(s) (a_t-1(s) + a_t-1(s-1) [+ a_t-1(s-2)])    into s from two before: only when
 *   b_t(s) = the same from the end, without p_t(s)            s is no blank and differs from it
 *   loss   = -log(a(2n) + a(2n-1)) at the last frame;  d_t(c) = -d sum over s of c of a b / P
 * In base-2 logarithms and f64. An impossible target costs +inf and has no gradient. Frames and
 * targets beyond their lengths are not looked at. The mean is over B. A sample is one piece of
 * work. Kept for the backward: T rows of a for each sample, and P. */
#ifndef ATTN__TAPE_OP_CTC_H
#define ATTN__TAPE_OP_CTC_H

#include "tape/op/loss.h"

typedef struct ctc_job {
    const attn__call *c;
    int64_t T, B, C, S, blank, W; /* W = 2n + 1 of the longest target */
    const real *x;
    const int64_t *targets, *frames, *lengths;
    double *alpha; /* B, then rows of W */
    int64_t kept;  /* rows of a sample: T, or 2 that take turns */
    double *total; /* B: log2 P */
    double *loss;  /* B */
    double *room;  /* backward: B (2W + C) */
    real *dx;
} ctc_job;

static double K(ctc_add)(double a, double b, double c)
{
    const double least = -(double)INFINITY, ab = a > b ? a : b, top = ab > c ? ab : c;
    if (a == least && b == least && c == least) return least;
    return top + attn__log2(attn__exp2(a - top) + attn__exp2(b - top) + attn__exp2(c - top));
}

static int64_t K(ctc_label)(const ctc_job *j, int64_t b, int64_t s)
{
    return s & 1 ? j->targets[b * j->S + (s >> 1)] : j->blank;
}

/* Whether state s can follow s - 2: two blanks are equal, so only other targets can. */
static bool K(ctc_jumps)(const ctc_job *j, int64_t b, int64_t s)
{
    return s >= 2 && K(ctc_label)(j, b, s) != K(ctc_label)(j, b, s - 2);
}

/* log2 of the probability of state s at frame t. */
static double K(ctc_log)(const ctc_job *j, int64_t b, int64_t t, int64_t s)
{
    return (double)j->x[(t * j->B + b) * j->C + K(ctc_label)(j, b, s)] * 0x1.71547652b82fep+0;
}

/* The row of frame t. */
static double *K(ctc_alpha)(const ctc_job *j, int64_t b, int64_t t)
{
    return j->alpha + (b * j->kept + (j->kept < j->T ? t & 1 : t)) * j->W;
}

static void K(ctc_sample)(const ctc_job *j, int64_t b)
{
    const double least = -(double)INFINITY, log_2 = 0x1.62e42fefa39efp-1;
    const int64_t n = 2 * j->lengths[b] + 1, T = j->frames[b];
    const double *old = NULL;
    for (int64_t t = 0; t < T; t++) {
        double *now = K(ctc_alpha)(j, b, t);
        for (int64_t s = 0; s < n; s++) {
            double before = s < 2 ? 0 : least;
            if (old)
                before = K(ctc_add)(old[s], s > 0 ? old[s - 1] : least,
                                    K(ctc_jumps)(j, b, s) ? old[s - 2] : least);
            now[s] = before == least ? least : before + K(ctc_log)(j, b, t, s);
        }
        old = now;
    }
    double total = n == 1 ? 0 : least;
    if (old) total = K(ctc_add)(old[n - 1], n > 1 ? old[n - 2] : least, least);
    j->total[b] = total;
    j->loss[b] = total == 0 ? 0 : -total * log_2;
}

static void K(ctc_samples)(void *arg, int64_t from, int64_t to)
{
    for (int64_t b = from; b < to; b++) K(ctc_sample)(arg, b);
}

/* beta of frame t from the one behind it, which already has that frame's probabilities. */
static void K(ctc_beta)(const ctc_job *j, int64_t b, int64_t n, const double *next, double *now)
{
    const double least = -(double)INFINITY;
    for (int64_t s = 0; s < n; s++)
        if (next)
            now[s] = K(ctc_add)(next[s], s + 1 < n ? next[s + 1] : least,
                                s + 2 < n && K(ctc_jumps)(j, b, s + 2) ? next[s + 2] : least);
        else
            now[s] = s + 2 >= n ? 0 : least;
}

static void K(ctc_sample_back)(const ctc_job *j, int64_t b)
{
    const double d = K(loss_reaching)(j->c, b, j->B), least = -(double)INFINITY;
    const int64_t n = 2 * j->lengths[b] + 1;
    double *now = j->room + b * (2 * j->W + j->C), *next = now + j->W, *share = next + j->W;
    if (j->total[b] == least) return;
    for (int64_t t = j->frames[b] - 1; t >= 0; t--) {
        const double *alpha = K(ctc_alpha)(j, b, t);
        real *dx = j->dx + (t * j->B + b) * j->C;
        K(ctc_beta)(j, b, n, t + 1 < j->frames[b] ? next : NULL, now);
        memset(share, 0, (size_t)j->C * sizeof *share);
        for (int64_t s = 0; s < n; s++) {
            if (alpha[s] == least || now[s] == least) continue;
            share[K(ctc_label)(j, b, s)] += attn__exp2(alpha[s] + now[s] - j->total[b]);
        }
        for (int64_t i = 0; i < j->C; i++) dx[i] += (real)(-d * share[i]);
        for (int64_t s = 0; s < n; s++)
            next[s] = now[s] == least ? least : now[s] + K(ctc_log)(j, b, t, s);
    }
}

static void K(ctc_samples_back)(void *arg, int64_t from, int64_t to)
{
    for (int64_t b = from; b < to; b++) K(ctc_sample_back)(arg, b);
}

static attn_status K(ctc_operands)(attn__call *c, ctc_job *j)
{
    const attn_tensor *x = &c->in[0];
    *j = (ctc_job){.c = c, .T = x->shape[0], .B = x->shape[1], .C = x->shape[2]};
    j->S = c->in[1].shape[1];
    j->blank = c->attr.i[1];
    const int64_t *kept = c->saved; /* a backward: the integers that the forward has checked */
    j->x = attn__call_reals(c, x);
    j->frames = kept ? kept : attn__call_ints(c, &c->in[2]);
    j->lengths = kept ? kept + j->B : attn__call_ints(c, &c->in[3]);
    j->targets = kept ? kept + 2 * j->B : attn__call_ints(c, &c->in[1]);
    if (!j->x || !j->targets || !j->frames || !j->lengths) return ATTN_E_MEMORY;
    int64_t longest = 0;
    for (int64_t b = 0; b < j->B; b++) longest = attn__max(longest, j->lengths[b]);
    j->W = 2 * longest + 1;
    return ATTN_OK;
}

/* How many doubles: for each sample a row of extra and so many rows of W. False: too many. */
static bool K(ctc_numbers)(const ctc_job *j, int64_t rows, int64_t extra, int64_t *numbers)
{
    return attn__mul(rows, j->W, numbers) && attn__add(*numbers, extra, numbers) &&
           attn__mul(*numbers, j->B, numbers);
}

/* What the backward needs in one piece: the integers, then so many doubles. NULL: no memory. */
static double *K(ctc_keep)(attn__call *c, const ctc_job *j, int64_t numbers)
{
    const int64_t targets = j->B * j->S;
    int64_t count, *kept = NULL;
    if (attn__add(numbers, 2 * j->B + targets, &count))
        kept = attn__call_save(c, count, sizeof *kept);
    if (!kept) return NULL;
    memcpy(kept, j->frames, (size_t)j->B * sizeof *kept);
    memcpy(kept + j->B, j->lengths, (size_t)j->B * sizeof *kept);
    memcpy(kept + 2 * j->B, j->targets, (size_t)targets * sizeof *kept);
    return (double *)(void *)(kept + 2 * j->B + targets);
}

static attn_status K(ctc_forward)(attn__call *c)
{
    ctc_job j;
    ATTN_TRY(K(ctc_operands)(c, &j));
    j.kept = c->recording ? j.T : attn__min(j.T, 2);
    int64_t numbers;
    if (!K(ctc_numbers)(&j, j.kept, 1, &numbers)) return ATTN_E_MEMORY;
    j.total = c->recording ? K(ctc_keep)(c, &j, numbers)
                           : attn__call_temp(c, numbers, sizeof(double));
    j.loss = attn__call_temp(c, j.B, sizeof(double));
    if (!j.total || !j.loss) return ATTN_E_MEMORY;
    j.alpha = j.total + j.B;
    attn__call_share(c, j.B, 1, K(ctc_samples), &j);
    real *out = c->out[0].data;
    if (c->attr.i[0] != ATTN_REDUCE_NONE)
        K(loss_total)(c, j.loss, j.B, j.B);
    else
        for (int64_t b = 0; b < j.B; b++) out[b] = (real)j.loss[b];
    return ATTN_OK;
}

static attn_status K(ctc_backward)(attn__call *c)
{
    ctc_job j;
    if (!c->d_in[0].data) return ATTN_OK;
    ATTN_TRY(K(ctc_operands)(c, &j));
    j.kept = j.T;
    j.total = (double *)c->saved + 2 * j.B + j.B * j.S;
    j.alpha = j.total + j.B;
    j.dx = c->d_in[0].data;
    int64_t numbers;
    if (!K(ctc_numbers)(&j, 2, j.C, &numbers)) return ATTN_E_MEMORY;
    j.room = attn__call_temp(c, numbers, sizeof(double));
    if (!j.room) return ATTN_E_MEMORY;
    attn__call_share(c, j.B, 1, K(ctc_samples_back), &j);
    return ATTN_OK;
}

#endif
