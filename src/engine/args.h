/* SPDX-License-Identifier: MIT
 * For those who check a call: args.def as an array, to walk all its tensors, and rules. */
#ifndef ATTN__ENGINE_ARGS_H
#define ATTN__ENGINE_ARGS_H

#include "engine/engine.h"

typedef struct attn__arg {
    const char *name;
    size_t at; /* offset in attn_args */
    const char *calls;
    char kind, dtypes;
    const char *dims;
    attn_status status;
} attn__arg;

static const attn__arg attn__arg_list[] = {
#define ARG(field, calls, kind, dtypes, dims, status)                                          \
    {#field, offsetof(attn_args, field), calls, kind, dtypes, dims, status},
#include "engine/args.def"
#undef ARG
};

enum { ATTN__N_ARGS = sizeof attn__arg_list / sizeof attn__arg_list[0] };

static inline bool attn__arg_used(const attn__arg *arg, attn__call_kind call)
{
    return arg->calls[call] != '-';
}
static inline bool attn__arg_output(const attn__arg *arg, attn__call_kind call)
{
    return arg->calls[call] == 'o';
}
static inline attn_tensor *attn__arg_of(attn_args *args, const attn__arg *arg)
{
    return (attn_tensor *)(void *)((char *)args + arg->at);
}
static inline const attn_tensor *attn__arg_in(const attn_args *args, const attn__arg *arg)
{
    return (const attn_tensor *)(const void *)((const char *)args + arg->at);
}

/* ---- check.c ------------------------------------------------------------------------------
 */

typedef struct attn__rule {
    bool ok;
    attn_status status;
    const char *where, *what;
} attn__rule;
/* The first rule that is broken says why. */
attn_status attn__rules_check(const attn__rule *rules, size_t n, attn_error *error);

#endif
