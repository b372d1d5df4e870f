/* SPDX-License-Identifier: MIT
 * The bodies on vec/sve.h at 512 bits in f64. */
#define VEC_NAME  sve512
#define REAL_BITS 64
#include "vec/sve.h"

#include "body/all.h"
