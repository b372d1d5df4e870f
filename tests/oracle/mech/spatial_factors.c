/* SPDX-License-Identifier: MIT
 * The four factors by their definition: every pair of places, with the vector R of its
 * distance.
 */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

typedef struct factors_sizes {
    picture p;
    int64_t heads, A, P, F, d, N, S; /* d features a head, N queries, S keys */
    int64_t q_stride, k_stride, q_wide, k_wide, q_high;
} factors_sizes;

/* R of the distance (dy, dx), all heads. */
static void factors_distance(gallery_call *c, const factors_sizes *z, double dy, double dx,
                             double *R)
{
    for (int64_t a = 0; a < z->A; a++) {
        R[a] = 0;
        for (int64_t f = 0; f < z->F; f++) {
            const int64_t half = z->F / 2, n = f % half;
            const double rate = pow(gallery_f(c, "base"), -2.0 * (double)n / (double)z->F);
            const double wx = f < half ? sin(dx * rate) : cos(dx * rate);
            const double wy = f < half ? sin(dy * rate) : cos(dy * rate);
            R[a] += gallery_at(c, "w_rx")[a * z->F + f] * wx / sqrt(2);
            R[a] += gallery_at(c, "w_ry")[a * z->F + f] * wy / sqrt(2);
        }
    }
}

/* Rows n of w applied to the strided pixel i of x. */
static double factors_feature(const factors_sizes *z, const double *x, const double *w,
                              int64_t n, int64_t i, int64_t stride, int64_t wide)
{
    double sum = 0;
    for (int64_t c = 0; c < z->p.C; c++)
        sum += w[n * z->p.C + c] *
               picture_at(x + c * z->p.Y * z->p.X, z->p, i / wide * stride, i % wide * stride);
    return sum;
}

static double factors_score(gallery_call *c, const factors_sizes *z, const double *x, int64_t h,
                            int64_t i, int64_t j)
{
    double *R = gallery_new(c, z->A), sum = 0;
    factors_distance(c, z, (double)(j / z->k_wide * z->k_stride - i / z->q_wide * z->q_stride),
                     (double)(j % z->k_wide * z->k_stride - i % z->q_wide * z->q_stride), R);
    for (int64_t a = h * z->d; a < (h + 1) * z->d; a++) {
        const double q =
            factors_feature(z, x, gallery_at(c, "w_q"), a, i, z->q_stride, z->q_wide);
        const double k =
            factors_feature(z, x, gallery_at(c, "w_k"), a, j, z->k_stride, z->k_wide);
        sum += gallery_f(c, "query_key") * q * k + gallery_f(c, "query_position") * q * R[a];
        sum += gallery_f(c, "key_only") * gallery_at(c, "u_key")[a] * k;
        sum += gallery_f(c, "position_only") * gallery_at(c, "u_position")[a] * R[a];
    }
    return gallery_i(c, "scaled") ? sum / sqrt((double)z->d) : sum;
}

static bool factors_seen(gallery_call *c, const factors_sizes *z, int64_t b, int64_t j)
{
    const double *mask = gallery_at(c, "mask");
    return !mask || picture_at(mask + b * z->p.Y * z->p.X, z->p, j / z->k_wide * z->k_stride,
                               j % z->k_wide * z->k_stride) != 0;
}

/* o P N of one picture. */
static void factors_gather(gallery_call *c, const factors_sizes *z, int64_t b, double *o)
{
    const double *x = gallery_at(c, "x") + b * z->p.C * z->p.Y * z->p.X;
    const int64_t each = z->P / z->heads;
    for (int64_t h = 0; h < z->heads; h++)
        for (int64_t i = 0; i < z->N; i++) {
            double *w = gallery_new(c, z->S);
            for (int64_t j = 0; j < z->S; j++)
                w[j] =
                    factors_seen(c, z, b, j) ? factors_score(c, z, x, h, i, j) : -GALLERY_INF;
            picture_softmax(w, z->S);
            for (int64_t j = 0; j < z->S; j++) {
                for (int64_t e = h * each; e < (h + 1) * each; e++)
                    o[e * z->N + i] += w[j] * factors_feature(z, x, gallery_at(c, "w_v"), e, j,
                                                              z->k_stride, z->k_wide);
                if (z->N == z->p.Y * z->p.X && z->S == z->N)
                    gallery_at(c, "weights")[((b * z->heads + h) * z->N + i) * z->N + j] = w[j];
            }
        }
}

