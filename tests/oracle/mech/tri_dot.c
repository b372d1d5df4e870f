/* SPDX-License-Identifier: MIT
 * Every triple of a query, a key and a context, one product after the other. Gold: three
 * queries, three keys, two contexts. */
#include "oracle/mech_tri.h"

static void tri_dot_oracle(gallery_call *c)
{
    tri_case z = tri_case_of(c);
    z.score = tri_dot_score;
    tri_all(c, &z);
}

static const char *const tri_dot_cases[] = {
    "B=2,H=2,T=4,S=3,J=2,D=4,E=6;heads=2", "T=3,S=4,J=3,D=3,E=3;;u,mask",
    "T=2,S=2,J=2,D=2,E=3;;c_mask", "B=2,T=2,S=3,J=1,D=1,E=1;;u,mask,c_mask", NULL};

/* clang-format off */
static const gallery_gold tri_dot_gold[] = {
    {"B=1,T=3,S=3,J=2,D=2,E=2;;u",
     {{"q", (const double[]){1, .5, 0, 1, -1, .5}},
      {"k", (const double[]){1, 0, 0, 1, 1, 1}},
      {"v", (const double[]){1, 0, 0, 1, 2, -1}},
      {"c", (const double[]){1, 2, .5, -1}}},
     {{"out", (const double[]){1.201474, -.556442, .950446, 0, .536257, .564294}}}},
    {0}};
/* clang-format on */

const gallery_oracle gallery_oracle_tri_dot = {
    .cases = tri_dot_cases, .run = tri_dot_oracle, .gold = tri_dot_gold, .vary = "BTSJ"};
