/* SPDX-License-Identifier: MIT
 * A strict JSON reader (RFC 8259) that gives one token at a time. It calls itself nowhere: the
 * open containers are a small array, and deeper nesting is an error. Strings stay where they
 * are, escapes and all, until attn__json_decode copies one; numbers are only turned into
 * integers. */
#include "io/io.h"

#include <string.h>

/* What may come next. */
enum json_state {
    JSON_VALUE,         /* a value */
    JSON_FIRST_ELEMENT, /* a value or ']' */
    JSON_FIRST_KEY,     /* a key or '}' */
    JSON_AFTER,         /* ',' or the end of the container; after the top value: the end */
    JSON_DONE
};

void attn__json_init(attn__json *json, const uint8_t *bytes, size_t n)
{
    *json = (attn__json){.p = bytes, .end = bytes + n, .what = "", .state = JSON_VALUE};
}

static attn__json_kind json_bad(attn__json *j, const char *what)
{
    j->what = what;
    j->state = JSON_DONE;
    return ATTN__JSON_BAD;
}

static void json_blank(attn__json *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
        j->p++;
}

/* The next character after blanks, 0 at the end (a 0 byte is no JSON anyway). */
static uint8_t json_peek(attn__json *j)
{
    json_blank(j);
    return j->p < j->end ? *j->p : 0;
}

/* ---- strings ----------------------------------------------------------------------------- */

