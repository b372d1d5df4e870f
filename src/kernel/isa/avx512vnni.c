/* SPDX-License-Identifier: MIT
 * The bodies of the half mode on vec/avx512vnni.h, beside the table avx512 in f32. */
#define VEC_NAME  avx512vnni
#define REAL_BITS 32
#include "vec/avx512vnni.h"

#include "body/half_dot.h"
