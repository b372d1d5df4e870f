/* SPDX-License-Identifier: MIT
 * The non-local block in its four modes, pair by pair. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

#include <string.h>

typedef struct non_local_sizes {
    picture p;
    int64_t R, P, width; /* width: of theta and phi */
    int64_t high, wide;  /* of what is asked */
} non_local_sizes;

/* Maxima of 2 x 2 pixels, n planes. */
static void non_local_pool(const non_local_sizes *z, const double *x, int64_t n, double *y)
{
    const picture p = z->p;
    for (int64_t c = 0; c < n; c++)
        for (int64_t i = 0; i < z->high; i++)
            for (int64_t j = 0; j < z->wide; j++) {
                const double *at = x + (c * p.Y + 2 * i) * p.X + 2 * j;
                y[(c * z->high + i) * z->wide + j] =
                    fmax(fmax(at[0], at[1]), fmax(at[p.X], at[p.X + 1]));
            }
}

static double *non_local_embed(gallery_call *c, const non_local_sizes *z, const double *x,
                               const char *const *names, int64_t n, bool asked)
{
    const int64_t area = z->p.Y * z->p.X;
    const bool plain =
        !gallery_at(c, names[0]) || (gallery_i(c, "mode") == 1 && strcmp(names[0], "w_g") != 0);
    double *full = gallery_new(c, n * area), *y = gallery_new(c, n * area);
    if (plain)
        memcpy(full, x, (size_t)(n * area) * sizeof *x);
    else
        picture_1x1(z->p, x, gallery_at(c, names[0]), gallery_at(c, names[1]), n, full);
    if (!asked || !gallery_i(c, "sub_sample")) return full;
    non_local_pool(z, full, n, y);
    return y;
}

/* f of place i against all S that are asked. */
static void non_local_row(gallery_call *c, const non_local_sizes *z, const double *theta,
                          const double *phi, int64_t i, int64_t S, const double *mask,
                          double *f)
{
    const int64_t mode = gallery_i(c, "mode"), N = z->p.Y * z->p.X;
    const double *w = gallery_at(c, "w_f");
    double visible = 0;
    for (int64_t j = 0; j < S; j++) visible += !mask || mask[j] != 0;
    for (int64_t j = 0; j < S; j++) {
        double dot = 0, sum = 0;
        for (int64_t r = 0; r < z->width; r++) {
            dot += theta[r * N + i] * phi[r * S + j];
            if (mode == 3) sum += w[r] * theta[r * N + i] + w[z->R + r] * phi[r * S + j];
        }
        if (mode == 0 && gallery_i(c, "scaled")) dot /= sqrt((double)z->width);
        f[j] = mode == 3 ? fmax(0, sum) / visible : mode == 2 ? dot / visible : dot;
        if (mask && mask[j] == 0) f[j] = mode < 2 ? -GALLERY_INF : 0;
    }
    if (mode < 2) picture_softmax(f, S);
}

static void non_local_one(gallery_call *c, const non_local_sizes *z, int64_t b)
{
    static const char *const theta_names[] = {"w_theta", "b_theta"},
                             *const phi_names[] = {"w_phi", "b_phi"},
                             *const g_names[] = {"w_g", "b_g"};
    const int64_t N = z->p.Y * z->p.X, S = z->high * z->wide;
    const double *x = gallery_at(c, "x") + b * z->p.C * N;
    const double *theta = non_local_embed(c, z, x, theta_names, z->width, false);
    const double *phi = non_local_embed(c, z, x, phi_names, z->width, true);
    const double *g = non_local_embed(c, z, x, g_names, z->P, true);
    const double *mask = gallery_at(c, "mask");
    double *y = gallery_new(c, z->P * N), *out = gallery_at(c, "out") + b * z->p.C * N;
    for (int64_t i = 0; i < N; i++) {
        double *f = gallery_new(c, S);
        non_local_row(c, z, theta, phi, i, S, mask ? mask + b * N : NULL, f);
        for (int64_t j = 0; j < S; j++) {
            for (int64_t e = 0; e < z->P; e++) y[e * N + i] += f[j] * g[e * S + j];
            if (S == N) gallery_at(c, "weights")[(b * N + i) * N + j] = f[j];
        }
    }
    picture_1x1((picture){z->P, z->p.Y, z->p.X}, y, gallery_at(c, "w_z"), gallery_at(c, "b_z"),
                z->p.C, out);
    for (int64_t i = 0; i < z->p.C * N; i++) out[i] += x[i];
}

static void non_local_oracle(gallery_call *c)
{
    non_local_sizes z = {
        .p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')},
        .R = gallery_size(c, 'R'),
        .P = gallery_size(c, 'P')};
    const int64_t part = gallery_i(c, "sub_sample") ? 2 : 1;
    z.width = gallery_i(c, "mode") == 1 || !gallery_at(c, "w_theta") ? z.p.C : z.R;
    z.high = z.p.Y / part, z.wide = z.p.X / part;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) non_local_one(c, &z, b);
}

/* Under a softmax b_phi does nothing and its gradient is noise, so it is left out there. */
static const char *const non_local_cases[] = {
    "B=2,C=3,Y=2,X=3;;b_phi",
    "B=1,C=3,Y=3,X=2;scaled=false;b_theta,b_phi,b_g,b_z,w_f,mask",
    "B=1,C=2,Y=2,X=3;mode=gaussian;w_theta,b_theta,w_phi,b_phi,w_f",
    "B=2,Y=3,X=2;mode=dot",
    "B=1,C=2,Y=2,X=2;mode=dot;mask",
    "B=1,C=2,Y=2,X=3;;w_theta,b_theta,w_phi,b_phi,w_f",
    "B=1,C=2,Y=2,X=3;mode=concat",
    "B=2,C=2,Y=3,X=1;mode=concat;mask",
    "B=2,Y=4,X=5;sub_sample=true;weights,b_phi,mask",
    "B=1,Y=5,X=4;sub_sample=true,mode=dot;weights,b_g,mask",
    NULL};

const gallery_oracle gallery_oracle_non_local = {.cases = non_local_cases,
                                                 .run = non_local_oracle};
