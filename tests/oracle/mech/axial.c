/* SPDX-License-Identifier: MIT
 * Axial attention, place by place. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

#include <string.h>

typedef struct axial_sizes {
    picture p;
    int64_t A, P, heads, b;
} axial_sizes;

/* Head h of place i along a line of `count` places from `first`, `step` apart. */
static void axial_place(gallery_call *c, const axial_sizes *z, const double *const *qkv,
                        int64_t h, int64_t i, const int64_t *line, double *o)
{
    const int64_t n = z->p.Y * z->p.X, a = z->A / z->heads, e = z->P / z->heads;
    const int64_t first = line[0], step = line[1], count = line[2];
    const double *mask = gallery_at(c, "mask");
    double *w = gallery_new(c, count);
    for (int64_t j = 0; j < count; j++) {
        for (int64_t d = h * a; d < (h + 1) * a; d++)
            w[j] += qkv[0][d * n + i] * qkv[1][d * n + first + j * step];
        w[j] /= sqrt((double)a);
        if (mask && mask[z->b * n + first + j * step] == 0) w[j] = -GALLERY_INF;
    }
    picture_softmax(w, count);
    for (int64_t d = h * e; d < (h + 1) * e; d++)
        for (int64_t j = 0; j < count; j++)
            o[d * n + i] += w[j] * qkv[2][d * n + first + j * step];
}

static void axial_step(gallery_call *c, const axial_sizes *z, bool along_x, double *x)
{
    static const char *const names[][4] = {{"w_yq", "w_yk", "w_yv", "w_yo"},
                                           {"w_xq", "w_xk", "w_xv", "w_xo"}};
    const int64_t n = z->p.Y * z->p.X, width[3] = {z->A, z->A, z->P};
    double *qkv[3], *o = gallery_new(c, z->P * n), *y = gallery_new(c, z->p.C * n);
    for (int i = 0; i < 3; i++) {
        qkv[i] = gallery_new(c, width[i] * n);
        picture_1x1(z->p, x, gallery_at(c, names[along_x][i]), NULL, width[i], qkv[i]);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t h = 0; h < z->heads; h++) {
            const int64_t row[3] = {i / z->p.X * z->p.X, 1, z->p.X};
            const int64_t column[3] = {i % z->p.X, z->p.X, z->p.Y};
            axial_place(c, z, (const double *const *)qkv, h, i, along_x ? row : column, o);
        }
    picture_1x1((picture){z->P, z->p.Y, z->p.X}, o, gallery_at(c, names[along_x][3]), NULL,
                z->p.C, y);
    for (int64_t i = 0; i < z->p.C * n; i++)
        x[i] = gallery_i(c, "residual") ? x[i] + y[i] : y[i];
}

static void axial_oracle(gallery_call *c)
{
    axial_sizes z = {.p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')},
                     .A = gallery_size(c, 'A'),
                     .P = gallery_size(c, 'P'),
                     .heads = gallery_i(c, "heads")};
    const int64_t each = z.p.C * z.p.Y * z.p.X;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *x = gallery_at(c, "out") + b * each;
        memcpy(x, gallery_at(c, "x") + b * each, (size_t)each * sizeof *x);
        z.b = b;
        axial_step(c, &z, true, x);
        axial_step(c, &z, false, x);
    }
}

static const char *const axial_cases[] = {
    "B=2,Y=2,X=3", "B=1,C=2,H=1,A=3,P=2,Y=3,X=2;heads=1,residual=false;mask", NULL};

const gallery_oracle gallery_oracle_axial = {.cases = axial_cases, .run = axial_oracle};
