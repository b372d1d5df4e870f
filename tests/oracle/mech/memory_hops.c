/* SPDX-License-Identifier: MIT
 * A memory network word by word. Gold: the position encoding of four words and four features,
 * read through a memory that is all ones. */
#include "../mech_heads.h"

/* The sum of rows of table n for words ids[0 .. J), into y of D. */
static void memory_sum(const gallery_call *c, const double *ids, int64_t J, int64_t n,
                       double *y)
{
    const int64_t D = gallery_size(c, 'D'), V = gallery_size(c, 'V');
    for (int64_t j = 0; j < J; j++) {
        if ((int64_t)ids[j] == gallery_i(c, "padding")) continue;
        for (int64_t d = 0; d < D; d++) {
            const double jj = (double)(j + 1) / (double)J, kd = (double)(d + 1) / (double)D;
            const double l =
                gallery_i(c, "position_encoding") ? (1 - jj) - kd * (1 - 2 * jj) : 1;
            y[d] += l * gallery_at(c, "tables")[(n * V + (int64_t)ids[j]) * D + d];
        }
    }
}

static double *memory_all(const gallery_call *c, int64_t b, int64_t n)
{
    const int64_t S = gallery_size(c, 'S'), J = gallery_size(c, 'J'), D = gallery_size(c, 'D');
    const double *when = gallery_at(c, "time");
    double *m = gallery_new(c, S * D);
    for (int64_t s = 0; s < S; s++) {
        memory_sum(c, gallery_at(c, "story") + (b * S + s) * J, J, n, m + s * D);
        for (int64_t d = 0; when && d < D; d++) m[s * D + d] += when[(n * S + s) * D + d];
    }
    return m;
}

static void memory_hop(const gallery_call *c, int64_t b, int64_t hop, double *u)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'),
                  hops = gallery_i(c, "hops");
    const int64_t first = gallery_i(c, "tying") == 0 ? hop : 0;
    const double *mask = gallery_at(c, "mask"), *w_h = gallery_at(c, "w_h");
    const double *m = memory_all(c, b, first), *v = memory_all(c, b, first + 1);
    double *p = gallery_at(c, "weights") + (b * hops + hop) * S, *next = gallery_new(c, D);
    const int linear = gallery_i(c, "linear") != 0;
    for (int64_t s = 0; s < S; s++)
        p[s] = mask && mask[b * S + s] == 0 ? (linear ? 0 : -GALLERY_INF)
                                            : heads_inner(u, m + s * D, D);
    if (!linear) heads_softmax(p, S);
    for (int64_t d = 0; d < D; d++) {
        next[d] = w_h ? heads_inner(w_h + d * D, u, D) : u[d];
        for (int64_t s = 0; s < S; s++) next[d] += p[s] * v[s * D + d];
    }
    for (int64_t d = 0; d < D; d++) u[d] = next[d];
}

static void memory_hops_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D'), O = gallery_size(c, 'O'), K = gallery_size(c, 'K');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *u = gallery_at(c, "out") + b * D, *answer = gallery_at(c, "answer") + b * O;
        memory_sum(c, gallery_at(c, "question") + b * K, K, 0, u);
        for (int64_t hop = 0; hop < gallery_i(c, "hops"); hop++) memory_hop(c, b, hop, u);
        for (int64_t o = 0; o < O; o++)
            answer[o] = heads_inner(gallery_at(c, "w_answer") + o * D, u, D);
        heads_softmax(answer, O);
    }
}

/* Small tables: sums of many words grow, and so would a softmax's steepness. */
static void memory_hops_prepare(gallery_call *c, test_rng *rng)
{
    double *tables = gallery_at(c, "tables");
    (void)rng;
    for (int64_t i = 0; i < c->count[attn_mech_slot(c->mech, "tables")]; i++) tables[i] /= 4;
}

static const char *const memory_hops_cases[] = {
    "B=2", "B=2,N=2,H=2,D=4;hops=2,tying=layer_wise,padding=0;mask",
    "B=1,N=3,H=2,D=3;hops=2,linear=true,position_encoding=false;time,w_h",
    "B=2,N=2,H=1;hops=1,linear=true;w_h", NULL};

/* One memory: its weight is 1, and its value has words 1 and 4, rows .625 .5 .375 .25 and
 * .25 .5 .75 1 of the encoding. */
static const double memory_words[] = {0, 1, 2, 3}, memory_asked[] = {4};
static const double memory_tables[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                       0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0,
                                       0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0};
static const double memory_out[] = {.875, 1, 1.125, 1.25};
/* Logits 0 and ln 3, because out[1] is 1. */
static const double memory_w_answer[] = {0, 0, 0, 0, 0, 1.0986122886681098, 0, 0};
static const double memory_answer[] = {.25, .75};
static const gallery_gold memory_hops_gold[] = {
    {"S=1,J=4,K=1,V=5,N=2,D=4,H=1,O=2;hops=1",
     {{"story", memory_words},
      {"question", memory_asked},
      {"tables", memory_tables},
      {"w_answer", memory_w_answer}},
     {{"out", memory_out}, {"answer", memory_answer}}},
    {0}};

const gallery_oracle gallery_oracle_memory_hops = {.cases = memory_hops_cases,
                                                   .run = memory_hops_oracle,
                                                   .prepare = memory_hops_prepare,
                                                   .gold = memory_hops_gold};
