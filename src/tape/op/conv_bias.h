/* SPDX-License-Identifier: MIT
 * The bias of a convolution: laid out as what its result begins with, or summed up as d_b, in
 * f64 over samples and positions. */
#ifndef ATTN__TAPE_OP_CONV_BIAS_H
#define ATTN__TAPE_OP_CONV_BIAS_H

#include "tape/picture.h"

typedef struct K(conv_bias) {
    int64_t n, channels, size;
    const real *from; /* b, or d_out */
    real *to;         /* out, or d_b */
} K(conv_bias);

static K(conv_bias) K(conv_bias_of)(const attn_tensor *y, const void *from, void *to)
{
    return (K(conv_bias)){.n = y->shape[0],
                          .channels = y->shape[1],
                          .size = attn__picture_size(y, 0) * attn__picture_size(y, 1),
                          .from = from,
                          .to = to};
}

static void K(conv_bias_fill)(void *arg, int64_t from, int64_t to)
{
    const K(conv_bias) *job = arg;
    for (int64_t plane = from; plane < to; plane++) {
        const real x = job->from ? job->from[plane % job->channels] : 0;
        for (int64_t i = 0; i < job->size; i++) job->to[plane * job->size + i] = x;
    }
}

static void K(conv_bias_sum)(void *arg, int64_t from, int64_t to)
{
    const K(conv_bias) *job = arg;
    for (int64_t m = from; m < to; m++) {
        double sum = 0;
        for (int64_t n = 0; n < job->n; n++) {
            const real *plane = job->from + (n * job->channels + m) * job->size;
            for (int64_t i = 0; i < job->size; i++) sum += (double)plane[i];
        }
        job->to[m] = (real)((double)job->to[m] + sum);
    }
}

/* out = b, or 0. */
static attn_status K(conv_begin)(attn__call *c)
{
    const attn_tensor *y = &c->out[0];
    const void *b = attn__present(&c->in[2]) ? attn__call_reals(c, &c->in[2]) : NULL;
    if (attn__present(&c->in[2]) && !b) return ATTN_E_MEMORY;
    if (attn_tensor_count(*y) == 0) return ATTN_OK;
    K(conv_bias) job = K(conv_bias_of)(y, b, y->data);
    attn__call_share(c, job.n * job.channels, ATTN__PICTURE_GRAIN / job.size + 1,
                     K(conv_bias_fill), &job);
    return ATTN_OK;
}

static void K(conv_d_bias)(attn__call *c)
{
    const attn_tensor *y = &c->d_out[0];
    if (attn_tensor_count(*y) == 0) return;
    K(conv_bias) job = K(conv_bias_of)(y, y->data, c->d_in[2].data);
    attn__call_share(c, job.channels, ATTN__PICTURE_GRAIN / (job.n * job.size) + 1,
                     K(conv_bias_sum), &job);
}

#endif
