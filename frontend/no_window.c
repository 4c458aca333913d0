/* Stands in for window.c in builds without SDL (cmake -DTINAMOU_WINDOW=OFF). */
#include <stdio.h>

#include "frontend/frontend.h"

int run_window(const struct options *opt)
{
    fputs("tinamou: this program was built without the window: use --headless\n", stderr);
    return STATUS_FAILED;
}
