/* SPDX-License-Identifier: MIT
 * The operations in f64. */
#define REAL_BITS 64
#include "tape/op/all.h"
