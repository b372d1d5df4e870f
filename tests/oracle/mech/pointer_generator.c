/* SPDX-License-Identifier: MIT
 * A pointer-generator, word by word. */
#include "oracle/mech_coverage.h"

typedef struct generator_sizes {
    int64_t T, S, D, I, E, A, P, V, N;
} generator_sizes;

static void generator_attend(gallery_call *c, const generator_sizes *z, int64_t b)
{
    const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
    const double *w_cov = gallery_at(c, "w_cov");
    const coverage_entry e = {.T = z->T,
                              .S = z->S,
                              .A = z->A,
                              .q = loops_linear(c, gallery_at(c, "q") + b * z->T * z->D,
                                                gallery_at(c, "w_q"), NULL, z->T, z->D, z->A),
                              .k = loops_linear(c, gallery_at(c, "y") + b * z->S * z->E,
                                                gallery_at(c, "w_k"), gallery_at(c, "b"), z->S,
                                                z->E, z->A),
                              .w_c = w_cov ? w_cov : gallery_new(c, z->A),
                              .w = gallery_at(c, "w"),
                              .mask = mask ? mask + b * z->S : NULL,
                              .covered = gallery_at(c, "coverage") + b * z->S,
                              .weights = gallery_at(c, "weights") + b * z->T * z->S,
                              .loss = gallery_at(c, "loss") + b * z->T};
    for (int64_t j = 0; j < z->S; j++) e.covered[j] = start ? start[b * z->S + j] : 0;
    coverage_walk(&e);
}

static double generator_gate(gallery_call *c, const generator_sizes *z, int64_t row,
                             const double *context)
{
    return loops_sigmoid(
        loops_dot(gallery_at(c, "w_gc"), context, z->E) +
        loops_dot(gallery_at(c, "w_gs"), gallery_at(c, "q") + row * z->D, z->D) +
        loops_dot(gallery_at(c, "w_gx"), gallery_at(c, "x") + row * z->I, z->I) +
        gallery_at(c, "b_g")[0]);
}

static void generator_row(gallery_call *c, const generator_sizes *z, int64_t b, int64_t row)
{
    const double *a = gallery_at(c, "weights") + row * z->S,
                 *q = gallery_at(c, "q") + row * z->D;
    double *context = gallery_new(c, z->E), *out = gallery_at(c, "out") + row * z->N;
    loops_mix(a, gallery_at(c, "y") + b * z->S * z->E, z->S, z->E, context);
    double *h = loops_linear(c, q, gallery_at(c, "w_os"), gallery_at(c, "b_o"), 1, z->D, z->P);
    const double *more = loops_linear(c, context, gallery_at(c, "w_oc"), NULL, 1, z->E, z->P);
    for (int64_t p = 0; p < z->P; p++) h[p] += more[p];
    double *said =
        loops_linear(c, h, gallery_at(c, "w_v"), gallery_at(c, "b_v"), 1, z->P, z->V);
    loops_softmax(said, gallery_at(c, "words") + b * z->N, z->V);
    const double gate = generator_gate(c, z, row, context);
    gallery_at(c, "gate")[row] = gate;
    for (int64_t v = 0; v < z->V; v++) out[v] = gate * said[v];
    for (int64_t j = 0; j < z->S; j++)
        out[(int64_t)gallery_at(c, "ids")[b * z->S + j]] += (1 - gate) * a[j];
}

static void pointer_generator_oracle(gallery_call *c)
{
    const generator_sizes z = {
        gallery_size(c, 'T'), gallery_size(c, 'S'), gallery_size(c, 'D'),
        gallery_size(c, 'I'), gallery_size(c, 'E'), gallery_size(c, 'A'),
        gallery_size(c, 'P'), gallery_size(c, 'V'), gallery_size(c, 'N')};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        generator_attend(c, &z, b);
        for (int64_t i = 0; i < z.T; i++) generator_row(c, &z, b, b * z.T + i);
    }
}

static const char *const pointer_generator_cases[] = {
    "B=2,T=3,S=5", "T=2,S=7,V=4,N=4;;w_cov,start,mask", "B=2,T=2,S=3,V=3,N=6;;start", NULL};

const gallery_oracle gallery_oracle_pointer_generator = {.cases = pointer_generator_cases,
                                                         .run = pointer_generator_oracle};
