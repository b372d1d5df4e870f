/* SPDX-License-Identifier: MIT
 * attn: attention for everyone who can link with C. Read on in this order:
 *
 *   attn/attention.h   1 one call   2 plan and run   3 gradients   4 partial results, rotations
 *   attn/cache.h       keys and values of tokens already seen, for decoding
 *   attn/recurrent.h   attention as a recurrence: linear, gated, delta
 *   attn/tape.h        operations on tensors that know their gradients
 *   attn/mech.h        mechanisms by name: their slots, parameters and one way to run them
 *   attn/explain.h     what weights look like, and how near they come to gold alignments
 *   attn/io.h          npy, npz, safetensors and ONNX test files
 *   attn/ctx.h         threads, memory, instruction sets
 *   attn/base.h        status, error, element types, tensor views
 */
#ifndef ATTN_H
#define ATTN_H

#include "attn/attention.h"
#include "attn/base.h"
#include "attn/cache.h"
#include "attn/ctx.h"
#include "attn/explain.h"
#include "attn/io.h"
#include "attn/mech.h"
#include "attn/recurrent.h"
#include "attn/tape.h"

#endif
