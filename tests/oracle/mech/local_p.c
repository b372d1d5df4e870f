/* SPDX-License-Identifier: MIT
 * The window, the softmax inside it and the gaussian, as they are written. */
#include "score_rows.h"

static double local_p_center(const gallery_call *c, int64_t b, int64_t i)
{
    const int64_t D = gallery_size(c, 'D'), A = gallery_size(c, 'A'), S = gallery_size(c, 'S');
    double x = 0, n = 0;
    for (int64_t a = 0; a < A; a++)
        x += gallery_at(c, "v_p")[a] *
             tanh(score_dot(gallery_at(c, "w_p") + a * D, score_row(c, "q", b, i), D));
    for (int64_t j = 0; j < S; j++) n += !score_hidden(c, b, j, S);
    return n / (1 + exp(-x));
}

static void local_p_row(const gallery_call *c, int64_t b, int64_t i)
{
    const int64_t D = gallery_size(c, 'D'), T = gallery_size(c, 'T');
    const int64_t S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    const double window = gallery_f(c, "window"), given = gallery_f(c, "sigma");
    const double sigma = given != 0 ? given : window / 2, p = local_p_center(c, b, i);
    const double scale = gallery_f(c, "scale"), root = 1 / sqrt((double)D);
    const bool inside = gallery_i(c, "renormalise");
    double *w = gallery_at(c, "weights") + (b * T + i) * S;
    gallery_at(c, "center")[b * T + i] = p;
    for (int64_t j = 0; j < S; j++) {
        const double far = (double)j - p, bell = -far * far / (2 * sigma * sigma);
        const bool seen = (double)j >= ceil(p - window) && (double)j <= floor(p + window);
        w[j] = (scale != 0 ? scale : root) *
                   score_dot(score_row(c, "q", b, i), score_row(c, "k", b, j), D) +
               (inside ? bell : 0);
        if (!seen || score_hidden(c, b, j, S)) w[j] = -GALLERY_INF;
    }
    score_softmax(w, S);
    for (int64_t j = 0; j < S; j++) {
        const double far = (double)j - p;
        if (!inside) w[j] *= exp(-far * far / (2 * sigma * sigma));
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(b * T + i) * E + e] += w[j] * score_row(c, "v", b, j)[e];
    }
}

static void local_p_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t i = 0; i < gallery_size(c, 'T'); i++) local_p_row(c, b, i);
}

/* Where an end of the window passes a key the result jumps. */
static bool local_p_jumps(const gallery_call *c)
{
    const double window = gallery_f(c, "window");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t i = 0; i < gallery_size(c, 'T'); i++) {
            const double p = local_p_center(c, b, i);
            if (fabs(p - window - round(p - window)) < 0.02) return true;
            if (fabs(p + window - round(p + window)) < 0.02) return true;
        }
    return false;
}

static void local_p_prepare(gallery_call *c, test_rng *rng)
{
    double *v_p = gallery_at(c, "v_p");
    for (int tries = 0; tries < 1000 && local_p_jumps(c); tries++)
        for (int64_t a = 0; a < gallery_size(c, 'A'); a++)
            v_p[a] = (double)(float)test_rng_normal(rng);
}

/* w_p q is 100, whose tanh is 1, and v_p = log(1.3 / 2.7): p = 4 sigmoid(v_p) = 1.3. */
static const double local_p_weights[] = {.125733, .196489, .326265, .020020};
static const double local_p_w_p[] = {100, 0}, local_p_v_p[] = {-.73088750854279250};
static const double local_p_center_at[] = {1.3};
static const gallery_gold local_p_gold[] = {
    {SCORE_GOLD ",A=1;window=3,sigma=1,scale=0",
     {{"q", score_q},
      {"k", score_k},
      {"v", score_v},
      {"w_p", local_p_w_p},
      {"v_p", local_p_v_p}},
     {{"weights", local_p_weights}, {"center", local_p_center_at}}},
    {0}};

static const char *const local_p_cases[] = {"B=2,T=5,S=9,D=4,A=3,E=3;window=3",
                                            "T=3,S=6;window=2.5,sigma=0.75;mask",
                                            "T=4,S=7;window=2,renormalise=true,scale=0", NULL};

const gallery_oracle gallery_oracle_local_p = {.cases = local_p_cases,
                                               .run = local_p_oracle,
                                               .gold = local_p_gold,
                                               .prepare = local_p_prepare};
