/* SPDX-License-Identifier: MIT
 * Which library is running. A program compares it with ATTN_VERSION, which built it. */
#include "base/base.h"

const char *attn_version(void)
{
    return ATTN_VERSION;
}
