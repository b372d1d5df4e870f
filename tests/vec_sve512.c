/* SPDX-License-Identifier: MIT
 * The vocabulary of vec/sve.h at 512 bits as a table for test_vec. */
#define VEC_NAME sve512
#include "kernel/vec/sve.h"

#include "vec_body.h"
