/* SPDX-License-Identifier: MIT
 * Gives the bodies their one alphabet: `real` and v_* are floats or doubles by REAL_BITS, d_*
 * are doubles always. Names of functions carry arithmetic and instruction set, K(fold) is
 * fold_f32_avx2, so that a stack trace says which copy it is. */
#ifndef ATTN__BODY_REAL_H
#define ATTN__BODY_REAL_H

#define GLUE2(a, b, c) a##_##b##_##c
#define GLUE(a, b, c)  GLUE2(a, b, c)

#if REAL_BITS == 32
typedef float real;
#    define REAL_NAME    f32
#    define REAL_DTYPE   ATTN_DTYPE_F32
#    define REAL_MAX     0x1.fffffep127f
#    define REAL_MAGIC   S_MAGIC
#    define REAL_LOWEST2 (-125.0f) /* exp2 of less counts as 0 */
#    define V(name)      s_##name
enum { V_LANES = S_LANES, V_TILE_V = S_TILE_V, V_TILE_R = S_TILE_R };
#else
typedef double real;
#    define REAL_NAME    f64
#    define REAL_DTYPE   ATTN_DTYPE_F64
#    define REAL_MAX     0x1.fffffffffffffp1023
#    define REAL_MAGIC   D_MAGIC
#    define REAL_LOWEST2 (-1021.0)
#    define V(name)      d_##name
enum { V_LANES = D_LANES, V_TILE_V = D_TILE_V, V_TILE_R = D_TILE_R };
#endif

#define K(name) GLUE(name, REAL_NAME, VEC_NAME)

#define v_vec          V(vec)
#define v_mask         V(mask)
#define v_load         V(load)
#define v_store        V(store)
#define v_load_n       V(load_n)
#define v_store_n      V(store_n)
#define v_set          V(set)
#define v_add          V(add)
#define v_sub          V(sub)
#define v_mul          V(mul)
#define v_div          V(div)
#define v_fma          V(fma)
#define v_fma_unmarked V(fma_unmarked)
#define v_max          V(max)
#define v_min          V(min)
#define v_lt           V(lt)
#define v_nan          V(nan)
#define v_any          V(any)
#define v_sign         V(sign)
#define v_mask_from    V(mask_from)
#define v_select       V(select)
#define v_abs          V(abs)
#define v_copysign     V(copysign)
#define v_scale2       V(scale2)
#define v_scale2_from  V(scale2_from)
#define v_round        V(round)
#define v_sqrt         V(sqrt)
#define v_exponent     V(exponent)
#define v_mantissa     V(mantissa)
#define v_transpose    V(transpose)
#define v_words        V(words)
#define v_columns      V(columns)
#define v_store4       V(store4)
#define v_held8        V(held8)

/* Three that cross from doubles to reals. */
#if REAL_BITS == 32
#    define d_load_real(p)     d_load_f32(p)
#    define v_mul_wide(a, b)   s_mul_f64(a, b)
#    define v_scale_wide(a, b) s_scale_f64(a, b)
#else
#    define d_load_real(p)     d_load(p)
#    define v_mul_wide(a, b)   d_mul(d_load(a), d_load(b))
#    define v_scale_wide(a, b) d_mul(d_load(a), d_load(b))
#endif

#endif
