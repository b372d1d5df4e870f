/* SPDX-License-Identifier: MIT
 * Refusals of the tape as a table: each row is a call that must be refused, with its status,
 * the operation that the sentence names, and the sizes or the word in it. After every row the
 * tape must work again. A program says what its operands are, and how it asks that. */
#ifndef ATTN_TESTS_TAPE_REFUSAL_H
#define ATTN_TESTS_TAPE_REFUSAL_H

#include "tape_fixture.h"

typedef struct operands operands; /* what the calls of a program are made of */

typedef struct refusal {
    void (*call)(attn_tape *t, const operands *v);
    attn_status status;
    const char *where;
    bool sized; /* the sentence has both sizes */
    int64_t want, got;
    const char *word; /* in the sentence */
} refusal;

#define SAYS(want, got, word) true, (want), (got), (word)
#define SIZES(want, got)      SAYS(want, got, "")
#define WORD(word)            false, 0, 0, (word)
#define NO_SIZES              WORD("")

/* A refused call, made of t and v. */
#define REFUSED(name, ...)                                                                     \
    static void name(attn_tape *t, const operands *v)                                          \
    {                                                                                          \
        (void)v;                                                                               \
        (void)(__VA_ARGS__);                                                                   \
    }

static inline void refusal_check(attn_tape *t, const refusal *r, const operands *v)
{
    attn_error error;
    char text[256];
    r->call(t, v);
    assert_int_equal(attn_tape_status(t, &error), r->status);
    assert_int_equal(error.status, r->status);
    assert_string_equal(error.where, r->where);
    assert_true(strlen(error.what) > 10);
    attn_error_text(&error, text, sizeof text);
    const bool sizes = !r->sized || (error.want == r->want && error.got == r->got);
    if (error.counted != r->sized || !sizes || !strstr(text, r->word)) fail_msg("%s", text);
    attn_tape_clear(t);
}

/* works: a call that must succeed after each of them. Destroys t. */
static inline void refusals_walk(attn_tape *t, const refusal *rows, size_t n, const operands *v,
                                 void (*works)(attn_tape *t, const operands *v))
{
    for (size_t i = 0; i < n; i++) {
        refusal_check(t, &rows[i], v);
        works(t, v);
        expect_fine(t);
    }
    attn_tape_destroy(t);
}

#define REFUSALS(rows) (rows), sizeof(rows) / sizeof(rows)[0]

#endif
