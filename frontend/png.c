/* Screenshots as PNG, by libpng's simplified interface. */
#include "frontend/png.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool png_write_file(const char *path, const uint32_t *pixels, unsigned width, unsigned height)
{
    size_t count = (size_t)width * height;
    uint8_t *rgb = malloc(count * 3);
    if (!rgb)
        return false;
    for (size_t i = 0; i < count; i++) {
        rgb[i * 3] = (uint8_t)(pixels[i] >> 16);
        rgb[i * 3 + 1] = (uint8_t)(pixels[i] >> 8);
        rgb[i * 3 + 2] = (uint8_t)pixels[i];
    }

    bool ok = false;
    int saved = 0;
    FILE *f = fopen(path, "wb");
    if (f) {
        png_image image = {
            .version = PNG_IMAGE_VERSION, .width = width, .height = height,
            .format = PNG_FORMAT_RGB,
        };
        errno = 0;
        ok = png_image_write_to_stdio(&image, f, 0, rgb, 0, NULL);
        if (fclose(f) != 0)
            ok = false;
        if (!ok) {
            saved = errno ? errno : EIO;
            unlink(path);
            errno = saved;
        }
    }
    saved = errno;
    free(rgb);
    errno = saved;
    return ok;
}
