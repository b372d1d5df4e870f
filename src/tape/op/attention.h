/* SPDX-License-Identifier: MIT
 * The bodies of attention are the engine's, which looks at the types itself: op_attention.c. */
#include "tape/tape.h"

attn_status attn__attention_forward(attn__call *c);
attn_status attn__attention_backward(attn__call *c);

#ifdef K
static attn_status K(attention_forward)(attn__call *c)
{
    return attn__attention_forward(c);
}

static attn_status K(attention_backward)(attn__call *c)
{
    return attn__attention_backward(c);
}
#endif
