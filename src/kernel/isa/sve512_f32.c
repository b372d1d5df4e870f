/* SPDX-License-Identifier: MIT
 * The bodies on vec/sve.h at 512 bits in f32. */
#define VEC_NAME  sve512
#define REAL_BITS 32
#include "vec/sve.h"

#include "body/all.h"
