/* SPDX-License-Identifier: MIT
 * A matrix of weights in the terminal: half blocks in true colour, or shades where there is no
 * colour. Half blocks leave a dark line between the rows, so that the labels keep their row. */
#include "demo.h"

#include <string.h>

/* Dark to bright, evenly spaced over 0 to 1. */
static const double heatmap_colors[][3] = {{38, 36, 58},   {62, 64, 132},  {45, 112, 142},
                                           {53, 158, 130}, {132, 204, 86}, {253, 231, 60}};
enum { HEATMAP_COLORS = (int)(sizeof heatmap_colors / sizeof heatmap_colors[0]) };

static void heatmap_color(float weight)
{
    double x = (double)weight * (HEATMAP_COLORS - 1);
    int i = x < 0 ? 0 : x >= HEATMAP_COLORS - 1 ? HEATMAP_COLORS - 2 : (int)x;
    double t = x - i;
    int rgb[3];
    for (int c = 0; c < 3; c++)
        rgb[c] = (int)(heatmap_colors[i][c] * (1 - t) + heatmap_colors[i + 1][c] * t + 0.5);
    printf("\033[38;2;%d;%d;%dm\u2584\u2584\u2584\u2584\u2584\033[0m ", rgb[0], rgb[1], rgb[2]);
}

static void heatmap_shade(float weight)
{
    static const char *const shades[] = {" ", "\u2591", "\u2592", "\u2593", "\u2588"};
    int i = weight < 0.02F ? 0 : weight < 0.15F ? 1 : weight < 0.4F ? 2 : weight < 0.7F ? 3 : 4;
    for (int c = 0; c < 5; c++) fputs(shades[i], stdout);
    putchar(' ');
}

void demo_draw(const char *title, const char *const words[DEMO_WORDS],
               float weights[DEMO_WORDS][DEMO_WORDS])
{
    bool color = cli_color(stdout);
    printf("%s\n%9s", title, "");
    for (int j = 0; j < DEMO_WORDS; j++) printf("%-5.5s ", words[j]);
    putchar('\n');
    for (int i = 0; i < DEMO_WORDS; i++) {
        printf("%8s ", words[i]);
        /* Later words are not part of the row: leave them empty, unlike a weight of nothing. */
        for (int j = 0; j <= i; j++) (color ? heatmap_color : heatmap_shade)(weights[i][j]);
        putchar('\n');
    }
    putchar('\n');
}
