/* SPDX-License-Identifier: MIT
 * Row j of w times the query. */
#include "score_rows.h"

static double location_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D');
    return score_dot(gallery_at(c, "w") + j * D, score_row(c, "q", b, i), D);
}

static void location_oracle(gallery_call *c)
{
    score_rows(c, location_score);
}

static const char *const location_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;;mask", NULL};

const gallery_oracle gallery_oracle_location = {.cases = location_cases,
                                                .run = location_oracle};
