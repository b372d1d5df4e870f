/* SPDX-License-Identifier: MIT
 * Writes JSON Lines: one object a line, numbers that survive the trip (%.9g is exact for f32),
 * never NaN. */
#include "cli.h"

#include <inttypes.h>
#include <math.h>

static void json_string(FILE *to, const char *text)
{
    fputc('"', to);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x20)
            fprintf(to, "\\u%04x", (unsigned)*c);
        else if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else
            fputc(*c, to);
    }
    fputc('"', to);
}

static void json_key(cli_json *json, const char *key)
{
    if (json->follows) fputc(',', json->to);
    json->follows = true;
    if (!key) return;
    json_string(json->to, key);
    fputc(':', json->to);
}

cli_json cli_json_begin(const char *schema)
{
    cli_json json = {.to = stdout, .follows = true};
    printf("{\"schema\":\"attn.%s/1\"", schema);
    return json;
}

void cli_json_end(cli_json *json)
{
    fputs("}\n", json->to);
}

void cli_json_open(cli_json *json, const char *key, char bracket)
{
    json_key(json, key);
    fputc(bracket, json->to);
    json->follows = false;
}

void cli_json_close(cli_json *json, char bracket)
{
    fputc(bracket, json->to);
    json->follows = true;
}

void cli_json_text(cli_json *json, const char *key, const char *text)
{
    json_key(json, key);
    if (text)
        json_string(json->to, text);
    else
        fputs("null", json->to);
}

void cli_json_number(cli_json *json, const char *key, double x)
{
    json_key(json, key);
    if (isfinite(x))
        fprintf(json->to, "%.9g", x);
    else
        fputs("null", json->to);
}

void cli_json_integer(cli_json *json, const char *key, int64_t x)
{
    json_key(json, key);
    fprintf(json->to, "%" PRId64, x);
}

void cli_json_bool(cli_json *json, const char *key, bool x)
{
    json_key(json, key);
    fputs(x ? "true" : "false", json->to);
}
