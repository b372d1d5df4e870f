/* SPDX-License-Identifier: MIT
 * Two contexts side by side, pair by pair. */
#include "oracle/mech_loops.h"

typedef struct dual_side {
    const char *stream, *w_q, *w_k, *b, *w, *mask, *weights;
    char S;
} dual_side;

static void dual_stream_side(gallery_call *c, const dual_side *s, int64_t b, int64_t half)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, s->S), D = gallery_size(c, 'D'),
                  E = gallery_size(c, 'E'), A = gallery_size(c, 'A');
    const double *y = gallery_at(c, s->stream) + b * S * E, *mask = gallery_at(c, s->mask);
    const double *q =
        loops_linear(c, gallery_at(c, "q") + b * T * D, gallery_at(c, s->w_q), NULL, T, D, A);
    const double *k = loops_linear(c, y, gallery_at(c, s->w_k), gallery_at(c, s->b), S, E, A);
    for (int64_t i = 0; i < T; i++) {
        double *row = gallery_at(c, s->weights) + (b * T + i) * S;
        for (int64_t j = 0; j < S; j++)
            row[j] = loops_additive(q + i * A, k + j * A, gallery_at(c, s->w), A);
        loops_softmax(row, mask ? mask + b * S : NULL, S);
        loops_mix(row, y, S, E, gallery_at(c, "out") + ((b * T + i) * 2 + half) * E);
    }
}

static void dual_stream_oracle(gallery_call *c)
{
    const dual_side sound = {"x", "w_q", "w_k", "b", "w", "mask", "weights", 'S'};
    const dual_side video = {"y", "w_yq", "w_yk", "b_y", "w_y", "y_mask", "y_weights", 'R'};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        dual_stream_side(c, &sound, b, 0);
        dual_stream_side(c, &video, b, 1);
    }
}

static const char *const dual_stream_cases[] = {"B=2,T=4,S=6,R=3",
                                                "T=3,S=5,R=7;;b,b_y,mask,y_mask", NULL};

const gallery_oracle gallery_oracle_dual_stream = {.cases = dual_stream_cases,
                                                   .run = dual_stream_oracle};