/* The value of a small plane where pixel i of n falls, borders repeated. */
static double factors_enlarge(const factors_sizes *z, const double *plane, int64_t i)
{
    const picture small = {1, z->q_high, z->q_wide};
    const double fy = (double)small.Y / (double)z->p.Y, fx = (double)small.X / (double)z->p.X;
    const double y = ((double)(i / z->p.X) + 0.5) * fy - 0.5;
    const double x = ((double)(i % z->p.X) + 0.5) * fx - 0.5;
    return picture_between(plane, small, fmin(fmax(y, 0), (double)small.Y - 1),
                           fmin(fmax(x, 0), (double)small.X - 1));
}

static void factors_one(gallery_call *c, const factors_sizes *z, int64_t b)
{
    const int64_t area = z->p.Y * z->p.X;
    const double *gamma = gallery_at(c, "gamma");
    double *o = gallery_new(c, z->P * z->N), *y = gallery_new(c, z->p.C * z->N);
    factors_gather(c, z, b, o);
    picture_1x1((picture){z->P, z->q_high, z->q_wide}, o, gallery_at(c, "w_o"),
                gallery_at(c, "b_o"), z->p.C, y);
    for (int64_t e = 0; e < z->p.C * area; e++) {
        const double own = gallery_at(c, "x")[b * z->p.C * area + e];
        const double got = factors_enlarge(z, y + e / area * z->N, e % area);
        gallery_at(c, "out")[b * z->p.C * area + e] = gamma ? gamma[0] * got + own : got;
    }
}

static void spatial_factors_oracle(gallery_call *c)
{
    factors_sizes z = {.p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')},
                       .heads = gallery_i(c, "heads"),
                       .A = gallery_size(c, 'A'),
                       .P = gallery_size(c, 'P'),
                       .F = gallery_size(c, 'F'),
                       .q_stride = gallery_i(c, "q_stride"),
                       .k_stride = gallery_i(c, "kv_stride")};
    z.d = z.A / z.heads;
    z.q_high = (z.p.Y + z.q_stride - 1) / z.q_stride;
    z.q_wide = (z.p.X + z.q_stride - 1) / z.q_stride;
    z.k_wide = (z.p.X + z.k_stride - 1) / z.k_stride;
    z.N = z.q_high * z.q_wide;
    z.S = (z.p.Y + z.k_stride - 1) / z.k_stride * z.k_wide;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) factors_one(c, &z, b);
}

static const char *const spatial_factors_cases[] = {
    "B=2,Y=2,X=3",
    "B=1,Y=2,X=2,H=1,A=3,P=2;heads=1,scaled=true,query_key=0.5,key_only=0;b_o,gamma,mask",
    "Y=2,X=3;query_key=0,query_position=0,position_only=0;weights,mask",
    "Y=2,X=2;query_key=0,query_position=0,position_only=0",
    "Y=3,X=2;query_key=0,query_position=0,key_only=0,base=50;mask",
    "Y=2,X=3;query_position=0,position_only=0",
    "B=1,Y=3,X=4;q_stride=2,kv_stride=2;weights",
    "Y=4,X=5;kv_stride=3;weights,mask",
    NULL};

const gallery_oracle gallery_oracle_spatial_factors = {.cases = spatial_factors_cases,
                                                       .run = spatial_factors_oracle};
