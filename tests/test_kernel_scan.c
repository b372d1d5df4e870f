/* SPDX-License-Identifier: MIT
 * The scan kernel against its meaning as plain loops: every use that the engine makes of it, in
 * both directions, bit for bit, with every array between guard pages. */
#include "kernel_case.h"

enum {
    SCAN_STATE,
    SCAN_A,
    SCAN_ROWS,
    SCAN_LANES,
    SCAN_Q,
    SCAN_O,
    SCAN_X,
    SCAN_Y,
    SCAN_Z,
    SCAN_U
};

typedef struct scan_draw {
    attn__scan s;
    double *state, *o, *before, *value; /* what loops make of it */
} scan_draw;

static double *scan_memory(kernel_case *c, int slot, int64_t n)
{
    double *x = memory_place(slot, c->side, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = c->wild && test_rng_chance(&c->rng, 2) ? real_special(c)
                                                      : test_rng_normal(&c->rng) / 2;
    return x;
}

static double *scan_copy(kernel_case *c, const double *x, int64_t n)
{
    double *y = test_alloc(&c->arena, (size_t)(n + 1) * sizeof *y);
    if (n > 0) memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

/* m pairs for every token, each right behind the one before. */
static attn__scan_side scan_side(kernel_case *c, const attn__scan *s, int rows, int lanes,
                                 int m)
{
    return (attn__scan_side){.n = m,
                             .rows = scan_memory(c, rows, m * s->n * s->rows),
                             .row_step = s->rows,
                             .row_head = s->n * s->rows,
                             .lanes = scan_memory(c, lanes, m * s->n * s->w),
                             .lane_step = s->w,
                             .lane_head = s->n * s->w};
}

static void scan_draw_solve(kernel_case *c, attn__scan *s)
{
    s->key = scan_memory(c, SCAN_X, s->n * s->rows);
    s->key_step = s->rows;
    s->beta = scan_memory(c, SCAN_Y, s->n);
    s->value = scan_memory(c, SCAN_Z, s->n * s->w);
    s->value_step = s->w;
    s->from_zero = test_rng_chance(&c->rng, 30);
}

static void scan_draw_case(kernel_case *c, scan_draw *d)
{
    attn__scan *s = &d->s;
    *s = (attn__scan){.n = test_rng_range(&c->rng, 0, test_rng_chance(&c->rng, 20) ? 70 : 9),
                      .rows = test_rng_range(&c->rng, 0, 37),
                      .w = kernel_width(c),
                      .back = test_rng_chance(&c->rng, 50),
                      .late = test_rng_chance(&c->rng, 40)};
    const bool solve = test_rng_chance(&c->rng, 40), more = test_rng_chance(&c->rng, 50);
    s->ld = s->w + test_rng_range(&c->rng, 0, 2) * c->k->step;
    s->decay = (attn__scan_decay)test_rng_range(&c->rng, 0, solve ? 1 : 2);
    s->state = scan_memory(c, SCAN_STATE, s->rows * s->ld);
    const int64_t width = s->decay == ATTN__SCAN_LANES ? s->w : s->rows;
    s->a_step = test_rng_chance(&c->rng, 30) ? 0 : width;
    if (s->decay) s->a = scan_memory(c, SCAN_A, s->a_step ? s->n * width : width);
    s->updates = scan_side(c, s, SCAN_ROWS, SCAN_LANES, (int)test_rng_range(&c->rng, 0, 2));
    s->reads = scan_side(c, s, SCAN_Q, SCAN_O, (int)test_rng_range(&c->rng, 0, 3));
    if (solve && s->late) s->reads.n = 0;
    if (solve)
        scan_draw_solve(c, s);
    else if (more && s->late)
        s->after = scan_side(c, s, SCAN_Z, SCAN_U, 1);
    else if (more)
        s->before = scan_side(c, s, SCAN_X, SCAN_Y, 1);
    d->state = scan_copy(c, s->state, s->rows * s->ld);
    d->o = scan_copy(c, s->reads.lanes, s->reads.n * s->n * s->w);
    d->before = scan_copy(c, s->before.lanes, s->before.n * s->n * s->w);
    d->value = scan_copy(c, s->value, solve ? s->n * s->w : 0);
}

/* ---- the meaning ------------------------------------------------------------------------- */

static void loop_decay(scan_draw *d, int64_t t)
{
    const attn__scan *s = &d->s;
    for (int64_t r = 0; s->decay && r < s->rows; r++)
        for (int64_t l = 0; l < s->w; l++)
            d->state[r * s->ld + l] *=
                s->a[t * s->a_step + (s->decay == ATTN__SCAN_ROWS ? r : l)];
}

static void loop_add(scan_draw *d, const attn__scan_side *side, int64_t t)
{
    const attn__scan *s = &d->s;
    for (int m = 0; m < side->n; m++)
        for (int64_t r = 0; r < s->rows; r++)
            for (int64_t l = 0; l < s->w; l++)
                d->state[r * s->ld + l] =
                    fma(side->rows[t * side->row_step + m * side->row_head + r],
                        side->lanes[t * side->lane_step + m * side->lane_head + l],
                        d->state[r * s->ld + l]);
}

static double loop_chain(const scan_draw *d, const double *row, int64_t l)
{
    double sum = 0;
    for (int64_t r = 0; r < d->s.rows; r++) sum = fma(row[r], d->state[r * d->s.ld + l], sum);
    return sum;
}

static void loop_read(const scan_draw *d, const attn__scan_side *side, int64_t t, double *to)
{
    for (int m = 0; m < side->n; m++)
        for (int64_t l = 0; l < d->s.w; l++)
            to[t * side->lane_step + m * side->lane_head + l] =
                loop_chain(d, side->rows + t * side->row_step + m * side->row_head, l);
}

static void loop_solve(scan_draw *d, int64_t t)
{
    const attn__scan *s = &d->s;
    const double *key = s->key + t * s->key_step;
    for (int64_t l = 0; l < s->w; l++) {
        double *value = d->value + t * s->w + l;
        *value = (s->from_zero ? 0 : *value) - loop_chain(d, key, l);
        const double u = s->beta[t] * *value;
        for (int64_t r = 0; r < s->rows; r++)
            d->state[r * s->ld + l] = fma(key[r], u, d->state[r * s->ld + l]);
    }
}

static void loop_all(scan_draw *d)
{
    const attn__scan *s = &d->s;
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t t = s->back ? s->n - 1 - i : i;
        if (!s->late) loop_decay(d, t);
        loop_read(d, &s->before, t, d->before);
        loop_add(d, &s->updates, t);
        if (s->key) loop_solve(d, t);
        loop_read(d, &s->reads, t, d->o);
        loop_add(d, &s->after, t);
        if (s->late) loop_decay(d, t);
    }
}

/* NaN for NaN, whatever its sign and payload. */
static void scan_same(const kernel_case *c, const char *what, const double *got,
                      const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!(isnan(got[i]) && isnan(want[i])) && memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s[%d] of %s: %.17g, not %.17g (ATTN_SEED=%d)", what, (int)i, c->k->name,
                     got[i], want[i], (int)c->seed);
}

static void scan(kernel_case *c)
{
    scan_draw d;
    scan_draw_case(c, &d);
    loop_all(&d);
    c->k->scan(&d.s);
    scan_same(c, "state", d.s.state, d.state, d.s.rows * d.s.ld);
    scan_same(c, "reads", d.s.reads.lanes, d.o, d.s.reads.n * d.s.n * d.s.w);
    scan_same(c, "before", d.s.before.lanes, d.before, d.s.before.n * d.s.n * d.s.w);
    if (d.s.key) scan_same(c, "value", d.s.value, d.value, d.s.n * d.s.w);
}
KERNEL_TEST(scan)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scan_agrees, memory_begin, memory_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
