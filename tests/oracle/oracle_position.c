/* SPDX-License-Identifier: MIT
 * What depends on positions: T5 buckets, cells of a grid, clipped offsets, rotations and their
 * transposes. */
#include "oracle/oracle_call.h"

#include <math.h>

/* floor(ln(a / exact) / ln(max / exact) * steps), where a value within rounding of an integer
 * is that integer: those are the exact powers, at which floats of any precision disagree. */
static int64_t bucket_step(int64_t a, int64_t exact, int64_t max_distance, int64_t steps)
{
    oracle_real e = (oracle_real)exact;
    oracle_real x =
        logl((oracle_real)a / e) / logl((oracle_real)max_distance / e) * (oracle_real)steps;
    oracle_real near = roundl(x);
    return (int64_t)(fabsl(x - near) < 1e-12L ? near : floorl(x));
}

static int64_t bucket_of(int64_t a, int64_t n, int64_t max_distance)
{
    int64_t exact = n / 2;
    if (a < exact) return a;
    int64_t bucket = exact + bucket_step(a, exact, max_distance, n - exact);
    return bucket < n - 1 ? bucket : n - 1;
}

int64_t oracle_bucket(int64_t rel, int64_t n, int64_t max_distance, bool causal)
{
    if (causal) return bucket_of(rel < 0 ? -rel : 0, n, max_distance);
    int64_t half = n / 2;
    return (rel > 0 ? half : 0) + bucket_of(rel < 0 ? -rel : rel, half, max_distance);
}

int64_t oracle_clip(int64_t rel, int64_t table)
{
    int64_t reach = table / 2;
    return (rel < -reach ? -reach : rel > reach ? reach : rel) + reach;
}

static int64_t position_grid(const oracle_problem *p, const oracle_pair *pair)
{
    int64_t height = p->spec.rel.height, width = p->spec.rel.width;
    int64_t dy = pair->p / width - pair->j / width + height - 1;
    int64_t dx = pair->p % width - pair->j % width + width - 1;
    if (p->flip == ORACLE_FLIP_GRID) return dx * (2 * height - 1) + dy;
    return dy * (2 * width - 1) + dx;
}

int64_t oracle_rel_index(const oracle_problem *p, const oracle_pair *pair)
{
    int64_t rel = pair->j - pair->p, n = p->rel_table.shape[1];
    const attn_rel_spec *spec = &p->spec.rel;
    if (spec->kind == ATTN_REL_GRID) return position_grid(p, pair);
    if (spec->kind == ATTN_REL_OFFSET)
        return oracle_clip(p->flip == ORACLE_FLIP_REL_OFFSET ? -rel : rel, n);
    return oracle_bucket(p->flip == ORACLE_FLIP_BUCKET ? -rel : rel, n, spec->max_distance,
                         spec->causal_buckets);
}

/* Elements a and b of pair t, by layout. */
static void position_pair(const oracle_problem *p, int64_t t, int64_t *a, int64_t *b)
{
    bool half = p->spec.rope.kind == ATTN_ROPE_HALF;
    if (p->flip == ORACLE_FLIP_ROPE_KIND) half = !half;
    *a = half ? t : 2 * t;
    *b = half ? t + p->R / 2 : 2 * t + 1;
}

/* Cosine and sine of pair t at position m. spread is how many roundings of the magnitude the
 * angle itself may be off: it is computed in f64 as position times frequency, so its absolute
 * error is about |angle| 2^-53, which is |angle| 2^-53 / u roundings of the arithmetic. */
static void position_angle(const oracle_problem *p, int64_t t, int64_t m, oracle_real *cos,
                           oracle_real *sin, oracle_real *spread)
{
    *spread = 0;
    if (p->rope_cos.data) {
        *cos = (oracle_real)oracle_read(&p->rope_cos, m, t, 0, 0);
        *sin = (oracle_real)oracle_read(&p->rope_sin, m, t, 0, 0);
        return;
    }
    oracle_real power = -2 * (oracle_real)t / (oracle_real)p->R;
    oracle_real angle = (oracle_real)m * powl((oracle_real)p->spec.rope.base, power);
    *cos = cosl(angle);
    *sin = sinl(angle);
    *spread = fabsl(angle) * 0x1p-53L / p->unit;
}

void oracle_turn(const oracle_problem *p, const oracle_operand *t, const int64_t at[3],
                 int64_t m, const oracle_row *row)
{
    for (int64_t d = 0; d < p->D; d++) {
        row->x[d] = (oracle_real)oracle_read(t, at[0], at[1], at[2], d);
        row->mag[d] = fabsl(row->x[d]);
    }
    if (p->spec.rope.kind == ATTN_ROPE_NONE) return;
    for (int64_t f = 0; f < p->R / 2; f++) {
        int64_t a, b;
        oracle_real cos, sin, spread;
        position_pair(p, f, &a, &b);
        position_angle(p, f, m, &cos, &sin, &spread);
        oracle_real x = row->x[a], y = row->x[b];
        row->x[a] = x * cos - y * sin;
        row->x[b] = y * cos + x * sin;
        row->mag[a] = fabsl(x * cos) + fabsl(y * sin) + spread * (fabsl(x) + fabsl(y));
        row->mag[b] = fabsl(y * cos) + fabsl(x * sin) + spread * (fabsl(x) + fabsl(y));
    }
}

/* a + b times factor */
static oracle_sum position_plus(oracle_sum a, oracle_sum b, oracle_real factor)
{
    oracle_real size = fabsl(factor);
    return (oracle_sum){a.value + b.value * factor, a.mass + b.mass * size,
                        a.rough + b.rough * size};
}

void oracle_turn_back(const oracle_problem *p, int64_t m, oracle_sum *x)
{
    if (p->spec.rope.kind == ATTN_ROPE_NONE) return;
    for (int64_t f = 0; f < p->R / 2; f++) {
        int64_t a, b;
        oracle_real cos, sin, spread;
        position_pair(p, f, &a, &b);
        position_angle(p, f, m, &cos, &sin, &spread);
        oracle_sum none = {0}, x_a = x[a], x_b = x[b];
        oracle_real angle = spread * (x_a.mass + x_b.mass);
        x[a] = position_plus(position_plus(none, x_a, cos), x_b, sin);
        x[b] = position_plus(position_plus(none, x_b, cos), x_a, -sin);
        x[a].rough += angle;
        x[b].rough += angle;
    }
}
