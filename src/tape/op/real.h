/* SPDX-License-Identifier: MIT
 * The alphabet of the tape's bodies: `real` is float or double by REAL_BITS, and names of
 * functions carry it: K(add_forward) is add_forward_f32. */
#ifndef ATTN__TAPE_OP_REAL_H
#define ATTN__TAPE_OP_REAL_H

#include <math.h>
#include <string.h>

#include "tape/tape.h"

#define GLUE2(a, b) a##_##b
#define GLUE(a, b)  GLUE2(a, b)

#if REAL_BITS == 32
typedef float real;
#    define REAL_NAME  f32
#    define REAL_DTYPE ATTN_DTYPE_F32
#    define R(name)    name##f /* R(fma), R(sqrt), R(fabs): functions that round once */
#else
typedef double real;
#    define REAL_NAME  f64
#    define REAL_DTYPE ATTN_DTYPE_F64
#    define R(name)    name
#endif

#define K(name) GLUE(name, REAL_NAME)

#endif
