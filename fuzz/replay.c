/* SPDX-License-Identifier: MIT
 * Runs a fuzz target over files, without a fuzzer: to replay a finding under a debugger, or the
 * corpus under another checker. Compile it together with one fuzz_*.c. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    long n = f && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    uint8_t *bytes = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (bytes) rewind(f);
    int good = bytes && fread(bytes, 1, (size_t)n, f) == (size_t)n;
    if (f) fclose(f);
    if (good)
        LLVMFuzzerTestOneInput(bytes, (size_t)n);
    else
        fprintf(stderr, "%s: cannot read\n", path);
    free(bytes);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay_file(argv[i]);
    printf("%d files\n", argc - 1);
    return failed;
}
