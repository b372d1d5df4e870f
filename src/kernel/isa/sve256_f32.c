/* SPDX-License-Identifier: MIT
 * The bodies on vec/sve.h at 256 bits in f32. */
#define VEC_NAME  sve256
#define REAL_BITS 32
#include "vec/sve.h"

#include "body/all.h"
