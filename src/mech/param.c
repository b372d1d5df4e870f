/* SPDX-License-Identifier: MIT
 * Parameters from text. Each kind of parameter has one reader that takes the whole word or
 * nothing: no blanks, no trailing letters, no silent zero. */
#include "mech/mech.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const attn_param attn__no_params[] = {{0}};

/* The readers return NULL, or the rule that was broken. */
typedef const char *(*param_reader)(const attn_param *param, const char *text,
                                    attn_value *value);

static bool param_whole(const char *text, const char *end)
{
    return end != text && *end == '\0' && !isspace((unsigned char)text[0]);
}

static const char *param_number(const attn_param *param, const char *text, attn_value *value)
{
    (void)param;
    char *end;
    double x = strtod(text, &end);
    if (!param_whole(text, end)) return "not a number";
    /* An overflow becomes inf silently in strtod; the word "inf" has no digit in it. */
    if (isinf(x) && strpbrk(text, "0123456789")) return "number too large";
    value->f = x;
    return NULL;
}

static const char *param_integer(const attn_param *param, const char *text, attn_value *value)
{
    (void)param;
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (!param_whole(text, end)) return "not an integer";
    if (errno == ERANGE) return "integer too large";
    value->i = x;
    return NULL;
}

static const char *param_truth(const attn_param *param, const char *text, attn_value *value)
{
    static const struct {
        const char *word;
        bool means;
    } words[] = {{"true", true}, {"false", false}, {"1", true},
                 {"0", false},   {"yes", true},    {"no", false}};
    (void)param;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i].word) == 0) {
            value->i = words[i].means;
            return NULL;
        }
    return "neither true nor false";
}

static const char *param_choice(const attn_param *param, const char *text, attn_value *value)
{
    size_t length = strlen(text);
    int64_t index = 0;
    for (const char *word = param->choices; word; index++) {
        size_t n = strcspn(word, "|");
        if (n == length && memcmp(word, text, n) == 0) {
            value->i = index;
            return NULL;
        }
        word = word[n] ? word + n + 1 : NULL;
    }
    return "not one of the choices";
}

static const struct {
    char kind;
    param_reader read;
} param_kinds[] = {
    {'f', param_number}, {'i', param_integer}, {'b', param_truth}, {'e', param_choice}};

static const char *param_read(const attn_param *param, const char *text, attn_value *value)
{
    for (size_t i = 0; i < sizeof param_kinds / sizeof param_kinds[0]; i++)
        if (param_kinds[i].kind == param->kind) return param_kinds[i].read(param, text, value);
    return "a parameter of an unknown kind";
}

int attn_mech_param(const attn_mech *mech, const char *name)
{
    for (int i = 0; mech && name && mech->params[i].name; i++)
        if (strcmp(mech->params[i].name, name) == 0) return i;
    return -1;
}

void attn_mech_defaults(const attn_mech *mech, attn_value *params)
{
    for (int i = 0; mech && params && mech->params[i].name; i++) {
        params[i] = (attn_value){0};
        param_read(&mech->params[i], mech->params[i].fallback, &params[i]);
    }
}

attn_status attn_mech_defaults_of(const char *name, attn_value *params, attn_error *error)
{
    const attn_mech *mech = attn_mech_find(name);
    if (!name || !params)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    if (!mech) return attn__fail_name(error, ATTN_E_NAME, "mech", "no such mechanism", name);
    attn_mech_defaults(mech, params);
    const attn_alias *alias;
    for (int i = 0; (alias = attn_alias_at(i)) != NULL; i++) {
        char word[64] = "";
        if (strcmp(alias->name, name) != 0 || !alias->set) continue;
        const size_t n = strcspn(alias->set, "=");
        memcpy(word, alias->set, n < sizeof word ? n : sizeof word - 1);
        ATTN_TRY(attn_mech_set(mech, params, word, alias->set + n + 1, error));
    }
    return ATTN_OK;
}

attn_status attn_mech_set(const attn_mech *mech, attn_value *params, const char *name,
                          const char *text, attn_error *error)
{
    if (!mech || !params || !name || !text)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    int i = attn_mech_param(mech, name);
    if (i < 0)
        return attn__fail_name(error, ATTN_E_NAME, mech->name, "no such parameter", name);
    const char *broken = param_read(&mech->params[i], text, &params[i]);
    if (!broken) return ATTN_OK;
    return attn__fail_name(error, ATTN_E_PARAM, mech->params[i].name, broken, text);
}
