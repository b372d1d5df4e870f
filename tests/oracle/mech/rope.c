/* SPDX-License-Identifier: MIT
 * Rotated queries and keys, by libm's cosines, then plain attention. */
#include "../mech_heads.h"

/* x N n D, row r at position pos[r / rows_of_batch][r % n] or first + r % n. */
static double *rope_turned(const gallery_call *c, const double *x, const double *pos,
                           int64_t heads, int64_t n, int64_t first)
{
    const int64_t B = gallery_size(c, 'B'), D = gallery_size(c, 'D');
    const int64_t R = gallery_i(c, "dims") ? gallery_i(c, "dims") : D;
    double *y = gallery_new(c, B * heads * n * D);
    for (int64_t row = 0; row < B * heads * n; row++) {
        const int64_t i = row % n;
        const double p = pos ? pos[row / n / heads * n + i] : (double)(first + i);
        for (int64_t d = 0; d < D; d++) y[row * D + d] = x[row * D + d];
        for (int64_t t = 0; t < R / 2; t++) {
            const int half = gallery_i(c, "layout") == 0;
            const int64_t at = row * D + (half ? t : 2 * t), by = half ? R / 2 : 1;
            const double angle = p * pow(gallery_f(c, "base"), -2.0 * (double)t / (double)R);
            y[at] = x[at] * cos(angle) - x[at + by] * sin(angle);
            y[at + by] = x[at + by] * cos(angle) + x[at] * sin(angle);
        }
    }
    return y;
}

static void rope_oracle(gallery_call *c)
{
    heads_case a = heads_given(c);
    a.q = rope_turned(c, a.q, gallery_at(c, "q_pos"), a.H, a.T, a.offset);
    a.k = rope_turned(c, a.k, gallery_at(c, "k_pos"), a.G, a.S, 0);
    heads_run(&a, heads_dot);
}

static const char *const rope_cases[] = {
    "B=2,T=5,S=7", "B=1,H=4,T=6,S=6,D=6;causal=true,layout=interleaved;q_pos,k_pos,mask",
    "B=2,H=2,G=1,T=3,S=5,D=8;offset=2,dims=4,base=20,layout=interleaved;q_pos,k_pos",
    "B=1,H=1,G=1,T=3,S=4,D=5;dims=4,offset=1000000;q_pos,k_pos", NULL};

const gallery_oracle gallery_oracle_rope = {.cases = rope_cases, .run = rope_oracle};
