/* SPDX-License-Identifier: MIT
 * HAR-Net's three attentions over all levels, number by number. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

#include <string.h>

enum { HAR_LEVELS = 3 };
typedef struct har_call {
    int64_t n; /* levels */
    picture p[HAR_LEVELS];
    double *x[HAR_LEVELS]; /* of one entry of the batch */
} har_call;

static void har_spatial(gallery_call *c, har_call *h)
{
    static const char *const w[] = {"w_s1", "w_s2", "w_s3", "w_s4", "w_s5"},
                             *const b[] = {"b_s1", "b_s2", "b_s3", "b_s4", "b_s5"},
                             *const rate[] = {"rate1", "rate2", "rate3", "rate4", "rate5"};
    for (int64_t l = 0; l < h->n; l++) {
        picture p = h->p[l];
        const int64_t n = p.Y * p.X, F = gallery_size(c, 'F');
        double *map = h->x[l];
        for (int i = 0; i < 5; i++) {
            double *next = gallery_new(c, F * n);
            picture_conv(p, map, gallery_at(c, w[i]), gallery_at(c, b[i]), i < 4 ? F : 1, 3, 3,
                         gallery_i(c, rate[i]), next);
            for (int64_t k = 0; k < F * n && i < 4; k++) next[k] = fmax(0, next[k]);
            map = next, p.C = F;
        }
        for (int64_t k = 0; k < h->p[l].C * n; k++) h->x[l][k] *= picture_sigmoid(map[k % n]);
    }
}

/* The mean over all levels and places of channel c after the group norm. */
static double har_describe(gallery_call *c, const har_call *h, int64_t channel)
{
    const int64_t each = gallery_size(c, 'C') / gallery_i(c, "groups");
    const int64_t first = channel / each * each;
    double sum = 0, square = 0, own = 0, places = 0;
    for (int64_t l = 0; l < h->n; l++) {
        const int64_t n = h->p[l].Y * h->p[l].X;
        places += (double)n;
        for (int64_t i = first * n; i < (first + each) * n; i++) {
            sum += h->x[l][i], square += h->x[l][i] * h->x[l][i];
            if (i / n == channel) own += h->x[l][i];
        }
    }
    const double all = places * (double)each, mean = sum / all;
    const double deviation = sqrt(square / all - mean * mean + 1e-5);
    const double *w = gallery_at(c, "gn_w"), *b = gallery_at(c, "gn_b");
    return (own / places - mean) / deviation * (w ? w[channel] : 1) + (b ? b[channel] : 0);
}

static void har_channel(gallery_call *c, har_call *h, double *gate)
{
    const int64_t C = gallery_size(c, 'C'), R = gallery_size(c, 'R');
    double *z = gallery_new(c, C), *hidden = gallery_new(c, R);
    for (int64_t i = 0; i < C; i++) z[i] = har_describe(c, h, i);
    for (int64_t r = 0; r < R; r++)
        hidden[r] = fmax(0, picture_row(gallery_at(c, "w1"), gallery_at(c, "b1"), z, r, C));
    for (int64_t i = 0; i < C; i++)
        gate[i] = picture_sigmoid(
            picture_row(gallery_at(c, "w2"), gallery_at(c, "b2"), hidden, i, R));
    for (int64_t l = 0; l < h->n; l++) {
        const int64_t n = h->p[l].Y * h->p[l].X;
        for (int64_t k = 0; k < C * n; k++) h->x[l][k] *= gate[k / n];
    }
}

static void har_aligned(gallery_call *c, har_call *h)
{
    for (int64_t l = 0; l < h->n; l++) {
        const picture p = h->p[l];
        const int64_t n = p.Y * p.X;
        double *offset = gallery_new(c, 18 * n), *y = gallery_new(c, p.C * n);
        picture_conv(p, h->x[l], gallery_at(c, "w_offset"), gallery_at(c, "b_offset"), 18, 3, 3,
                     1, offset);
        for (int64_t e = 0; e < p.C * n; e++) {
            y[e] = gallery_at(c, "b_align") ? gallery_at(c, "b_align")[e / n] : 0;
            for (int64_t k = 0; k < 9 * p.C; k++) {
                const int64_t tap = k % 9, i = e % n;
                const double at_y = (double)(i / p.X + tap / 3 - 1) + offset[2 * tap * n + i];
                const double at_x =
                    (double)(i % p.X + tap % 3 - 1) + offset[(2 * tap + 1) * n + i];
                y[e] += gallery_at(c, "w_align")[e / n * 9 * p.C + k] *
                        picture_between(h->x[l] + k / 9 * n, p, at_y, at_x);
            }
        }
        h->x[l] = y;
    }
}

static void har_open(gallery_call *c, har_call *h, int64_t b)
{
    static const char *const names[] = {"x1", "x2", "x3"}, letters[][2] = {"YX", "VU", "JI"};
    h->n = 0;
    for (int l = 0; l < HAR_LEVELS && gallery_at(c, names[l]); l++, h->n++) {
        h->p[l] = (picture){gallery_size(c, 'C'), gallery_size(c, letters[l][0]),
                            gallery_size(c, letters[l][1])};
        const int64_t all = h->p[l].C * h->p[l].Y * h->p[l].X;
        h->x[l] = gallery_new(c, all);
        memcpy(h->x[l], gallery_at(c, names[l]) + b * all, (size_t)all * sizeof(double));
    }
}

static void har_net_oracle(gallery_call *c)
{
    static const char *const orders[] = {"sca", "csa", "sac", "cas", "asc", "acs"},
                             *const outs[] = {"out", "out2", "out3"};
    const int64_t C = gallery_size(c, 'C');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        har_call h;
        har_open(c, &h, b);
        for (const char *stage = orders[gallery_i(c, "order")]; *stage; stage++) {
            if (*stage == 's') har_spatial(c, &h);
            if (*stage == 'c') har_channel(c, &h, gallery_at(c, "gate") + b * C);
            if (*stage == 'a') har_aligned(c, &h);
        }
        for (int64_t l = 0; l < h.n; l++) {
            const int64_t all = C * h.p[l].Y * h.p[l].X;
            memcpy(gallery_at(c, outs[l]) + b * all, h.x[l], (size_t)all * sizeof(double));
        }
    }
}

/* Offsets that stay between pixels, whatever the picture holds. */
static void har_prepare(gallery_call *c, test_rng *rng)
{
    const int w = attn_mech_slot(c->mech, "w_offset"), b = attn_mech_slot(c->mech, "b_offset");
    for (int64_t i = 0; i < c->count[w]; i++) c->at[w][i] *= 0.005;
    for (int64_t i = 0; c->at[b] && i < c->count[b]; i++)
        c->at[b][i] = (double)test_rng_range(rng, -1, 1) + 0.3 + 0.4 * test_rng_uniform(rng);
}

static const char *const har_net_cases[] = {
    "B=2,C=2,Y=3,X=2;;x2,x3,out2,out3",
    "B=1,Y=2,X=3;order=csa,rate3=3;b_s1,b_s2,b_s3,b_s4,b_s5,gn_w,gn_b,b1,b2,b_align",
    "B=1,C=2,Y=2,X=3;order=asc,groups=1;x3,out3,gn_w",
    "B=1,C=2,Y=2,X=2;order=sac,groups=2;x3,out3", NULL};

const gallery_oracle gallery_oracle_har_net = {
    .cases = har_net_cases, .run = har_net_oracle, .prepare = har_prepare};