static int json_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of \uXXXX at p, or -1. */
static int32_t json_unit(const uint8_t *p, size_t left)
{
    int32_t unit = 0;
    if (left < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        int digit = json_hex(p[i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Reads the escape at p; returns its length in the text, 0 when it is none. */
static size_t json_escape(const uint8_t *p, size_t left, uint32_t *point)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (left < 2) return 0;
    const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
    if (letter) {
        *point = (uint32_t)meant[letter - letters];
        return 2;
    }
    int32_t high = json_unit(p, left);
    if (high < 0 || (high >= 0xDC00 && high < 0xE000)) return 0;
    *point = (uint32_t)high;
    if (high < 0xD800 || high >= 0xE000) return 6;
    int32_t low = json_unit(p + 6, left - 6);
    if (low < 0xDC00 || low >= 0xE000) return 0;
    *point = 0x10000 + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
    return 12;
}

/* One character of a string: its length in the text, 0 when it is malformed. */
static size_t json_char(const uint8_t *p, size_t left)
{
    uint32_t point;
    if (*p < 0x20) return 0;
    return *p == '\\' ? json_escape(p, left, &point) : attn__utf8_next(p, left);
}

static bool json_string(attn__json *j)
{
    j->text = ++j->p;
    while (j->p < j->end && *j->p != '"') {
        size_t n = json_char(j->p, (size_t)(j->end - j->p));
        if (n == 0) return false;
        j->p += n;
    }
    if (j->p == j->end) return false;
    j->length = (size_t)(j->p++ - j->text);
    return true;
}

static size_t json_encode(uint32_t point, uint8_t out[4])
{
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; point >>= 6) out[i] = (uint8_t)(0x80 | (point & 0x3F));
    out[0] = (uint8_t)(lead[n == 1 ? 0 : n] | point);
    return n;
}

size_t attn__json_decode(const attn__json *json, char *out, size_t room)
{
    size_t n = 0;
    for (const uint8_t *p = json->text, *end = p + json->length; p < end;) {
        uint8_t bytes[4] = {*p};
        size_t n_bytes = 1, step = 1;
        uint32_t point = 0;
        if (*p == '\\') {
            step = json_escape(p, (size_t)(end - p), &point);
            n_bytes = json_encode(point, bytes);
        }
        for (size_t i = 0; i < n_bytes; i++, n++)
            if (n < room) out[n] = (char)bytes[i];
        p += step;
    }
    return n;
}

/* ---- numbers and words ------------------------------------------------------------------- */

static size_t json_digits(attn__json *j)
{
    const uint8_t *first = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') j->p++;
    return (size_t)(j->p - first);
}

/* Whether the digits from p fit in int64; then they are in j->integer. */
static bool json_integer(attn__json *j, const uint8_t *p)
{
    int64_t value = 0;
    for (; p < j->p; p++)
        if (!attn__mul(value, 10, &value) || !attn__add(value, *p - '0', &value)) return false;
    j->integer = value;
    return true;
}

static attn__json_kind json_number(attn__json *j)
{
    static const char bad[] = "a number is malformed";
    bool whole = *j->p != '-';
    if (!whole) j->p++;
    const uint8_t *first = j->p;
    size_t n = json_digits(j);
    if (n == 0 || (n > 1 && *first == '0')) return json_bad(j, bad);
    whole = whole && json_integer(j, first);
    if (j->p < j->end && *j->p == '.') {
        whole = false;
        j->p++;
        if (json_digits(j) == 0) return json_bad(j, bad);
    }
    if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
        whole = false;
        j->p++;
        if (j->p < j->end && (*j->p == '+' || *j->p == '-')) j->p++;
        if (json_digits(j) == 0) return json_bad(j, bad);
    }
    return whole ? ATTN__JSON_INTEGER : ATTN__JSON_NUMBER;
}

static attn__json_kind json_word(attn__json *j)
{
    static const struct {
        const char *word;
        attn__json_kind kind;
    } words[] = {
        {"true", ATTN__JSON_TRUE}, {"false", ATTN__JSON_FALSE}, {"null", ATTN__JSON_NULL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(j->end - j->p) < n || memcmp(j->p, words[i].word, n) != 0) continue;
        j->p += n;
        return words[i].kind;
    }
    return json_bad(j, j->p == j->end ? "the text ends too early" : "a value is missing");
}

/* ---- structure --------------------------------------------------------------------------- */

static attn__json_kind json_open(attn__json *j, bool array)
{
    if (j->depth == ATTN__JSON_DEPTH) return json_bad(j, "containers are nested too deep");
    j->p++;
    j->array[j->depth++] = array;
    j->state = array ? JSON_FIRST_ELEMENT : JSON_FIRST_KEY;
    return array ? ATTN__JSON_ARRAY : ATTN__JSON_OBJECT;
}

static attn__json_kind json_close(attn__json *j)
{
    bool array = j->array[--j->depth];
    j->p++;
    j->state = JSON_AFTER;
    return array ? ATTN__JSON_ARRAY_END : ATTN__JSON_OBJECT_END;
}

static attn__json_kind json_value(attn__json *j)
{
    uint8_t c = json_peek(j);
    if (c == '{' || c == '[') return json_open(j, c == '[');
    j->state = JSON_AFTER;
    if (c == '"')
        return json_string(j) ? ATTN__JSON_STRING : json_bad(j, "a string is malformed");
    if (c == '-' || (c >= '0' && c <= '9')) return json_number(j);
    return json_word(j);
}

static attn__json_kind json_key(attn__json *j)
{
    if (json_peek(j) != '"') return json_bad(j, "a key is missing");
    if (!json_string(j)) return json_bad(j, "a key is malformed");
    if (json_peek(j) != ':') return json_bad(j, "a colon is missing");
    j->p++;
    j->state = JSON_VALUE;
    return ATTN__JSON_KEY;
}

attn__json_kind attn__json_next(attn__json *json)
{
    uint8_t c = json_peek(json);
    if (json->state == JSON_DONE) return json->what[0] ? ATTN__JSON_BAD : ATTN__JSON_END;
    if (json->state == JSON_VALUE) return json_value(json);
    if (json->depth == 0) {
        if (json->p < json->end) return json_bad(json, "text follows the end");
        json->state = JSON_DONE;
        return ATTN__JSON_END;
    }
    bool array = json->array[json->depth - 1], after = json->state == JSON_AFTER;
    if (c == (array ? ']' : '}')) return json_close(json);
    if (after && c != ',')
        return json_bad(json, "a comma or the end of a container is missing");
    if (after) json->p++;
    return array ? json_value(json) : json_key(json);
}
