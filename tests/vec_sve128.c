/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/sve.h at 128 bits as a table for test_vec. */
#define VEC_NAME sve128
#include "kernel/vec/sve.h"

#include "vec_body.h"
