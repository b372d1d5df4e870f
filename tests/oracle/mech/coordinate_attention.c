/* SPDX-License-Identifier: MIT
 * Coordinate attention, line by line. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

/* The gates of one line of a picture, from its mean. */
static void coordinate_line(gallery_call *c, const double *mean, const char *w, const char *b,
                            double *gate, int64_t stride)
{
    const int64_t C = gallery_size(c, 'C'), R = gallery_size(c, 'R');
    double *h = gallery_new(c, R);
    for (int64_t r = 0; r < R; r++) {
        const double a = picture_row(gallery_at(c, "w1"), gallery_at(c, "b1"), mean, r, C);
        h[r] = a * fmin(fmax(a + 3, 0), 6) / 6;
    }
    for (int64_t i = 0; i < C; i++)
        gate[i * stride] =
            picture_sigmoid(picture_row(gallery_at(c, w), gallery_at(c, b), h, i, R));
}

static void coordinate_attention_oracle(gallery_call *c)
{
    const int64_t C = gallery_size(c, 'C'), Y = gallery_size(c, 'Y'), X = gallery_size(c, 'X');
    double *by_row = gallery_at(c, "gate_y"), *by_column = gallery_at(c, "gate_x");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *x = gallery_at(c, "x") + b * C * Y * X;
        for (int64_t l = 0; l < Y + X; l++) {
            double *mean = gallery_new(c, C);
            for (int64_t i = 0; i < C; i++) {
                for (int64_t k = 0; k < (l < Y ? X : Y); k++)
                    mean[i] += x[i * Y * X + (l < Y ? l * X + k : k * X + l - Y)];
                mean[i] /= fmax(1, (double)(l < Y ? X : Y)); /* no place at all: 0 */
            }
            if (l < Y)
                coordinate_line(c, mean, "w_y", "b_y", by_row + b * C * Y + l, Y);
            else
                coordinate_line(c, mean, "w_x", "b_x", by_column + b * C * X + l - Y, X);
        }
        for (int64_t e = 0; e < C * Y * X; e++)
            gallery_at(c, "out")[b * C * Y * X + e] =
                x[e] * by_row[b * C * Y + e / X] * by_column[(b * C + e / X / Y) * X + e % X];
    }
}

static const char *const coordinate_attention_cases[] = {"B=2,C=3,R=2,Y=4,X=3",
                                                         "B=1,C=2;;b1,b_y,b_x", NULL};

const gallery_oracle gallery_oracle_coordinate_attention = {.cases = coordinate_attention_cases,
                                                            .run = coordinate_attention_oracle};
