/* SPDX-License-Identifier: MIT
 * Pixel attention, one picture after the other. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

static void pixel_attention_oracle(gallery_call *c)
{
    const picture p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')};
    const int64_t each = p.C * p.Y * p.X;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *gate = gallery_at(c, "gate") + b * each;
        const double *x = gallery_at(c, "x") + b * each;
        picture_1x1(p, x, gallery_at(c, "w"), gallery_at(c, "b"), p.C, gate);
        for (int64_t i = 0; i < each; i++) {
            gate[i] = picture_sigmoid(gate[i]);
            gallery_at(c, "out")[b * each + i] = x[i] * gate[i];
        }
    }
}

static const char *const pixel_attention_cases[] = {"B=2,C=3,Y=4,X=3", "B=1,C=2;;b", NULL};

const gallery_oracle gallery_oracle_pixel_attention = {.cases = pixel_attention_cases,
                                                       .run = pixel_attention_oracle};
