/* SPDX-License-Identifier: MIT
 * The operations in f32. */
#define REAL_BITS 32
#include "tape/op/all.h"
