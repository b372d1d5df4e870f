/* SPDX-License-Identifier: MIT
 * One key of each row, drawn by the largest score with noise; its log-probability, the entropy
 * of the row, and what is to be minimised. */
#include "oracle/mech/align.h"

static int64_t reinforce_draw(const align_row *r)
{
    double best = -GALLERY_INF;
    int64_t drawn = -1;
    for (int64_t j = 0; j < r->S; j++) {
        const double noise = gallery_i(r->c, "greedy") ? 0 : align_noise(r, j);
        const double s = r->s[j] / gallery_f(r->c, "temperature") + noise;
        if (r->s[j] > -GALLERY_INF && (drawn < 0 || s > best)) best = s, drawn = j;
    }
    return drawn;
}

static void reinforce_row(const align_row *r, void *user)
{
    gallery_call *c = r->c;
    const double T = gallery_f(c, "temperature"), top = align_top(r);
    const double *reward = gallery_at(c, "reward"), *baseline = gallery_at(c, "baseline");
    const int64_t at = (r->b * gallery_size(c, 'H') + r->h) * gallery_size(c, 'T') + r->i;
    const int64_t drawn = reinforce_draw(r);
    double sum = 0, entropy = 0, *w = gallery_new(c, r->S);
    (void)user;
    if (drawn < 0) return;
    for (int64_t j = 0; j < r->S; j++)
        if (r->s[j] > -GALLERY_INF) sum += exp((r->s[j] - top) / T);
    for (int64_t j = 0; j < r->S; j++) {
        const double log_p = (r->s[j] - top) / T - log(sum);
        if (r->s[j] > -GALLERY_INF) entropy -= exp(log_p) * log_p;
    }
    w[drawn] = 1;
    align_sum(r, w);
    const double log_prob = (r->s[drawn] - top) / T - log(sum);
    const double gain = (reward ? reward[at] : 0) - (baseline ? baseline[at] : 0);
    gallery_at(c, "log_prob")[at] = log_prob;
    gallery_at(c, "entropy")[at] = entropy;
    gallery_at(c, "surrogate")[at] =
        -gain * log_prob - gallery_f(c, "entropy_weight") * entropy;
}

static void reinforce_oracle(gallery_call *c)
{
    align_rows(c, reinforce_row, NULL);
}

static const char *const reinforce_cases[] = {
    "B=2,H=4,G=2,T=4,S=6;seed=5", "T=5,S=5;causal=true,temperature=0.5,entropy_weight=1;mask",
    "T=3,S=7,E=2;greedy=true;baseline", "T=3,S=3;;reward,baseline,mask", NULL};

/* In f32 a log-probability near 0 is the difference of two numbers that are not. */
const gallery_oracle gallery_oracle_reinforce = {
    .cases = reinforce_cases, .run = reinforce_oracle, .f32 = 5e-4, .grad32 = 1e-3};
