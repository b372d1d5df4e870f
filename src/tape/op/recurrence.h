/* SPDX-License-Identifier: MIT
 * The bodies of scans are the engine's, which looks at the types itself: op_recurrence.c. */
#include "tape/tape.h"

attn_status attn__recurrence_forward(attn__call *c);
attn_status attn__recurrence_backward(attn__call *c);

#ifdef K
static attn_status K(scan_forward)(attn__call *c)
{
    return attn__recurrence_forward(c);
}

static attn_status K(scan_backward)(attn__call *c)
{
    return attn__recurrence_backward(c);
}
#endif
