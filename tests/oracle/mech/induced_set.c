/* SPDX-License-Identifier: MIT
 * Induced set attention: two ordinary attentions by hand. */
#include "../mech_heads.h"

/* rows x B T M ask y B S M with weights number `which`; out B T O gets the result. */
static void induced_ask(gallery_call *c, const double *x, int64_t T, const double *y, int64_t S,
                        char which, const char *weights, const double *mask, int64_t O,
                        double *out)
{
    const int64_t B = gallery_size(c, 'B'), M = gallery_size(c, 'M'), H = gallery_i(c, "heads");
    char w_q[] = "w_q?", w_k[] = "w_k?", w_v[] = "w_v?", w_o[] = "w_o?";
    w_q[3] = w_k[3] = w_v[3] = w_o[3] = which;
    heads_case a = {.B = B, .H = H, .G = H, .T = T, .S = S, .c = c, .mask = mask};
    a.D = gallery_size(c, 'A') / H, a.E = gallery_size(c, 'P') / H;
    a.q = heads_from(c, x, gallery_at(c, w_q), B, T, M, H, a.D);
    a.k = heads_from(c, y, gallery_at(c, w_k), B, S, M, H, a.D);
    a.v = heads_from(c, y, gallery_at(c, w_v), B, S, M, H, a.E);
    a.scale = 1 / sqrt((double)a.D);
    a.out = gallery_new(c, B * H * T * a.E), a.weights = gallery_at(c, weights);
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, w_o), B, H, T, a.E, O, out);
}

static void induced_set_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), S = gallery_size(c, 'S'), N = gallery_size(c, 'N'),
                  M = gallery_size(c, 'M');
    double *points = gallery_new(c, B * N * M), *h = gallery_at(c, "h");
    const double *x = gallery_at(c, "x");
    for (int64_t i = 0; i < B * N * M; i++) points[i] = gallery_at(c, "points")[i % (N * M)];
    induced_ask(c, points, N, x, S, '1', "read_weights", gallery_at(c, "mask"), M, h);
    induced_ask(c, x, S, h, N, '2', "write_weights", NULL, gallery_size(c, 'O'),
                gallery_at(c, "out"));
}

static const char *const induced_set_cases[] = {"B=2,S=7",
                                                "B=1,H=1,S=4,N=1,A=3,P=2;heads=1;mask", NULL};

const gallery_oracle gallery_oracle_induced_set = {.cases = induced_set_cases,
                                                   .run = induced_set_oracle};
