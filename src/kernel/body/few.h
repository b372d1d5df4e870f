/* SPDX-License-Identifier: MIT
 * The two products of attention for few queries, as in decoding: the chains of body/matmul.h,
 * but keys (few_scores.h) or columns of values (few_weigh.h) lie in the lanes of vectors, and
 * the queries take turns. A number is read from memory once for all queries. Rows may lie
 * anywhere and hold any kind of number (few_kind.h); it is widened on the way. */
#ifndef ATTN__BODY_FEW_H
#define ATTN__BODY_FEW_H

#include "body/few_kind.h"

#include "body/few_scores.h"
#include "body/few_weigh.h"

#define FEW_KIND(name, code, kind)                                                             \
    static void K(few_scores_##name)(int64_t n, int lanes, int w, int64_t depth,               \
                                     const attn__rows *k, const void *q, int ld, void *s)      \
    {                                                                                          \
                                                                                               \
        K(few_scores_all)(kind, code, n, lanes, w, depth, k, q, ld, s);                        \
    }                                                                                          \
    static void K(few_weigh_##name)(int64_t n, int lanes, int w, int64_t width, const void *p, \
                                    void *total, const attn__rows *v, bool masked, bool fresh, \
                                    void *acc, int64_t ld)                                     \
    {                                                                                          \
                                                                                               \
        if (masked) K(few_weigh_all)                                                           \
        (kind, code, true, n, lanes, w, width, p, total, v, fresh, acc, ld);                   \
        else K(few_weigh_all)(kind, code, false, n, lanes, w, width, p, total, v, fresh, acc,  \
                              ld);                                                             \
    }

/* A vector of one number has nothing to turn: plain rows serve it better. */
#define FEW_OR_NOT(kernel) (V_LANES > 1 ? (kernel) : NULL)

#if REAL_BITS == 32
FEW_KIND(f32, K(FEW_PLAIN), ATTN__ROW_F32)
FEW_KIND(bf16, K(FEW_PLAIN), ATTN__ROW_BF16)
FEW_KIND(f16, K(FEW_PLAIN), ATTN__ROW_F16)
FEW_KIND(i8_row, K(FEW_ROW), ATTN__ROW_I8)
FEW_KIND(i8_column, K(FEW_COLUMN), ATTN__ROW_I8)
FEW_KIND(i4_row, K(FEW_ROW), ATTN__ROW_I4)
FEW_KIND(i4_column, K(FEW_COLUMN), ATTN__ROW_I4)

#    define FEW_CODED(name)                                                                    \
        static void K(few_scores_##name)(int64_t n, int lanes, int w, int64_t depth,           \
                                         const attn__rows *k, const void *q, int ld, void *s)  \
        {                                                                                      \
            (k->scale ? K(few_scores_##name##_row)                                             \
                      : K(few_scores_##name##_column))(n, lanes, w, depth, k, q, ld, s);       \
        }                                                                                      \
        static void K(few_weigh_##name)(int64_t n, int lanes, int w, int64_t width,            \
                                        const void *p, void *total, const attn__rows *v,       \
                                        bool masked, bool fresh, void *acc, int64_t ld)        \
        {                                                                                      \
            (v->scale ? K(few_weigh_##name##_row) : K(few_weigh_##name##_column))(             \
                n, lanes, w, width, p, total, v, masked, fresh, acc, ld);                      \
        }
FEW_CODED(i8)
FEW_CODED(i4)
#    undef FEW_CODED

#    define K_FEW(what)                                                                        \
        {                                                                                      \
            [ATTN__ROW_F32] = FEW_OR_NOT(K(what##_f32)),                                       \
            [ATTN__ROW_BF16] = FEW_OR_NOT(K(what##_bf16)),                                     \
            [ATTN__ROW_F16] = FEW_OR_NOT(K(what##_f16)),                                       \
            [ATTN__ROW_I8] = FEW_OR_NOT(K(what##_i8)),                                         \
            [ATTN__ROW_I4] = FEW_OR_NOT(K(what##_i4))                                          \
        }
#else
FEW_KIND(f64, K(FEW_PLAIN), ATTN__ROW_F64)
#    define K_FEW(what)                                                                        \
        {                                                                                      \
            [ATTN__ROW_F64] = FEW_OR_NOT(K(what##_f64))                                        \
        }
#endif
#undef FEW_KIND

#endif
