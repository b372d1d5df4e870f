/* SPDX-License-Identifier: MIT
 * The part of a table that floats and doubles have in common. Included once for each, with
 *     REAL      float or double
 *     LANES     how many a vector holds
 *     V(name)   s_name or d_name
 *     F(name)   name_f32 or name_f64 */

static void F(run)(const vec_input *in, void *const out[VEC_N_OPS])
{
    for (int64_t i = 0; i < in->n; i += LANES) {
        V(vec) x = V(load)((const REAL *)in->x + i), y = V(load)((const REAL *)in->y + i);
        V(vec) z = V(load)((const REAL *)in->z + i), k = V(load)((const REAL *)in->k + i);
        V(vec) p = V(load)((const REAL *)in->p + i);
        V(mask) m = V(mask_from)(in->bits[i / 64] >> (i % 64));
#define OP(name, exact, expression) V(store)((REAL *)out[VEC_OP_##name] + i, expression);
#include "vec_ops.def"
#undef OP
    }
}

static void F(load_n)(const void *from, int64_t n, void *all)
{
    V(store)(all, V(load_n)(from, n));
}

static void F(store_n)(const void *all, int64_t n, void *to)
{
    V(store_n)(to, V(load)(all), n);
}

static void F(transpose)(void *square)
{
    V(vec) row[LANES];
    for (int i = 0; i < LANES; i++) row[i] = V(load)((REAL *)square + i * LANES);
    V(transpose)(row);
    for (int i = 0; i < LANES; i++) V(store)((REAL *)square + i * LANES, row[i]);
}

static const vec_arithmetic F(arithmetic) = {LANES, F(run), F(load_n), F(store_n),
                                             F(transpose)};
